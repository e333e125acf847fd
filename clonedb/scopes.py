"""Whose rows a call sees, and the repositories that work on them.

`DatabaseScope` is the login itself: sign-up, work across users. `UserScope` is one user: every
query that names `user_id` gets it from here, and row-level security sees the same user.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from datetime import date
from typing import Any
from uuid import UUID

from clonedb import queries
from clonedb.ids import check_id
from clonedb.queries import query_of
from clonedb.repositories.audit_logs import AuditLogRepository, SystemAuditLogRepository
from clonedb.repositories.audit_seals import AuditSealRepository
from clonedb.repositories.caches import CacheRepository, SystemCacheRepository
from clonedb.repositories.conversation_sessions import ConversationSessionRepository
from clonedb.repositories.daily_usage import DailyQuotaRepository, DailyUsageRepository
from clonedb.repositories.document_queue import DocumentQueue
from clonedb.repositories.face_models import FaceModelRepository
from clonedb.repositories.knowledge_documents import KnowledgeDocumentRepository
from clonedb.repositories.rate_limit_rules import RateLimitRuleRepository
from clonedb.repositories.rate_limits import AddressRateLimitRepository, RateLimitRepository
from clonedb.repositories.retention import RetentionRepository
from clonedb.repositories.statistics import StatisticsRepository
from clonedb.repositories.users import UserRepository
from clonedb.repositories.voice_models import VoiceModelRepository
from clonedb.scope import Isolation, QueryFunction, Scope


class UserScope(Scope):
    """All that belongs to one user; nothing else exists."""

    __slots__ = ()

    def within(self, seconds: float) -> UserScope:
        """The same with another statement timeout, in seconds: 1 ms to a day."""
        return UserScope(self._lane, self._context_within(seconds))

    def group_commit(self) -> UserScope:
        """The same, whose single writes share their commit with those of other callers.

        Writes that are asked for while a commit is under way wait for it, then go together in one
        transaction and one commit: many small writes cost the disk one wait. Each caller still gets
        its own answer, after the commit, and durability is what the server's settings say. The
        price: a write waits for the group before it and for every member of its own; rows stay
        locked as long; a member that fails costs all others another try; and a
        connection lost during the commit leaves all of them with OutcomeUnknown. Reads, and
        everything inside a transaction, are as without it.
        """
        return UserScope(self._lane, self._context_grouped())

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

    def group_commit(self) -> DatabaseScope:
        """The same, whose single writes share their commit; see UserScope.group_commit."""
        return DatabaseScope(self._lane, self._context_grouped())

    def as_user(self, user_id: UUID | str) -> UserScope:
        """The scope of one user; InvalidInput for what is not a UUID of version 7."""
        return UserScope(self._lane, self._context.of_user(check_id(user_id, "user_id")))

    async def _rows_of_users(
        self, users: Iterable[str], query: QueryFunction, /, **arguments: Any
    ) -> list[tuple[Any, ...]]:
        """Every row of a query that reads cached entries of several users, by the users' ids."""
        statement, values = query_of(query).bind(arguments)
        return (await self._lane.run(statement, values, self._context.of_users(users))).rows

    @property
    def audit_logs(self) -> SystemAuditLogRepository:
        """Entries about everybody for the worker login; the app login appends of the unknown."""
        return SystemAuditLogRepository(self)

    @property
    def audit_seals(self) -> AuditSealRepository:
        """The seals of the audit log; see `clonedb.audit`."""
        return AuditSealRepository(self)

    @property
    def caches(self) -> SystemCacheRepository:
        """The shared entries, and everybody's for the worker login."""
        return SystemCacheRepository(self)

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
    def retention(self) -> RetentionRepository:
        """How long what is kept; the worker and the DBA set it."""
        return RetentionRepository(self)

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

    async def create_audit_months(self, from_month: date, *, months: int = 1) -> int:
        """The same for the audit log."""
        made: int = await self.value(
            queries.partitions.create_audit_months, from_month=from_month, months=months
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
