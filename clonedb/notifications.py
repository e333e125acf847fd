"""What the server tells every process: one LISTEN connection, and how far it can be trusted.

A notification reaches a process in milliseconds, unless its connection is cut off in silence. So
the listener asks for an answer again and again, and says until when what was remembered may be
used: an answer comes after every notification that was sent before its question.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

import psycopg
from psycopg import AsyncConnection, sql

from clonedb.lanes.lane import Connection, connection_arguments
from clonedb.settings import Settings

Received = Callable[[str], None]
Dropped = Callable[[], None]

logger: Final = logging.getLogger("clonedb.notifications")

# How often an answer is asked for, as a part of the staleness that is allowed: two answers may be
# late before the memory is left unused.
_QUESTIONS: Final = 4

# Seconds between attempts to connect.
_SOONEST_ATTEMPT: Final = 0.1
_LATEST_ATTEMPT: Final = 5.0

_NEVER: Final = float("-inf")


class Notifications:
    """The notifications of one Database, on a connection of its own; made when first wanted.

    `trusted_until` is a time of `time.monotonic`: before it, nothing that was notified longer than
    `notification_staleness` ago is missing. It stays in the past while there is no connection.
    """

    __slots__ = (
        "_connection",
        "_settings",
        "_subscriptions",
        "_task",
        "connections_made",
        "failure",
        "trusted_until",
    )

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._subscriptions: dict[str, list[tuple[Received, Dropped]]] = {}
        self._task: asyncio.Task[None] | None = None
        self._connection: Connection | None = None
        self.trusted_until: float = _NEVER
        self.connections_made = 0
        self.failure: str | None = None

    def subscribe(self, channel: str, received: Received, dropped: Dropped) -> Callable[[], None]:
        """Call `received` with the payload of every notification on a channel, in their order.

        `dropped` is called when some may have been missed: whatever rests on them has to be
        forgotten. Neither may raise. Returns what ends the subscription.
        """
        subscription = (received, dropped)
        self._subscriptions.setdefault(channel, []).append(subscription)
        self._restart()

        def unsubscribe() -> None:
            self._subscriptions[channel].remove(subscription)

        return unsubscribe

    async def close(self) -> None:
        """End the connection; a later subscription makes another."""
        task, self._task = self._task, None
        self.trusted_until = _NEVER
        if task is not None:
            self._cut()
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    def _restart(self) -> None:
        # A new channel has to be listened to, and what was notified before is missed.
        if self._task is not None:
            self._cut()
            self._task.cancel()
        self.trusted_until = _NEVER
        if self._settings.pgbouncer and self._settings.notification_dsn is None:
            # It would answer every question, and pass no notification on.
            self.failure = "pgbouncer passes none on: notification_dsn has to name the server"
            return
        self._task = asyncio.get_running_loop().create_task(self._keep(), name="clonedb LISTEN")

    async def _keep(self) -> None:
        delay = _SOONEST_ATTEMPT
        while True:
            made = self.connections_made
            try:
                await self._listen()
            except (psycopg.Error, OSError, TimeoutError) as error:
                if self.failure is None:
                    logger.warning("notifications are not received: %s", error)
                self.failure = str(error) or type(error).__name__
            finally:
                self._drop()
            delay = (
                _SOONEST_ATTEMPT
                if self.connections_made != made
                else min(2 * delay, _LATEST_ATTEMPT)
            )
            await asyncio.sleep(delay)

    async def _listen(self) -> None:
        staleness = self._settings.notification_staleness
        async with asyncio.timeout(self._settings.connection_timeout):
            connection: Connection = await AsyncConnection.connect(
                self._settings.notification_dsn or self._settings.dsn,
                **connection_arguments(self._settings),
            )
        self._connection = connection
        try:
            for channel in self._subscriptions:
                await self._ask(connection, sql.SQL("LISTEN {}").format(sql.Identifier(channel)))
            # What was remembered before these commands rests on nothing.
            self._drop()
            self.connections_made += 1
            if self.failure is not None:
                logger.warning("notifications are received again")
            self.failure = None
            while True:
                asked = time.monotonic()
                await self._ask(connection, sql.SQL("SELECT"))
                # What came before the answer is told before the answer counts.
                await self._deliver(connection, 0)
                self.trusted_until = asked + staleness
                await self._deliver(connection, staleness / _QUESTIONS)
        finally:
            self._connection = None
            # Without a farewell, which could wait for a server that does not answer.
            connection.pgconn.finish()

    async def _ask(self, connection: Connection, command: sql.SQL | sql.Composed) -> None:
        """Send a command and wait for its answer, for as long as the memory may be used.

        A call of psycopg's that is cancelled asks the server to cancel too, and waits for that ten
        seconds; one whose socket was shut ends at once.
        """
        asking = asyncio.ensure_future(connection.execute(command))
        # Where this is cancelled, nobody asks it how it ended.
        asking.add_done_callback(_seen)
        try:
            done, _ = await asyncio.wait({asking}, timeout=self._settings.notification_staleness)
        finally:
            if not asking.done():
                self._cut()
        if not done:
            with suppress(psycopg.Error):
                await asking
            raise TimeoutError("the server does not answer")
        asking.result()

    def _cut(self) -> None:
        """Shut the connection's socket, so that whoever waits for it is told at once."""
        if self._connection is not None and not self._connection.closed:
            with (
                suppress(OSError, psycopg.Error),
                socket.socket(fileno=os.dup(self._connection.fileno())) as connected,
            ):
                connected.shutdown(socket.SHUT_RDWR)

    async def _deliver(self, connection: Connection, seconds: float) -> None:
        async for notice in connection.notifies(timeout=seconds):
            for received, _ in self._subscriptions.get(notice.channel, ()):
                received(notice.payload)

    def _drop(self) -> None:
        self.trusted_until = _NEVER
        for subscriptions in self._subscriptions.values():
            for _, dropped in subscriptions:
                dropped()


def _seen(task: asyncio.Future[Any]) -> None:
    if not task.cancelled():
        task.exception()
