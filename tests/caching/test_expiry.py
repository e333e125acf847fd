"""Values expire by the database's clock, are made anew before, and old ones serve who allows it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest_asyncio
from tiers import (
    FORGETFUL,
    LATE,
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
)

from clonedb import NewDocument, User
from clonedb.testing import IsolatedDatabase

HOUR = timedelta(hours=1)


@pytest_asyncio.fixture
async def forgetful(migrated: IsolatedDatabase) -> AsyncIterator[Process]:
    """A process that reads the table each time."""
    async with a_process(migrated.dsn("clonedb_app"), policy=FORGETFUL) as process:
        yield process


def lifetimes(database: IsolatedDatabase) -> list[float]:
    found = rows(
        database,
        "SELECT extract(epoch FROM expires_at - updated_at)::float FROM clonedb.llm_response_cache",
    )
    return [seconds for (seconds,) in found]


async def test_what_has_expired_is_made_anew(
    forgetful: Process, ada: User, migrated: IsolatedDatabase
) -> None:
    cache = forgetful.caches.of(ada.id).llm_response
    making = Making()
    await cache.get_or_compute(question(), making)
    expire(migrated)
    assert await cache.get(question()) is None
    assert await cache.get_or_compute(question(), making) == answer()
    assert making.runs == 2
    assert await cache.get(question()) == answer()


async def test_lifetimes_differ_by_the_jitter_and_are_never_longer_than_asked_for(
    forgetful: Process, ada: User, migrated: IsolatedDatabase
) -> None:
    cache = forgetful.caches.of(ada.id).llm_response
    for number in range(10):
        await cache.put(question(f"put {number}"), answer(), ttl=HOUR)
        await cache.get_or_compute(question(f"made {number}"), Making(), ttl=HOUR)
    found = lifetimes(migrated)
    assert len(set(found)) == len(found) == 20
    assert all(0.9 * 3_600 <= round(seconds) <= 3_600 for seconds in found)
    assert max(found) - min(found) > 60


async def test_without_jitter_lifetimes_are_what_was_asked_for(
    migrated: IsolatedDatabase, ada: User
) -> None:
    async with a_process(migrated.dsn("clonedb_app"), policy=LATE) as process:
        await process.caches.of(ada.id).llm_response.put(question(), answer(), ttl=HOUR)
        await process.caches.of(ada.id).llm_response.put(question("default"), answer())
    assert [round(seconds) for seconds in lifetimes(migrated)] == [3_600, 3_600]


async def test_a_stale_value_serves_who_allows_it_and_is_made_anew_once(
    forgetful: Process, ada: User, migrated: IsolatedDatabase
) -> None:
    cache = forgetful.caches.of(ada.id).llm_response
    await cache.put(question(), answer("old"))
    expire(migrated, 60)
    making = Making(answer("new"), held=True)
    found = await asyncio.gather(
        *(cache.get_or_compute(question(), making, allow_stale=True) for _ in range(20))
    )
    assert found == [answer("old")] * 20
    await making.begun.wait()
    patient = asyncio.create_task(cache.get_or_compute(question(), Making()))
    making.go_on.set()
    assert await patient == answer("new")
    await at_once(lambda: leases(migrated) == 0)
    assert await cache.get(question()) == answer("new")
    assert making.runs == 1
    assert forgetful.figures().stale_hits == 20


async def test_what_is_too_old_or_of_another_generation_is_not_even_stale(
    forgetful: Process, ada: User, migrated: IsolatedDatabase
) -> None:
    cache = forgetful.caches.of(ada.id).llm_response
    await cache.put(question(), answer("old"))
    expire(migrated, 301)
    new = Making(answer("new"))
    assert await cache.get_or_compute(question(), new, allow_stale=True) == answer("new")
    expire(migrated, 1)
    await forgetful.database.as_user(ada.id).knowledge_documents.create(
        NewDocument(filename="a", content_type="text/plain", size_bytes=1, text_content="a")
    )
    newer = Making(answer("newer"))
    assert await cache.get_or_compute(question(), newer, allow_stale=True) == answer("newer")


async def test_a_value_is_made_anew_ahead_of_its_end_while_the_old_one_serves(
    forgetful: Process, ada: User, migrated: IsolatedDatabase
) -> None:
    cache = forgetful.caches.of(ada.id).llm_response
    await cache.put(question(), answer("old"), ttl=HOUR)
    expire(migrated, -300)  # of an hour a tenth is six minutes
    making = Making(answer("new"), held=True)
    for _ in range(5):
        assert await cache.get_or_compute(question(), making, ttl=HOUR) == answer("old")
    await making.begun.wait()
    making.go_on.set()
    await at_once(lambda: leases(migrated) == 0)
    assert await cache.get_or_compute(question(), making, ttl=HOUR) == answer("new")
    await given_way()
    assert making.runs == 1
    assert forgetful.figures().refreshes == 1


async def test_several_processes_make_a_value_anew_once(
    migrated: IsolatedDatabase, ada: User
) -> None:
    """Each has the old one in memory, and sees that it is near its end."""
    making = Making(answer("new"))
    options: dict[str, Any] = {"policy": {"memory_ttl": HOUR, "jitter": 0.0}}
    dsn = migrated.dsn("clonedb_app")
    async with a_process(dsn, **options) as one, a_process(dsn, **options) as other:
        caches = [process.caches.of(ada.id).llm_response for process in (one, other)]
        await caches[0].put(question(), answer("old"), ttl=HOUR)
        one.caches._states["llm_response"].memory.drop()
        expire(migrated, -300)
        for cache in caches:
            assert await cache.get(question()) == answer("old")
        for process, cache in zip((one, other), caches, strict=True):
            assert await cache.get_or_compute(question(), making, ttl=HOUR) == answer("old")
            # The second asks for the lease when the first has given it up.
            state = process.caches._states["llm_response"]
            await at_once(lambda: not state.refreshing and leases(migrated) == 0)  # noqa: B023
        assert making.runs == 1
        for cache in caches:
            assert await cache.get(question()) == answer("new")


async def test_a_refresh_that_fails_harms_nobody(
    forgetful: Process, ada: User, migrated: IsolatedDatabase
) -> None:
    cache = forgetful.caches.of(ada.id).llm_response
    await cache.put(question(), answer("old"), ttl=HOUR)
    expire(migrated, -300)
    failing = Making(fails=RuntimeError("no"))
    assert await cache.get_or_compute(question(), failing, ttl=HOUR) == answer("old")
    await failing.begun.wait()
    await at_once(lambda: leases(migrated) == 0)
    assert await cache.get(question()) == answer("old")


async def test_20_readers_of_an_expired_value_that_is_being_renewed_all_get_one(
    migrated: IsolatedDatabase, forgetful: Process, here: Process, ada: User
) -> None:
    """In the original 19 of 20 threw, and readers deleted the row just renewed."""
    for number in range(3):
        old, new = answer(2 * number), answer(2 * number + 1)
        await forgetful.caches.of(ada.id).llm_response.put(question(), old)
        here.caches._states["llm_response"].memory.drop()
        expire(migrated)
        making = Making(new)
        calls = [
            process.caches.of(ada.id).llm_response.get_or_compute(
                question(), making, allow_stale=stale
            )
            for process in (forgetful, here)
            for stale in (True, False)
            for _ in range(5)
        ]
        found = await asyncio.gather(*calls)
        assert all(each in (old, new) for each in found)
        await at_once(lambda: leases(migrated) == 0)
        assert making.runs == 1
        assert await forgetful.caches.of(ada.id).llm_response.get(question()) == new


async def test_who_allows_no_stale_value_never_gets_one(
    forgetful: Process, ada: User, migrated: IsolatedDatabase
) -> None:
    cache = forgetful.caches.of(ada.id).llm_response
    await cache.put(question(), answer("old"))
    expire(migrated, 0.001)
    assert await cache.get_or_compute(question(), Making(answer("new"))) == answer("new")


async def test_a_lease_that_is_over_is_taken_by_the_next(
    forgetful: Process, ada: User, migrated: IsolatedDatabase
) -> None:
    slow = Making(answer("slow"), held=True)
    cache = forgetful.caches.of(ada.id).llm_response
    filling = asyncio.create_task(cache.get_or_compute(question(), slow))
    await slow.begun.wait()
    execute(migrated, "UPDATE clonedb.cache_fill_leases SET expires_at = now() - interval '1 s'")
    async with a_process(migrated.dsn("clonedb_app"), policy=FORGETFUL) as other:
        quick = Making(answer("quick"), held=True)
        theirs = other.caches.of(ada.id).llm_response
        following = asyncio.create_task(theirs.get_or_compute(question(), quick))
        await quick.begun.wait()
        slow.go_on.set()
        # Its lease is another's by now: what it has made is returned, and not stored.
        assert await filling == answer("slow")
        assert await theirs.get(question()) is None
        quick.go_on.set()
        assert await following == answer("quick")
        assert await theirs.get(question()) == answer("quick")
    assert forgetful.figures().outdated == 1
