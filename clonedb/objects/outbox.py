"""The outbox: objects that no row owns any more, deleted in the store afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import msgspec

from clonedb import queries
from clonedb.errors import ClonedbError
from clonedb.extracted_text import clean_message
from clonedb.objects.backend import Backend
from clonedb.scopes import DatabaseScope

# A deletion takes milliseconds, a store that is slow some seconds; then the entry is free again.
LEASE_SECONDS: Final = 600.0

# Requests to the store at once.
_PARALLEL: Final = 8


class WorkedOff(msgspec.Struct, frozen=True):
    """What one call did: entries that it took, and those of them that ended or have failed."""

    claimed: int
    deleted: int
    failed: int


class OutboxStatistics(msgspec.Struct, frozen=True):
    """How much is still to be deleted; `due` by now, `failing` at least once, and since when.

    `uploads` are under way, or were given up without a word.
    """

    pending: int
    due: int
    failing: int
    oldest_at: datetime | None
    uploads: int


class _Entry(msgspec.Struct, frozen=True):
    id: UUID
    object_key: str
    attempts: int
    in_use: bool


async def work_off(
    database: DatabaseScope, backend: Backend, *, limit: int, now: datetime | None
) -> WorkedOff:
    await database.count(queries.object_deletions.expire_uploads, limit=limit, now=now)
    entries = await database.all(
        queries.object_deletions.claim_due,
        _Entry,
        limit=limit,
        lease_seconds=LEASE_SECONDS,
        now=now,
    )
    if not entries:
        return WorkedOff(0, 0, 0)
    turn = asyncio.Semaphore(_PARALLEL)

    async def delete(entry: _Entry) -> ClonedbError | None:
        async with turn:
            try:
                # A row that refers to it has the last word.
                if not entry.in_use:
                    await backend.delete(entry.object_key)
            except ClonedbError as error:
                return error
        return None

    outcomes = await asyncio.gather(*map(delete, entries))
    done = [entry.id for entry, error in zip(entries, outcomes, strict=True) if error is None]
    await database.count(queries.object_deletions.finish, ids=done)
    failures = [(entry, error) for entry, error in zip(entries, outcomes, strict=True) if error]
    await _put_off(database, failures, now)
    return WorkedOff(len(entries), len(done), len(failures))


async def _put_off(
    database: DatabaseScope, failures: Sequence[tuple[_Entry, Any]], now: datetime | None
) -> None:
    for entry, error in failures:
        await database.value(
            queries.object_deletions.fail,
            id=entry.id,
            attempts=entry.attempts,
            error=clean_message(error),
            now=now,
        )
