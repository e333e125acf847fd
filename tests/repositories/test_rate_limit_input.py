"""Rate limits: bad input is refused with the name of the field, and nothing is stored."""

from __future__ import annotations

from collections.abc import Awaitable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg
import pytest
import pytest_asyncio
from ground import as_superuser, nothing_stored
from limiting import PutRule, let_pass, without_rules

from clonedb import (
    ClonedbError,
    Database,
    InvalidInput,
    NewRateLimitRule,
    NewUser,
    NotFound,
    RateLimitFilter,
    RateLimitPeriod,
    User,
    UserScope,
    new_id,
)
from clonedb.testing import IsolatedDatabase

NAN, INFINITY = float("nan"), float("inf")

NOT_COSTS = (0, -1, -0.5, NAN, INFINITY, -INFINITY, 1_000_000_001, True, "1", None, [1])
NOT_ENDPOINTS = ("", "*", "x" * 201, "nul\0here", "lone \ud800 surrogate", 5, None, b"talk")
NOT_ADDRESSES = (
    "",
    "nowhere",
    "192.0.2",
    "192.0.2.256",
    "192.0.2.1/24",
    "192.0.2.1 ",
    "192.0.2.01",
    "2001:db8::1%eth0",
    "2001:db8:::1",
    "example.com",
    "192.0.2.1\0",
    "\ud800",
    "1" * 100_000,
    3_221_225_985,
    True,
    None,
    b"\xc0\x00\x02\x01",
)


@pytest_asyncio.fixture
async def rule(worker: Database) -> PutRule:
    """Stores a rule; there are no others."""
    return await without_rules(worker)


async def test_bad_costs_endpoints_and_addresses_are_refused_and_nothing_is_stored(
    as_ada: UserScope, app: Database, migrated: IsolatedDatabase
) -> None:
    attempts: list[tuple[str, Awaitable[Any]]] = []
    for cost in NOT_COSTS:
        attempts.append(("cost", as_ada.rate_limits.take("talk", cost=cost)))  # type: ignore[arg-type]
        attempts.append(
            ("cost", app.rate_limits.take("talk", address="192.0.2.1", cost=cost))  # type: ignore[arg-type]
        )
    for name in NOT_ENDPOINTS:
        endpoint: Any = name
        attempts.append(("endpoint", as_ada.rate_limits.take(endpoint)))
        attempts.append(("endpoint", as_ada.rate_limits.status(endpoint)))
        attempts.append(("endpoint", app.rate_limits.take(endpoint, address="192.0.2.1")))
    for wrong in NOT_ADDRESSES:
        address: Any = wrong
        attempts.append(("address", app.rate_limits.take("login", address=address)))
        attempts.append(("address", app.rate_limits.status("login", address=address)))
        attempts.append(("address", app.rate_limits.reset(address=address)))
    with nothing_stored(migrated):
        for named, attempt in attempts:
            with pytest.raises(InvalidInput, match=named) as refused:
                await attempt
            assert len(str(refused.value)) < 400


async def test_a_cost_above_the_capacity_is_refused_as_one_that_never_fits(
    as_ada: UserScope, rule: PutRule, migrated: IsolatedDatabase
) -> None:
    await rule("user", 60, 1)
    await rule("everybody", 10, 1)
    with (
        nothing_stored(migrated),
        pytest.raises(InvalidInput, match=r"cost 11 is more than the 10 .* for everybody"),
    ):
        await as_ada.rate_limits.take("talk", cost=11)
    assert (await as_ada.rate_limits.take("talk", cost=10)).allowed


NOT_ARGUMENTS: tuple[tuple[tuple[Any, ...], bool], ...] = (
    (("talk", [0.0], [1], None, None), True),
    (("talk", [-5.0], [1], None, None), True),
    (("talk", [NAN], [1], None, None), True),
    (("talk", [INFINITY], [1], None, None), True),
    (("talk", [None], [1], None, None), True),
    (("talk", [1.0, 0.0], [1, 1], None, None), True),
    (("talk", [1.0], [0], None, None), True),
    (("talk", [1.0], [-1], None, None), True),
    (("talk", [1.0], [None], None, None), True),
    (("talk", [1.0], [1_000_001], None, None), True),
    (("talk", [1.0], [1, 1], None, None), True),
    (("talk", [1.0], None, None, None), True),
    (("talk", [1.0], [1], [None, None], None), True),
    ((None, [1.0], [1], None, None), True),
    (("", [1.0], [1], None, None), True),
    (("*", [1.0], [1], None, None), True),
    (("x" * 201, [1.0], [1], None, None), True),
    (("talk", [1.0], [1], None, None), False),
    (("talk", [1.0], [1], None, "nowhere"), False),
)


