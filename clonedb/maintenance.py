"""Upkeep: what may be removed at any time, in batches that disturb nobody; and the audit's seals.

It may run twice at once and be killed at any point: every batch is a transaction of its own, skips
rows that somebody else has, and removes nothing that anybody can still read.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec

from clonedb.audit import seal
from clonedb.database import Database
from clonedb.errors import InvalidInput
from clonedb.objects.store import ObjectStore
from clonedb.privacy import close_receipts

# A batch of each step takes a few milliseconds.
_CACHE_BATCH: Final = 1_000
_LIMIT_BATCH: Final = 10_000

# What dashboards of the last month ask for.
WINDOWS_KEPT: Final = timedelta(days=31)


class UpkeepStep(msgspec.Struct, frozen=True):
    """What one step has removed (shared, of `shared_embeddings`; sealed, of `audit_entries`), and
    how long it took. `last_seal` is of the last: `number:digest`, to be kept elsewhere."""

    step: str
    rows: int
    seconds: float
    last_seal: str | None = None


async def maintain(
    worker: Database,
    *,
    keep_windows: timedelta = WINDOWS_KEPT,
    share_embeddings: int | None = None,
    object_store: ObjectStore | None = None,
) -> AsyncIterator[UpkeepStep]:
    """Do all that is due, under the worker login; each step is yielded as it ends.

    Removes expired cache entries and what is beyond a cache's budget, leases and receipts that are
    over, idle rate limit buckets, and counts of minutes older than `keep_windows`. With
    `share_embeddings`, embeddings that so many users hold are shared first (see
    `share_common_embeddings`). With an object store, the objects that no row owns any more are
    deleted in it. Receipts of erased people are closed where nothing is left to be done. Then the
    audit log is sealed.
    """
    if keep_windows < timedelta(0):
        raise InvalidInput(f"keep_windows is not negative: {keep_windows}")
    before = datetime.now(UTC) - keep_windows
    steps: list[tuple[str, Callable[[], Awaitable[int]]]] = [
        ("cache_entries", lambda: _trim(worker)),
        (
            "rate_limit_buckets",
            lambda: _repeat(
                lambda: worker.rate_limits.purge_buckets(limit=_LIMIT_BATCH), _LIMIT_BATCH
            ),
        ),
        (
            "rate_limit_receipts",
            lambda: _repeat(
                lambda: worker.rate_limits.purge_receipts(limit=_LIMIT_BATCH), _LIMIT_BATCH
            ),
        ),
        (
            "rate_limit_windows",
            lambda: _repeat(
                lambda: worker.rate_limits.purge_windows(before=before, limit=_LIMIT_BATCH),
                _LIMIT_BATCH,
            ),
        ),
    ]
    if share_embeddings is not None:
        holders = share_embeddings
        # Before expired ones are removed, since those count as holders too.
        steps.insert(
            0,
            (
                "shared_embeddings",
                lambda: _repeat(
                    lambda: worker.caches.share_common_embeddings(
                        holders=holders, limit=_CACHE_BATCH
                    ),
                    _CACHE_BATCH,
                ),
            ),
        )
    if object_store is not None:
        steps.append(("stored_objects", lambda: _work_off(worker, object_store)))
    steps.append(("erasure_receipts", lambda: _close_receipts(worker)))
    for name, step in steps:
        started = time.perf_counter()
        rows = await step()
        yield UpkeepStep(name, rows, time.perf_counter() - started)
    started = time.perf_counter()
    rows = 0
    async for cut in seal(worker):
        rows += cut.entry_count
    last = await worker.audit_seals.find_last()
    seconds = time.perf_counter() - started
    yield UpkeepStep("audit_entries", rows, seconds, None if last is None else str(last))


async def _work_off(worker: Database, store: ObjectStore) -> int:
    total = 0
    while True:
        done = await store.work_off(worker)
        total += done.deleted
        # What has failed is tried again later.
        if done.claimed == 0:
            return total


async def _close_receipts(worker: Database) -> int:
    total = 0
    while True:
        done = await close_receipts(worker)
        total += done.closed
        # The others wait for transactions that are open, or for objects.
        if done.closed == 0:
            return total


async def _trim(worker: Database) -> int:
    total = 0
    while True:
        trimmed = await worker.caches.trim(limit=_CACHE_BATCH)
        total += sum(cache.expired + cache.evicted for cache in trimmed)
        # Not until nothing makes room: the server's row counts lag behind by seconds, and each
        # batch would make room once more for what the one before has removed.
        if all(cache.expired < _CACHE_BATCH for cache in trimmed):
            return total


async def _repeat(batch: Callable[[], Awaitable[int]], size: int) -> int:
    total = 0
    while True:
        rows = await batch()
        total += rows
        if rows < size:
            return total
