"""Calls for entries that come together are one statement, with the answers of each alone."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
import pytest_asyncio
from channels import everything_connected, until
from ground import as_superuser
from tiers import SAMPLES, Process, Sample, a_process, execute

from clonedb import Database, NewUser, User
from clonedb.caching.background import Background
from clonedb.caching.cache import Cache
from clonedb.caching.gathering import MOST_STORED, Gathering
from clonedb.caching.keys import EmbeddingKey
from clonedb.caching.values import AudioChunk, Embedding
from clonedb.errors import InvalidInput
from clonedb.testing import IsolatedDatabase

FORGETFUL = {"memory_entries": 0, "jitter": 0}
# Users who come at once.
CROWD = 12


@pytest_asyncio.fixture
async def crowd(worker: Database) -> list[User]:
    people = [NewUser(email=f"{n}@crowd.example", name="One") for n in range(CROWD)]
    return await worker.users.create_many(people)


every_cache = pytest.mark.parametrize("sample", SAMPLES, ids=[each.name for each in SAMPLES])


def key(number: int) -> EmbeddingKey:
    return EmbeddingKey(f"text {number}", "small")


def value(number: int) -> Embedding:
    return Embedding.of([float(number), 0.5])


@contextmanager
def counted(cache: Cache[Any, Any]) -> Iterator[dict[str, int]]:
    """How often each of the table's calls was made."""
    table, calls = cache._state.table, dict.fromkeys(("look", "look_each", "put", "put_each"), 0)
    kept = {name: getattr(type(table), name) for name in calls}

    def counting(name: str) -> Any:
        async def call(*arguments: Any) -> Any:
            calls[name] += 1
            return await kept[name](*arguments)

        return call

    for name in calls:
        setattr(type(table), name, counting(name))
    try:
        yield calls
    finally:
        for name, method in kept.items():
            setattr(type(table), name, method)


@every_cache
async def test_many_reads_of_a_user_find_what_each_would_have_found_in_two_statements(
    migrated: IsolatedDatabase, ada: User, grace: User, sample: Sample
) -> None:
    async with (
        a_process(migrated.dsn("clonedb_worker"), policy=FORGETFUL) as backstage,
        a_process(migrated.dsn("clonedb_app"), policy=FORGETFUL) as process,
    ):
        own, shared = sample.of(process.caches.of(ada.id)), sample.of(backstage.caches.shared)
        await own.put_many({sample.key(number): sample.value(number) for number in (1, 2)})
        # Of the second there are both: the user's own goes before the shared one.
        await shared.put(sample.key(2), sample.value(20))
        await shared.put(sample.key(3), sample.value(3))
        await sample.of(process.caches.of(grace.id)).put(sample.key(4), sample.value(4))
        with counted(own) as calls:
            found = await own.get_many([sample.key(number) for number in (1, 2, 3, 4, 2, 1)])
        wanted = {number: sample.value(number) for number in (1, 2, 3)}
        assert found == [wanted.get(number) for number in (1, 2, 3, 4, 2, 1)]
        # The first goes at once, and the others are one.
        assert calls == {"look": 1, "look_each": 1, "put": 0, "put_each": 0}
        assert own.statistics().database_hits == 5
        assert own.statistics().misses == 1


@every_cache
async def test_users_who_read_together_see_what_each_of_them_sees_alone(
    migrated: IsolatedDatabase, ada: User, grace: User, sample: Sample
) -> None:
    async with (
        a_process(migrated.dsn("clonedb_worker"), policy=FORGETFUL) as backstage,
        a_process(migrated.dsn("clonedb_app"), policy=FORGETFUL) as process,
    ):
        shared, everybody = sample.of(backstage.caches.shared), sample.of(process.caches.shared)
        own, hers = (sample.of(process.caches.of(each.id)) for each in (ada, grace))
        # The second both have, the third is shared too, and the fourth is shared alone.
        for cache, numbers in ((own, (1, 2, 3)), (hers, (2, 3)), (shared, (3, 4))):
            for number in numbers:
                value = sample.value(number + 10 * (cache is hers) + 20 * (cache is shared))
                await cache.put(sample.key(number), value)
        asked = [(cache, sample.key(n)) for n in range(1, 6) for cache in (own, hers, everybody)]
        alone = [await cache.get(key) for cache, key in asked]
        with counted(own) as calls:
            together = await asyncio.gather(*(cache.get(key) for cache, key in asked))
        # As many in one as their kind allows; of the first two halves, so that one is worked on
        # while the other is handed out.
        statements = {"embedding": 2, "audio_chunk": 4}.get(sample.name, 3)
        assert calls == {"look": 1, "look_each": statements, "put": 0, "put_each": 0}
    assert together == alone
    wanted = (1, None, None, 2, 12, None, 3, 13, 23, 24, 24, 24, None, None, None)
    assert together == [None if number is None else sample.value(number) for number in wanted]


