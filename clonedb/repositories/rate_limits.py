"""Rate limits: token buckets of users, endpoints, addresses and everybody, and their counts."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec
from msgspec import UNSET, Meta, UnsetType

from clonedb import queries
from clonedb.errors import InvalidInput, NotFound
from clonedb.pages import DEFAULT_LIMIT, Page, filter_arguments, find_page
from clonedb.repositories.rate_limit_calls import (
    Address,
    check_address,
    check_endpoint,
    check_requests,
    peek,
    refund,
    status,
    take,
    take_many,
)
from clonedb.repositories.rate_limit_decisions import (
    RateLimitDecision,
    RateLimitStatus,
    TokenRequest,
)
from clonedb.validation import Label, Moment, convert

if TYPE_CHECKING:
    from clonedb.scope import Scope

Denials = Annotated[int, Meta(ge=1, le=1_000_000_000)]
BatchSize = Annotated[int, Meta(ge=1, le=100_000)]

DEFAULT_BATCH: Final = 10_000  # rows deleted in a fraction of a second

LONGEST_IDLE: Final = 1e9  # seconds; well inside of what an interval holds


class RateLimitWindow(msgspec.Struct, frozen=True):
    """How many requests of a user to an endpoint were admitted and denied in one minute."""

    endpoint: str
    window_start: datetime
    request_count: int
    denied_count: int


class RateLimitFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which minutes; UNSET fields do not narrow, `window_before` is exclusive."""

    endpoint: Label | UnsetType = UNSET
    window_from: Moment | UnsetType = UNSET
    window_before: Moment | UnsetType = UNSET


class RateLimitPeriod(msgspec.Struct, frozen=True, kw_only=True):
    """Which minutes a statistic covers; `window_before` is exclusive."""

    window_from: Moment | UnsetType = UNSET
    window_before: Moment | UnsetType = UNSET


class RateLimitStatistics(msgspec.Struct, frozen=True):
    """What a user's requests to one endpoint add up to."""

    endpoint: str
    request_count: int
    denied_count: int
    busiest_minute: int
    first_window: datetime
    last_window: datetime


class RateLimitRepository:
    """A user's limits.

    Counts by minute and buckets do not survive a crash of the server; the daily quota does.
    """

    __slots__ = ("_scope",)

    def __init__(self, scope: Scope) -> None:
        self._scope = scope

    async def take(
        self, endpoint: str, *, cost: float = 1, refundable: bool = False
    ) -> RateLimitDecision:
        """Take tokens from every bucket that a request of this user concerns, or from none.

        Counts the request as admitted or denied. Call it outside a transaction: its buckets,
        which others share, stay locked until the end, and a rollback would give the tokens back.
        A refundable request costs one more write, and its decision may be given to `refund`.
        Raises NotFound for a user who does not exist, InvalidInput for a cost that is not above 0
        or that no full bucket could pay.
        """
        return await take(self._scope, endpoint, cost, refundable, None)

    async def take_many(
        self, endpoint: str, requests: Sequence[TokenRequest]
    ) -> list[RateLimitDecision]:
        """Take tokens for up to 1,000 requests in one call, in their order.

        The decisions are those of as many calls one after another. One whose cost is above its
        `limit` is denied here, and is not counted.
        """
        return await take_many(self._scope, endpoint, check_requests(requests), None)

    async def peek(self, endpoint: str, *, cost: float = 1) -> RateLimitDecision:
        """What `take` would decide now; takes and counts nothing, and raises the same."""
        return await peek(self._scope, endpoint, cost, None)

    async def count_denials(self, endpoint: str, count: int) -> None:
        """Count requests that were denied without asking, in the minute that it is now.

        For a front that remembers denials. Raises NotFound for a user who does not exist.
        """
        counted = await self._scope.value(
            queries.rate_limits.count_denials,
            endpoint=check_endpoint(endpoint),
            count=convert(count, Denials, "count"),
        )
        if not counted:
            raise NotFound(f"user {self._scope.user_id} does not exist")

    async def refund(self, decision: RateLimitDecision) -> bool:
        """Give back what a refundable request has taken; False if that is no longer possible.

        A receipt is worth its cost once, within an hour, to this user, and fills no bucket above
        its capacity. The request stays counted as admitted.
        """
        return await refund(self._scope, decision)

    async def status(self, endpoint: str) -> list[RateLimitStatus]:
        """What is left under each rule, from the narrowest scope to the widest; takes nothing."""
        return await status(self._scope, endpoint, None)

    async def reset(self, *, endpoint: str | None = None) -> int:
        """Fill this user's buckets, or the one of a rule's endpoint, under the worker login.

        Returns how many had been in use.
        """
        return await self._scope.count(queries.rate_limits.reset, **_endpoint_filter(endpoint))

    async def find_many(
        self,
        filters: RateLimitFilter | None = None,
        *,
        order: str = "newest",
        cursor: str | None = None,
        limit: int = DEFAULT_LIMIT,
        with_total: bool = False,
    ) -> Page[RateLimitWindow]:
        """A page of the counts by minute, ordered `newest` or `oldest`."""
        return await find_page(
            self._scope,
            queries.rate_limits.find_many,
            RateLimitWindow,
            order=order,
            cursor=cursor,
            limit=limit,
            with_total=with_total,
            arguments=filter_arguments(filters),
        )

    async def statistics(self, period: RateLimitPeriod | None = None) -> list[RateLimitStatistics]:
        """The counts of each endpoint added up, most denied first."""
        return await self._scope.all(
            queries.rate_limits.statistics, RateLimitStatistics, **filter_arguments(period)
        )


