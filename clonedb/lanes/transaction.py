"""A transaction: every call on one connection, between BEGIN and COMMIT."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
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

_ISOLATION: Final = {
    "read committed": " ISOLATION LEVEL READ COMMITTED",
    "repeatable read": " ISOLATION LEVEL REPEATABLE READ",
    "serializable": " ISOLATION LEVEL SERIALIZABLE",
}


class TransactionLane:
    """Every call on one connection, between BEGIN and COMMIT."""

    def __init__(self, connection: Connection, *, prepare: bool) -> None:
        self._connection = connection
        self._prepare = prepare
        self._session: Session | None = None
        self._savepoints = 0
        self._wrote = False
        self._closed = False
        self._streaming = False
        self._read_only = False
        self._chunked = False
        # Calls gathered inside one transaction take turns on its connection.
        self._turn = asyncio.Lock()

    async def begin(self, isolation: str | None, read_only: bool, context: Context) -> None:
        """BEGIN and the context, in one round trip."""
        begin = "BEGIN"
        if isolation is not None:
            begin += _ISOLATION[isolation]
        if read_only:
            begin += " READ ONLY"
        self._read_only = read_only
        self._session = session_of(None, context)
        await self._control(begin, session=self._session)

    async def commit(self) -> None:
        """COMMIT; OutcomeUnknown when the connection is lost while it is under way."""
        if self._connection.info.transaction_status == TransactionStatus.INERROR:
            await self.rollback()
            raise errors.TransactionAborted(
                "a statement of this transaction failed and its error was swallowed: "
                "everything was rolled back",
                remedy="catch errors around `async with tx.transaction():`, a savepoint",
            )
        await self._control("COMMIT", outcome_unknown=self._wrote)

    async def rollback(self) -> None:
        """ROLLBACK, if there is a transaction and a connection to say it on."""
        if self._connection.info.transaction_status in (
            TransactionStatus.INTRANS,
            TransactionStatus.INERROR,
        ):
            try:
                await self._control("ROLLBACK")
            except errors.ClonedbError:
                await self._connection.close()

    def close(self) -> None:
        self._closed = True

    async def run(self, statement: Statement, values: Sequence[Any], context: Context) -> Outcome:
        self._check_open(statement)
        session = session_of(statement, context)
        self._wrote |= statement.access == "write"
        async with self._turn:
            try:
                if self._chunked:
                    # libpq leaves a stream's row mode on for the first command of a pipeline; a
                    # command outside of one turns it off.
                    await AsyncRawCursor(self._connection).execute(SET_CONTEXT, session)
                    self._session, self._chunked = session, False
                outcome = await execute(
                    self._connection,
                    statement,
                    values,
                    None if session == self._session else session,
                    self._prepare,
                )
            except Exception as error:
                # An error may have undone the set_config that travelled with the statement.
                self._session = None
                raise self._failure(error, statement) from error
            self._session = session
            return outcome

    async def stream(
        self, statement: Statement, values: Sequence[Any], context: Context
    ) -> AsyncGenerator[TupleRow, None]:
        self._check_open(statement)
        session = session_of(statement, context)
        self._streaming = True
        try:
            if session != self._session:
                await AsyncRawCursor(self._connection).execute(SET_CONTEXT, session)
                self._session = session
            cursor = AsyncRawCursor(self._connection)
            self._chunked = True
            # Closed here and now: a stream that is left early is cancelled before the connection
            # is used again, and not when the garbage collector finds it.
            rows = cursor.stream(statement.text, values, size=_STREAM_ROWS)
            async with aclosing(cast("AsyncGenerator[TupleRow, None]", rows)) as rows:
                async for row in rows:
                    yield row
        except psycopg.Error as error:
            self._session = None
            raise self._failure(error, statement) from error
        finally:
            self._streaming = False

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
        self._savepoints += 1
        name = f"clonedb_{self._savepoints}"
        await self._control(f"SAVEPOINT {name}")
        try:
            yield self
        except BaseException:
            if not self._connection.closed:
                await self._control(f"ROLLBACK TO SAVEPOINT {name}")
                # The savepoint's own set_config calls are undone with it.
                self._session = None
            raise
        await self._control(f"RELEASE SAVEPOINT {name}")

    def _failure(self, error: Exception, statement: Statement) -> errors.ClonedbError:
        if self._read_only and isinstance(error, psycopg.errors.ReadOnlySqlTransaction):
            # Elsewhere it means that the server is a standby.
            return errors.PermissionDenied(
                "the transaction is read-only",
                query=statement.name,
                sqlstate=error.sqlstate,
                remedy="leave out read_only=True",
            )
        return translate(error, statement)

    def _check_open(self, statement: Statement | None) -> None:
        if self._closed:
            raise errors.InvalidInput(
                "the transaction has ended",
                query=None if statement is None else statement.name,
                remedy="use the scope inside its `async with` block only",
            )
        if self._streaming:
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
        """A transaction command and, where given, the context, in one round trip."""
        try:
            if command.startswith("ROLLBACK"):
                # psycopg answers a ROLLBACK with DEALLOCATE ALL. Inside a pipeline that would go
                # out behind the next statement, and take its fresh preparation with it.
                await AsyncRawCursor(self._connection).execute(command.encode(), prepare=False)
                return
            async with self._connection.pipeline():
                await AsyncRawCursor(self._connection).execute(command.encode(), prepare=False)
                if session is not None:
                    await AsyncRawCursor(self._connection).execute(
                        SET_CONTEXT, session, prepare=self._prepare
                    )
        except psycopg.Error as error:
            raise translate(error, outcome_unknown=outcome_unknown) from error