async def test_one_caller_alone_is_never_kept_for_others(here: Process, ada: User) -> None:
    cache = here.caches.of(ada.id).embedding
    with counted(cache) as calls:
        for number in range(3):
            assert await cache.get(key(number)) is None
            assert await cache.put(key(number), value(number))
    assert calls == {"look": 3, "look_each": 0, "put": 3, "put_each": 0}


async def test_many_puts_store_and_renew_what_each_would_have(
    migrated: IsolatedDatabase, ada: User
) -> None:
    async with a_process(migrated.dsn("clonedb_app"), policy=FORGETFUL) as process:
        cache = process.caches.of(ada.id).embedding
        numbers = range(4 * MOST_STORED)
        with counted(cache) as calls:
            assert await cache.put_many({key(n): value(n) for n in numbers}) == len(numbers)
            assert calls["put"] == 1
            assert calls["put_each"] == 1 + len(numbers) // MOST_STORED
            # The same again is not written; another value of a known key is.
            assert await cache.put_many({key(n): value(n or 500) for n in numbers}) == 1
        assert await cache.get_many([key(n) for n in numbers]) == [value(n or 500) for n in numbers]
        with as_superuser(migrated) as connection:
            (least, most) = connection.execute(
                "SELECT extract(EPOCH FROM min(expires_at) - now()), "
                "extract(EPOCH FROM max(expires_at) - now()) FROM clonedb.embedding_cache"
            ).fetchone() or (0, 0)
        assert 3_500 < least <= most <= 3_600


async def test_as_many_large_values_as_one_likes_are_stored_through_the_channels(
    migrated: IsolatedDatabase, ada: User
) -> None:
    """A statement too large for a channel would take a connection of the pool, which has few."""
    async with a_process(migrated.dsn("clonedb_app"), policy=FORGETFUL) as process:
        await everything_connected(process.database)
        cache = process.caches.of(ada.id).embedding
        large = {key(n): Embedding.of([float(n), *[0.25] * 3_071]) for n in range(1_000)}

        def detours() -> int:
            return sum(channel.detours for channel in process.database.channel_statistics())

        before = detours()
        assert await cache.put_many(large) == len(large)
        assert await cache.get_many(large) == list(large.values())
        assert detours() == before
        assert cache.statistics().failures == 0


async def test_of_two_puts_of_a_key_at_once_the_later_one_stays(here: Process, ada: User) -> None:
    cache = here.caches.of(ada.id).embedding
    await everything_connected(here.database)  # before, calls take connections of their own
    for turn in range(10, 200, 10):
        await asyncio.gather(*(cache.put(key(0), value(turn + n)) for n in range(5)))
        here.caches._states["embedding"].memory.drop()
        assert await cache.get(key(0)) == value(turn + 4)


async def test_a_put_with_others_takes_the_lease_of_a_fill_under_way(
    here: Process, there: Process, ada: User, migrated: IsolatedDatabase
) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def compute() -> Embedding:
        begun.set()
        await go_on.wait()
        return value(1)

    filling = asyncio.create_task(here.caches.of(ada.id).embedding.get_or_compute(key(7), compute))
    await begun.wait()
    cache = there.caches.of(ada.id).embedding
    assert await cache.put_many({key(n): value(n) for n in (6, 7, 8)}) == 3
    go_on.set()
    await filling
    there.caches._states["embedding"].memory.drop()
    assert await cache.get(key(7)) == value(7)


