"""Figures across users."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

import msgspec

from clonedb import queries
from clonedb.pages import filter_arguments
from clonedb.repositories.conversation_sessions import Period, ProviderStatistics
from clonedb.repositories.writing import found

if TYPE_CHECKING:
    from clonedb.scope import Scope


class SystemTotals(msgspec.Struct, frozen=True):
    """What all living users' living sessions add up to."""

    users: int
    sessions: int
    active_sessions: int
    turns: int
    average_latency_ms: float | None
    total_cost: Decimal


class StatisticsRepository:
    """Figures across users, for the worker login: the app login sees no rows."""

    __slots__ = ("_scope",)

    def __init__(self, scope: Scope) -> None:
        self._scope = scope

    async def totals(self) -> SystemTotals:
        return found(
            await self._scope.one(queries.statistics.totals, SystemTotals), "statistics", ""
        )

    async def by_provider(self, period: Period | None = None) -> list[ProviderStatistics]:
        """Each pair of providers, most turns first."""
        return await self._scope.all(
            queries.statistics.by_provider, ProviderStatistics, **filter_arguments(period)
        )
