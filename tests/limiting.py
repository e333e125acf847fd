"""What the tests of rate limits share: rules of their own, and time that passes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from ground import as_superuser

from clonedb import Database, NewRateLimitRule, UserScope
from clonedb.testing import IsolatedDatabase

SLOW = 0.001  # tokens in a second: what comes back while a test runs does not count

PutRule = Callable[..., Awaitable[None]]


async def without_rules(worker: Database) -> PutRule:
    """Removes every rule, and returns what stores one: scope, capacity and refill per second."""
    for known in await worker.rate_limit_rules.find_many():
        await worker.rate_limit_rules.delete(
            scope=known.scope, endpoint=known.endpoint, tier=known.tier
        )

    async def put(
        scope: Any, capacity: float, refill: float = 0, *, endpoint: str = "*", tier: Any = "*"
    ) -> None:
        await worker.rate_limit_rules.put(
            NewRateLimitRule(
                scope=scope,
                endpoint=endpoint,
                tier=tier,
                capacity=capacity,
                refill_per_second=refill,
            )
        )

    return put


def let_pass(database: IsolatedDatabase, seconds: float) -> None:
    """What the buckets see when so many seconds go by; below 0 when the clock goes back."""
    with as_superuser(database) as connection:
        connection.execute(
            "UPDATE clonedb.rate_limit_buckets SET refilled_at = refilled_at - %s * interval '1 s'",
            [seconds],
        )


def buckets(database: IsolatedDatabase) -> list[tuple[Any, ...]]:
    """Every bucket with the version of its row."""
    with as_superuser(database) as connection:
        return connection.execute(
            "SELECT scope, subject, endpoint, tokens, refilled_at, xmin::text, ctid::text "
            "FROM clonedb.rate_limit_buckets ORDER BY scope, user_id, subject, endpoint"
        ).fetchall()


async def taken(scope: UserScope, endpoint: str = "talk", cost: float = 1, most: int = 100) -> int:
    """How often the request is admitted before it is denied."""
    for number in range(most):
        if not (await scope.rate_limits.take(endpoint, cost=cost)).allowed:
            return number
    return most
