"""Forgetting a person: every row, everything cached, every object; and a receipt for it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Final, Literal, TypeVar
from uuid import UUID

import msgspec

from clonedb import queries
from clonedb.database import Database
from clonedb.errors import ConcurrencyConflict, InvalidInput, NotFound
from clonedb.ids import check_id
from clonedb.objects.store import ObjectStore
from clonedb.repositories.writing import found

# A conversation that is stored meanwhile may lock what erasure waits for, and the other way round.
_ATTEMPTS: Final = 5

# A transaction that takes longer is not waited for: `clonedb maintain` closes the receipt.
PATIENCE: Final = timedelta(seconds=10)
_LOOK_SECONDS: Final = 0.02

_RECEIPT_BATCH: Final = 100

R = TypeVar("R")


class Receipt(msgspec.Struct, frozen=True):
    """That somebody was erased. It names nobody, and is closed when nothing is left to be done.

    `row_counts` says how many rows went, by table. `digest` is the SHA-256 of the ledger's entry.
    `reapplied_at` is set where they came back with a backup and were erased again.
    """

    outcome: Literal["erased", "already_erased"]
    id: UUID
    row_counts: dict[str, int]
    digest: bytes
    erased_at: datetime
    reapplied_at: datetime | None
    closed_at: datetime | None


class ReceiptsClosed(msgspec.Struct, frozen=True):
    """How many receipts were closed, and how many are open still."""

    closed: int
    still_open: int


class _Outcome(msgspec.Struct, frozen=True):
    outcome: Literal["erased", "already_erased", "not_deleted", "unknown"]
    id: UUID | None
    row_counts: dict[str, int] | None
    digest: bytes | None
    erased_at: datetime | None
    reapplied_at: datetime | None
    closed_at: datetime | None


class _Progress(msgspec.Struct, frozen=True):
    closed_at: datetime | None
    transactions_have_ended: bool
    objects: int


async def count_rows(worker: Database, user_id: UUID | str) -> dict[str, int]:
    """How many rows of a person `erase_user` would remove, by table, without changing anything.

    Raises NotFound.
    """
    user_id = check_id(user_id)
    rows = await worker.rows(queries.privacy_erasure.count_rows, id=user_id)
    counts: dict[str, int] = dict(rows)
    if not counts["users"]:
        raise NotFound(f"user {user_id} does not exist")
    return {table: count for table, count in counts.items() if count}


async def erase_user(
    worker: Database,
    user_id: UUID | str,
    *,
    object_store: ObjectStore | None = None,
    patience: timedelta = PATIENCE,
) -> Receipt:
    """Remove a person, living or deleted, from every table and cache, under the worker login.

    One transaction, all or nothing; whoever records something of them afterwards gets NotFound.
    What they had in the object store is deleted from its outbox: now where a store is given, by
    `clonedb maintain` otherwise. The receipt is closed when that is done and every transaction
    that may have seen the person has ended; this waits for it up to `patience`, and returns an
    open receipt then, which `clonedb maintain` closes.

    A repeat returns the receipt of then. Raises NotFound for somebody who was never there.
    """
    user_id = check_id(user_id)
    if patience < timedelta(0):
        raise InvalidInput(f"patience is not negative: {patience}")
    receipt = await erase(worker, user_id)
    if receipt is None:
        raise NotFound(f"user {user_id} does not exist, and was not erased either")
    if receipt.closed_at is not None:
        return receipt
    closed_at = await _closed(worker, receipt.id, object_store, patience)
    return msgspec.structs.replace(receipt, closed_at=closed_at)


async def close_receipts(worker: Database, *, limit: int = _RECEIPT_BATCH) -> ReceiptsClosed:
    """Close up to `limit` receipts for which nothing is left to be done.

    What a transaction that was open at the erasure has stored of the person is removed first.
    """
    done = await worker.one(queries.privacy_erasure.close_receipts, ReceiptsClosed, limit=limit)
    return found(done, "receipts", "")


async def erase(
    worker: Database, user_id: UUID, *, deleted_before: datetime | None = None
) -> Receipt | None:
    """Erase without waiting for the receipt to close; None where there is nobody to erase."""
    done = await _again(
        lambda: worker.one(
            queries.privacy_erasure.erase, _Outcome, id=user_id, deleted_before=deleted_before
        )
    )
    if done is None or done.outcome in ("unknown", "not_deleted"):
        return None
    return Receipt(**msgspec.structs.asdict(done))


async def _again(send: Callable[[], Awaitable[R]]) -> R:
    for _ in range(_ATTEMPTS - 1):
        try:
            return await send()
        except ConcurrencyConflict:
            continue
    return await send()


async def _closed(
    worker: Database, receipt: UUID, object_store: ObjectStore | None, patience: timedelta
) -> datetime | None:
    deadline = time.monotonic() + patience.total_seconds()
    while True:
        if object_store is not None:
            while (await object_store.work_off(worker)).claimed:
                if time.monotonic() > deadline:
                    break
        await close_receipts(worker)
        progress = await worker.one(queries.privacy_erasure.find_progress, _Progress, id=receipt)
        if progress is None or progress.closed_at is not None:
            return None if progress is None else progress.closed_at
        # Objects that nobody deletes here, or that are due later, are another's work.
        if progress.transactions_have_ended or time.monotonic() > deadline:
            return None
        await asyncio.sleep(_LOOK_SECONDS)
