"""The rules as this process knows them: which requests no rule concerns, and what none can pay.

They are a second old at most, and never what admits a request that a rule concerns: that is the
database's to decide, which reads its rules in the same call.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable, Iterable
from typing import Final, Literal, get_args

from clonedb.errors import ClonedbError
from clonedb.repositories.rate_limit_decisions import ANYTHING
from clonedb.repositories.rate_limit_rules import RateLimitRule, RateLimitRuleRepository
from clonedb.repositories.vocabulary import SubscriptionTier

_log: Final = logging.getLogger("clonedb.limiting")

Kind = Literal["user", "address"]

# For how long a change may go unseen: one read in a second for each process that limits anybody.
RULES_SECONDS: Final = 1.0

# Endpoints of which the answer is kept; they may be paths that a stranger makes up.
_MOST_ENDPOINTS: Final = 1_000


class Rules:
    """One reading of the rules."""

    def __init__(self, rules: Iterable[RateLimitRule]) -> None:
        self._capacities: dict[tuple[str, str, str], float] = {
            (rule.scope, rule.endpoint, rule.tier): rule.capacity for rule in rules
        }
        self._largest: dict[tuple[Kind, str], float | None] = {}

    def largest(self, kind: Kind, endpoint: str) -> float | None:
        """The most that a request may cost, whatever the user's tier; None: no rule concerns it."""
        key = (kind, endpoint)
        if key not in self._largest:
            if len(self._largest) >= _MOST_ENDPOINTS:
                self._largest.clear()
            self._largest[key] = self._find_largest(kind, endpoint)
        return self._largest[key]

    def _find_largest(self, kind: Kind, endpoint: str) -> float | None:
        tiers = get_args(SubscriptionTier) if kind == "user" else (ANYTHING,)
        found = [
            max(self._capacity(scope, endpoint, tier) for tier in of_tiers)
            for scope, of_tiers in (
                (kind, tiers),
                ("endpoint", (ANYTHING,)),
                ("everybody", (ANYTHING,)),
            )
            if any(self._capacity(scope, endpoint, tier) < math.inf for tier in of_tiers)
        ]
        return min(found, default=None)

    def _capacity(self, scope: str, endpoint: str, tier: str) -> float:
        """The capacity of the rule that counts, as the database chooses it; infinite for none."""
        for name in (endpoint, ANYTHING):
            for of_tier in (tier, ANYTHING):
                capacity = self._capacities.get((scope, name, of_tier))
                if capacity is not None:
                    return capacity
        return math.inf


class KnownRules:
    """The latest reading, as long as it is fresh; nobody waits for the next one."""

    def __init__(
        self,
        repository: RateLimitRuleRepository,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._repository = repository
        self._clock = clock
        self._rules: Rules | None = None
        self._fresh_until = -math.inf
        self._reading: asyncio.Task[None] | None = None

    def fresh(self) -> Rules | None:
        """The rules as they were at most a second ago, or None while they are read."""
        if self._clock() < self._fresh_until:
            return self._rules
        if self._reading is None:
            self._reading = asyncio.get_running_loop().create_task(self._read())
        return None

    async def _read(self) -> None:
        try:
            asked_at = self._clock()
            self._rules = Rules(await self._repository.find_many())
            self._fresh_until = asked_at + RULES_SECONDS
        except ClonedbError as error:
            # The database decides without them, or says the same to whoever asks it.
            _log.info("the rules of the rate limits cannot be read: %s", error)
        finally:
            self._reading = None

    async def close(self) -> None:
        """Wait for a reading that is under way."""
        if self._reading is not None:
            await asyncio.gather(self._reading, return_exceptions=True)
