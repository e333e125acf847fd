"""Prepared statements on channels outlive changes of the schema."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import psycopg
import pytest
import pytest_asyncio
from channels import (
    ONE_OF_EACH,
    PATIENT,
    ask,
    channels_of,
    connected,
    figures,
    reading,
    through_channels_alone,
    until,
    writing,
)
from psycopg.pq import Format

from clonedb import Database, InvalidInput
from clonedb.testing import SUPERUSER, IsolatedDatabase

READ = reading(
    "SELECT s.id, s.number, s.word FROM clonedb.shifting AS s WHERE s.id = $1::int", "id"
)
WRITE = writing(
    "UPDATE clonedb.shifting AS s SET writes = s.writes + 1 WHERE s.id = $1::int "
    "RETURNING s.id, s.number, s.word",
    "id",
)
ROWS = 16

# Each changes what a row looks like on the wire, also in binary.
CHANGES = (
    "ALTER TABLE clonedb.shifting ALTER number TYPE bigint",
    "ALTER TABLE clonedb.shifting ALTER word TYPE varchar(100)",
    "ALTER TABLE clonedb.shifting ALTER number TYPE numeric",
    "ALTER TABLE clonedb.shifting ALTER word TYPE text",
    "ALTER TABLE clonedb.shifting ALTER number TYPE double precision",
    "ALTER TABLE clonedb.shifting ALTER number TYPE integer",
)


@pytest_asyncio.fixture
async def shifting(migrated: IsolatedDatabase) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
    """The migrator's connection, beside a table whose columns are about to change."""
    connection = await psycopg.AsyncConnection.connect(migrated.dsn(SUPERUSER), autocommit=True)
    async with connection:
        await connection.execute(
            "CREATE TABLE clonedb.shifting AS SELECT n AS id, n * 3 AS number, "
            "'word ' || n AS word, 0 AS writes FROM generate_series(0, 15) AS n"
        )
        await connection.execute("ALTER TABLE clonedb.shifting ADD PRIMARY KEY (id)")
        await connection.execute("GRANT SELECT, UPDATE ON clonedb.shifting TO clonedb_worker")
        yield connection


@pytest.mark.parametrize("kind", ["reads", "writes", "group"])
async def test_calls_in_flight_see_right_rows_through_every_change_of_type(
    migrated: IsolatedDatabase, shifting: psycopg.AsyncConnection[Any], kind: str
) -> None:
    statement = READ if kind == "reads" else WRITE
    changed = asyncio.Event()
    asked = 0
    async with connected(migrated.dsn("clonedb_worker"), **PATIENT) as database:
        scope = database.group_commit() if kind == "group" else database

        async def go_on(id: int) -> None:
            nonlocal asked
            while not changed.is_set():
                asked += 1
                assert await ask(scope, statement, id) == [(id, id * 3, f"word {id}")]

        async with asyncio.TaskGroup() as callers:
            for id in range(ROWS):
                callers.create_task(go_on(id))
            for change in CHANGES:
                before = asked
                await until(lambda before=before: asked > before + 20 * ROWS)
                await shifting.execute(change.encode())
            changed.set()
        if statement is WRITE:
            (total,) = await (
                await shifting.execute("SELECT sum(s.writes) FROM clonedb.shifting AS s")
            ).fetchone() or (None,)
            assert total == asked


async def test_the_rows_before_a_change_were_binary(
    migrated: IsolatedDatabase, shifting: psycopg.AsyncConnection[Any]
) -> None:
    async with connected(migrated.dsn("clonedb_worker"), **PATIENT) as database:
        for _ in range(2):
            await ask(database, READ, 1)
        formats = [
            pipeline._prepared[READ].result_format
            for channel in channels_of(database)
            if (pipeline := channel._pipeline) is not None and READ in pipeline._prepared
        ]
        assert Format.BINARY in formats


