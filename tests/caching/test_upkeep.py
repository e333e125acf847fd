"""What the caches hold is bounded without a scheduler, counted in batches, and let go at last."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest
from channels import until
from tiers import (
    FORGETFUL,
    SAMPLES,
    Making,
    Process,
    a_process,
    answer,
    at_once,
    execute,
    expire,
    given_way,
    leases,
    question,
    rows,
    stored,
)

from clonedb import Database, InvalidInput, User
from clonedb.caching.caches import Caches
from clonedb.caching.policy import CachePolicy
from clonedb.caching.state import STORED_BETWEEN
from clonedb.errors import DatabaseClosed
from clonedb.testing import IsolatedDatabase


async def entries(database: IsolatedDatabase, user: User, number: int, seconds: int) -> None:
    """So many answers of a user that expire in so many seconds, or did so long ago."""
    execute(
        database,
        "INSERT INTO clonedb.llm_response_cache (user_id, key, response, provider, expires_at) "
        "SELECT %s, sha256(n::text::bytea), 'a', 'gpt-4-turbo', "
        "clock_timestamp() + make_interval(secs => %s + n / 1000.0) "
        "FROM generate_series(1, %s) AS n",
        user.id,
        seconds,
        number,
    )


async def test_trimming_removes_what_has_expired_of_whomever_batch_by_batch(
    app: Database, ada: User, grace: User, migrated: IsolatedDatabase
) -> None:
    await entries(migrated, ada, 150, -3_600)
    await entries(migrated, grace, 100, 3_600)
    removed = []
    for _ in range(3):
        trimmed = {each.cache: each for each in await app.caches.trim(limit=100)}
        removed.append(trimmed["llm_response"].expired)
        assert trimmed["llm_response"].evicted == 0
        assert trimmed["embedding"].expired == 0
    assert removed == [100, 50, 0]
    assert stored(migrated) == 100


async def test_trimming_makes_room_beyond_the_budget_the_soonest_to_expire_first(
    worker: Database, ada: User, migrated: IsolatedDatabase
) -> None:
    await entries(migrated, ada, 200, 3_600)
    await worker.caches.put_budget("llm_response", 50)
    execute(migrated, "ANALYZE clonedb.llm_response_cache")
    before = rows(migrated, "SELECT key FROM clonedb.llm_response_cache ORDER BY expires_at")
    trimmed = {each.cache: each for each in await worker.caches.trim(limit=100)}
    assert trimmed["llm_response"].evicted == 100
    after = rows(migrated, "SELECT key FROM clonedb.llm_response_cache ORDER BY expires_at")
    assert after == before[100:]
    await worker.caches.put_budget("llm_response", 1_000_000)


async def test_trimming_leaves_what_somebody_is_renewing(
    app: Database, ada: User, migrated: IsolatedDatabase
) -> None:
    scope = app.as_user(ada.id)
    key = question().digest()
    await scope.caches.llm_response.put(key, response="old", provider="gpt-4-turbo")
    expire(migrated)
    async with scope.transaction() as renewing:
        await renewing.caches.llm_response.put(key, response="new", provider="gpt-4-turbo")
        await app.caches.trim()
    entry = await scope.caches.llm_response.get(key)
    assert entry is not None
    assert entry.response == "new"


@pytest.mark.parametrize("limit", [0, -1, 10_001, None, 1.5])
async def test_a_batch_has_a_bound(app: Database, limit: Any) -> None:
    with pytest.raises(InvalidInput):
        await app.caches.trim(limit=limit)


async def test_writers_trim_as_they_go(
    here: Process, ada: User, grace: User, migrated: IsolatedDatabase
) -> None:
    await entries(migrated, grace, 250, -3_600)
    cache = here.caches.of(ada.id).llm_response
    await asyncio.gather(
        *(cache.put(question(f"{number}"), answer()) for number in range(2 * STORED_BETWEEN))
    )
    await at_once(lambda: stored(migrated) == 2 * STORED_BETWEEN)


async def test_writers_that_live_briefly_trim_too(
    grace: User, ada: User, migrated: IsolatedDatabase
) -> None:
    """Ten processes, each of which stores a fifth of what makes one trim."""
    await entries(migrated, grace, 50, -3_600)
    for number in range(10):
        async with a_process(migrated.dsn("clonedb_app"), trusted=False) as process:
            cache = process.caches.of(ada.id).llm_response
            await asyncio.gather(
                *(
                    cache.put(question(f"{number} {each}"), answer())
                    for each in range(STORED_BETWEEN // 5)
                )
            )
            await given_way()
    assert stored(migrated) == 2 * STORED_BETWEEN


async def test_a_lease_that_was_left_behind_is_removed(
    app: Database, ada: User, migrated: IsolatedDatabase
) -> None:
    execute(
        migrated,
        "INSERT INTO clonedb.cache_fill_leases (user_id, cache, key, holder, expires_at) "
        "VALUES (%s, 'llm_response', sha256('a'), gen_random_uuid(), now())",
        ada.id,
    )
    await app.caches.trim()
    assert leases(migrated) == 0


async def test_hits_of_every_tier_are_recorded_in_batches_and_no_read_writes(
    here: Process, ada: User, migrated: IsolatedDatabase
) -> None:
    cache = here.caches.of(ada.id).llm_response
    for name in "ab":
        await cache.put(question(name), answer(name))
    versions = rows(migrated, "SELECT xmin, ctid FROM clonedb.llm_response_cache ORDER BY key")
    for _ in range(3):
        await cache.get(question("a"))
        await cache.get_or_compute(question("a"), Making())
    here.caches._states["llm_response"].memory.drop()
    await cache.get(question("a"))
    await cache.get(question("b"))
    now = rows(migrated, "SELECT xmin, ctid FROM clonedb.llm_response_cache ORDER BY key")
    assert now == versions
    await here.caches.record()
    await here.caches.record()
    counted = rows(
        migrated, "SELECT response, hit_count FROM clonedb.llm_response_cache ORDER BY response"
    )
    assert counted == [("a", 7), ("b", 1)]


async def test_hits_of_several_processes_add_up(
    here: Process, there: Process, ada: User, migrated: IsolatedDatabase
) -> None:
    await here.caches.of(ada.id).llm_response.put(question(), answer())

    async def use(process: Process) -> None:
        for _ in range(10):
            await process.caches.of(ada.id).llm_response.get(question())
            await process.caches.record()

    await asyncio.gather(use(here), use(there))
    assert rows(migrated, "SELECT hit_count FROM clonedb.llm_response_cache") == [(20,)]


async def test_use_is_recorded_by_the_hour(here: Process, ada: User, worker: Database) -> None:
    cache = here.caches.of(ada.id).llm_response
    await cache.get(question())
    await cache.get_or_compute(question(), Making())
    await cache.get(question())
    here.caches._states["llm_response"].memory.drop()
    await cache.get(question())
    for _ in range(2):
        await here.caches.record()
    use = [each for each in await worker.caches.usage() if each.cache == "llm_response"]
    totals = {
        name: sum(getattr(each, name) for each in use)
        for name in ("memory_hits", "database_hits", "misses", "fills", "failures")
    }
    assert totals == {
        "memory_hits": 1,
        "database_hits": 1,
        "misses": 2,
        "fills": 1,
        "failures": 0,
    }


async def test_recording_survives_a_failure_and_goes_on(
    here: Process, ada: User, migrated: IsolatedDatabase
) -> None:
    cache = here.caches.of(ada.id).llm_response
    await cache.put(question(), answer())
    await cache.get(question())
    execute(migrated, "ALTER TABLE clonedb.cache_use RENAME TO gone")
    execute(migrated, "ALTER TABLE clonedb.llm_response_cache RENAME TO gone_too")
    await here.caches.record()
    execute(migrated, "ALTER TABLE clonedb.gone RENAME TO cache_use")
    execute(migrated, "ALTER TABLE clonedb.gone_too RENAME TO llm_response_cache")
    here.caches._guard._failing.clear()  # the pause is another test's
    await cache.get(question())
    await here.caches.record()
    assert rows(migrated, "SELECT hit_count FROM clonedb.llm_response_cache") == [(1,)]


async def test_counting_hits_does_not_keep_the_values(
    migrated: IsolatedDatabase, ada: User
) -> None:
    """Ten seconds of them, until they are recorded, could be more than the memory's bound."""
    async with a_process(migrated.dsn("clonedb_app"), policy=FORGETFUL) as process:
        cache = process.caches.of(ada.id).llm_response
        await cache.put(question(), answer("x" * 1_000_000))
        for _ in range(5):
            await cache.get(question())
        kept = sum(
            len(counted.value.response)
            for counted in process.caches._states["llm_response"]._used
            if getattr(counted, "value", None) is not None
        )
        assert kept < 1_000_000
        await process.caches.record()
    assert rows(migrated, "SELECT hit_count FROM clonedb.llm_response_cache") == [(5,)]


