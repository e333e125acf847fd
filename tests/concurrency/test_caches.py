"""The caches under real concurrency: what the original system got wrong."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from cached import KINDS, Kind, expire, key_of, rows_of
from ground import PATIENCE_SECONDS, as_superuser, someone_waits_for_a_lock

from clonedb import Database, User, UserScope
from clonedb.testing import IsolatedDatabase

CALLERS = 20
A = key_of("a")

every_kind = pytest.mark.parametrize("kind", KINDS, ids=[kind.name for kind in KINDS])


@pytest_asyncio.fixture
async def app(migrated: IsolatedDatabase) -> AsyncIterator[Database]:
    """The app login with a connection for every caller, so that they do meet in the server."""
    async with Database(
        migrated.dsn("clonedb_app"), minimum_connections=CALLERS, maximum_connections=CALLERS
    ) as database:
        yield database


@every_kind
async def test_concurrent_puts_leave_one_row_and_the_last_value_is_read(
    as_ada: UserScope, migrated: IsolatedDatabase, kind: Kind
) -> None:
    """The original left 5 to 19 rows for one key, and then read back an old value."""
    for number in range(0, 5 * CALLERS, CALLERS):
        await asyncio.gather(*(kind.put(as_ada, A, number + caller) for caller in range(CALLERS)))
        assert len(rows_of(migrated, kind)) == 1
        assert number <= kind.number(await kind.of(as_ada).get(A)) < number + CALLERS
        await kind.put(as_ada, A, 1_000 + number)
        assert kind.number(await kind.of(as_ada).get(A)) == 1_000 + number


async def test_puts_of_several_processes_leave_one_row_for_each_key(
    as_ada: UserScope, ada: User, migrated: IsolatedDatabase
) -> None:
    processes = [
        await asyncio.create_subprocess_exec(
            sys.executable,
            str(Path(__file__).with_name("caching_process.py")),
            migrated.dsn("clonedb_app"),
            *map(str, (ada.id, process, 4, 50)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        for process in range(3)
    ]
    for process in processes:
        assert process.stdout is not None
        assert await process.stdout.readline() == b"ready\n"
    for process in processes:
        await process.communicate(b"\n")
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert len(rows_of(migrated, KINDS[0])) == 5
    for number in range(5):
        entry = await as_ada.caches.embedding.get(key_of(str(number)))
        assert entry is not None
        assert entry.dimensions == 64
        assert len(set(entry.vector())) == 1, "a vector of one writer"


@every_kind
async def test_twenty_readers_of_an_expired_entry_miss_and_none_fails(
    as_ada: UserScope, migrated: IsolatedDatabase, kind: Kind
) -> None:
    """In the original 19 of 20 threw, since all of them deleted the row."""
    await kind.put(as_ada, A, 1)
    expire(migrated, kind)
    before = rows_of(migrated, kind, "ctid, xmin, xmax")
    found = await asyncio.gather(*(kind.of(as_ada).get(A) for _ in range(CALLERS)))
    assert found == [None] * CALLERS
    assert rows_of(migrated, kind, "ctid, xmin, xmax") == before


@every_kind
async def test_readers_never_take_a_renewed_entry_away(
    as_ada: UserScope, migrated: IsolatedDatabase, kind: Kind
) -> None:
    """In the original a reader that had seen the old expiry deleted the row just renewed."""

    async def read() -> None:
        for _ in range(20):
            await kind.of(as_ada).get(A)

    for number in range(5):
        await kind.put(as_ada, A, 2 * number)
        expire(migrated, kind)
        readers = [asyncio.create_task(read()) for _ in range(CALLERS - 1)]
        await kind.put(as_ada, A, 2 * number + 1)
        await asyncio.gather(*readers)
        assert kind.number(await kind.of(as_ada).get(A)) == 2 * number + 1


@every_kind
async def test_the_purge_leaves_an_entry_that_is_being_renewed(
    worker: Database, as_ada: UserScope, migrated: IsolatedDatabase, kind: Kind
) -> None:
    await kind.put(as_ada, A, 1)
    await kind.put(as_ada, key_of("b"), 1)
    expire(migrated, kind)
    async with as_ada.transaction() as renewing:
        await kind.put(renewing, A, 2)
        async with asyncio.timeout(PATIENCE_SECONDS):
            assert await kind.of(worker).purge_expired() == 1
    assert kind.number(await kind.of(as_ada).get(A)) == 2
    assert len(rows_of(migrated, kind)) == 1


@every_kind
async def test_a_renewal_that_meets_the_purge_is_stored(
    worker: Database, as_ada: UserScope, migrated: IsolatedDatabase, kind: Kind
) -> None:
    await kind.put(as_ada, A, 1)
    expire(migrated, kind)
    async with worker.transaction() as purging:
        assert await kind.of(purging).purge_expired() == 1
        renewal = asyncio.create_task(kind.put(as_ada, A, 2))
        await someone_waits_for_a_lock(migrated)
    assert await renewal is True
    assert kind.number(await kind.of(as_ada).get(A)) == 2


async def test_purging_renewing_and_counting_at_once_never_deadlock(
    worker: Database, as_ada: UserScope, migrated: IsolatedDatabase
) -> None:
    cache = as_ada.caches.embedding
    keys = [key_of(str(number)) for number in range(200)]
    done = False

    async def renew(order: int) -> None:
        vectors: dict[bytes, Any] = {key: [1.0, 2.0] for key in keys[::order]}
        for number in range(10):
            ttl = timedelta(hours=1) if number % 2 else timedelta(microseconds=1)
            await cache.put_many(vectors, model=str(number), ttl=ttl)

    async def count(order: int) -> None:
        while not done:
            await cache.record_hits(dict.fromkeys(keys[::order], 1))

    async def purge() -> None:
        while not done:
            await worker.caches.embedding.purge_expired(limit=50)

    others = [
        asyncio.create_task(task) for task in (count(1), count(-1), purge(), purge(), purge())
    ]
    try:
        await asyncio.gather(*(renew(order) for order in (1, -1, 1, -1)))
    finally:
        done = True
        await asyncio.gather(*others)
    assert await cache.put_many({key: [1.0] for key in keys}, model="last") == 200
    assert len(await cache.get_many(keys)) == 200


@every_kind
async def test_no_counted_hit_is_lost_and_no_batch_deadlocks(
    as_ada: UserScope, migrated: IsolatedDatabase, kind: Kind
) -> None:
    keys = [key_of(str(number)) for number in range(300)]
    await kind.put(as_ada, keys[0], 1)
    columns = ", ".join(column for (column,) in columns_of(migrated, kind) if column != "key")
    with as_superuser(migrated) as connection:
        connection.execute(
            f"INSERT INTO clonedb.{kind.name}_cache (key, {columns}) "
            f"SELECT given.key, {columns} FROM clonedb.{kind.name}_cache AS c, "
            "unnest(%s::bytea[]) AS given (key)".encode(),
            [keys[1:]],
        )
        connection.execute(f"ANALYZE clonedb.{kind.name}_cache".encode())

    async def count(caller: int) -> None:
        for _ in range(3):
            order = keys[::-1] if caller % 2 else keys
            assert await kind.of(as_ada).record_hits(dict.fromkeys(order, 1)) == 300

    await asyncio.gather(*(count(caller) for caller in range(CALLERS)))
    assert {hits for (hits,) in rows_of(migrated, kind, "hit_count")} == {3 * CALLERS}


def columns_of(database: IsolatedDatabase, kind: Kind) -> list[Any]:
    with as_superuser(database) as connection:
        return connection.execute(
            "SELECT column_name FROM information_schema.columns "
            "WHERE table_schema = 'clonedb' AND table_name = %s",
            [f"{kind.name}_cache"],
        ).fetchall()
