"""The pool behind a real pgbouncer in transaction mode."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import psycopg
import pytest
import pytest_asyncio
from bouncing import IS_INSTALLED, running_pgbouncer, through

from clonedb import Database, InvalidInput, NewTurn, NewUser, Timeout
from clonedb.testing import SUPERUSER, IsolatedDatabase

pytestmark = pytest.mark.skipif(not IS_INSTALLED, reason="pgbouncer is not installed")


@pytest.fixture
def pgbouncer(migrated: IsolatedDatabase) -> Iterator[str]:
    """The folder of a pgbouncer's socket, with two server connections for everybody."""
    with running_pgbouncer(migrated) as folder:
        yield folder


@pytest_asyncio.fixture
async def bounced(pgbouncer: str, migrated: IsolatedDatabase) -> AsyncIterator[Database]:
    dsn = through(pgbouncer, migrated, "clonedb_worker")
    async with Database(dsn, pgbouncer=True, maximum_connections=16) as database:
        yield database


async def test_users_are_never_mixed_on_shared_server_connections(
    bounced: Database, pgbouncer: str, migrated: IsolatedDatabase
) -> None:
    users = await bounced.users.create_many(
        [NewUser(email=f"user{number}@example.com") for number in range(20)]
    )
    dsn = through(pgbouncer, migrated, "clonedb_app")
    async with Database(dsn, pgbouncer=True, maximum_connections=16) as app:

        async def talk(number: int) -> None:
            scope = app.as_user(users[number].id)
            session = await scope.conversation_sessions.start()
            for _ in range(5):
                await scope.conversation_sessions.record_turn(
                    session.id, NewTurn(user_transcript=f"{number}", llm_response="b")
                )
            assert await scope.users.count() == 1
            found = await scope.conversation_sessions.with_turns(session.id)
            assert found is not None
            assert {turn.user_transcript for turn in found.turns} == {f"{number}"}

        await asyncio.gather(*(talk(number) for number in range(20)))
        assert await app.users.count() == 0


async def test_a_context_does_not_stay_on_the_server_connection(
    bounced: Database, pgbouncer: str, migrated: IsolatedDatabase
) -> None:
    user = await bounced.users.create(NewUser(email="ada@example.com"))
    with pytest.raises(InvalidInput):
        await (
            bounced.as_user(user.id)
            .within(5)
            .conversation_sessions.end(
                (await bounced.as_user(user.id).conversation_sessions.start()).id,
                ended_at=user.created_at.replace(year=2000),
            )
        )
    with psycopg.connect(migrated.dsn(SUPERUSER)) as locker:
        locker.execute("SELECT FROM clonedb.users FOR UPDATE")
        with pytest.raises(Timeout):
            await bounced.within(0.1).users.add_minutes(user.id, user.conversation_minutes_used)
    dsn = through(pgbouncer, migrated, "clonedb_worker")
    for _ in range(4):
        with psycopg.connect(dsn, prepare_threshold=None) as connection:
            row = connection.execute(
                "SELECT current_setting('clonedb.user_id', true), "
                "current_setting('statement_timeout'), current_setting('plan_cache_mode')"
            ).fetchone()
            assert row in (("", "0", "auto"), (None, "0", "auto"))


async def test_transactions_and_streams_work(bounced: Database) -> None:
    user = await bounced.users.create(NewUser(email="ada@example.com"))
    scope = bounced.as_user(user.id)
    async with scope.transaction() as tx:
        session = await tx.conversation_sessions.start()
        for _ in range(3):
            await tx.conversation_sessions.record_turn(
                session.id, NewTurn(user_transcript="a", llm_response="b")
            )
    numbers = [turn.turn_number async for turn in scope.conversation_sessions.stream_turns()]
    assert numbers == [1, 2, 3]
