"""What the tests of channels share: both lanes by name, and how to wait for what they do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

from ground import PATIENCE_SECONDS

from clonedb import Database
from clonedb.lanes.channel import Channel
from clonedb.lanes.channels import ChannelLane

POOL_ALONE: Final[dict[str, Any]] = {"read_channels": 0, "write_channels": 0}
LANES: Final[dict[str, dict[str, Any]]] = {"channels": {}, "pool": POOL_ALONE}

# A machine that is busy with something else must not send a test's calls to the pool.
PATIENT: Final[dict[str, Any]] = {"channel_statement_timeout": 10, "channel_lock_timeout": 10}


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
            if not channel.ready():
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
