"""A channel: a long-lived pipelined connection that carries short statements of many callers.

A channel never makes a caller wait for a connection: while it has none, or something in it takes
too long, its calls are told to take the pool, and it comes back by itself.
"""

from __future__ import annotations

import asyncio
import logging
import math
import random
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from typing import Final, Literal

import msgspec
import psycopg

from clonedb.lanes.calls import Call, Detour, Group, lock_order
from clonedb.lanes.pipeline import Pipeline
from clonedb.settings import Settings

_log: Final = logging.getLogger("clonedb.channels")

# Larger parameters hold up the neighbours while they travel: a document's text takes the pool.
LARGEST_CALL: Final = 256 * 1024

ChannelKind = Literal["read", "write", "group commit"]

# What a connection may have under way. More callers wait here, where one costs about 1 KB.
# A write that meets a lock holds up those that were sent behind it, so of them there are few.
_IN_FLIGHT: Final[dict[ChannelKind, int]] = {"read": 128, "write": 16, "group commit": 1}
_BYTES_IN_FLIGHT: Final = 1024 * 1024

# Members hold their locks until the last of them is done, so a group must stay short.
_LARGEST_GROUP: Final = 64

# How often a channel with something in flight is looked at, in seconds.
_WATCH_SECONDS: Final = 0.05

# Between attempts to connect, doubling; in seconds.
_FIRST_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 5.0


class ChannelStatistics(msgspec.Struct, frozen=True):
    """One channel now, and what it has done since opening.

    `detours` are calls that were told to take the pool; `bytes_in_flight` are of parameters.
    `failure` is why it cannot connect, while it tries; one that nobody has needed is not connected.
    """

    name: str
    connected: bool
    in_flight: int
    waiting: int
    bytes_in_flight: int
    calls: int
    syncs: int
    detours: int
    connections_made: int
    connections_lost: int
    failure: str | None


