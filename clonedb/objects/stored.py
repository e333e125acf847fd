"""What one user has in the object store, or what everybody may read of it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final
from uuid import UUID, uuid4

import msgspec
from msgspec import Meta

from clonedb import queries
from clonedb.errors import ClonedbError, InvalidInput
from clonedb.objects.backend import Backend, Missing
from clonedb.objects.description import (
    Metadata,
    StoredObject,
    StoredObjectFilter,
    Upload,
    described,
    named,
)
from clonedb.objects.feed import Feed, Source
from clonedb.objects.reader import ObjectReader, damaged, verified, write_file
from clonedb.pages import DEFAULT_LIMIT, Page, filter_arguments, find_page
from clonedb.repositories.vocabulary import ObjectKind
from clonedb.repositories.writing import found
from clonedb.validation import convert

if TYPE_CHECKING:
    from clonedb.scope import QueryFunction, Scope

# An upload that is not kept within this counts as given up: 100 MB take minutes on a bad line.
UPLOAD_SECONDS: Final = 86_400.0

# What `read` takes into memory unless it is told otherwise.
DEFAULT_READ_BYTES: Final = 64 * 1024 * 1024

# How often an object may be replaced, and its former bytes deleted, between finding and opening it.
_OPENINGS: Final = 5

_NOBODY: Final = UUID(int=0)


class StoredObjects:
    """The objects of a scope: a user's own, or those that everybody reads and the worker writes.

    An object has a kind and a name, which is unique among its kind and is no path. Whatever goes
    wrong, it is the whole object of before or the whole new one.
    """

    __slots__ = ("_backend", "_scope")

    def __init__(self, scope: Scope, backend: Backend) -> None:
        self._scope = scope
        self._backend = backend

    async def put(
        self,
        kind: ObjectKind,
        name: str | UUID,
        source: Source,
        *,
        content_type: str = "application/octet-stream",
        metadata: Metadata | None = None,
    ) -> StoredObject:
        """Store what the source gives, in the place of the object of that name where there is one.

        The source is bytes, a Path, a file opened in binary mode or an async iterator of bytes, at
        most 64 GiB; it is read in pieces, some 50 MB of it are in memory at once. Raises
        ObjectStoreFull, ObjectStoreUnavailable, NotFound for a user who does not exist, and what
        the source raises; then, and when it is cancelled, nothing has changed. Inside a transaction
        use `upload` before and `keep` within.
        """
        given = described(kind, name, content_type, metadata)
        upload = await self.upload(source)
        try:
            return await self._keep(upload, given)
        except BaseException:
            # Also where the answer was lost: an upload that is kept can't be given up any more.
            await self._give_up(upload.object_key)
            raise

    async def upload(self, source: Source) -> Upload:
        """Bring what the source gives into the store, for `keep`; see `put`.

        An upload that is not kept within 24 hours is deleted. Raises InvalidInput inside a
        transaction, whose rollback would forget what lies in the store.
        """
        if self._scope.in_transaction:
            raise InvalidInput(
                "an upload inside a transaction would be lost with its rollback",
                remedy="call upload before the transaction, and keep in it",
            )
        feed = Feed(source)
        number = uuid4().hex  # random: keys outlive their user, and tell nothing about them
        key = f"{number[:2]}/{number}"
        begun = await self._value(
            queries.stored_objects.begin_upload, object_key=key, keep_seconds=UPLOAD_SECONDS
        )
        found(begun, "user", self._scope.user_id)
        try:
            await self._backend.write(key, feed)
        except BaseException:
            # What may still be written is left to the upload's expiry.
            if feed.settled:
                await self._give_up(key)
            raise
        finally:
            await feed.close()
        return Upload(key, feed.size, feed.digest())

    async def keep(
        self,
        kind: ObjectKind,
        name: str | UUID,
        upload: Upload,
        *,
        content_type: str = "application/octet-stream",
        metadata: Metadata | None = None,
    ) -> StoredObject:
        """Make an upload the object of that name, in the place of the one before.

        Works inside a transaction. Raises NotFound for an upload that was kept already, has
        expired, or is of a user who does not exist any more.
        """
        if not isinstance(upload, Upload):
            raise InvalidInput(f"upload must be what upload() returned, not {upload!r:.40}")
        return await self._keep(upload, described(kind, name, content_type, metadata))

    async def _keep(self, upload: Upload, given: dict[str, Any]) -> StoredObject:
        arguments = {**given, **msgspec.structs.asdict(upload)}
        stored = await self._one(queries.stored_objects.keep, **arguments)
        return found(stored, "upload", upload.object_key)

    async def _give_up(self, key: str) -> None:
        """As far as the database can be reached; the upload's expiry does the rest."""
        with suppress(ClonedbError):
            await asyncio.shield(self._value(queries.stored_objects.give_up_upload, object_key=key))

    async def find(self, kind: ObjectKind, name: str | UUID) -> StoredObject | None:
        return await self._one(queries.stored_objects.find, **named(kind, name))

    async def get(self, kind: ObjectKind, name: str | UUID) -> StoredObject:
        """Like `find`; raises NotFound."""
        return found(await self.find(kind, name), f"{kind}", name)

    async def exists(self, kind: ObjectKind, name: str | UUID) -> bool:
        existing: bool = await self._value(queries.stored_objects.exists, **named(kind, name))
        return existing

    async def count(self, filters: StoredObjectFilter | None = None) -> int:
        counted: int = await self._value(queries.stored_objects.count, **filter_arguments(filters))
        return counted

    async def find_many(
        self,
        filters: StoredObjectFilter | None = None,
        *,
        order: str = "newest",
        cursor: str | None = None,
        limit: int = DEFAULT_LIMIT,
        with_total: bool = False,
    ) -> Page[StoredObject]:
        """A page of objects, ordered `newest` or `oldest` by `created_at`."""
        return await find_page(
            self._scope,
            queries.stored_objects.find_many,
            StoredObject,
            order=order,
            cursor=cursor,
            limit=limit,
            with_total=with_total,
            arguments={"user_id": _NOBODY, **filter_arguments(filters)},
        )

    @asynccontextmanager
    async def open(self, kind: ObjectKind, name: str | UUID) -> AsyncIterator[ObjectReader]:
        """`async with … as reader`, `async for piece in reader`: the object in bounded memory.

        It stays that version when it is replaced meanwhile. Raises NotFound; ObjectDamaged where it
        is missing in the store, or from the iterator; ObjectStoreUnavailable.
        """
        stored, pieces = await self._opened(kind, name)
        async with aclosing(pieces), aclosing(verified(stored, pieces)) as checked:
            yield ObjectReader(stored, checked)

    async def _opened(
        self, kind: ObjectKind, name: str | UUID
    ) -> tuple[StoredObject, AsyncGenerator[bytes, None]]:
        before = None
        for _ in range(_OPENINGS):
            stored = await self.get(kind, name)
            if before is not None and stored.object_key == before.object_key:
                break
            try:
                return stored, await self._backend.read(stored.object_key)
            except Missing:
                before = stored  # replaced at that moment, or lost
        raise damaged(stored, "is missing")  # pyright: ignore[reportPossiblyUnboundVariable]

    async def read(
        self, kind: ObjectKind, name: str | UUID, *, maximum_bytes: int = DEFAULT_READ_BYTES
    ) -> bytes:
        """The object's bytes. Raises InvalidInput for a larger one, and what `open` raises."""
        convert(maximum_bytes, Annotated[int, Meta(ge=0)], "maximum_bytes")
        async with self.open(kind, name) as reader:
            size = reader.stored.size_bytes
            if size > maximum_bytes:
                raise InvalidInput(
                    f"the {kind} has {size:,} bytes, and at most {maximum_bytes:,} were to be read",
                    remedy="open it, or download it to a file",
                )
            return b"".join([piece async for piece in reader])

    async def download(
        self, kind: ObjectKind, name: str | UUID, path: str | os.PathLike[str]
    ) -> StoredObject:
        """Write the object to a file, in the place of one that is there, when all of it has come.

        Until then it has a name beside it that begins with a dot and ends with `.part`. Raises what
        `open` raises, and OSError for the file; then the path is as it was.
        """
        async with self.open(kind, name) as reader:
            await write_file(reader, Path(path))
        return reader.stored

    async def delete(self, kind: ObjectKind, name: str | UUID) -> bool:
        """Remove the object; False if there was none. `work_off` deletes its bytes afterwards."""
        removed = await self._value(queries.stored_objects.delete, **named(kind, name))
        return removed is not None

    async def _one(self, query: QueryFunction, **arguments: Any) -> StoredObject | None:
        return await self._scope.one(query, StoredObject, user_id=_NOBODY, **arguments)

    async def _value(self, query: QueryFunction, **arguments: Any) -> Any:
        # A user's scope puts its own user in the place of nobody.
        return await self._scope.value(query, user_id=_NOBODY, **arguments)