async def test_who_gives_up_takes_nothing_from_the_others(here: Process, ada: User) -> None:
    cache = here.caches.of(ada.id).embedding
    await cache.put_many({key(n): value(n) for n in range(4)})
    here.caches._states["embedding"].memory.drop()
    reads = [asyncio.create_task(cache.get(key(n))) for n in range(4)]
    await asyncio.sleep(0)
    for read in reads[::2]:
        read.cancel()
    assert await asyncio.gather(*reads[1::2]) == [value(1), value(3)]


@pytest.mark.parametrize("patient", [[3], [11], [2, 5, 7, 9]], ids=str)
async def test_whoever_gives_up_and_whenever_the_others_have_their_answers(
    migrated: IsolatedDatabase, ada: User, patient: list[int]
) -> None:
    async with a_process(migrated.dsn("clonedb_app"), policy=FORGETFUL) as process:
        cache = process.caches.of(ada.id).embedding
        await cache.put_many({key(n): value(n) for n in range(12)})
        for ticks in range(12):
            reads = [asyncio.create_task(cache.get(key(n))) for n in range(12)]
            for _ in range(ticks):
                await asyncio.sleep(0)
            for number, read in enumerate(reads):
                if number not in patient:
                    read.cancel()
            found = await asyncio.gather(*(reads[n] for n in patient))
            assert found == [value(n) for n in patient]
            await asyncio.gather(*reads, return_exceptions=True)
        gathering = cache._state.reads._calls
        await until(lambda: not gathering._under_way)
        assert gathering._groups == {}
        assert cache.statistics().failures == 0


async def test_where_the_database_fails_everybody_misses(
    here: Process, ada: User, migrated: IsolatedDatabase
) -> None:
    cache = here.caches.of(ada.id).embedding
    await cache.put_many({key(n): value(n) for n in range(4)})
    here.caches._states["embedding"].memory.drop()
    execute(migrated, "ALTER TABLE clonedb.embedding_cache RENAME TO gone")
    try:
        assert await cache.get_many([key(n) for n in range(4)]) == [None] * 4
        assert await cache.put_many({key(n): value(n) for n in range(4)}) == 0
    finally:
        execute(migrated, "ALTER TABLE clonedb.gone RENAME TO embedding_cache")
    assert cache.statistics().failures > 0


async def test_callers_are_answered_when_the_caches_close(
    migrated: IsolatedDatabase, ada: User
) -> None:
    async with a_process(migrated.dsn("clonedb_app"), policy=FORGETFUL) as process:
        cache = process.caches.of(ada.id).embedding
        reads = [asyncio.create_task(cache.get(key(n))) for n in range(4)]
        await asyncio.sleep(0)
        await process.caches.close()
        async with asyncio.timeout(5):
            assert await asyncio.gather(*reads) == [None] * 4


@pytest.mark.parametrize("wrong", ["text", None, b"bytes"], ids=repr)
async def test_what_is_no_key_is_refused_among_many(here: Process, ada: User, wrong: Any) -> None:
    cache = here.caches.of(ada.id).embedding
    with pytest.raises(InvalidInput):
        await cache.get_many([key(1), wrong])
    with pytest.raises(InvalidInput):
        await cache.put_many({key(1): value(1), wrong: value(2)})
    with pytest.raises(InvalidInput):
        await cache.put_many({key(1): value(1), key(2): wrong})
    with pytest.raises(InvalidInput):
        await cache.put_many({key(1): value(1)}, ttl=timedelta(0))


