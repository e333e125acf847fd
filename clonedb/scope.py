"""Whose rows a call sees, and the repositories that work on them.

`DatabaseScope` is the login itself: sign-up, work across users. `UserScope` is one user: every
query that names `user_id` gets it from here, and row-level security sees the same user.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from datetime import date
from typing import Any, Literal, TypeVar
from uuid import UUID

import msgspec

from clonedb import queries
from clonedb.errors import InvalidInput
from clonedb.ids import check_id
from clonedb.lanes.lane import Context, Lane
from clonedb.queries import query_of
from clonedb.query.statements import Statement
from clonedb.repositories.audit_logs import AuditLogRepository, SystemAuditLogRepository
from clonedb.repositories.caches import CacheRepository
from clonedb.repositories.conversation_sessions import ConversationSessionRepository
from clonedb.repositories.daily_usage import DailyQuotaRepository, DailyUsageRepository
from clonedb.repositories.document_queue import DocumentQueue
from clonedb.repositories.face_models import FaceModelRepository
from clonedb.repositories.knowledge_documents import KnowledgeDocumentRepository
from clonedb.repositories.rate_limit_rules import RateLimitRuleRepository
from clonedb.repositories.rate_limits import AddressRateLimitRepository, RateLimitRepository
from clonedb.repositories.statistics import StatisticsRepository
from clonedb.repositories.users import UserRepository
from clonedb.repositories.voice_models import VoiceModelRepository

S = TypeVar("S", bound=msgspec.Struct)
QueryFunction = Callable[..., Any]
Isolation = Literal["read committed", "repeatable read", "serializable"]


class Scope:
    """Runs named queries in one context, on one lane."""

    __slots__ = ("_context", "_lane")

    def __init__(self, lane: Lane, context: Context) -> None:
        self._lane = lane
        self._context = context

    @property
    def user_id(self) -> UUID | None:
        """The user whose rows this scope sees; None in the scope of the login itself."""
        return self._context.user_id

    def _context_within(self, seconds: float) -> Context:
        # NaN is in no range, so it is refused too.
        if not 0.001 <= seconds <= 86_400:
            raise InvalidInput(f"a timeout of {seconds} s is not between 1 ms and a day")
        return self._context._replace(timeout_ms=round(seconds * 1000))

    async def one(self, query: QueryFunction, row: type[S], /, **arguments: Any) -> S | None:
        """The first row as `row`, or None."""
        outcome: list[Any] = await self._call(query, arguments)
        return row(*outcome[0]) if outcome else None

    async def all(self, query: QueryFunction, row: type[S], /, **arguments: Any) -> list[S]:
        """Every row as `row`."""
        return [row(*columns) for columns in await self._call(query, arguments)]

    async def rows(self, query: QueryFunction, /, **arguments: Any) -> list[tuple[Any, ...]]:
        """Every row as a tuple, for a repository that splits the columns itself."""
        rows: list[tuple[Any, ...]] = await self._call(query, arguments)
        return rows

    async def value(self, query: QueryFunction, /, **arguments: Any) -> Any:
        """The first column of the first row, or None."""
        return await self._call(query, arguments)

    async def count(self, query: QueryFunction, /, **arguments: Any) -> int:
        """The number of rows that a statement without rows has affected."""
        affected: int = await self._call(query, arguments)
        return affected

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

    def _call(self, query: QueryFunction, arguments: dict[str, Any]) -> Awaitable[Any]:
        result: Awaitable[Any] = query(_Target(self), **self._with_user(query, arguments))
        return result

    def _with_user(self, query: QueryFunction, arguments: dict[str, Any]) -> dict[str, Any]:
        # The scope, and nobody else, says whose rows they are.
        if self._context.user_id is not None and "user_id" in query_of(query).parameters:
            arguments["user_id"] = self._context.user_id
        return arguments


class _Target:
    """What a query function runs on: hands statement and arguments to the scope's lane."""

    __slots__ = ("_scope",)

    def __init__(self, scope: Scope) -> None:
        self._scope = scope

    async def fetch_all(self, statement: Statement, values: Sequence[Any]) -> list[Any]:
        return (await self._scope._lane.run(statement, values, self._scope._context)).rows

    # One row is a list of at most one, so that `one` need not tell a row from its absence.
    fetch_one = fetch_all

    async def fetch_value(self, statement: Statement, values: Sequence[Any]) -> Any:
        rows = await self.fetch_all(statement, values)
        return rows[0][0] if rows else None

    async def execute(self, statement: Statement, values: Sequence[Any]) -> int:
        return (await self._scope._lane.run(statement, values, self._scope._context)).affected


