"""Rate limits: token buckets of users, endpoints, addresses and everybody, and their counts."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, Final
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, UnsetType

from clonedb import queries
from clonedb.errors import InvalidInput, NotFound
from clonedb.ids import new_id
from clonedb.pages import DEFAULT_LIMIT, Page, filter_arguments, find_page
from clonedb.repositories.rate_limit_decisions import (
    ANYTHING,
    RateLimitDecision,
    RateLimitStatus,
    TokenLook,
    TokenRequest,
    decisions_of,
    preview,
    refuse_too_costly,
    runs_of,
)
from clonedb.validation import Label, Moment, convert

if TYPE_CHECKING:
    from clonedb.scope import Scope

Address = str | ipaddress.IPv4Address | ipaddress.IPv6Address

# The tables' CHECKs have the same bound.
MOST_TOKENS: Final = 1_000_000_000
Tokens = Annotated[float, Meta(gt=0, le=MOST_TOKENS)]
_NUMBERS: Final = (int, float)  # by type, so that True is none
Denials = Annotated[int, Meta(ge=1, le=1_000_000_000)]
BatchSize = Annotated[int, Meta(ge=1, le=100_000)]

# Requests of one call: its arrays stay small, and the last of them waits no longer than the first.
MOST_REQUESTS: Final = 1_000

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
        return await _take(self._scope, endpoint, cost, refundable, None)

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
        return await _peek(self._scope, endpoint, cost, None)

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
        return await _status(self._scope, endpoint, None)

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
        return await _take(self._scope, endpoint, cost, refundable, check_address(address))

    async def take_many(
        self, endpoint: str, requests: Sequence[TokenRequest], *, address: Address
    ) -> list[RateLimitDecision]:
        """Take tokens for up to 1,000 requests of an address in one call; see a user's."""
        checked = check_requests(requests)
        return await take_many(self._scope, endpoint, checked, check_address(address))

    async def peek(self, endpoint: str, *, address: Address, cost: float = 1) -> RateLimitDecision:
        """What `take` would decide now; takes nothing, and raises the same."""
        return await _peek(self._scope, endpoint, cost, check_address(address))

    async def refund(self, decision: RateLimitDecision) -> bool:
        """Give back what a refundable request of an address has taken; see a user's."""
        return await refund(self._scope, decision)

    async def status(self, endpoint: str, *, address: Address) -> list[RateLimitStatus]:
        """What is left under each rule, from the narrowest scope to the widest; takes nothing."""
        return await _status(self._scope, endpoint, check_address(address))

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


def check_address(address: Address) -> str:
    """The address in the form that the database reads; InvalidInput for what is none."""
    if not isinstance(address, str | ipaddress.IPv4Address | ipaddress.IPv6Address):
        raise InvalidInput(f"address must be an IP address, not {type(address).__name__}")
    try:
        known = ipaddress.ip_address(address)
    except ValueError:
        raise InvalidInput(f"address is no IP address: {str(address)[:64]!r}") from None
    if isinstance(known, ipaddress.IPv6Address) and known.scope_id is not None:
        # The zone names an interface of one host and says nothing about who calls.
        raise InvalidInput(f"address has a zone, which only its own host knows: {known}")
    return str(known)


def check_endpoint(endpoint: str) -> str:
    """The endpoint, if it is a text of 1 to 200 characters and not `*`."""
    name: str = convert(endpoint, Label, "endpoint")
    if name == ANYTHING:
        raise InvalidInput("endpoint is *, which stands for all of them: name the one")
    return name


def check_cost(cost: float) -> float:
    """The cost, if it is above 0 and at most 1,000,000,000."""
    if type(cost) in _NUMBERS and 0 < cost <= MOST_TOKENS:
        return float(cost)
    amount: float = convert(cost, Tokens, "cost")
    return amount


def check_requests(requests: Sequence[TokenRequest]) -> list[TokenRequest]:
    """The requests, if there are 1 to 1,000, with costs and receipts that are such."""
    if not 0 < len(requests) <= MOST_REQUESTS:
        raise InvalidInput(f"requests are 1 to {MOST_REQUESTS:,}, not {len(requests):,}")
    return [
        TokenRequest(check_cost(cost), receipt and convert(receipt, UUID, "receipt"))
        for cost, receipt in requests
    ]


def check_batch(limit: int) -> int:
    """The size of a batch, if it is between 1 and 100,000."""
    size: int = convert(limit, BatchSize, "limit")
    return size


def _endpoint_filter(endpoint: str | None) -> dict[str, Any]:
    return {} if endpoint is None else {"endpoint": convert(endpoint, Label, "endpoint")}


async def _take(
    scope: Scope, endpoint: str, cost: float, refundable: bool, address: str | None
) -> RateLimitDecision:
    request = TokenRequest(check_cost(cost), new_id() if refundable else None)
    (decision,) = await take_many(scope, endpoint, (request,), address)
    refuse_too_costly(decision, request.cost)
    return decision


async def take_many(
    scope: Scope, endpoint: str, requests: Sequence[TokenRequest], address: str | None
) -> list[RateLimitDecision]:
    """Takes for checked requests; raises NotFound for a user who does not exist."""
    runs = runs_of(requests)
    receipts = [run.receipt for run in runs]
    look = await scope.one(
        queries.rate_limits.take,
        TokenLook,
        endpoint=check_endpoint(endpoint),
        costs=[run.cost for run in runs],
        counts=[run.length for run in runs],
        receipts=receipts if any(receipts) else None,
        address=address,
    )
    return decisions_of(*_of_somebody(look, scope), runs)


async def refund(scope: Scope, decision: RateLimitDecision) -> bool:
    """Whether a decision's tokens were given back."""
    if not isinstance(decision, RateLimitDecision):
        raise InvalidInput(f"a decision of take is needed, not {type(decision).__name__}")
    if decision.receipt is None:
        raise InvalidInput(
            "the decision has no receipt", remedy="take with refundable=True what may be given back"
        )
    receipt = convert(decision.receipt, UUID, "receipt")
    return bool(await scope.value(queries.rate_limits.refund, receipt=receipt))


async def _peek(scope: Scope, endpoint: str, cost: float, address: str | None) -> RateLimitDecision:
    amount = check_cost(cost)
    decision = preview(*_of_somebody(await _look(scope, endpoint, address), scope), amount)
    refuse_too_costly(decision, amount)
    return decision


async def _status(scope: Scope, endpoint: str, address: str | None) -> list[RateLimitStatus]:
    look = await _look(scope, endpoint, address)
    if look is None or (now := look.looked_at) is None:
        return []
    return [
        RateLimitStatus(
            bucket.rule,
            bucket.capacity,
            bucket.refill,
            bucket.tokens,
            bucket.full_at(bucket.tokens, now),
        )
        for bucket in look.buckets()
    ]


async def _look(scope: Scope, endpoint: str, address: str | None) -> TokenLook | None:
    return await scope.one(
        queries.rate_limits.look, TokenLook, endpoint=check_endpoint(endpoint), address=address
    )


def _of_somebody(look: TokenLook | None, scope: Scope) -> tuple[TokenLook, datetime]:
    if look is None or look.looked_at is None:
        raise NotFound(f"user {scope.user_id} does not exist")
    return look, look.looked_at