async def test_long_keys_count_as_memory(migrated: IsolatedDatabase, ada: User) -> None:
    """A prompt is longer than its answer, and an entry holds both."""
    async with a_process(migrated.dsn("clonedb_app"), policy={"memory_bytes": 500_000}) as process:
        cache = process.caches.of(ada.id).llm_response
        for number in range(10):
            await cache.put(question(f"{number}" + "x" * 100_000), answer())
        assert process.figures().memory_entries < 6


async def test_a_value_larger_than_the_memory_takes_the_place_of_a_small_one(
    migrated: IsolatedDatabase, ada: User
) -> None:
    async with a_process(migrated.dsn("clonedb_app"), policy={"memory_bytes": 2_000}) as process:
        cache = process.caches.of(ada.id).llm_response
        await cache.put(question(), answer("old"))
        await cache.put(question(), answer("new" * 1_000))
        assert await cache.get(question()) == answer("new" * 1_000)


async def test_warming_takes_what_was_used_most_and_no_more(
    here: Process, there: Process, ada: User
) -> None:
    for sample in SAMPLES:
        cache = sample.of(here.caches.of(ada.id))
        for number in range(5):
            await cache.put(sample.key(number), sample.value(number))
            for _ in range(number):
                await cache.get(sample.key(number))
    await here.caches.record()
    assert await there.caches.of(ada.id).warm(2) == 8
    for sample in SAMPLES:
        cache = sample.of(there.caches.of(ada.id))
        for number in (3, 4):
            assert await cache.get(sample.key(number)) == sample.value(number)
        assert there.figures(sample.name).memory_hits == 2
        assert await cache.get(sample.key(2)) == sample.value(2)
        assert there.figures(sample.name).database_hits == 1