class Channel:
    """One connection's worth of calls; a group channel puts writes that wait into one commit."""

    def __init__(self, settings: Settings, name: str, kind: ChannelKind) -> None:
        self.name = name
        self._settings = settings
        self._kind = kind
        self._depth = _IN_FLIGHT[kind]
        self._loop = asyncio.get_running_loop()
        self._pipeline: Pipeline | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._watching: asyncio.TimerHandle | None = None
        self._waiting: deque[Call] = deque()
        self._stalled = False
        self._leaving = False
        self._closed = False
        # Before the next connection is made, and when a server refused to write.
        self._pause = 0.0
        self._refused_at = -math.inf
        # Why there is no connection, as far as it is known.
        self._failure: str | None = None
        # Set while nothing is in flight and nobody waits.
        self._idle = asyncio.Event()
        self._idle.set()
        # Whether calls of this tick are to be sent at its end, all with one write to the socket.
        self.scheduled = False
        self._calls = self._syncs = self._detours = self._made = self._lost_count = 0

    def __repr__(self) -> str:
        return f"channel {self.name} to {self._settings.target}"

    @property
    def load(self) -> int:
        """The calls that wait or are in flight."""
        in_flight = 0 if self._pipeline is None else len(self._pipeline.in_flight)
        return in_flight + len(self._waiting)

    @property
    def connected(self) -> bool:
        """Whether there is a connection."""
        return self._pipeline is not None

    @property
    def usable(self) -> bool:
        """Whether a call would be sent at once."""
        return self._pipeline is not None and not (self._stalled or self._leaving)

    def statistics(self) -> ChannelStatistics:
        """The figures of this channel."""
        pipeline = self._pipeline
        return ChannelStatistics(
            name=self.name,
            connected=pipeline is not None,
            in_flight=0 if pipeline is None else len(pipeline.in_flight),
            waiting=len(self._waiting),
            bytes_in_flight=0 if pipeline is None else pipeline.bytes_in_flight,
            calls=self._calls,
            syncs=self._syncs,
            detours=self._detours,
            connections_made=self._made,
            connections_lost=self._lost_count,
            failure=self._failure,
        )

    def submit(self, call: Call) -> None:
        """Send a call at the end of this tick; its future says what has become of it.

        It raises Detour where the pool has to be taken, GroupFailed or Alone where the call's group
        has failed, and psycopg.Error where a write was lost.
        """
        self._calls += 1
        self._waiting.append(call)
        self._idle.clear()
        if not self.scheduled:
            self.scheduled = True
            self._loop.call_soon(self._send_waiting)

    def forget(self, call: Call) -> None:
        """Prepare the call's statement anew next time."""
        if self._pipeline is not None:
            self._pipeline.forget(call)

    def refuse(self) -> None:
        """Connect anew after a pause: this server takes no writes, and may be a standby.

        What is in flight has its own answer first.
        """
        now = self._loop.time()
        again = now - self._refused_at < 2 * _LONGEST_PAUSE
        self._pause = min(2 * self._pause, _LONGEST_PAUSE) if again else _FIRST_PAUSE
        self._refused_at = now
        self._leave()

    def _leave(self) -> None:
        if self._pipeline is not None:
            self._leaving = True
            self._leave_when_settled()

    def _leave_when_settled(self) -> None:
        if self._leaving and self._pipeline is not None and not self._pipeline.in_flight:
            self._lose(psycopg.OperationalError("the connection is made anew"))

    # Sending.

    def _send_waiting(self) -> None:
        self.scheduled = False
        pipeline = self._pipeline
        if pipeline is None or self._leaving:
            self._send_waiting_away()
            return
        try:
            while (
                self._waiting
                and len(pipeline.in_flight) < self._depth
                and pipeline.bytes_in_flight < _BYTES_IN_FLIGHT
            ):
                if self._kind == "group commit":
                    self._send_group(pipeline)
                else:
                    self._send_one(pipeline)
        except psycopg.OperationalError as error:
            self._lose(error)
            return
        self._watch_over()
        pipeline.flush()
        self._set_idle()

    def _send_one(self, pipeline: Pipeline) -> None:
        call = self._waiting.popleft()
        if self._encoded(call, pipeline):
            try:
                pipeline.send(call)
            except psycopg.OperationalError:
                self._send_away([call])  # without its Sync nothing of it can be stored
                raise
            self._syncs += 1

    def _send_group(self, pipeline: Pipeline) -> None:
        calls: list[Call] = []
        size = 0
        while self._waiting and len(calls) < _LARGEST_GROUP and size < _BYTES_IN_FLIGHT:
            call = self._waiting.popleft()
            if self._encoded(call, pipeline):
                calls.append(call)
                size += call.size
        if calls:
            # One order of locks for every group, so that two processes' groups do not deadlock.
            calls.sort(key=lock_order)
            try:
                pipeline.send_group(Group(calls, size))
            except psycopg.OperationalError:
                self._send_away(calls)
                raise
            self._syncs += 1

    def _encoded(self, call: Call, pipeline: Pipeline) -> bool:
        """Whether the call is to be sent: its caller is there, and its values can be sent."""
        if call.future.done():
            return False
        try:
            pipeline.encode(call)
        except Exception as error:
            call.abandon(error)
            return False
        if call.size > LARGEST_CALL:
            self._send_away([call])
            return False
        return True

    def _send_away(self, calls: Iterable[Call]) -> None:
        """Nothing of these is under way: the pool is as good for them."""
        for call in calls:
            self._detours += 1
            call.abandon(Detour())

    def _send_waiting_away(self) -> None:
        waiting, self._waiting = self._waiting, deque()
        self._send_away(waiting)
        self._set_idle()

    # What comes back.

    def _settled(self) -> None:
        self._stalled = self._stalled and self._is_late()
        self._depth = min(self._depth + 1, _IN_FLIGHT[self._kind])  # pyright: ignore[reportArgumentType]
        if self._pipeline is not None and self._pipeline.full:
            self._leave()
        self._leave_when_settled()
        if self._waiting and not self.scheduled:
            # Callers who go on at once shall be in the same write, or the same group.
            self.scheduled = True
            self._loop.call_soon(self._send_waiting)
        self._set_idle()

    def _set_idle(self) -> None:
        if not self.load:
            self._idle.set()

    def _watch_over(self) -> None:
        """Look at what is in flight from now on."""
        if self._watching is None:
            self._watching = self._loop.call_later(_WATCH_SECONDS, self._watch)

    def _watch(self) -> None:
        """Notice what takes too long, and what has fallen silent."""
        self._watching = None
        pipeline = self._pipeline
        if pipeline is None:
            return
        pipeline.look()
        if self._pipeline is not pipeline or not self.load:
            return
        now = self._loop.time()
        longest = self._settings.channel_statement_timeout
        if now - pipeline.heard_at > self._settings.connection_timeout + longest:
            self._lose(psycopg.OperationalError("the server has fallen silent"))
            return
        if self._is_late():
            if not self._stalled:
                # Statements that are short enough one by one still add up.
                self._depth = max(self._depth // 2, 1)
            self._stalled = True
            for position, unit in enumerate(pipeline.in_flight):
                if position:
                    unit.step_aside()
            self._send_waiting_away()
        self._watch_over()

    def _is_late(self) -> bool:
        """Whether what was sent first is not answered within the time that a statement may take."""
        pipeline = self._pipeline
        if pipeline is None or not pipeline.in_flight:
            return False
        age = self._loop.time() - pipeline.in_flight[0].sent_at
        return age > self._settings.channel_statement_timeout

    # Connecting.

    async def open(self) -> None:
        """Connect now; raises psycopg.Error."""
        self._pipeline = await Pipeline.connect(
            self._settings,
            read_only=self._kind == "read",
            on_settled=self._settled,
            on_lost=self._lose,
        )
        self._made += 1
        self._watch_over()
        if self._failure is not None:
            _log.info("%s is connected again", self)
            self._failure = None

    def begin_to_connect(self) -> None:
        """Connect in the background, for as long as it takes, unless it is or does."""
        if self._pipeline is None and self._connecting is None and not self._closed:
            self._connecting = self._loop.create_task(self._connect())

    async def _connect(self) -> None:
        pause = _FIRST_PAUSE
        try:
            if self._refused_at + _LONGEST_PAUSE > self._loop.time():
                await asyncio.sleep(self._pause)
            while True:
                try:
                    await self.open()
                except (psycopg.Error, OSError) as error:
                    if self._failure is None:
                        _log.warning("%s cannot connect, its calls take the pool: %s", self, error)
                    self._failure = str(error) or type(error).__name__
                    # Not all at once: a server that comes back has many clients.
                    await asyncio.sleep(pause * random.uniform(0.5, 1))  # noqa: S311
                    pause = min(2 * pause, _LONGEST_PAUSE)
                else:
                    return
        finally:
            self._connecting = None

    def _lose(self, error: Exception) -> None:
        pipeline, self._pipeline = self._pipeline, None
        if pipeline is None:
            return
        pipeline.close()
        if not self._closed:
            self._lost_count += 1
            _log.info("%s has lost its connection: %s", self, error)
        self._stalled = self._leaving = False
        for unit in pipeline.in_flight:
            unit.lose(error)
        pipeline.in_flight.clear()
        self._send_waiting_away()
        self.begin_to_connect()

    async def close(self) -> None:
        """Wait for what is under way, as long as for a connection, then close."""
        self._closed = True
        with suppress(TimeoutError):
            async with asyncio.timeout(self._settings.pool_timeout):
                await self._idle.wait()
        if self._connecting is not None:
            self._connecting.cancel()
            await asyncio.gather(self._connecting, return_exceptions=True)
        self._lose(psycopg.OperationalError("the Database was closed"))
        if self._watching is not None:
            self._watching.cancel()