class UserScope(Scope):
    """All that belongs to one user; nothing else exists."""

    __slots__ = ()

    def within(self, seconds: float) -> UserScope:
        """The same with another statement timeout, in seconds: 1 ms to a day."""
        return UserScope(self._lane, self._context_within(seconds))

    @property
    def audit_logs(self) -> AuditLogRepository:
        """The entries about this user."""
        return AuditLogRepository(self)

    @property
    def caches(self) -> CacheRepository:
        """This user's cached entries; shared ones are read too."""
        return CacheRepository(self)

    @property
    def users(self) -> UserRepository:
        """This user alone."""
        return UserRepository(self)

    @property
    def conversation_sessions(self) -> ConversationSessionRepository:
        return ConversationSessionRepository(self)

    @property
    def face_models(self) -> FaceModelRepository:
        return FaceModelRepository(self)

    @property
    def knowledge_documents(self) -> KnowledgeDocumentRepository:
        return KnowledgeDocumentRepository(self)

    @property
    def voice_models(self) -> VoiceModelRepository:
        return VoiceModelRepository(self)

    @property
    def daily_usage(self) -> DailyUsageRepository:
        """What this user has used of the daily quota."""
        return DailyUsageRepository(self)

    @property
    def rate_limits(self) -> RateLimitRepository:
        """This user's limits."""
        return RateLimitRepository(self)

    @asynccontextmanager
    async def transaction(
        self, *, isolation: Isolation | None = None, read_only: bool = False
    ) -> AsyncIterator[UserScope]:
        """The same repositories on one connection: all or nothing.

        Inside a transaction it is a savepoint. OutcomeUnknown if the connection is lost while the
        COMMIT is under way.
        """
        async with self._lane.transaction(
            isolation=isolation, read_only=read_only, context=self._context
        ) as lane:
            yield UserScope(lane, self._context)


class DatabaseScope(Scope):
    """What the login may do outside one user's rows."""

    __slots__ = ()

    def within(self, seconds: float) -> DatabaseScope:
        """The same with another statement timeout, in seconds: 1 ms to a day."""
        return DatabaseScope(self._lane, self._context_within(seconds))

    def as_user(self, user_id: UUID | str) -> UserScope:
        """The scope of one user; InvalidInput for what is not a UUID of version 7."""
        return UserScope(self._lane, self._context._replace(user_id=check_id(user_id, "user_id")))

    @property
    def audit_logs(self) -> SystemAuditLogRepository:
        """Entries about everybody for the worker login; the app login appends of the unknown."""
        return SystemAuditLogRepository(self)

    @property
    def caches(self) -> CacheRepository:
        """The shared entries, and everybody's for the worker login."""
        return CacheRepository(self)

    @property
    def users(self) -> UserRepository:
        """Every user for the worker login; sign-up and the login's e-mail for the app login."""
        return UserRepository(self)

    @property
    def daily_quotas(self) -> DailyQuotaRepository:
        """How much a user of each tier may use in a day."""
        return DailyQuotaRepository(self)

    @property
    def rate_limit_rules(self) -> RateLimitRuleRepository:
        """What the limits are."""
        return RateLimitRuleRepository(self)

    @property
    def rate_limits(self) -> AddressRateLimitRepository:
        """Limits of people who are not logged in, and the upkeep of all limits."""
        return AddressRateLimitRepository(self)

    @property
    def knowledge_documents(self) -> DocumentQueue:
        """The queue of documents to process, for the worker login."""
        return DocumentQueue(self)

    @property
    def statistics(self) -> StatisticsRepository:
        """Figures across users, for the worker login."""
        return StatisticsRepository(self)

    async def create_turn_months(self, from_month: date, *, months: int = 1) -> int:
        """Make the months that turns need, for the worker login; returns how many were missing.

        Raises ConcurrencyConflict where open writers of sessions gave it no chance.
        """
        made: int = await self.value(
            queries.partitions.create_turn_months, from_month=from_month, months=months
        )
        return made

    @asynccontextmanager
    async def transaction(
        self, *, isolation: Isolation | None = None, read_only: bool = False
    ) -> AsyncIterator[DatabaseScope]:
        """The same on one connection; `tx.as_user(id)` works inside. See UserScope.transaction."""
        async with self._lane.transaction(
            isolation=isolation, read_only=read_only, context=self._context
        ) as lane:
            yield DatabaseScope(lane, self._context)