async def test_closing_ends_everything_and_leaves_no_lease(
    migrated: IsolatedDatabase, ada: User
) -> None:
    async with Database(migrated.dsn("clonedb_app")) as database:
        before = asyncio.all_tasks()
        caches = Caches(database)
        await caches.open()
        cache = caches.of(ada.id).llm_response
        await cache.put(question("old"), answer(), ttl=timedelta(hours=1))
        expire(migrated, -60)
        refreshing, held = Making(held=True), Making(held=True)
        await cache.get_or_compute(question("old"), refreshing, ttl=timedelta(hours=1))
        # A caller that computes for itself when the caches are closed under it.
        waiting = asyncio.create_task(cache.get_or_compute(question(), held))
        await asyncio.gather(refreshing.begun.wait(), held.begun.wait())
        await caches.close()
        await caches.close()
        await given_way()
        waiting.cancel()
        await asyncio.wait([waiting])
        assert leases(migrated) == 0
        await database.notifications.close()
        assert asyncio.all_tasks() - before - {asyncio.current_task()} == set()


async def test_closed_caches_say_so_and_can_be_opened_again(here: Process, ada: User) -> None:
    await here.caches.close()
    for call in (lambda: here.caches.of(ada.id), lambda: here.caches.shared):
        with pytest.raises(DatabaseClosed):
            call()
    await here.caches.open()
    await until(lambda: here.trusted)
    assert await here.caches.of(ada.id).llm_response.get_or_compute(question(), Making())
    assert await here.caches.of(ada.id).llm_response.get(question()) == answer()
    assert here.figures().memory_hits == 1


BAD: dict[str, Callable[[Database], Any]] = {
    "an unknown cache": lambda database: Caches(database, policies={"x": CachePolicy()}),  # type: ignore[dict-item]
    "no policy": lambda database: Caches(database, policies={"embedding": None}),  # type: ignore[dict-item]
    "no patience": lambda database: Caches(database, patience=0),
    "recording never": lambda database: Caches(database, recording=float("inf")),
    "no lease": lambda database: CachePolicy(lease=timedelta(0)),
    "seconds": lambda database: CachePolicy(wait=5),  # type: ignore[arg-type]
    "all jitter": lambda database: CachePolicy(jitter=1.0),
    "less jitter than none": lambda database: CachePolicy(jitter=-0.5),
    "all ahead": lambda database: CachePolicy(refresh_ahead=1.0),
    "less than no memory": lambda database: CachePolicy(memory_entries=-1),
    "words of memory": lambda database: CachePolicy(memory_bytes="much"),  # type: ignore[arg-type]
    "no time": lambda database: CachePolicy(ttl=timedelta(0)),
}


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
async def test_a_bad_policy_is_refused(app: Database, bad: Callable[[Database], Any]) -> None:
    with pytest.raises(InvalidInput):
        bad(app)


async def test_concurrent_trims_of_writers_never_deadlock(
    app: Database, ada: User, migrated: IsolatedDatabase
) -> None:
    await entries(migrated, ada, 500, -3_600)
    cache = app.as_user(ada.id).caches.llm_response
    calls: list[Awaitable[Any]] = [app.caches.trim(limit=50) for _ in range(10)]
    calls += [
        cache.put(question(f"{number}").digest(), response="a", provider="gpt-4-turbo")
        for number in range(50)
    ]
    await asyncio.gather(*calls)
