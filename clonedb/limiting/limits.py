"""Limits: the front over the token buckets that a service asks before it does the work."""

from __future__ import annotations

import asyncio
import ipaddress
import time
from collections.abc import Callable, Sequence
from functools import partial
from types import TracebackType
from typing import Annotated, Self
from uuid import UUID

from msgspec import Meta

from clonedb.errors import DatabaseClosed, InvalidInput
from clonedb.ids import new_id
from clonedb.limiting.denials import Denials
from clonedb.limiting.queue import Take, TakeQueue
from clonedb.limiting.rules import Kind, KnownRules
from clonedb.repositories.daily_usage import DailyUsageRepository
from clonedb.repositories.rate_limit_calls import (
    Address,
    check_address,
    check_cost,
    check_endpoint,
)
from clonedb.repositories.rate_limit_decisions import (
    RateLimitDecision,
    RateLimitStatus,
    TokenRequest,
    refuse_too_costly,
)
from clonedb.scopes import DatabaseScope
from clonedb.validation import convert

# An operator who resets a limit waits no longer than that.
RememberedSeconds = Annotated[float, Meta(ge=0, le=60)]

_UNLIMITED = RateLimitDecision(True, None, None, None, 0, None)


class Limits:
    """The limits of users and of people who are not logged in, over an open Database.

        async with Limits(db) as limits:
            decision = await limits.of_user(user_id).take("talk")

    Callers who ask for the same subject and endpoint at the same time share one call. The rules are
    known to the process for a second, so that what no rule concerns costs no round trip.

    With `remember_denials`, in seconds, whoever was denied is denied for as long as they were told
    to wait, and that time at most, without asking. It admits nobody more. But tokens that come back
    by a refund or reset elsewhere, or by another rule, count so much later; and what is denied like
    that is counted within a second, in the minute that it is then, and lost with a killed process.
    """

    def __init__(
        self,
        db: DatabaseScope,
        *,
        remember_denials: float = 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._db = db
        self._clock = clock
        self._rules = KnownRules(db.rate_limit_rules, clock)
        seconds = convert(remember_denials, RememberedSeconds, "remember_denials")
        self._denials = Denials(seconds, clock) if seconds else None
        self._queues: dict[tuple[str, str], TakeQueue] = {}
        self._closed = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Wait for calls under way; nothing is taken afterwards."""
        self._closed = True
        tasks = [queue.task for queue in self._queues.values() if queue.task is not None]
        await asyncio.gather(*tasks, self._rules.close(), return_exceptions=True)
        if self._denials is not None:
            await self._denials.close()

    def of_user(self, user_id: UUID | str) -> UserLimits:
        """What one user may do; InvalidInput for what is not a UUID of version 7."""
        return UserLimits(self, self._db, user_id)

    def of_address(self, address: Address) -> AddressLimits:
        """What somebody may do who is not logged in; an IPv6 address stands for its /64."""
        return AddressLimits(self, self._db, address)

    async def take(
        self,
        of: UserLimits | AddressLimits,
        endpoint: str,
        cost: float,
        refundable: bool,
    ) -> RateLimitDecision:
        """For the classes below: the decision over one request of a subject."""
        if self._closed:
            raise DatabaseClosed("the Limits are closed", remedy="use `async with Limits(db)`")
        if not isinstance(endpoint, str):
            endpoint = check_endpoint(endpoint)  # which says what it is instead
        key = (of.subject, endpoint)
        amount = check_cost(cost)
        if self._denials is not None:
            denied = self._denials.find(key, amount, of.count)
            if denied is not None:
                # Whoever tries again and again without a pause holds up nobody else.
                await asyncio.sleep(0)
                return denied
        queue = self._queues.get(key)
        if queue is None:
            endpoint = check_endpoint(endpoint)
        rules = self._rules.fresh()
        if rules is not None:
            largest = rules.largest(of.kind, endpoint)
            if largest is None:
                return _UNLIMITED
            if amount > largest:
                raise InvalidInput(
                    f"cost {amount:g} is more than the {largest:g} that the rules for endpoint "
                    f"{endpoint} allow at once: it can never be admitted"
                )
        if queue is None:
            take = of.call(endpoint)
            if self._denials is not None:
                take = partial(self._take_and_remember, take, key, self._denials)
            queue = TakeQueue(take, partial(self._forget, key))
            self._queues[key] = queue
        decision = await queue.join(TokenRequest(amount, new_id() if refundable else None))
        refuse_too_costly(decision, amount)
        return decision

    async def _take_and_remember(
        self, take: Take, key: tuple[str, str], denials: Denials, requests: Sequence[TokenRequest]
    ) -> list[RateLimitDecision]:
        asked_at = self._clock()
        decisions = await take(requests)
        denials.remember(key, asked_at, requests, decisions)
        return decisions

    def given_back(self, subject: str) -> None:
        """For the classes below: tokens came back to a subject."""
        if self._denials is not None:
            self._denials.forget(subject)

    def _forget(self, key: tuple[str, str]) -> None:
        del self._queues[key]


class UserLimits:
    """What one user may do; made by `Limits.of_user`."""

    kind: Kind = "user"

    __slots__ = ("_limits", "_scope", "subject")

    def __init__(self, limits: Limits, db: DatabaseScope, user_id: UUID | str) -> None:
        self._limits = limits
        self._scope = db.as_user(user_id)
        self.subject = str(self._scope.user_id)

    async def take(
        self, endpoint: str, *, cost: float = 1, refundable: bool = False
    ) -> RateLimitDecision:
        """Take tokens from every bucket that the request concerns, or from none.

        The answer is the one that `RateLimitRepository.take` would have given at that place in the
        order of arrival, and the same is counted by minute; but what no rule concerns is admitted
        without asking, and not counted. A refundable request costs one more write. Cancelled before
        it was sent, it has taken nothing; afterwards its tokens may be gone. Raises NotFound,
        InvalidInput, and what the database causes.
        """
        return await self._limits.take(self, endpoint, cost, refundable)

    async def peek(self, endpoint: str, *, cost: float = 1) -> RateLimitDecision:
        """What `take` would decide now; takes and counts nothing."""
        return await self._scope.rate_limits.peek(endpoint, cost=cost)

    async def refund(self, decision: RateLimitDecision) -> bool:
        """Give back what a refundable request took: once, within an hour, never above capacity."""
        refunded = await self._scope.rate_limits.refund(decision)
        self._limits.given_back(self.subject)
        return refunded

    async def status(self, endpoint: str) -> list[RateLimitStatus]:
        """What is left under each rule, from the narrowest scope to the widest."""
        return await self._scope.rate_limits.status(endpoint)

    @property
    def daily_usage(self) -> DailyUsageRepository:
        """The quota of the day: durable, exact and never shared between callers."""
        return self._scope.daily_usage

    def call(self, endpoint: str) -> Take:
        """For `Limits`: what takes for all callers."""
        return partial(self._scope.rate_limits.take_many, endpoint)

    async def count(self, endpoint: str, denials: int) -> None:
        """For `Limits`: count requests that were denied without asking."""
        await self._scope.rate_limits.count_denials(endpoint, denials)


class AddressLimits:
    """What somebody may do who is not logged in; made by `Limits.of_address`."""

    kind: Kind = "address"

    __slots__ = ("_address", "_limits", "_scope", "subject")

    def __init__(self, limits: Limits, db: DatabaseScope, address: Address) -> None:
        self._limits = limits
        self._scope = db
        self._address = check_address(address)
        self.subject = _subject(self._address)

    async def take(
        self, endpoint: str, *, cost: float = 1, refundable: bool = False
    ) -> RateLimitDecision:
        """Take tokens from every bucket that the request concerns, or from none; see a user's."""
        return await self._limits.take(self, endpoint, cost, refundable)

    async def peek(self, endpoint: str, *, cost: float = 1) -> RateLimitDecision:
        """What `take` would decide now; takes nothing."""
        return await self._scope.rate_limits.peek(endpoint, address=self._address, cost=cost)

    async def refund(self, decision: RateLimitDecision) -> bool:
        """Give back what a refundable request took: once, within an hour, never above capacity."""
        refunded = await self._scope.rate_limits.refund(decision)
        self._limits.given_back(self.subject)
        return refunded

    async def status(self, endpoint: str) -> list[RateLimitStatus]:
        """What is left under each rule, from the narrowest scope to the widest."""
        return await self._scope.rate_limits.status(endpoint, address=self._address)

    def call(self, endpoint: str) -> Take:
        """For `Limits`: what takes for all callers."""
        return partial(self._scope.rate_limits.take_many, endpoint, address=self._address)

    async def count(self, endpoint: str, denials: int) -> None:
        """For `Limits`: only users are counted by minute."""


def _subject(address: str) -> str:
    """Whom an address stands for, as clonedb.rate_limit_subject says."""
    known = ipaddress.ip_address(address)
    if isinstance(known, ipaddress.IPv4Address):
        return address
    if known.ipv4_mapped is not None:
        return str(known.ipv4_mapped)
    return str(ipaddress.ip_network((known, 64), strict=False))
