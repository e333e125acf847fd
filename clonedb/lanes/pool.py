"""The pool: single statements, each on a connection and in a transaction of its own."""

from __future__ import annotations

import asyncio
import select
import time
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from typing import Any

import psycopg
from psycopg import AsyncConnection
from psycopg.rows import TupleRow, tuple_row
from psycopg_pool import AsyncConnectionPool

from clonedb.lanes.lane import (
    PREPARED_STATEMENTS,
    Connection,
    Context,
    Outcome,
    connection_arguments,
    execute,
    session_of,
)
from clonedb.lanes.transaction import TransactionLane
from clonedb.query.statements import Statement
from clonedb.settings import Settings
from clonedb.sqlstates import translate


def make_pool(settings: Settings) -> AsyncConnectionPool[Connection]:
    """A closed pool with the architecture's settings."""
    return AsyncConnectionPool(
        settings.dsn,
        connection_class=AsyncConnection[TupleRow],
        kwargs={
            **connection_arguments(settings),
            "row_factory": tuple_row,
            "prepare_threshold": None if settings.pgbouncer else 0,
        },
        min_size=settings.minimum_connections,
        max_size=settings.maximum_connections,
        timeout=settings.pool_timeout,
        max_idle=settings.maximum_idle,
        # An outage must not end the pool: it goes on trying for as long as the service lives.
        reconnect_timeout=settings.pool_timeout,
        configure=_configure,
        name=settings.application_name,
        open=False,
    )


async def _configure(connection: Connection) -> None:
    connection.prepared_max = PREPARED_STATEMENTS


def _is_alive(connection: Connection) -> bool:
    """Whether the server has not closed an idle connection, without a round trip.

    An idle connection has nothing to read. When its socket is readable, the server has said
    something, and if it was goodbye, reading it shows.
    """
    try:
        poller = select.poll()
        poller.register(connection.fileno(), select.POLLIN)
        if not poller.poll(0):
            return True
        connection.pgconn.consume_input()
        return not poller.poll(0) and connection.pgconn.status == psycopg.pq.ConnStatus.OK
    except psycopg.OperationalError:
        return False


class PoolLane:
    """Each call on a pooled connection, in a transaction of its own."""

    def __init__(self, pool: AsyncConnectionPool[Connection], *, prepare: bool) -> None:
        self._pool = pool
        self._prepare = prepare
        self._finishing: set[asyncio.Future[None]] = set()
        self._running = 0
        self._idle = asyncio.Event()
        self._idle.set()

    async def run(self, statement: Statement, values: Sequence[Any], context: Context) -> Outcome:
        """Raises a ClonedbError; a read that lost its connection is sent once more."""
        self._running += 1
        self._idle.clear()
        try:
            return await self._run(statement, values, context)
        finally:
            self._running -= 1
            if not self._running:
                self._idle.set()

    async def _run(self, statement: Statement, values: Sequence[Any], context: Context) -> Outcome:
        session = session_of(statement, context)
        prepare = self._prepare
        for attempt in (1, 2):
            sent = False
            try:
                async with self._connection() as connection:
                    sent = True
                    try:
                        return await execute(connection, statement, values, session, prepare)
                    except psycopg.Error as error:
                        await _discard_if_unusable(connection, error)
                        raise
            except Exception as error:
                if attempt == 1 and sent and _may_be_sent_again(error, statement):
                    # The next connection may hold the same stale plan.
                    prepare = prepare and not is_stale_plan(error)
                    continue
                raise translate(
                    error, statement, outcome_unknown=sent and statement.access == "write"
                ) from error
        raise AssertionError("unreachable")

    async def _take(self) -> Connection:
        """A connection of the pool that is alive.

        The pool's own check waits a second after the first dead connection, then two, then four:
        after a restart of the server one caller would not get past five of them.
        """
        deadline = time.monotonic() + self._pool.timeout
        while True:
            connection = await self._pool.getconn(deadline - time.monotonic())
            if _is_alive(connection):
                return connection
            await connection.close()
            await self._pool.putconn(connection)

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[Connection]:
        connection = await self._take()
        try:
            async with connection:
                yield connection
        finally:
            await self._pool.putconn(connection)

    async def stream(
        self, statement: Statement, values: Sequence[Any], context: Context
    ) -> AsyncGenerator[TupleRow, None]:
        """The rows in constant memory; the connection is held until the last one is taken."""
        async with (
            self.transaction(
                isolation=None, read_only=statement.access == "read", context=context
            ) as lane,
            aclosing(lane.stream(statement, values, context)) as rows,
        ):
            async for row in rows:
                yield row

    @asynccontextmanager
    async def transaction(
        self, *, isolation: str | None, read_only: bool, context: Context
    ) -> AsyncIterator[TransactionLane]:
        """A transaction: committed when the block ends, rolled back when it raises."""
        try:
            connection = await self._take()
        except Exception as error:
            raise translate(error) from error
        lane = TransactionLane.on(connection, prepare=self._prepare)
        try:
            await lane.begin(isolation, read_only, context)
            yield lane
        except BaseException:
            # Also where the caller was cancelled during BEGIN, which may or may not have begun.
            await self._to_the_end(self._finish(connection, lane, commit=False))
            raise
        await self._to_the_end(self._finish(connection, lane, commit=True))

    async def _finish(self, connection: Connection, lane: TransactionLane, *, commit: bool) -> None:
        """End the transaction and give the connection back."""
        try:
            if commit:
                await lane.commit()
        finally:
            # After a COMMIT that went well there is nothing left to roll back.
            await lane.rollback()
            await self._pool.putconn(connection)

    async def _to_the_end(self, finishing: Coroutine[Any, Any, None]) -> None:
        """Run it whole also where the caller is cancelled meanwhile.

        A connection that is half way through its COMMIT or ROLLBACK must not reach the pool.
        """
        task = asyncio.ensure_future(finishing)
        self._finishing.add(task)
        task.add_done_callback(self._finished)
        await asyncio.shield(task)

    def _finished(self, task: asyncio.Future[None]) -> None:
        self._finishing.discard(task)
        if not task.cancelled():
            task.exception()  # seen, also where the caller has gone

    async def drain(self) -> None:
        """Wait for calls under way, as long as for a connection, and for transactions' ends."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._pool.timeout):
                await self._idle.wait()
        await asyncio.gather(*self._finishing, return_exceptions=True)


def _may_be_sent_again(error: Exception, statement: Statement) -> bool:
    """Whether nothing can have been stored and a second try may do better."""
    if is_stale_plan(error):
        return True
    if statement.access != "read" or not isinstance(error, psycopg.OperationalError):
        return False
    state = error.sqlstate
    return state is None or (state[:2] in ("57", "08") and state != "57014")


def is_stale_plan(error: Exception) -> bool:
    """DDL changed the columns of a prepared statement; the message itself is translated."""
    return (
        isinstance(error, psycopg.errors.FeatureNotSupported)
        and error.diag.source_function == "RevalidateCachedQuery"
    )


async def _discard_if_unusable(connection: Connection, error: psycopg.Error) -> None:
    """Close what must not go back to the pool: it would fail the next caller too."""
    # 25006: the server became a standby. A stale plan fails until the statement is prepared anew.
    if error.sqlstate == "25006" or is_stale_plan(error):
        await connection.close()
