"""Everything about one person, in a zip file: the right of access, and of portability."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from datetime import datetime
from pathlib import Path
from typing import Final
from uuid import UUID

import msgspec

from clonedb import queries
from clonedb.database import Database
from clonedb.errors import InvalidInput, NotFound, ObjectDamaged
from clonedb.ids import check_id
from clonedb.objects.description import StoredObject
from clonedb.objects.store import ObjectStore
from clonedb.objects.threads import in_thread
from clonedb.privacy.archive import Archive, archive
from clonedb.privacy.index import ExportedObject, index_page
from clonedb.privacy.tables import PersonColumn, tables_of
from clonedb.repositories.audit_logs import NewAuditEntry
from clonedb.scopes import DatabaseScope

# What one fetch brings, and one more row: a document's text has at most 10 MiB.
_FETCHED_BYTES: Final = 1024 * 1024

# Descriptions of objects in memory at once.
_OBJECTS_AT_ONCE: Final = 200

_NOBODY: Final = UUID(int=0)


class ExportProgress(msgspec.Struct, frozen=True):
    """How far it is: rows and objects written, of so many; the table or file it is at."""

    at: str
    rows: int
    total_rows: int
    objects: int
    total_objects: int


class UserExport(msgspec.Struct, frozen=True, kw_only=True):
    """What was written: rows by table, and the person's files.

    `damaged` are files that the store no longer has, or not as they were; the index says which.
    """

    user_id: UUID
    file: str
    size_bytes: int
    moment: datetime
    rows: dict[str, int]
    objects: int
    damaged: list[str]


class _Person(msgspec.Struct, frozen=True):
    moment: datetime
    deleted_at: datetime | None
    objects: int


async def export_user(
    worker: Database,
    user_id: UUID | str,
    file: str | os.PathLike[str],
    *,
    object_store: ObjectStore | None = None,
    progress: Callable[[ExportProgress], None] | None = None,
) -> UserExport:
    """Write everything about a person to a zip file, under the worker login.

    A file of JSON Lines for each table, what they have in the object store, and `index.html`, which
    says what each is. All of it is of one moment, and read in pieces of a megabyte. Living and
    deleted users alike. The file is there when all of it is, and only its owner may read it; the
    export is on record in the audit log.

    Raises NotFound; InvalidInput where the person has objects and no store is given; OSError for
    the file.
    """
    user_id = check_id(user_id)
    path = Path(file)
    async with worker.transaction(isolation="repeatable read", read_only=True) as snapshot:
        person = await snapshot.one(queries.privacy_export.find_person, _Person, id=user_id)
        if person is None:
            raise NotFound(f"user {user_id} does not exist")
        if person.objects and object_store is None:
            raise InvalidInput(
                f"user {user_id} has {person.objects:,} objects in the object store",
                remedy="pass the object store too, or they would be missing",
            )
        counted = await snapshot.rows(queries.privacy_erasure.count_rows, id=user_id)
        writing = _Writing(user_id, snapshot, person, sum(rows for _, rows in counted), progress)
        async with archive(path) as written:
            await writing.write(written, object_store)
            # On record before anybody has it.
            await worker.audit_logs.append_for(
                NewAuditEntry(action="user.export", resource="users"), subject_id=user_id
            )
    size_bytes = await in_thread(lambda: path.stat().st_size)
    return UserExport(
        user_id=user_id,
        file=str(path),
        size_bytes=size_bytes,
        moment=person.moment,
        rows=writing.rows,
        objects=len(writing.objects),
        damaged=[each.file for each in writing.objects if each.damage is not None],
    )


class _Writing:
    """One export that is under way."""

    def __init__(
        self,
        user_id: UUID,
        snapshot: DatabaseScope,
        person: _Person,
        total_rows: int,
        progress: Callable[[ExportProgress], None] | None,
    ) -> None:
        self.rows: dict[str, int] = {}
        self.objects: list[ExportedObject] = []
        self._user_id = user_id
        self._snapshot = snapshot
        self._person = person
        self._total_rows = total_rows
        self._progress = progress

    async def write(self, written: Archive, object_store: ObjectStore | None) -> None:
        columns = await self._snapshot.all(queries.privacy_export.columns, PersonColumn)
        tables = tables_of(columns)
        for table in tables:
            await self._write_table(written, table.name)
        if object_store is not None:
            async for stored in self._stored_objects():
                await self._write_object(written, object_store, stored)
        page = index_page(
            self._user_id,
            self._person.moment,
            [(table, self.rows[table.name]) for table in tables],
            self.objects,
        )
        async with written.member("index.html") as member:
            await member.write(page.encode())

    async def _write_table(self, written: Archive, name: str) -> None:
        self.rows[name] = 0
        await self._snapshot.value(
            queries.privacy_export.open_rows, id=self._user_id, table_name=name
        )
        async with written.member(f"{name}.jsonl") as member:
            while lines := await self._snapshot.rows(
                queries.privacy_export.fetch_rows, bytes=_FETCHED_BYTES
            ):
                await member.write("".join(f"{line}\n" for (line,) in lines).encode())
                self.rows[name] += len(lines)
                self._report(name)

    async def _stored_objects(self) -> AsyncIterator[StoredObject]:
        previous = _NOBODY
        while found := await self._snapshot.all(
            queries.privacy_export.find_objects,
            StoredObject,
            user_id=self._user_id,
            previous_id=previous,
            limit=_OBJECTS_AT_ONCE,
        ):
            for stored in found:
                yield stored
            previous = found[-1].id

    async def _write_object(
        self, written: Archive, object_store: ObjectStore, stored: StoredObject
    ) -> None:
        name = f"objects/{stored.kind}/{stored.name}"
        damage = None
        self._report(name)
        async with written.member(name) as member:
            try:
                async with object_store.open_stored(stored) as reader:
                    async for piece in reader:
                        await member.write(piece)
            except ObjectDamaged as error:
                # One file that is lost does not keep the person from all the others.
                damage = error.message
        self.objects.append(ExportedObject(name, stored, damage))

    def _report(self, at: str) -> None:
        if self._progress is not None:
            self._progress(
                ExportProgress(
                    at,
                    sum(self.rows.values()),
                    self._total_rows,
                    len(self.objects),
                    self._person.objects,
                )
            )