async def test_after_a_change_calls_take_channels_again(
    migrated: IsolatedDatabase, shifting: psycopg.AsyncConnection[Any]
) -> None:
    async with connected(migrated.dsn("clonedb_worker"), **PATIENT, **ONE_OF_EACH) as database:
        for change in (b"", *(change.encode() for change in CHANGES[:2])):
            await shifting.execute(change)
            for statement in (READ, WRITE):
                with through_channels_alone(database):
                    assert await ask(database, statement, 1) == [(1, 3, "word 1")]


async def test_after_a_change_writes_are_grouped_again(
    migrated: IsolatedDatabase, shifting: psycopg.AsyncConnection[Any]
) -> None:
    async with connected(migrated.dsn("clonedb_worker"), **PATIENT, **ONE_OF_EACH) as database:
        await _ten_writes(database)
        await shifting.execute("ALTER TABLE clonedb.shifting ALTER number TYPE bigint")
        # These find the stale plan, and are sent one by one.
        await _ten_writes(database)
        assert await _alone(database) == 0


async def test_after_a_failed_first_group_writes_are_grouped_again(
    migrated: IsolatedDatabase, shifting: psycopg.AsyncConnection[Any]
) -> None:
    # The first member fails, so the server never sees the text of the others' statement.
    broken = writing("SELECT 1 / 0")
    async with connected(migrated.dsn("clonedb_worker"), **PATIENT, **ONE_OF_EACH) as database:
        outcomes = await asyncio.gather(
            ask(database.group_commit(), broken),
            *(ask(database.group_commit(), WRITE, n) for n in range(10)),
            return_exceptions=True,
        )
        assert isinstance(outcomes.pop(0), InvalidInput)
        assert outcomes == [[(n, n * 3, f"word {n}")] for n in range(10)]
        await _ten_writes(database)
        assert await _alone(database) == 0


async def _ten_writes(database: Database) -> None:
    found = await asyncio.gather(*(ask(database.group_commit(), WRITE, n) for n in range(10)))
    assert found == [[(n, n * 3, f"word {n}")] for n in range(10)]


async def _alone(database: Database) -> int:
    """How many of ten writes that ask for a group are sent without one."""

    def sent() -> int:
        return sum(channel.calls for channel in figures(database, "write"))

    before = sent()
    await _ten_writes(database)
    return sent() - before


async def test_a_statement_that_the_server_has_forgotten_is_prepared_again(
    migrated: IsolatedDatabase, shifting: psycopg.AsyncConnection[Any]
) -> None:
    async with connected(migrated.dsn("clonedb_worker"), read_channels=1, **PATIENT) as database:
        assert await ask(database, READ, 1) == [(1, 3, "word 1")]
        await ask(database, reading("DEALLOCATE clonedb_2"))
        assert await asyncio.gather(*(ask(database, READ, n) for n in range(10))) == [
            [(n, n * 3, f"word {n}")] for n in range(10)
        ]


async def test_a_table_that_was_dropped_and_made_anew_is_read_again(
    migrated: IsolatedDatabase, shifting: psycopg.AsyncConnection[Any]
) -> None:
    async with connected(migrated.dsn("clonedb_worker"), **PATIENT) as database:
        for _ in range(3):
            assert await ask(database, READ, 1) == [(1, 3, "word 1")]
        await shifting.execute("ALTER TABLE clonedb.shifting RENAME TO shifting_before")
        with pytest.raises(Exception, match="shifting"):
            await ask(database, READ, 1)
        await shifting.execute(
            "CREATE TABLE clonedb.shifting AS SELECT s.word, s.id::bigint, s.number::bigint "
            "FROM clonedb.shifting_before AS s"
        )
        await shifting.execute("GRANT SELECT ON clonedb.shifting TO clonedb_worker")
        assert await asyncio.gather(*(ask(database, READ, n) for n in range(10))) == [
            [(n, n * 3, f"word {n}")] for n in range(10)
        ]
