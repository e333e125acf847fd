"""Running named queries in one context, on one lane: what every repository stands on."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, aclosing
from typing import Any, Literal, TypeVar
from uuid import UUID

import msgspec

from clonedb.errors import InvalidInput
from clonedb.lanes.lane import Context, Lane, Outcome
from clonedb.lanes.transaction import TransactionLane
from clonedb.queries import query_of
from clonedb.query.statements import Statement

S = TypeVar("S", bound=msgspec.Struct)
QueryFunction = Callable[..., Any]
Isolation = Literal["read committed", "repeatable read", "serializable"]


class Scope(ABC):
    """Runs named queries in one context, on one lane."""

    __slots__ = ("_context", "_lane")

    def __init__(self, lane: Lane, context: Context) -> None:
        self._lane = lane
        self._context = context

    @property
    def user_id(self) -> UUID | None:
        """The user whose rows this scope sees; None in the scope of the login itself."""
        return self._context.user_id

    @property
    def target(self) -> DirectTarget:
        """What a function of `clonedb.queries` is called with, to get its rows as tuples.

        For queries that no repository has a method for. In a user's scope a `user_id` has to be
        that user's.
        """
        return DirectTarget(self._lane, self._context)

    @property
    def in_transaction(self) -> bool:
        """Whether the calls of this scope are part of one transaction."""
        return isinstance(self._lane, TransactionLane)

    @abstractmethod
    def transaction(
        self, *, isolation: Isolation | None = None, read_only: bool = False
    ) -> AbstractAsyncContextManager[Scope]:
        """The same scope on one connection: all or nothing."""

    def _context_within(self, seconds: float) -> Context:
        # NaN is in no range, so it is refused too.
        if not isinstance(seconds, int | float) or not 0.001 <= seconds <= 86_400:
            raise InvalidInput(f"a timeout of {seconds!r} s is not between 1 ms and a day")
        return msgspec.structs.replace(self._context, timeout_ms=round(seconds * 1000))

    def _context_grouped(self) -> Context:
        return msgspec.structs.replace(self._context, grouped=True)

    async def one(self, query: QueryFunction, row: type[S], /, **arguments: Any) -> S | None:
        """The first row as `row`, or None."""
        rows = (await self._call(query, arguments)).rows
        return row(*rows[0]) if rows else None

    async def all(self, query: QueryFunction, row: type[S], /, **arguments: Any) -> list[S]:
        """Every row as `row`."""
        return [row(*columns) for columns in (await self._call(query, arguments)).rows]

    async def rows(self, query: QueryFunction, /, **arguments: Any) -> list[tuple[Any, ...]]:
        """Every row as a tuple, for a repository that splits the columns itself."""
        return (await self._call(query, arguments)).rows

    async def value(self, query: QueryFunction, /, **arguments: Any) -> Any:
        """The first column of the first row, or None."""
        rows = (await self._call(query, arguments)).rows
        return rows[0][0] if rows else None

    async def count(self, query: QueryFunction, /, **arguments: Any) -> int:
        """The number of rows that a statement without rows has affected."""
        return (await self._call(query, arguments)).affected

    async def stream(
        self, query: QueryFunction, row: type[S], /, **arguments: Any
    ) -> AsyncGenerator[S, None]:
        """Every row as `row`, in constant memory; takes a connection of its own meanwhile.

        Leave it early through `contextlib.aclosing`. Inside a transaction that cancels the
        statement and with it the transaction.
        """
        statement, values = query_of(query).bind(self._with_user(query, arguments))
        async with aclosing(self._lane.stream(statement, values, self._context)) as rows:
            async for columns in rows:
                yield row(*columns)

    def _call(self, query: QueryFunction, arguments: dict[str, Any]) -> Awaitable[Outcome]:
        outcome: Awaitable[Outcome] = query(_Target(self), **self._with_user(query, arguments))
        return outcome

    def _with_user(self, query: QueryFunction, arguments: dict[str, Any]) -> dict[str, Any]:
        # The scope, and nobody else, says whose rows they are.
        if self._context.user_id is not None and "user_id" in query_of(query).parameters:
            arguments["user_id"] = self._context.user_id
        return arguments


class DirectTarget:
    """Runs the functions of `clonedb.queries` in a scope, and returns what their stub says."""

    __slots__ = ("_context", "_lane")

    def __init__(self, lane: Lane, context: Context) -> None:
        self._lane = lane
        self._context = context

    async def fetch_one(self, statement: Statement, values: tuple[Any, ...]) -> Any:
        """The first row or None."""
        rows = (await self._run(statement, values)).rows
        return rows[0] if rows else None

    async def fetch_value(self, statement: Statement, values: tuple[Any, ...]) -> Any:
        """The first column of the first row, or None."""
        rows = (await self._run(statement, values)).rows
        return rows[0][0] if rows else None

    async def fetch_all(self, statement: Statement, values: tuple[Any, ...]) -> Any:
        """All rows."""
        return (await self._run(statement, values)).rows

    async def execute(self, statement: Statement, values: tuple[Any, ...]) -> Any:
        """How many rows were affected."""
        return (await self._run(statement, values)).affected

    async def stream(
        self, statement: Statement, values: tuple[Any, ...]
    ) -> AsyncGenerator[Any, None]:
        """The rows one after another, on a connection of their own; leave it through aclosing."""
        self._check_user(statement, values)
        async with aclosing(self._lane.stream(statement, values, self._context)) as rows:
            async for row in rows:
                yield row

    async def _run(self, statement: Statement, values: tuple[Any, ...]) -> Outcome:
        self._check_user(statement, values)
        return await self._lane.run(statement, values, self._context)

    def _check_user(self, statement: Statement, values: tuple[Any, ...]) -> None:
        user_id = self._context.user_id
        if user_id is None or "user_id" not in statement.parameters:
            return
        if values[statement.parameters.index("user_id")] != user_id:
            raise InvalidInput(
                f"the user_id is not that of the scope, {user_id}",
                query=f"{statement.name}, {statement.path}:{statement.line}",
            )


class _Target:
    """What a query function runs on: hands statement and arguments to the scope's lane.

    Every operator gives the whole outcome; what of it is wanted, the scope's own methods know.
    """

    __slots__ = ("_scope",)

    def __init__(self, scope: Scope) -> None:
        self._scope = scope

    def fetch_all(self, statement: Statement, values: Sequence[Any]) -> Awaitable[Outcome]:
        scope = self._scope
        return scope._lane.run(statement, values, scope._context)

    fetch_one = fetch_value = execute = fetch_all
