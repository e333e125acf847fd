"""Upkeep: months made ahead, what is over removed in batches that disturb nobody, the audit sealed.

It may run twice at once and be killed at any point: every batch is a transaction of its own, skips
or waits for rows that somebody else has, and removes nothing that a retention policy keeps.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from functools import partial
from typing import Final

import msgspec

from clonedb.audit import seal
from clonedb.database import Database
from clonedb.errors import ClonedbError
from clonedb.lanes.owner import connect_as_owner
from clonedb.objects.store import ObjectStore
from clonedb.privacy import close_receipts
from clonedb.retention import delete_expired, drop_expired_months
from clonedb.retention.months import PATIENCE

# A batch of each step takes a few milliseconds.
_CACHE_BATCH: Final = 1_000
_LIMIT_BATCH: Final = 10_000

# This month and so many after it.
MONTHS_AHEAD: Final = 24

# What goes by whole months; everything else goes by rows.
MONTHS: Final = ("audit_logs", "conversation_turns")


class UpkeepStep(msgspec.Struct, frozen=True):
    """What one step has done and how long it took.

    `rows` are those that it has removed (or would: `what_is_over`); shared, of `shared_embeddings`;
    sealed, of `audit_entries`; and months, of steps that make or drop months, which are named in
    `months`. `last_seal` is of the last: `number:digest`, to be kept elsewhere. `problem` is what
    was left undone, and what to do about it.
    """

    step: str
    rows: int
    seconds: float
    last_seal: str | None = None
    months: list[str] = []
    problem: str | None = None


async def maintain(
    worker: Database,
    *,
    owner_dsn: str | None = None,
    share_embeddings: int | None = None,
    object_store: ObjectStore | None = None,
    patience: float = PATIENCE,
    now: datetime | None = None,
) -> AsyncIterator[UpkeepStep]:
    """Do all that is due, under the worker login; each step is yielded as it ends.

    Makes the months of the next two years. Removes expired cache entries and what is beyond a
    cache's budget, leases and receipts that are over, and idle rate limit buckets; and what is
    older than an enabled retention policy keeps it (`worker.retention`). With `share_embeddings`,
    embeddings that so many users hold are shared first (see `share_common_embeddings`). With an
    object store, the objects that no row owns any more are deleted in it. Receipts of erased people
    are closed where nothing is left to be done. Then the audit log is sealed, and months that are
    over are dropped, which takes `owner_dsn`, a login that may become the owner. A step that was
    held up says so in `problem`, after `patience` seconds, and the others go on. `now` is the time
    for retention, for tests.
    """
    yield await _timed("turn_months_ahead", _make_months(worker.create_turn_months))
    yield await _timed("audit_months_ahead", _make_months(worker.create_audit_months))
    if share_embeddings is not None:
        # Before expired ones are removed, since those count as holders too.
        share = partial(worker.caches.share_common_embeddings, holders=share_embeddings)
        yield await _timed("shared_embeddings", _repeat(share, _CACHE_BATCH))
    yield await _timed("cache_entries", _trim(worker))
    limits = worker.rate_limits
    yield await _timed("rate_limit_buckets", _repeat(limits.purge_buckets, _LIMIT_BATCH))
    yield await _timed("rate_limit_receipts", _repeat(limits.purge_receipts, _LIMIT_BATCH))
    for policy in await _enabled(worker):
        if policy not in MONTHS:
            yield await _timed(policy, _purge(worker, policy, now))
    if object_store is not None:
        yield await _timed("stored_objects", _work_off(worker, object_store))
    yield await _timed("erasure_receipts", _close_receipts(worker))
    yield await _seal(worker)
    for policy in await _enabled(worker):
        if policy in MONTHS:
            yield await _drop_months(worker, owner_dsn, policy, now, patience)


async def what_is_over(worker: Database, *, now: datetime | None = None) -> list[UpkeepStep]:
    """What `maintain` would delete by the retention policies, counted, and nothing deleted.

    Under the worker's or the DBA's login. A month of the audit log may still wait for its seal.
    """
    started = time.perf_counter()
    counted = await worker.retention.count_expired(now)
    seconds = (time.perf_counter() - started) / max(1, len(counted))
    steps = [UpkeepStep(one.name, one.expired, seconds) for one in counted]
    for policy in await _enabled(worker):
        if policy in MONTHS:
            months = await _expired_months(worker, policy, now)
            steps.append(UpkeepStep(policy, len(months), 0.0, months=months))
    return steps


async def _enabled(worker: Database) -> list[str]:
    return [one.name for one in await worker.retention.find_many() if one.enabled]


async def _timed(name: str, batches: AsyncIterator[int]) -> UpkeepStep:
    started = time.perf_counter()
    rows, problem = 0, None
    try:
        async for removed in batches:
            rows += removed
    except ClonedbError as error:
        problem = f"{error}; the next run goes on"
    return UpkeepStep(name, rows, time.perf_counter() - started, problem=problem)


async def _make_months(create: Callable[..., Awaitable[int]]) -> AsyncIterator[int]:
    yield await create(datetime.now(UTC).date(), months=1 + MONTHS_AHEAD)


def _purge(worker: Database, policy: str, now: datetime | None) -> AsyncIterator[int]:
    retention = worker.retention
    if policy == "audit_subjects":
        return _repeat(partial(retention.purge_audit_subjects, now=now), _LIMIT_BATCH)
    if policy == "cache_use":
        return _repeat(partial(retention.purge_cache_use, now=now), _LIMIT_BATCH)
    if policy in ("daily_reservations", "daily_usage", "rate_limits"):
        return _repeat(partial(_purge_older, worker, policy, now), _LIMIT_BATCH)
    return delete_expired(worker, policy, now=now)


async def _purge_older(worker: Database, policy: str, now: datetime | None, *, limit: int) -> int:
    # Asked before each batch, so that it ends when somebody switches it off.
    before = await worker.retention.find_cutoff(policy, now)
    if before is None:
        return 0
    if policy == "rate_limits":
        return await worker.rate_limits.purge_windows(before=before, limit=limit)
    days = worker.daily_quotas
    purge = days.purge if policy == "daily_usage" else days.purge_reservations
    return await purge(before=before.astimezone(UTC).date(), limit=limit)


async def _seal(worker: Database) -> UpkeepStep:
    started = time.perf_counter()
    rows = 0
    async for cut in seal(worker):
        rows += cut.entry_count
    last = await worker.audit_seals.find_last()
    seconds = time.perf_counter() - started
    return UpkeepStep("audit_entries", rows, seconds, None if last is None else str(last))


async def _expired_months(worker: Database, policy: str, now: datetime | None) -> list[str]:
    months = await worker.retention.find_expired_months(policy, now)
    return sorted(f"{one.month:%Y-%m}" for one in months)


async def _drop_months(
    worker: Database, owner_dsn: str | None, policy: str, now: datetime | None, patience: float
) -> UpkeepStep:
    started = time.perf_counter()
    dropped: list[str] = []
    problem = None
    # Asked as the worker first: the owner's password is not needed for nothing to do.
    if waiting := await _expired_months(worker, policy, now):
        if owner_dsn is None:
            problem = (
                f"{', '.join(waiting)} of {policy} are over, and only the owner can drop them: "
                "name a login of the migrator in CLONEDB_MIGRATOR_URL, or switch the policy off"
            )
        else:
            try:
                async with connect_as_owner(
                    owner_dsn,
                    application_name="clonedb maintain",
                    allow_weaker_tls=worker.settings.allow_weaker_tls,
                ) as owner:
                    steps = drop_expired_months(owner, policy, now=now, patience=patience)
                    async for step in steps:
                        problem = problem or step.problem
                        if step.did == "dropped":
                            dropped.append(step.month)
            except ClonedbError as error:
                problem = str(error)
    seconds = time.perf_counter() - started
    return UpkeepStep(policy, len(dropped), seconds, months=dropped, problem=problem)


async def _work_off(worker: Database, store: ObjectStore) -> AsyncIterator[int]:
    while True:
        done = await store.work_off(worker)
        yield done.deleted
        # What has failed is tried again later.
        if done.claimed == 0:
            return


async def _close_receipts(worker: Database) -> AsyncIterator[int]:
    while True:
        done = await close_receipts(worker)
        yield done.closed
        # The others wait for transactions that are open, or for objects.
        if done.closed == 0:
            return


async def _trim(worker: Database) -> AsyncIterator[int]:
    while True:
        trimmed = await worker.caches.trim(limit=_CACHE_BATCH)
        yield sum(cache.expired + cache.evicted for cache in trimmed)
        # Not until nothing makes room: the server's row counts lag behind by seconds, and each
        # batch would make room once more for what the one before has removed.
        if all(cache.expired < _CACHE_BATCH for cache in trimmed):
            return


async def _repeat(batch: Callable[..., Awaitable[int]], size: int) -> AsyncIterator[int]:
    while True:
        rows = await batch(limit=size)
        yield rows
        if rows < size:
            return
