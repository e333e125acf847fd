"""Denials that a process remembers, if it is told to: whoever was told to wait is not asked for.

A refund, a reset or a change of rules elsewhere is then noticed by so much later; nobody is
admitted who would not have been. What is denied here is counted in the database within a second.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from typing import Final

from clonedb.errors import ClonedbError, NotFound, OutcomeUnknown
from clonedb.repositories.rate_limit_decisions import RateLimitDecision, TokenRequest

_log: Final = logging.getLogger("clonedb.limiting")

Key = tuple[str, str]
Count = Callable[[str, int], Awaitable[None]]

# How long denials wait to be counted.
_COUNTING_SECONDS: Final = 1.0

# Subjects that are remembered at once: some 300 bytes each.
_MOST_REMEMBERED: Final = 10_000


class _Denial:
    __slots__ = ("cost", "decision", "until")

    def __init__(self, cost: float, decision: RateLimitDecision, until: float) -> None:
        self.cost = cost
        self.decision = decision
        self.until = until


class Denials:
    """Who need not be asked for, and how often they came nevertheless."""

    def __init__(self, seconds: float, clock: Callable[[], float]) -> None:
        self._seconds = seconds
        self._clock = clock
        self._denials: dict[Key, _Denial] = {}
        self._uncounted: dict[Key, tuple[Count, int]] = {}
        self._counting: asyncio.Task[None] | None = None
        self._closing = asyncio.Event()

    def find(self, key: Key, cost: float, count: Count) -> RateLimitDecision | None:
        """The denial of a request that costs as much or less, as it was told, and counts it."""
        denial = self._denials.get(key)
        if denial is None or cost < denial.cost:
            return None
        if self._clock() >= denial.until:
            del self._denials[key]
            return None
        self._uncounted[key] = (count, self._uncounted.get(key, (count, 0))[1] + 1)
        if self._counting is None:
            self._counting = asyncio.get_running_loop().create_task(self._count_later())
        return denial.decision

    def remember(
        self,
        key: Key,
        asked_at: float,
        requests: Iterable[TokenRequest],
        decisions: Iterable[RateLimitDecision],
    ) -> None:
        """What was denied to whom asked then: until the tokens are there, or for the time set."""
        for request, decision in zip(requests, decisions, strict=True):
            if decision.allowed or decision.limit is None or request.cost > decision.limit:
                continue
            wait = math.inf if decision.retry_after is None else decision.retry_after
            known = self._denials.get(key)
            if known is None and len(self._denials) >= _MOST_REMEMBERED:
                self._denials.clear()
            if known is None or request.cost <= known.cost or known.until <= asked_at:
                until = asked_at + min(wait, self._seconds)
                self._denials[key] = _Denial(request.cost, decision, until)

    def forget(self, subject: str) -> None:
        """Tokens came back to a subject: ask for it again."""
        for key in [key for key in self._denials if key[0] == subject]:
            del self._denials[key]

    async def _count_later(self) -> None:
        while self._uncounted and not self._closing.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(_COUNTING_SECONDS):
                    await self._closing.wait()
            await self._count()
        self._counting = None

    async def _count(self) -> None:
        """Store what was not counted yet; what cannot be stored now is tried again."""
        uncounted, self._uncounted = self._uncounted, {}
        for key, (count, number) in uncounted.items():
            try:
                await count(key[1], number)
            except (NotFound, OutcomeUnknown) as error:
                _log.info("%s denials of %s are not counted: %s", number, key[1], error)
            except ClonedbError as error:
                _log.info("%s denials of %s are counted later: %s", number, key[1], error)
                later = self._uncounted.get(key, (count, 0))[1]
                self._uncounted[key] = (count, later + number)

    async def close(self) -> None:
        """Count what is left."""
        self._closing.set()
        if self._counting is not None:
            await self._counting
