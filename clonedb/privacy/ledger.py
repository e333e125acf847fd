"""The ledger of erased people outside of the database, for the day on which a backup comes back."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import aclosing
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Final
from uuid import UUID

import msgspec
from msgspec import Meta

from clonedb import queries
from clonedb.database import Database
from clonedb.errors import InvalidInput
from clonedb.objects.threads import in_thread
from clonedb.privacy.erasure import erase
from clonedb.privacy.whole_file import whole_file

_BATCH: Final = 1_000
_NOBODY: Final = UUID(int=0)

_Hex = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]


class LedgerEntry(msgspec.Struct, frozen=True):
    """A line of a copy of the ledger, in JSON. Nothing in it names anybody."""

    id: UUID
    user_digest: _Hex
    row_counts: dict[str, int]
    digest: _Hex
    erased_at: datetime
    closed_at: datetime | None


class Reapplied(msgspec.Struct, frozen=True):
    """`imported` entries that the database lacked; `present` people who were in the ledger and in
    the database all the same, of whom so many were `erased`."""

    imported: int
    present: int
    erased: int


async def write_ledger(worker: Database, file: str | os.PathLike[str]) -> int:
    """Copy the ledger to a file, a line of JSON for each entry, and return how many there are.

    Keep it where the backups are not: after a restore, `reapply` takes it. The file is there when
    all of it is.
    """
    entries = 0
    waiting: list[bytes] = []
    async with whole_file(Path(file)) as target:
        stream = worker.stream(queries.privacy_erasure.ledger, LedgerEntry)
        async with aclosing(stream) as rows:
            async for entry in rows:
                entries += 1
                waiting.append(msgspec.json.encode(entry))
                if len(waiting) == _BATCH:
                    await in_thread(target.write, _lines(waiting))
                    waiting = []
        await in_thread(target.write, _lines(waiting))
    return entries


async def reapply(
    worker: Database, file: str | os.PathLike[str] | None = None, *, dry_run: bool = False
) -> Reapplied:
    """Erase again whoever is in the ledger and came back with a backup, under the worker login.

    The ledger is the database's own and, where given, a copy of it in a file, whose entries are
    added to the former; they are all read before anything is changed. A dry run changes nothing,
    and knows the database's own alone. Raises InvalidInput for a file that is no ledger, or was
    changed, with the line.
    """
    imported = 0
    if file is not None:
        path = Path(file)
        await in_thread(_check, path)
        if not dry_run:
            imported = await _import(worker, path)
    present = erased = 0
    previous = _NOBODY
    while found := await worker.rows(
        queries.privacy_erasure.find_present, previous_id=previous, limit=_BATCH
    ):
        for (user_id,) in found:
            present += 1
            if not dry_run:
                receipt = await erase(worker, user_id)
                erased += receipt is not None and receipt.outcome == "erased"
        previous = found[-1][0]
    return Reapplied(imported, present, erased)


async def _import(worker: Database, path: Path) -> int:
    imported = 0
    batches = _batches(path)
    while batch := await in_thread(next, batches, None):
        imported += await worker.value(
            queries.privacy_erasure.import_receipts,
            entries=msgspec.json.encode(batch).decode(),
        )
    return imported


def _check(path: Path) -> None:
    for _ in _entries(path):
        pass


def _batches(path: Path) -> Iterator[list[LedgerEntry]]:
    batch: list[LedgerEntry] = []
    for entry in _entries(path):
        batch.append(entry)
        if len(batch) == _BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def _entries(path: Path) -> Iterator[LedgerEntry]:
    decoder: Any = msgspec.json.Decoder(LedgerEntry)
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            try:
                yield decoder.decode(line)
            except msgspec.MsgspecError as error:
                raise InvalidInput(
                    f"{path.name}, line {number}: {error}",
                    remedy="pass what --ledger-to has written; nothing was changed",
                ) from None


def _lines(encoded: list[bytes]) -> bytes:
    return b"".join(line + b"\n" for line in encoded)