async def test_what_was_stored_in_a_race_with_a_users_deletion_is_not_read(
    app: Database, worker: Database, ada: User, migrated: IsolatedDatabase
) -> None:
    """The writer's transaction began before, so that to it the user lives."""
    digest, scope = key(1).digest(), app.as_user(ada.id)
    async with scope.transaction(isolation="repeatable read") as transaction:
        assert await transaction.caches.embedding.get(digest) is None
        await worker.users.delete(ada.id)
        assert await transaction.caches.embedding.put(digest, embedding=[1.0], model="small")
    with as_superuser(migrated) as connection:
        (stored,) = connection.execute(
            "SELECT count(*) FROM clonedb.embedding_cache WHERE user_id = %s", [ada.id]
        ).fetchone() or (0,)
    assert stored == 1, "else this proves nothing"
    assert await scope.caches.embedding.get(digest) is None
    assert await scope.caches.embedding.get_many([digest]) == {}
    await worker.users.restore(ada.id)
    assert await scope.caches.embedding.get(digest) is None
    assert await scope.caches.embedding.put(digest, embedding=[1.0], model="small")
    assert await scope.caches.embedding.get(digest) is not None


async def test_what_cannot_be_read_fails_who_asked_for_it_and_nobody_else(
    migrated: IsolatedDatabase, crowd: list[User]
) -> None:
    sample = next(each for each in SAMPLES if each.name == "vector_search")
    async with a_process(migrated.dsn("clonedb_app"), policy=FORGETFUL) as process:
        caches = [sample.of(process.caches.of(user.id)) for user in crowd]
        for number, cache in enumerate(caches):
            await cache.put(sample.key(1), sample.value(number))
        # What jsonb holds and no float does.
        execute(
            migrated,
            "UPDATE clonedb.vector_search_cache SET results = "
            "format('[{\"score\": %s.5}]', repeat('9', 400))::jsonb "
            f"WHERE user_id = '{crowd[3].id}'",
        )
        alone = await asyncio.gather(caches[3].get(sample.key(1)), return_exceptions=True)
        assert isinstance(alone[0], Exception)
        found = await asyncio.gather(
            *(cache.get(sample.key(1)) for cache in caches), return_exceptions=True
        )
    assert type(found[3]) is type(alone[0])
    wanted = [sample.value(number) for number in range(len(crowd))]
    assert found[:3] + found[4:] == wanted[:3] + wanted[4:]


async def test_large_entries_do_not_make_others_miss(
    migrated: IsolatedDatabase, crowd: list[User]
) -> None:
    async with a_process(migrated.dsn("clonedb_app"), policy=FORGETFUL) as process:
        caches = [process.caches.of(user.id).audio_chunk for user in crowd]
        sample = next(each for each in SAMPLES if each.name == "audio_chunk")
        chunk, large = sample.key(1), 10 * 1024 * 1024
        values = [AudioChunk(b"a" * (large if n else 1_000), 10) for n in range(len(crowd))]
        for cache, value in zip(caches, values, strict=True):
            assert await cache.put(chunk, value)
        assert await caches[0].get(chunk) == values[0]
        found = await asyncio.gather(*(cache.get(chunk) for cache in caches))
        assert found[0] == values[0]
        assert caches[0].statistics().failures == 0


async def test_values_that_are_changed_meanwhile_are_stored_as_they_were(
    here: Process, ada: User
) -> None:
    cache = here.caches.of(ada.id).embedding
    values = {key(n): value(n) for n in range(300)}
    keys = set(values)
    storing = asyncio.create_task(cache.put_many(values))
    await asyncio.sleep(0)
    values[key(300)] = value(300)
    assert await storing == 300
    reading = asyncio.create_task(cache.get_many(keys))
    await asyncio.sleep(0)
    keys.add(key(300))
    assert len(await reading) == 300


async def test_what_is_refused_is_refused_to_who_asked_and_to_nobody_else() -> None:
    async def alone(key: int, argument: int) -> int | None:
        await asyncio.sleep(0)
        if argument < 0:
            raise InvalidInput("negative")
        return argument

    async def together(arguments: dict[int, int]) -> dict[int, int]:
        if min(arguments.values()) < 0:
            raise InvalidInput("one of them is negative")
        return dict(arguments)

    gathering = Gathering(Background(), alone, together, most=10, shared=True)
    answers = await asyncio.gather(
        *(gathering.call("ada", each, each) for each in (1, 2, -3, 4)),
        return_exceptions=True,
    )
    assert [answers[0], answers[1], answers[3]] == [1, 2, 4]
    assert isinstance(answers[2], InvalidInput)
    assert answers[2].message == "negative"
