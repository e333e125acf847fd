"""How a statement reaches the server.

A `Lane` runs one statement under one user's context in one round trip. Repositories do not know
their lane: `ChannelLane` puts short statements of many callers on a few pipelined connections,
`PoolLane` takes a pooled connection for each call, `TransactionLane` keeps one for a transaction.
The modules of this package hold the only session statements in Python.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Final, NamedTuple, Protocol
from uuid import UUID

import msgspec
from psycopg import AsyncConnection, AsyncRawCursor
from psycopg.rows import TupleRow

from clonedb.adapters import ADAPTERS
from clonedb.query.statements import Statement
from clonedb.settings import Settings

Connection = AsyncConnection[TupleRow]
Session = tuple[str, str, str]

# More prepared statements than the query files have variants in use; psycopg's own limit is 100.
PREPARED_STATEMENTS: Final = 1_000

# Transaction-local, so that it ends with the transaction also behind pgbouncer; a session setting
# leaks to whoever is handed the server connection next.
SET_CONTEXT: Final = (
    "SELECT set_config('clonedb.user_id', $1, true), "
    "set_config('statement_timeout', $2, true), "
    "set_config('plan_cache_mode', $3, true)"
)


class Context(msgspec.Struct, frozen=True):
    """Whose rows a statement sees, and how long it may take; None is no user at all.

    `grouped` lets writes share a commit with those of other callers.
    """

    user_id: UUID | None
    timeout_ms: int
    grouped: bool = False
    # The value of clonedb.user_id, made once for all calls of a scope.
    session_user: str = ""

    def __post_init__(self) -> None:
        if self.user_id is not None:
            msgspec.structs.force_setattr(self, "session_user", str(self.user_id))

    def of_user(self, user_id: UUID) -> Context:
        """The same for one user."""
        return Context(user_id, self.timeout_ms, self.grouped)

    def of_users(self, names: Iterable[str]) -> Context:
        """The same for several users, by their ids: all that they can do is to read caches."""
        return Context(None, self.timeout_ms, self.grouped, ",".join(names))


class Outcome(NamedTuple):
    """What a statement returned: its rows as tuples, and the number of rows affected."""

    rows: list[TupleRow]
    affected: int


class Lane(Protocol):
    """One way to the server."""

    async def run(self, statement: Statement, values: Sequence[Any], context: Context) -> Outcome:
        """One statement in one round trip."""
        ...

    def stream(
        self, statement: Statement, values: Sequence[Any], context: Context
    ) -> AsyncGenerator[TupleRow, None]:
        """A statement's rows in constant memory."""
        ...

    def transaction(
        self, *, isolation: str | None, read_only: bool, context: Context
    ) -> AbstractAsyncContextManager[Lane]:
        """A lane on which every call is part of one transaction."""
        ...


def connection_arguments(settings: Settings) -> dict[str, Any]:
    """How every connection of a Database is made, whatever it is for."""
    return {
        "autocommit": True,
        "connect_timeout": max(2, round(settings.connection_timeout)),
        "application_name": settings.application_name,
        "context": ADAPTERS,
    }


def session_of(statement: Statement | None, context: Context) -> Session:
    """The values of SET_CONTEXT: the statement's own header goes before the context."""
    timeout = context.timeout_ms
    mode = "auto"
    if statement is not None:
        timeout = statement.timeout_ms or timeout
        mode = statement.plan_cache_mode or mode
    return (context.session_user, str(timeout), mode)


async def execute(
    connection: Connection,
    statement: Statement,
    values: Sequence[Any],
    session: Session | None,
    prepare: bool,
) -> Outcome:
    """The context and the statement under one Sync: one round trip."""
    cursor = AsyncRawCursor(connection)
    async with connection.pipeline():
        if session is not None:
            await AsyncRawCursor(connection).execute(SET_CONTEXT, session, prepare=prepare)
        await cursor.execute(statement.text, values, prepare=prepare)  # pyright: ignore[reportArgumentType]
    rows = await cursor.fetchall() if cursor.description is not None else []
    return Outcome(rows, cursor.rowcount)
