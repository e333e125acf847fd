"""Which calls are a channel's, and which are the pool's."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from channels import (
    ONE_OF_EACH,
    PATIENT,
    ask_one,
    connected,
    reading,
    through_channels_alone,
    until,
)
from ground import as_superuser

from clonedb import Database, NewTurn, User, UserPatch
from clonedb.testing import IsolatedDatabase


def channel_calls(database: Database) -> int:
    return sum(channel.calls for channel in database.channel_statistics())


async def test_transactions_streams_and_what_is_called_slow_take_the_pool(
    migrated: IsolatedDatabase, ada: User
) -> None:
    async with connected(migrated.dsn("clonedb_worker"), **PATIENT) as database:
        scope = database.as_user(ada.id)

        async def transaction() -> None:
            async with scope.transaction() as transaction:
                session = await transaction.conversation_sessions.start()
                await transaction.conversation_sessions.record_turn(
                    session.id, NewTurn(user_transcript="a", llm_response="b")
                )

        async def stream() -> None:
            assert [turn.turn_number async for turn in scope.conversation_sessions.stream_turns()]

        calls: list[Callable[[], Awaitable[Any]]] = [
            transaction,
            stream,
            lambda: scope.caches.invalidate_all(),
            lambda: database.rate_limits.purge_buckets(),
        ]
        before = channel_calls(database)
        for number, call in enumerate(calls, start=1):
            requests = database.pool_statistics().requests
            await call()
            assert database.pool_statistics().requests == requests + 1, number
        assert channel_calls(database) == before


async def test_the_rest_takes_a_channel(migrated: IsolatedDatabase, ada: User) -> None:
    async with connected(migrated.dsn("clonedb_worker"), **PATIENT) as database:
        scope = database.as_user(ada.id)
        with through_channels_alone(database):
            session = await scope.conversation_sessions.start()
            await asyncio.gather(
                *(
                    scope.conversation_sessions.record_turn(
                        session.id, NewTurn(user_transcript="a", llm_response="b")
                    )
                    for _ in range(10)
                )
            )
            assert await scope.conversation_sessions.count_turns(session.id) == 10
            page = await scope.conversation_sessions.find_turns(session.id)
            assert [turn.turn_number for turn in page.items] == list(range(1, 11))


@pytest.mark.parametrize(
    "settings",
    [
        {"pgbouncer": True},
        {"read_channels": 0, "write_channels": 0, "group_channels": 0},
    ],
    ids=["pgbouncer", "none wanted"],
)
async def test_without_channels_everything_takes_the_pool(
    migrated: IsolatedDatabase, ada: User, settings: dict[str, Any]
) -> None:
    async with connected(migrated.dsn("clonedb_worker"), **settings) as database:
        requests = database.pool_statistics().requests
        scope = database.as_user(ada.id).group_commit()
        assert await scope.users.get_by_id(ada.id) == ada
        await scope.conversation_sessions.start()
        assert database.pool_statistics().requests == requests + 2
        assert channel_calls(database) == 0


@pytest.mark.parametrize("missing", ["read_channels", "write_channels", "group_channels"])
async def test_where_channels_of_one_kind_are_missing_its_calls_are_made_all_the_same(
    migrated: IsolatedDatabase, ada: User, missing: str
) -> None:
    async with connected(migrated.dsn("clonedb_worker"), **{**PATIENT, missing: 0}) as database:
        for own in (database.as_user(ada.id), database.as_user(ada.id).group_commit()):
            session = await own.conversation_sessions.start()
            assert await own.conversation_sessions.get_by_id(session.id) == session


async def test_what_was_too_slow_for_a_channel_takes_the_pool_at_once_afterwards(
    migrated: IsolatedDatabase, ada: User
) -> None:
    sleep = reading("SELECT pg_sleep($1::double precision)::text", "seconds")
    echo = reading("SELECT $1::text", "word")
    async with connected(migrated.dsn(), **ONE_OF_EACH) as database:
        assert await ask_one(database, sleep, 0.4) == ""
        before = channel_calls(database)
        assert await ask_one(database, sleep, 0) == ""
        assert channel_calls(database) == before
        with through_channels_alone(database):
            assert await ask_one(database, echo, "quick") == "quick"


async def test_who_met_a_lock_takes_the_pool_at_once_and_others_do_not(
    migrated: IsolatedDatabase, ada: User, grace: User
) -> None:
    async with connected(migrated.dsn(), **ONE_OF_EACH) as database:
        one, other = database.as_user(ada.id).users, database.as_user(grace.id).users
        with as_superuser(migrated) as locker, locker.transaction():
            locker.execute("SELECT FROM clonedb.users WHERE id = %s FOR UPDATE", [ada.id])
            late = asyncio.create_task(one.update(ada.id, UserPatch(name="late")))
            await until(lambda: database.pool_statistics().requests > 0)
            before = channel_calls(database)
            later = asyncio.create_task(one.update(ada.id, UserPatch(name="later")))
            await asyncio.sleep(0)
            assert channel_calls(database) == before
            with through_channels_alone(database):
                await other.update(grace.id, UserPatch(name="Grace H."))
        await asyncio.gather(late, later)
