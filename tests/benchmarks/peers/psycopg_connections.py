"""psycopg's connections: how they are set up, and one for each caller."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import msgspec
import psycopg
from psycopg import AsyncConnection, AsyncRawCursor
from psycopg.adapt import AdaptersMap
from psycopg.types.json import set_json_dumps, set_json_loads
from psycopg.types.numeric import Int8Dumper

from tests.benchmarks.contestant import IDLE_CONNECTIONS, Contestant, check


def _adapters() -> AdaptersMap:
    adapters = AdaptersMap(psycopg.adapters)
    set_json_loads(msgspec.json.decode, adapters)
    set_json_dumps(msgspec.json.encode, adapters)
    # By default the size of an int decides its type, and each type prepares another statement.
    adapters.register_dumper(int, Int8Dumper)
    return adapters


CONNECTION: Final[dict[str, Any]] = {
    "autocommit": True,
    "prepare_threshold": 0,
    "cursor_factory": AsyncRawCursor,
    "context": _adapters(),
    "options": "-c plan_cache_mode=force_generic_plan",
}


class Pinned(Contestant):
    """A connection for each caller; every statement is prepared at its first use."""

    login = "worker"

    async def open(self) -> None:
        self.connections: list[AsyncConnection[Any]] = []

    async def prepare(self, callers: int) -> None:
        while len(self.connections) > callers:
            await self.connections.pop().close()
        while len(self.connections) < callers:
            connection = await AsyncConnection.connect(
                getattr(self.ground, self.login), **CONNECTION
            )
            await self.made(connection, len(self.connections))
            self.connections.append(connection)

    async def release(self) -> None:
        if len(self.connections) > IDLE_CONNECTIONS:
            await self.prepare(IDLE_CONNECTIONS)

    async def made(self, connection: AsyncConnection[Any], caller: int) -> None:
        """What else a new connection needs."""

    async def close(self) -> None:
        await asyncio.gather(*(connection.close() for connection in self.connections))


async def one(cursor: psycopg.AsyncCursor[Any]) -> tuple[Any, ...]:
    """The row of a cursor that has one."""
    row = await cursor.fetchone()
    check(row is not None)
    return row or ()
