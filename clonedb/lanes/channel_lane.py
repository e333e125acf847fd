"""The channels together with the pool: which statement goes where, and what is sent again.

Reads and writes have channels of their own: a read never waits for a lock that another caller's
write is after. What goes over several statements, streams, or is called slow in its `.sql` file
takes the pool; so does whatever a channel gives back.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractAsyncContextManager
from operator import attrgetter
from typing import Any, Final, Literal

import psycopg

from clonedb.errors import InvalidInput
from clonedb.lanes.calls import Alone, Call, ChannelSession, Detour, GroupFailed
from clonedb.lanes.channel import Channel, ChannelKind, ChannelStatistics
from clonedb.lanes.lane import Context, Lane, Outcome
from clonedb.lanes.pool import PoolLane, is_stale_plan
from clonedb.query.statements import Statement
from clonedb.settings import Settings
from clonedb.sqlstates import translate

# The connection does not have the prepared statement: its preparation failed, or it was dropped.
_NOT_PREPARED: Final = "26000"
_LOCK_NOT_AVAILABLE: Final = "55P03"
_CANCELLED: Final = "57014"
_READ_ONLY: Final = "25006"

# A statement that was too slow for a channel is likely to be so for the next caller, unless the
# machine was short of breath; a row that was locked is free when a transaction ends. In seconds.
_SLOW_SECONDS: Final = 5.0
_LOCKED_SECONDS: Final = 1.0
_MOST_AVOIDED: Final = 1_000

# Calls of one tick, from which on it is worth another write to another socket.
_FULL: Final = 128

# Calls of a channel, from which on it is worth another connection.
_CROWDED: Final = 8

# Groups in which another failed, the last try by itself; a plan that no longer fits.
_CHANNEL_TRIES: Final = 4

# Callers who found a statement too slow for a channel, before it takes the pool for everybody.
_SLOW_CALLERS: Final = 3


class ChannelLane:
    """Short single statements of many callers on a few pipelined connections."""

    def __init__(self, settings: Settings, pool: PoolLane) -> None:
        self._pool = pool
        self._loop = asyncio.get_running_loop()
        self._limit_ms = round(settings.channel_statement_timeout * 1000)
        self._reads = _channels(settings, "read", settings.read_channels)
        self._writes = _channels(settings, "write", settings.write_channels)
        self._groups = _channels(settings, "group commit", settings.group_channels)
        self._reading: Channel | None = None
        # What takes the pool until when, by the loop's time.
        self._pool_until: dict[object, float] = {}
        # For whom a statement was too slow, and when.
        self._slow: dict[Statement, dict[str, float]] = {}

    async def open(self) -> None:
        """Connect the first channel for reads; the others connect when they are wanted first."""
        for channel in self._reads[:1]:
            try:
                await channel.open()
            except (psycopg.Error, OSError):
                # The login may have no more connections; if none at all, the pool says so.
                channel.begin_to_connect()

    async def run(self, statement: Statement, values: Sequence[Any], context: Context) -> Outcome:
        """Raises a ClonedbError. What a channel cannot carry is sent again on the pool."""
        if statement.lane == "channel" and not (
            self._pool_until and self._avoids(statement, context)
        ):
            if asyncio.get_running_loop() is not self._loop:
                raise InvalidInput(
                    "a Database belongs to the event loop that it was opened on",
                    remedy="open one for each loop",
                )
            grouped = context.grouped
            for tries_left in range(_CHANNEL_TRIES, 0, -1):
                channel = self._choose(statement, context, grouped and tries_left > 1)
                if channel is None:
                    break
                session = self._session(statement, context, channel in self._groups)
                call = Call(statement, values, session, self._loop.create_future())
                channel.submit(call)
                try:
                    await call.future
                    if call.error is None:
                        return call.outcome()
                    raise psycopg.errors.error_from_result(call.error)
                except Detour:
                    break
                except GroupFailed:
                    pass
                except Alone as failed:
                    grouped = False
                    if _does_not_fit(failed.cause):
                        # At a commit it may be any member's; the next group prepares them anew.
                        channel.forget(call)
                except Exception as error:
                    again = self._again(error, call, channel, context)
                    if again == "pool":
                        break
                    if again is None:
                        unknown = statement.access == "write"
                        raise translate(error, statement, outcome_unknown=unknown) from error
        return await self._pool.run(statement, values, context)

    def _again(
        self, error: Exception, call: Call, channel: Channel, context: Context
    ) -> Literal["channel", "pool"] | None:
        """Where to send a statement again that has failed and stored nothing; None is nowhere."""
        state = getattr(error, "sqlstate", None)
        if _does_not_fit(error):
            channel.forget(call)
            return "channel"
        if state == _LOCK_NOT_AVAILABLE:
            self._avoid((call.statement, context.session_user), _LOCKED_SECONDS)
            return "pool"
        if state == _CANCELLED and self._timeout_ms(call.statement, context) > self._limit_ms:
            self._avoid_slow(call.statement, context)
            return "pool"
        if state == _READ_ONLY and call.statement.access == "write":
            channel.refuse()
        return None

    def _avoid(self, what: object, seconds: float) -> None:
        """Have it take the pool for a while: once it has held up its neighbours is enough."""
        if len(self._pool_until) >= _MOST_AVOIDED:
            self._pool_until.clear()
        self._pool_until[what] = self._loop.time() + seconds

    def _avoid_slow(self, statement: Statement, context: Context) -> None:
        self._avoid((statement, context.session_user), _SLOW_SECONDS)
        now = self._loop.time()
        users = {
            user: when
            for user, when in self._slow.get(statement, {}).items()
            if when > now - _SLOW_SECONDS
        }
        users[context.session_user] = now
        self._slow[statement] = users
        if len(users) >= _SLOW_CALLERS:
            self._avoid(statement, _SLOW_SECONDS)

    def _avoids(self, statement: Statement, context: Context) -> bool:
        for what in (statement, (statement, context.session_user)):
            until = self._pool_until.get(what)
            if until is not None:
                if until > self._loop.time():
                    return True
                del self._pool_until[what]
        return False

    def _choose(self, statement: Statement, context: Context, grouped: bool) -> Channel | None:
        """A channel that would send at once; None is the pool."""
        if statement.access == "read":
            # Calls of one tick go together, in one write to one socket.
            reading = self._reading
            if reading is None or not reading.scheduled or reading.load >= _FULL:
                reading = self._reading = _least_loaded(self._reads)
            return reading
        channels = self._groups if grouped and self._groups else self._writes
        if context.user_id is None or not channels:
            return _least_loaded(channels)
        # One user's writes share a channel, where none of them waits for a lock of another.
        channel = channels[hash(context.user_id) % len(channels)]
        if channel.usable:
            return channel
        channel.begin_to_connect()
        return _least_loaded(channels)

    def _session(self, statement: Statement, context: Context, always: bool) -> ChannelSession:
        timeout = self._timeout_ms(statement, context)
        if not always and timeout >= self._limit_ms and statement.plan_cache_mode is None:
            return context.session_user or None
        return (
            context.session_user,
            str(min(timeout, self._limit_ms)),
            statement.plan_cache_mode or "auto",
        )

    @staticmethod
    def _timeout_ms(statement: Statement, context: Context) -> int:
        return statement.timeout_ms or context.timeout_ms

    def stream(
        self, statement: Statement, values: Sequence[Any], context: Context
    ) -> AsyncGenerator[Any, None]:
        """On a connection of the pool."""
        return self._pool.stream(statement, values, context)

    def transaction(
        self, *, isolation: str | None, read_only: bool, context: Context
    ) -> AbstractAsyncContextManager[Lane]:
        """On a connection of the pool."""
        return self._pool.transaction(isolation=isolation, read_only=read_only, context=context)

    def statistics(self) -> list[ChannelStatistics]:
        """The figures of every channel."""
        return [channel.statistics() for channel in (*self._reads, *self._writes, *self._groups)]

    async def drain(self) -> None:
        """Wait for calls under way and close the channels, then wait for those on the pool."""
        await asyncio.gather(
            *(channel.close() for channel in (*self._reads, *self._writes, *self._groups))
        )
        await self._pool.drain()


def _channels(settings: Settings, kind: ChannelKind, count: int) -> list[Channel]:
    return [Channel(settings, f"{kind} {number}", kind) for number in range(1, count + 1)]


def _does_not_fit(error: Exception) -> bool:
    """Whether the statement has to be prepared anew on that connection."""
    return getattr(error, "sqlstate", None) == _NOT_PREPARED or is_stale_plan(error)


def _least_loaded(channels: Sequence[Channel]) -> Channel | None:
    """The one that has least to do; where even that one has much, another begins to connect."""
    chosen = min((channel for channel in channels if channel.usable), key=_load, default=None)
    if chosen is None or chosen.load >= _CROWDED:
        for channel in channels:
            if not channel.connected:
                channel.begin_to_connect()
                break
    return chosen


_load: Final = attrgetter("load")
