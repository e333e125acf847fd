"""What the tests of channels share: both lanes by name, and how to wait for what they do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final

from ground import PATIENCE_SECONDS

from clonedb import Database
from clonedb.lanes.channel import Channel, ChannelKind, ChannelStatistics
from clonedb.lanes.channel_lane import ChannelLane
from clonedb.query.headers import Access
from clonedb.query.statements import Statement
from clonedb.scope import Scope

POOL_ALONE: Final[dict[str, Any]] = {
    "read_channels": 0,
    "write_channels": 0,
    "group_channels": 0,
}
LANES: Final[dict[str, dict[str, Any]]] = {"channels": {}, "pool": POOL_ALONE}

ONE_OF_EACH: Final[dict[str, Any]] = {
    "read_channels": 1,
    "write_channels": 1,
    "group_channels": 1,
}

# A machine that is busy with something else must not send a test's calls to the pool.
PATIENT: Final[dict[str, Any]] = {"channel_statement_timeout": 10, "channel_lock_timeout": 10}


def figures(database: Database, kind: ChannelKind) -> list[ChannelStatistics]:
    """Those of all channels of a kind."""
    return [each for each in database.channel_statistics() if each.name.startswith(kind)]


def channels_of(database: Database) -> list[Channel]:
    """All channels of an open Database; none where there is only the pool."""
    lane = database._lane
    if not isinstance(lane, ChannelLane):
        return []
    return [*lane._reads, *lane._writes, *lane._groups]


async def everything_connected(database: Database) -> None:
    """Returns once every channel is connected and has nothing under way, and so is the pool."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        for channel in channels_of(database):
            channel.begin_to_connect()
        await until(
            lambda: all(
                channel.connected and not channel.in_flight
                for channel in database.channel_statistics()
            )
        )
        assert database._pool is not None
        await database._pool.wait()


async def until(condition: Callable[[], bool]) -> None:
    """Returns once the condition holds; fails where it does not in time."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


@asynccontextmanager
async def connected(dsn: str, **settings: Any) -> AsyncIterator[Database]:
    """An open Database, all of whose connections are made."""
    async with Database(dsn, **settings) as database:
        await everything_connected(database)
        yield database


def reading(text: str, *parameters: str, timeout_ms: int | None = None) -> Statement:
    """A statement of a test's own that says it reads."""
    return _statement("read", text, parameters, timeout_ms)


def writing(text: str, *parameters: str, timeout_ms: int | None = None) -> Statement:
    """A statement of a test's own that says it writes."""
    return _statement("write", text, parameters, timeout_ms)


def _statement(
    access: Access, text: str, parameters: tuple[str, ...], timeout_ms: int | None
) -> Statement:
    return Statement(
        name=f"test.{access}",
        text=text,
        parameters=parameters,
        access=access,
        lane="channel",
        plan_cache_mode=None,
        timeout_ms=timeout_ms,
        path="sql/test.sql",
        line=1,
    )


async def ask(scope: Scope, statement: Statement, *values: Any) -> Any:
    """The rows of a statement, in the scope's context and on its lane."""
    return (await scope._lane.run(statement, values, scope._context)).rows


async def ask_one(scope: Scope, statement: Statement, *values: Any) -> Any:
    """The first column of the first row."""
    return (await ask(scope, statement, *values))[0][0]


@contextmanager
def through_channels_alone(database: Database) -> Iterator[None]:
    """Fails where a call of the block took the pool."""
    before = database.pool_statistics().requests
    yield
    assert database.pool_statistics().requests == before
