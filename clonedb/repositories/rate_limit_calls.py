"""The calls of both repositories of rate limits: by user, and by address where there is none."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Final
from uuid import UUID

from msgspec import Meta

from clonedb import queries
from clonedb.errors import InvalidInput, NotFound
from clonedb.ids import new_id
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
from clonedb.validation import Label, convert

if TYPE_CHECKING:
    from clonedb.scope import Scope

Address = str | ipaddress.IPv4Address | ipaddress.IPv6Address

# The domain of tokens has the same bound.
MOST_TOKENS: Final = 1_000_000_000
Tokens = Annotated[float, Meta(gt=0, le=MOST_TOKENS)]
_NUMBERS: Final = (int, float)  # by type, so that True is none

# Requests of one call: its arrays stay small, and the last of them waits no longer than the first.
MOST_REQUESTS: Final = 1_000


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


async def take(
    scope: Scope, endpoint: str, cost: float, refundable: bool, address: str | None
) -> RateLimitDecision:
    """The decision over one request; raises NotFound and InvalidInput."""
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


async def peek(scope: Scope, endpoint: str, cost: float, address: str | None) -> RateLimitDecision:
    """The decision that a request would have now."""
    amount = check_cost(cost)
    decision = preview(*_of_somebody(await _look(scope, endpoint, address), scope), amount)
    refuse_too_costly(decision, amount)
    return decision


async def status(scope: Scope, endpoint: str, address: str | None) -> list[RateLimitStatus]:
    """What is left under each rule; empty for a user who does not exist."""
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