def test_the_function_itself_refuses_what_the_library_would_not_send(
    migrated: IsolatedDatabase, ada: User
) -> None:
    with nothing_stored(migrated), psycopg.connect(migrated.dsn("clonedb_app")) as connection:
        for arguments, acting in NOT_ARGUMENTS:
            connection.execute(
                "SELECT set_config('clonedb.user_id', %s, true)", [str(ada.id) if acting else ""]
            )
            with pytest.raises(psycopg.DataError):
                connection.execute(
                    "SELECT * FROM clonedb.take_tokens("
                    "%s, %s::float8[], %s::integer[], %s::uuid[], %s)",
                    arguments,
                )
            connection.rollback()


NOT_RULES: tuple[dict[str, Any], ...] = (
    {"scope": "planet"},
    {"tier": "gold"},
    {"scope": "everybody", "tier": "pro"},
    {"endpoint": ""},
    {"endpoint": "x" * 201},
    {"endpoint": "nul\0"},
    {"capacity": 0},
    {"capacity": 0.5},
    {"capacity": -1},
    {"capacity": NAN},
    {"capacity": INFINITY},
    {"capacity": 1e10},
    {"capacity": True},
    {"refill_per_second": -1},
    {"refill_per_second": NAN},
    {"refill_per_second": 1e-10},
    {"refill_per_second": 1e10},
)


async def test_a_bad_rule_is_refused(worker: Database, migrated: IsolatedDatabase) -> None:
    given: dict[str, Any] = {"scope": "user", "capacity": 10, "refill_per_second": 1}
    with nothing_stored(migrated):
        for wrong in NOT_RULES:
            with pytest.raises(InvalidInput, match=next(reversed(wrong))):
                await worker.rate_limit_rules.put(NewRateLimitRule(**given | wrong))


async def test_bad_batches_and_bounds_are_refused(
    worker: Database, as_ada: UserScope, migrated: IsolatedDatabase
) -> None:
    now = datetime.now(UTC)
    with nothing_stored(migrated):
        for limit in (0, -1, 100_001, 1.5, True, None):
            number: Any = limit
            for attempt in (
                worker.rate_limits.purge_buckets(limit=number),
                worker.rate_limits.purge_windows(before=now, limit=number),
            ):
                with pytest.raises(InvalidInput, match="limit"):
                    await attempt
        for idle in (timedelta(seconds=-1), timedelta(days=20_000), 5, None):
            duration: Any = idle
            with pytest.raises(InvalidInput, match="idle"):
                await worker.rate_limits.purge_buckets(idle=duration)
        for moment in (now.replace(tzinfo=None), "yesterday", 5):
            before: Any = moment
            with pytest.raises(InvalidInput, match="before"):
                await worker.rate_limits.purge_windows(before=before)
            with pytest.raises(InvalidInput, match="window_from"):
                await as_ada.rate_limits.find_many(RateLimitFilter(window_from=before))
            with pytest.raises(InvalidInput, match="window_before"):
                await as_ada.rate_limits.statistics(RateLimitPeriod(window_before=before))


async def test_a_user_who_is_not_there_is_told_so_and_counts_nowhere(
    app: Database, worker: Database, migrated: IsolatedDatabase
) -> None:
    deleted: UUID = (await worker.users.create(NewUser(email="gone@example.com"))).id
    await worker.users.delete(deleted)
    for login in (app, worker):
        for user in (new_id(), deleted):
            limits = login.as_user(user).rate_limits
            with nothing_stored(migrated):
                with pytest.raises(NotFound):
                    await limits.take("talk")
                assert await limits.status("talk") == []


async def test_the_extremes_of_a_rule_overflow_nothing(
    as_ada: UserScope, rule: PutRule, migrated: IsolatedDatabase
) -> None:
    for capacity, refill in ((1e9, 1e9), (1e9, 1e-9), (1, 1e-9), (1, 1e9)):
        await rule("user", capacity, refill)
        decision = await as_ada.rate_limits.take("talk", cost=1)
        assert decision.allowed
        again = await as_ada.rate_limits.take("talk", cost=capacity)
        assert again.retry_after is not None
        await as_ada.rate_limits.status("talk")
        let_pass(migrated, 1e9)
        try:
            await as_ada.rate_limits.take("talk", cost=1)
        except ClonedbError as error:
            pytest.fail(str(error))
        with as_superuser(migrated) as connection:
            connection.execute("DELETE FROM clonedb.rate_limit_buckets")
