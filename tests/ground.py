"""What the tests see beside the library: every stored row, and who waits for a lock."""

from __future__ import annotations

import asyncio
import reprlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import psycopg
from psycopg import sql

from clonedb.testing import SUPERUSER, IsolatedDatabase

# A waiter that never comes is a failed test, not one that hangs.
PATIENCE_SECONDS = 20


def as_superuser(database: IsolatedDatabase) -> psycopg.Connection[Any]:
    """A connection that row-level security does not concern."""
    return psycopg.connect(database.dsn(SUPERUSER), autocommit=True)


def fingerprint(
    connection: psycopg.Connection[Any], *, without: UUID | None = None
) -> dict[str, tuple[int, str]]:
    """How many rows each table holds, and a digest of them; without those that name a user.

    In the audit log that is done by what stands for the user there.
    """
    tables = connection.execute(
        "SELECT c.relname FROM pg_class AS c WHERE c.relnamespace = 'clonedb'::regnamespace "
        "AND c.relkind IN ('r', 'p') AND NOT c.relispartition ORDER BY c.relname"
    ).fetchall()
    ref = connection.execute(
        "SELECT u.subject_ref FROM clonedb.users AS u WHERE u.id = %s", [without]
    ).fetchone() or (without,)
    found: dict[str, tuple[int, str]] = {}
    for (table,) in tables:
        row = connection.execute(
            sql.SQL(
                "SELECT count(*), coalesce(md5(string_agg(t::text, '|' ORDER BY t::text)), '') "
                "FROM {} AS t WHERE strpos(t::text, %s) = 0 AND strpos(t::text, %s) = 0"
            ).format(sql.Identifier("clonedb", table)),
            [str(without), str(ref[0])],
        ).fetchone()
        assert row is not None
        found[table] = row
    assert {"users", "conversation_sessions", "conversation_turns"} <= found.keys()
    return found


@contextmanager
def case(*what: object) -> Iterator[None]:
    """Name the case of a test that has many on one database, should it fail."""
    try:
        yield
    except BaseException as failure:
        failure.add_note(f"in the case {', '.join(reprlib.repr(each) for each in what)}")
        raise


# It moves whenever a transaction of the server has written, be it rolled back.
_TRANSACTIONS = "SELECT pg_current_snapshot()::text"


@contextmanager
def nothing_stored(
    database: IsolatedDatabase, *, but_for: UUID | None = None, on_record: bool = False
) -> Iterator[None]:
    """Fails when the block has changed any row of any table, but for rows that name a user.

    With `on_record` the audit log may say what was done, and has to; the ledger who was erased.
    """
    # A snapshot still sees what was there before, so that nothing need be read where nobody wrote.
    # It cannot see what went with its file (TRUNCATE, DROP), which therefore has to stay.
    with psycopg.connect(database.dsn(SUPERUSER)) as snapshot:
        snapshot.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        newest = snapshot.execute(_TRANSACTIONS).fetchone()
        yield
        with as_superuser(database) as connection:
            if connection.execute(_TRANSACTIONS).fetchone() == newest:
                changed = set()
            else:
                assert _files(connection) == _files(snapshot)
                before = fingerprint(snapshot, without=but_for)
                after = fingerprint(connection, without=but_for)
                changed = {table for table in before if before[table] != after[table]}
    if on_record:
        changed.discard("erasures")
    assert changed == ({"audit_logs"} if on_record else set())


def _files(connection: psycopg.Connection[Any]) -> list[Any]:
    return connection.execute(
        "SELECT c.oid, c.relfilenode FROM pg_class AS c "
        "WHERE c.relnamespace = 'clonedb'::regnamespace ORDER BY c.oid"
    ).fetchall()


async def someone_waits_for_a_lock(database: IsolatedDatabase, waiters: int = 1) -> None:
    """Returns once so many statements of this database wait for a lock."""
    await _until_waiters(database, lambda found: found >= waiters)


async def nobody_waits_for_a_lock(database: IsolatedDatabase) -> None:
    """Returns once no statement of this database waits for a lock."""
    await _until_waiters(database, lambda found: found == 0)


async def _until_waiters(database: IsolatedDatabase, enough: Callable[[int], bool]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        connection = await psycopg.AsyncConnection.connect(database.dsn(SUPERUSER), autocommit=True)
        async with connection:
            while True:
                cursor = await connection.execute(
                    "SELECT count(*) FROM pg_stat_activity "
                    "WHERE datname = current_database() AND wait_event_type = 'Lock'"
                )
                row = await cursor.fetchone()
                if row is not None and enough(row[0]):
                    return
