"""What is told about a request that was limited, worked out from what the buckets held.

The database says what each bucket held when it looked, and how many requests it has admitted; here
that becomes one decision for each of them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import groupby
from typing import Final, Literal, NamedTuple
from uuid import UUID

import msgspec

from clonedb.errors import InvalidInput

RateLimitScope = Literal["user", "endpoint", "address", "everybody"]
RateLimitTier = Literal["*", "free", "pro", "enterprise"]

ANYTHING: Final = "*"  # the endpoint of a rule for whatever has no rule of its own

# Seconds of a century, which is never, and further than a date goes.
NEVER: Final = 3e9


class RateLimitRuleKey(msgspec.Struct, frozen=True):
    """Which rule: `endpoint` and `tier` are `*` where it is for all that have none of their own."""

    scope: RateLimitScope
    endpoint: str
    tier: RateLimitTier


class RateLimitDecision(msgspec.Struct, frozen=True):
    """Whether a request may go on, and what a response's headers need.

    `rule` is the one to wait longest for where it was denied, else the one that has least left;
    None where no rule concerns the request. `limit`, `remaining` and `refill_per_second` are that
    rule's tokens, `retry_after` seconds until the same request would be admitted, None for never;
    `reset_at` is when the bucket is full again, None for never. `receipt` is what a refundable
    request may be given back by.
    """

    allowed: bool
    rule: RateLimitRuleKey | None
    limit: float | None
    remaining: float | None
    retry_after: float | None
    reset_at: datetime | None
    refill_per_second: float | None = None
    receipt: UUID | None = None


class RateLimitStatus(msgspec.Struct, frozen=True):
    """What is left under one rule; `reset_at` is None where it never refills."""

    rule: RateLimitRuleKey
    limit: float
    refill_per_second: float
    remaining: float
    reset_at: datetime | None


class TokenRequest(NamedTuple):
    """What one request asks for; with a receipt it may be given back."""

    cost: float
    receipt: UUID | None = None


class Bucket(msgspec.Struct, frozen=True):
    """One rule, and what its bucket held; `ahead` is by how many seconds its clock is."""

    rule: RateLimitRuleKey
    capacity: float
    refill: float
    tokens: float
    ahead: float

    def wait(self, tokens: float, cost: float) -> float | None:
        """Seconds until a bucket of `tokens` can pay; None is never."""
        if tokens >= cost:
            return 0.0
        if cost > self.capacity or not self.refill:
            return None
        # Rounded up: who waits so long is not sent away for a fraction.
        return math.ceil(1000 * (self.ahead + (cost - tokens) / self.refill)) / 1000

    def full_at(self, tokens: float, now: datetime) -> datetime | None:
        """When a bucket of `tokens` is full again; None is never."""
        missing = self.capacity - tokens
        if missing <= 0:
            return now
        if not self.refill or missing / self.refill >= NEVER:
            return None
        return now + timedelta(seconds=self.ahead + missing / self.refill)


class TokenLook(msgspec.Struct, frozen=True):
    """A row of `take` or `look`; the arrays have an element for each rule, or are None."""

    granted: list[int] | None
    scopes: list[RateLimitScope] | None
    endpoints: list[str] | None
    tiers: list[RateLimitTier] | None
    capacities: list[float] | None
    refills: list[float] | None
    tokens: list[float] | None
    aheads: list[float] | None
    looked_at: datetime | None

    def buckets(self) -> list[Bucket]:
        """From the narrowest scope to the widest; empty where no rule concerns the request."""
        keys = map(RateLimitRuleKey, self.scopes or (), self.endpoints or (), self.tiers or ())
        return list(
            map(
                Bucket,
                keys,
                self.capacities or (),
                self.refills or (),
                self.tokens or (),
                self.aheads or (),
            )
        )


class Run(NamedTuple):
    """Requests of one cost that follow each other."""

    cost: float
    length: int
    receipt: UUID | None


def runs_of(requests: Sequence[TokenRequest]) -> list[Run]:
    """The requests in their order, those of one cost together; one with a receipt is alone."""
    runs: list[Run] = []
    for (cost, receipt), equal in groupby(requests):
        length = sum(1 for _ in equal)
        if receipt is None:
            runs.append(Run(cost, length, None))
        else:
            runs.extend([Run(cost, 1, receipt)] * length)
    return runs


def decisions_of(look: TokenLook, now: datetime, runs: Sequence[Run]) -> list[RateLimitDecision]:
    """A decision for each request, in their order."""
    buckets = look.buckets()
    left = [bucket.tokens for bucket in buckets]
    decisions: list[RateLimitDecision] = []
    for run, granted in zip(runs, look.granted or (), strict=True):
        for _ in range(granted):
            left = [max(0.0, tokens - run.cost) for tokens in left]
            decisions.append(_admitted(buckets, left, now, run.receipt))
        if granted < run.length:
            denied = denial(buckets, left, now, run.cost)
            decisions.extend([denied] * (run.length - granted))
    return decisions


def preview(look: TokenLook, now: datetime, cost: float) -> RateLimitDecision:
    """What a request would be told now."""
    buckets = look.buckets()
    left = [bucket.tokens for bucket in buckets]
    if any(tokens < cost for tokens in left):
        return denial(buckets, left, now, cost)
    return _admitted(buckets, [tokens - cost for tokens in left], now, None)


def _admitted(
    buckets: Sequence[Bucket], left: Sequence[float], now: datetime, receipt: UUID | None
) -> RateLimitDecision:
    if not buckets:
        return RateLimitDecision(True, None, None, None, 0, None)
    tokens = min(left)
    bucket = buckets[left.index(tokens)]
    return RateLimitDecision(
        True,
        bucket.rule,
        bucket.capacity,
        tokens,
        0,
        bucket.full_at(tokens, now),
        bucket.refill,
        receipt,
    )


def denial(
    buckets: Sequence[Bucket], left: Sequence[float], now: datetime, cost: float
) -> RateLimitDecision:
    """The decision over a request that was not admitted, by the rule to wait longest for."""
    waits = [bucket.wait(tokens, cost) for bucket, tokens in zip(buckets, left, strict=True)]

    def order(number: int) -> tuple[bool, float, float]:
        wait = waits[number]
        too_small = buckets[number].capacity < cost
        return (too_small, math.inf if wait is None else wait, -left[number])

    number = max(range(len(buckets)), key=order)
    bucket, wait = buckets[number], waits[number]
    return RateLimitDecision(
        False,
        bucket.rule,
        bucket.capacity,
        left[number],
        # The database counts in the same floating point, but not in the same steps.
        0.001 if wait == 0 else wait,
        bucket.full_at(left[number], now),
        bucket.refill,
    )


def refuse_too_costly(decision: RateLimitDecision, cost: float) -> None:
    """Raises InvalidInput where no full bucket could pay."""
    rule, limit = decision.rule, decision.limit
    if decision.allowed or rule is None or limit is None or cost <= limit:
        return
    raise InvalidInput(
        f"cost {cost:g} is more than the {limit:g} that the rule for {rule.scope}, endpoint "
        f"{rule.endpoint}, tier {rule.tier} allows at once: it can never be admitted"
    )