class AddressRateLimitRepository:
    """The limits of people who are not logged in, by address, and the upkeep of all limits."""

    __slots__ = ("_scope",)

    def __init__(self, scope: Scope) -> None:
        self._scope = scope

    async def take(
        self, endpoint: str, *, address: Address, cost: float = 1, refundable: bool = False
    ) -> RateLimitDecision:
        """Like a user's `take`, for somebody who is not logged in; nothing is counted by minute.

        An address of IPv6 stands for its network of 64 bits. Raises InvalidInput also for an
        address that is none.
        """
        return await take(self._scope, endpoint, cost, refundable, check_address(address))

    async def take_many(
        self, endpoint: str, requests: Sequence[TokenRequest], *, address: Address
    ) -> list[RateLimitDecision]:
        """Take tokens for up to 1,000 requests of an address in one call; see a user's."""
        checked = check_requests(requests)
        return await take_many(self._scope, endpoint, checked, check_address(address))

    async def peek(self, endpoint: str, *, address: Address, cost: float = 1) -> RateLimitDecision:
        """What `take` would decide now; takes nothing, and raises the same."""
        return await peek(self._scope, endpoint, cost, check_address(address))

    async def refund(self, decision: RateLimitDecision) -> bool:
        """Give back what a refundable request of an address has taken; see a user's."""
        return await refund(self._scope, decision)

    async def status(self, endpoint: str, *, address: Address) -> list[RateLimitStatus]:
        """What is left under each rule, from the narrowest scope to the widest; takes nothing."""
        return await status(self._scope, endpoint, check_address(address))

    async def reset(self, *, address: Address, endpoint: str | None = None) -> int:
        """Fill the buckets of an address, under the worker login; returns how many were in use."""
        return await self._scope.count(
            queries.rate_limits.reset_address,
            address=check_address(address),
            **_endpoint_filter(endpoint),
        )

    async def purge_buckets(
        self, *, idle: timedelta = timedelta(hours=1), limit: int = DEFAULT_BATCH
    ) -> int:
        """Delete up to `limit` buckets that are full and idle, under the worker login.

        Returns how many; call it again while that is `limit`. It gives nobody a token.
        """
        seconds = convert(idle, timedelta, "idle").total_seconds()
        if not 0 <= seconds <= LONGEST_IDLE:
            raise InvalidInput(f"idle is between 0 and 30 years, not {idle}")
        return await self._scope.count(
            queries.rate_limits.purge_buckets, idle_seconds=seconds, limit=check_batch(limit)
        )

    async def purge_receipts(self, *, limit: int = DEFAULT_BATCH) -> int:
        """Delete up to `limit` receipts that are over an hour old, the oldest first.

        Under the worker login. Returns how many; call it again while that is `limit`.
        """
        return await self._scope.count(queries.rate_limits.purge_receipts, limit=check_batch(limit))

    async def purge_windows(self, *, before: datetime, limit: int = DEFAULT_BATCH) -> int:
        """Delete up to `limit` counts of minutes before a moment, the oldest first.

        Under the worker login. Returns how many; call it again while that is `limit`.
        """
        moment = convert(before, Moment, "before")
        return await self._scope.count(
            queries.rate_limits.purge_windows, before=moment, limit=check_batch(limit)
        )


def check_batch(limit: int) -> int:
    """The size of a batch, if it is between 1 and 100,000."""
    size: int = convert(limit, BatchSize, "limit")
    return size


def _endpoint_filter(endpoint: str | None) -> dict[str, Any]:
    return {} if endpoint is None else {"endpoint": convert(endpoint, Label, "endpoint")}
