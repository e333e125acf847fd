"""The rules that rate limits follow."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType

from clonedb import queries
from clonedb.errors import InvalidInput
from clonedb.pages import filter_arguments
from clonedb.repositories.rate_limit_decisions import ANYTHING, RateLimitScope, RateLimitTier
from clonedb.repositories.writing import columns_of, found
from clonedb.validation import Label, validated

if TYPE_CHECKING:
    from clonedb.scope import Scope

# The table's CHECKs have the same bounds.
SMALLEST_REFILL = 1e-9
Capacity = Annotated[float, Meta(ge=1, le=1_000_000_000)]
Refill = Annotated[float, Meta(ge=0, le=1_000_000_000)]


class RateLimitRule(msgspec.Struct, frozen=True):
    """A stored rule: a bucket's size, and the tokens that come back in a second."""

    scope: RateLimitScope
    endpoint: str
    tier: RateLimitTier
    capacity: float
    refill_per_second: float
    created_at: datetime
    updated_at: datetime


class NewRateLimitRule(msgspec.Struct, frozen=True, kw_only=True):
    """A rule to store; only rules of scope user have a tier. Without refill nothing comes back."""

    scope: RateLimitScope
    endpoint: Label = ANYTHING
    tier: RateLimitTier = "*"
    capacity: Capacity
    refill_per_second: Refill


class RateLimitRuleFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which rules; UNSET fields do not narrow."""

    scope: RateLimitScope | UnsetType = UNSET
    endpoint: Label | UnsetType = UNSET
    tier: RateLimitTier | UnsetType = UNSET


class _RuleKey(msgspec.Struct, frozen=True, kw_only=True):
    scope: RateLimitScope
    endpoint: Label
    tier: RateLimitTier


class RateLimitRuleRepository:
    """The rules; every login reads them, the worker's changes them. A change counts at once."""

    __slots__ = ("_scope",)

    def __init__(self, scope: Scope) -> None:
        self._scope = scope

    async def find_many(self, filters: RateLimitRuleFilter | None = None) -> list[RateLimitRule]:
        """The rules by scope, endpoint and tier; there are some dozen."""
        return await self._scope.all(
            queries.rate_limit_rules.find_many, RateLimitRule, **filter_arguments(filters)
        )

    async def put(self, new: NewRateLimitRule) -> RateLimitRule:
        """Store a rule, or change the one of the same scope, endpoint and tier."""
        new = validated(new)
        if new.scope != "user" and new.tier != "*":
            raise InvalidInput(f"tier: a rule for {new.scope} is for every tier")
        if 0 < new.refill_per_second < SMALLEST_REFILL:
            raise InvalidInput(f"refill_per_second is 0 or at least {SMALLEST_REFILL:g}")
        stored = await self._scope.one(
            queries.rate_limit_rules.put, RateLimitRule, **columns_of(new)
        )
        return found(stored, "rule", new.endpoint)

    async def delete(
        self, *, scope: RateLimitScope, endpoint: str = ANYTHING, tier: RateLimitTier = "*"
    ) -> bool:
        """Remove a rule; False if there was none."""
        key = validated(_RuleKey(scope=scope, endpoint=endpoint, tier=tier))
        removed = await self._scope.count(queries.rate_limit_rules.delete, **columns_of(key))
        return removed > 0
