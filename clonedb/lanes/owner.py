"""The owner's connection: for what no other login may do, and what no transaction can."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Final, TypeVar

import msgspec
import psycopg
from psycopg import AsyncConnection, AsyncRawCursor
from psycopg.rows import TupleRow, tuple_row

from clonedb.lanes.lane import Connection, connection_arguments
from clonedb.query.modules import query_of
from clonedb.query.statements import Statement
from clonedb.settings import make_settings
from clonedb.sqlstates import translate

S = TypeVar("S", bound=msgspec.Struct)

# While a statement of the owner waits for a table, every later writer of it waits behind: a third
# of a second, then it steps back and is tried again.
LOCK_TIMEOUT_MS: Final = 300


class OwnerConnection:
    """One connection that acts as clonedb_owner.

    Every statement is a transaction of its own, waits for a lock for `LOCK_TIMEOUT_MS` and then
    raises ConcurrencyConflict.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def run(self, text: str) -> None:
        """A statement without parameters, by itself, such as the database has made it."""
        await self._execute(text, None, None)

    async def all(self, query: Callable[..., Any], row: type[S], /, **arguments: Any) -> list[S]:
        """Every row of a named query as `row`."""
        statement, values = query_of(query).bind(arguments)
        return [row(*columns) for columns in await self._execute(statement.text, values, statement)]

    async def value(self, query: Callable[..., Any], /, **arguments: Any) -> Any:
        """The first column of the first row, or None."""
        statement, values = query_of(query).bind(arguments)
        rows = await self._execute(statement.text, values, statement)
        return rows[0][0] if rows else None

    async def _execute(
        self, text: str, values: tuple[Any, ...] | None, statement: Statement | None
    ) -> list[TupleRow]:
        cursor = AsyncRawCursor(self._connection)
        try:
            await cursor.execute(text.encode(), values)
        except psycopg.Error as error:
            raise translate(error, statement) from error
        return await cursor.fetchall() if cursor.description is not None else []


@asynccontextmanager
async def connect_as_owner(
    dsn: str, *, application_name: str = "clonedb", allow_weaker_tls: bool = False
) -> AsyncIterator[OwnerConnection]:
    """Connect as a login that may become the owner, such as clonedb_migrator, and become it.

    The connection has to be direct, not through pgbouncer in transaction mode. Raises Unavailable,
    and PermissionDenied for a login that may not.
    """
    settings = make_settings(
        dsn, application_name=application_name, allow_weaker_tls=allow_weaker_tls
    )
    try:
        connection = await AsyncConnection.connect(
            settings.dsn,
            **connection_arguments(settings),
            row_factory=tuple_row,
            prepare_threshold=None,
        )
    except psycopg.Error as error:
        raise translate(error) from None
    async with connection:
        owner = OwnerConnection(connection)
        await owner.run("SET ROLE clonedb_owner")
        await owner.run(f"SET lock_timeout = {LOCK_TIMEOUT_MS}")
        yield owner
