"""A transaction: every call on one connection, between BEGIN and COMMIT."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final, cast

import psycopg
from psycopg import AsyncRawCursor
from psycopg.pq import TransactionStatus
from psycopg.rows import TupleRow

from clonedb import errors
from clonedb.lanes.lane import (
    SET_CONTEXT,
    Connection,
    Context,
    Outcome,
    Session,
    execute,
    session_of,
)
from clonedb.query.statements import Statement
from clonedb.sqlstates import translate

# Rows in one fetch of a stream: about 1 MB of 2 KB rows, and few enough not to hold the event loop.
_STREAM_ROWS: Final = 500

# A stream that was left without being closed is closed by the event loop, at its leisure.
_LEFT_STREAM_SECONDS: Final = 1.0

_ISOLATION: Final = {
    "read committed": " ISOLATION LEVEL READ COMMITTED",
    "repeatable read": " ISOLATION LEVEL REPEATABLE READ",
    "serializable": " ISOLATION LEVEL SERIALIZABLE",
}


@dataclass
class _Pinned:
    """The connection of a transaction, and what its savepoints share."""

    connection: Connection
    prepare: bool
    read_only: bool = False
    # The context that the server surely has; None when a call's fate is not known.
    session: Session | None = None
    savepoints: int = 0
    wrote: bool = False
    streaming: bool = False
    chunked: bool = False
    # Calls gathered inside one transaction take turns, and so do its own commands.
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)


class TransactionLane:
    """Every call on one connection, between BEGIN and COMMIT or within one savepoint.

    Once its block has ended nothing is sent for it any more: a call that was gathered with one
    that failed, and waited for its turn, must not run behind the ROLLBACK.
    """

    def __init__(self, pinned: _Pinned) -> None:
        self._pinned = pinned
        self._ended = False

    @classmethod
    def on(cls, connection: Connection, *, prepare: bool) -> TransactionLane:
        """A lane on a connection of its own; `begin` comes first."""
        return cls(_Pinned(connection, prepare))

    async def begin(self, isolation: str | None, read_only: bool, context: Context) -> None:
        """BEGIN and the context, in one round trip."""
        begin = "BEGIN"
        if isolation is not None:
            if isolation not in _ISOLATION:
                raise errors.InvalidInput(
                    f"there is no isolation level {isolation!r}; there are {', '.join(_ISOLATION)}"
                )
            begin += _ISOLATION[isolation]
        if read_only:
            begin += " READ ONLY"
        self._pinned.read_only = read_only
        session = session_of(None, context)
        await self._control(begin, session=session)
        self._pinned.session = session

    async def commit(self) -> None:
        """COMMIT; OutcomeUnknown when the connection is lost while it is under way."""
        async with self._end():
            status = self._pinned.connection.info.transaction_status
            if status == TransactionStatus.INERROR:
                await self._control("ROLLBACK")
                raise errors.TransactionAborted(
                    "a statement of this transaction failed and its error was swallowed: "
                    "everything was rolled back",
                    remedy="catch errors around `async with tx.transaction():`, a savepoint",
                )
            await self._control("COMMIT", outcome_unknown=self._pinned.wrote)

    async def rollback(self) -> None:
        """ROLLBACK; a connection that cannot say it is closed, and the server does it by itself."""
        connection = self._pinned.connection
        try:
            async with self._end():
                if connection.info.transaction_status in (
                    TransactionStatus.INTRANS,
                    TransactionStatus.INERROR,
                ):
                    await self._control("ROLLBACK")
        except errors.ClonedbError:
            await connection.close()

    @asynccontextmanager
    async def _end(self) -> AsyncIterator[None]:
        """From here on nobody else uses the connection for this block."""
        self._ended = True
        turn = self._pinned.turn
        try:
            async with asyncio.timeout(_LEFT_STREAM_SECONDS if self._pinned.streaming else None):
                await turn.acquire()
        except TimeoutError:
            await self._pinned.connection.close()
            raise errors.TransactionAborted(
                "a stream was left unfinished in this transaction, which is rolled back",
                remedy="read it to its end, or leave it through contextlib.aclosing",
            ) from None
        try:
            yield
        finally:
            turn.release()

    async def run(self, statement: Statement, values: Sequence[Any], context: Context) -> Outcome:
        self._check_open(statement)
        pinned = self._pinned
        session = session_of(statement, context)
        async with pinned.turn:
            self._check_open(statement)
            pinned.wrote |= statement.access == "write"
            # Whatever ends this call early, cancellation too, may leave either context behind.
            known, pinned.session = pinned.session, None
            try:
                if pinned.chunked:
                    # libpq leaves a stream's row mode on for the first command of a pipeline; a
                    # command outside of one turns it off.
                    await AsyncRawCursor(pinned.connection).execute(SET_CONTEXT, session)
                    known, pinned.chunked = session, False
                outcome = await execute(
                    pinned.connection,
                    statement,
                    values,
                    None if session == known else session,
                    pinned.prepare,
                )
            except Exception as error:
                raise self._failure(error, statement) from error
            pinned.session = session
            return outcome

    async def stream(
        self, statement: Statement, values: Sequence[Any], context: Context
    ) -> AsyncGenerator[TupleRow, None]:
        self._check_open(statement)
        pinned = self._pinned
        session = session_of(statement, context)
        async with pinned.turn:
            self._check_open(statement)
            pinned.streaming = True
            known, pinned.session = pinned.session, None
            try:
                if session != known:
                    await AsyncRawCursor(pinned.connection).execute(SET_CONTEXT, session)
                cursor = AsyncRawCursor(pinned.connection)
                pinned.chunked = True
                # Closed here and now: a stream that is left early is cancelled before the
                # connection is used again, and not when the garbage collector finds it.
                rows = cursor.stream(statement.text, values, size=_STREAM_ROWS)  # pyright: ignore[reportArgumentType]
                async with aclosing(cast("AsyncGenerator[TupleRow, None]", rows)) as rows:
                    async for row in rows:
                        yield row
                pinned.session = session
            except psycopg.Error as error:
                raise self._failure(error, statement) from error
            finally:
                pinned.streaming = False

    @asynccontextmanager
    async def transaction(
        self, *, isolation: str | None, read_only: bool, context: Context
    ) -> AsyncIterator[TransactionLane]:
        """A savepoint: released when the block ends, rolled back to when it raises."""
        if isolation is not None or read_only:
            raise errors.InvalidInput(
                "a transaction inside a transaction is a savepoint: it has no isolation level and "
                "no read-only mode of its own"
            )
        self._check_open(None)
        pinned = self._pinned
        pinned.savepoints += 1
        name = f"clonedb_{pinned.savepoints}"
        async with pinned.turn:
            self._check_open(None)
            await self._control(f"SAVEPOINT {name}")
        inner = TransactionLane(pinned)
        try:
            yield inner
        except BaseException:
            async with inner._end():
                # The savepoint's own set_config calls are undone with it.
                pinned.session = None
                if not pinned.connection.closed:
                    await self._control(f"ROLLBACK TO SAVEPOINT {name}")
            raise
        async with inner._end():
            await self._control(f"RELEASE SAVEPOINT {name}")

    def _failure(self, error: Exception, statement: Statement) -> errors.ClonedbError:
        if self._pinned.read_only and isinstance(error, psycopg.errors.ReadOnlySqlTransaction):
            # Elsewhere it means that the server is a standby.
            return errors.PermissionDenied(
                "the transaction is read-only",
                query=statement.name,
                sqlstate=error.sqlstate,
                remedy="leave out read_only=True",
            )
        return translate(error, statement)

    def _check_open(self, statement: Statement | None) -> None:
        if self._ended:
            raise errors.InvalidInput(
                "the transaction has ended",
                query=None if statement is None else statement.name,
                remedy="use the scope inside its `async with` block only",
            )
        if self._pinned.streaming:
            raise errors.InvalidInput(
                "a stream is being read on this transaction's connection",
                query=None if statement is None else statement.name,
                remedy="finish the stream first, or call outside the transaction",
            )

    async def _control(
        self,
        command: str,
        *,
        session: Session | None = None,
        outcome_unknown: bool = False,
    ) -> None:
        """A transaction command and, where given, the context, in one round trip.

        The caller has the turn.
        """
        connection = self._pinned.connection
        try:
            if command.startswith("ROLLBACK"):
                # psycopg answers a ROLLBACK with DEALLOCATE ALL. Inside a pipeline that would go
                # out behind the next statement, and take its fresh preparation with it.
                await AsyncRawCursor(connection).execute(command.encode(), prepare=False)
                return
            async with connection.pipeline():
                await AsyncRawCursor(connection).execute(command.encode(), prepare=False)
                if session is not None:
                    await AsyncRawCursor(connection).execute(
                        SET_CONTEXT, session, prepare=self._pinned.prepare
                    )
        except psycopg.Error as error:
            raise translate(error, outcome_unknown=outcome_unknown) from error
