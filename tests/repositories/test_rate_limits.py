"""Rate limits: what a bucket gives, which rules count, and what is told about it."""

from __future__ import annotations

import ipaddress
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
import pytest_asyncio
from ground import as_superuser
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from limiting import SLOW, PutRule, buckets, let_pass, taken, without_rules

from clonedb import (
    Database,
    PermissionDenied,
    RateLimitRuleKey,
    User,
    UserScope,
    new_id,
)
from clonedb.testing import IsolatedDatabase


@pytest_asyncio.fixture
async def rule(worker: Database) -> PutRule:
    """Stores a rule; there are no others."""
    return await without_rules(worker)


# What a bucket gives.


async def test_a_bucket_gives_its_capacity_and_then_denies(
    as_ada: UserScope, rule: PutRule
) -> None:
    await rule("user", 3, SLOW)
    for left in (2, 1, 0):
        admitted = await as_ada.rate_limits.take("talk")
        assert admitted.allowed
        assert admitted.rule == RateLimitRuleKey("user", "*", "*")
        assert admitted.limit == 3
        assert admitted.remaining == pytest.approx(left, abs=0.1)
        assert admitted.retry_after == 0
    denied = await as_ada.rate_limits.take("talk")
    assert not denied.allowed
    assert denied.rule == RateLimitRuleKey("user", "*", "*")
    assert denied.retry_after == pytest.approx(1000, abs=60)
    assert denied.reset_at is not None
    assert denied.reset_at - datetime.now(UTC) == pytest.approx(
        timedelta(seconds=3000), abs=timedelta(seconds=60)
    )


async def test_tokens_come_back_with_time_up_to_the_capacity(
    as_ada: UserScope, rule: PutRule, migrated: IsolatedDatabase
) -> None:
    await rule("user", 10, SLOW)
    assert await taken(as_ada) == 10
    let_pass(migrated, 4_000)
    assert await taken(as_ada) == 4
    let_pass(migrated, 1_000_000)
    assert await taken(as_ada) == 10


async def test_fractions_of_a_token_are_kept(
    as_ada: UserScope, rule: PutRule, migrated: IsolatedDatabase
) -> None:
    await rule("user", 10, SLOW)
    assert await taken(as_ada, cost=0.5) == 20
    for _ in range(4):  # a token in four pieces, each looked at and none lost
        let_pass(migrated, 250)
        admitted = (await as_ada.rate_limits.take("talk", cost=1)).allowed
    assert admitted


async def test_whoever_waits_as_told_is_admitted(
    as_ada: UserScope, rule: PutRule, migrated: IsolatedDatabase
) -> None:
    await rule("user", 7, SLOW / 3)
    await taken(as_ada)
    denied = await as_ada.rate_limits.take("talk", cost=5)
    assert denied.retry_after is not None
    let_pass(migrated, denied.retry_after)
    assert (await as_ada.rate_limits.take("talk", cost=5)).allowed


async def test_without_refill_what_is_taken_is_gone_until_a_reset(
    as_ada: UserScope, rule: PutRule, worker: Database, ada: User, migrated: IsolatedDatabase
) -> None:
    await rule("user", 2, 0)
    assert await taken(as_ada) == 2
    let_pass(migrated, 10_000_000)
    denied = await as_ada.rate_limits.take("talk")
    assert (denied.allowed, denied.retry_after, denied.reset_at) == (False, None, None)
    assert await worker.as_user(ada.id).rate_limits.reset() == 1
    assert await taken(as_ada) == 2


async def test_a_clock_that_goes_back_gives_nothing_and_takes_nothing(
    as_ada: UserScope, rule: PutRule, migrated: IsolatedDatabase
) -> None:
    await rule("user", 10, SLOW)
    assert (await as_ada.rate_limits.take("talk", cost=6)).allowed
    let_pass(migrated, -3_600)
    before = buckets(migrated)[0]
    admitted = await as_ada.rate_limits.take("talk")
    assert admitted.remaining == pytest.approx(3, abs=0.001)
    assert buckets(migrated)[0][4] == before[4]  # so that no second is paid twice
    assert await taken(as_ada) == 3
    denied = await as_ada.rate_limits.take("talk")
    assert denied.retry_after == pytest.approx(3_600 + 1_000, abs=60)


async def test_a_change_of_capacity_or_refill_counts_from_the_next_call_on(
    as_ada: UserScope, rule: PutRule, migrated: IsolatedDatabase
) -> None:
    await rule("user", 100, SLOW)
    await as_ada.rate_limits.take("talk")
    await rule("user", 5, SLOW)
    assert await taken(as_ada) == 5
    await rule("user", 1_000, SLOW)
    assert await taken(as_ada) == 0  # a larger bucket is not a fuller one
    let_pass(migrated, 1_000)
    await rule("user", 1_000, SLOW * 20)
    assert await taken(as_ada) == 20


@pytest.mark.parametrize("cost", [1, 2.5])
async def test_the_cost_is_what_a_request_takes(
    as_ada: UserScope, rule: PutRule, cost: float
) -> None:
    await rule("user", 10)
    assert await taken(as_ada, cost=cost) == 10 / cost


async def test_a_request_that_no_rule_concerns_is_admitted(
    as_ada: UserScope, rule: PutRule
) -> None:
    await rule("user", 1, endpoint="another")
    decision = await as_ada.rate_limits.take("talk")
    assert (decision.allowed, decision.rule, decision.limit, decision.remaining) == (
        True,
        None,
        None,
        None,
    )
    assert await as_ada.rate_limits.status("talk") == []


Steps = st.lists(
    st.one_of(
        st.tuples(st.just("take"), st.integers(1, 12), st.integers(1, 4)),
        st.tuples(st.just("wait"), st.integers(0, 30), st.just(0)),
    ),
    max_size=25,
)


@given(steps=Steps, capacity=st.integers(6, 12), refill=st.integers(0, 3))
@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_a_bucket_is_what_its_definition_says(
    migrated: IsolatedDatabase, steps: list[tuple[str, int, int]], capacity: int, refill: int
) -> None:
    # Half tokens, and 500 seconds for each step of time: what really goes by is far below that.
    user = new_id()
    tokens = capacity * 2
    with (
        as_superuser(migrated) as superuser,
        psycopg.connect(migrated.dsn("clonedb_app"), autocommit=True) as app,
    ):
        superuser.execute(
            "INSERT INTO clonedb.users (id, email) VALUES (%s, %s)", [user, f"{user}@example.com"]
        )
        superuser.execute("DELETE FROM clonedb.rate_limit_rules")
        superuser.execute("DELETE FROM clonedb.rate_limit_buckets")
        superuser.execute(
            "INSERT INTO clonedb.rate_limit_rules VALUES ('*', 'user', '*', %s, %s)",
            [capacity, refill * SLOW],
        )
        app.execute("SELECT set_config('clonedb.user_id', %s, false)", [str(user)])
        for step, amount, together in steps:
            if step == "wait":
                superuser.execute(
                    "UPDATE clonedb.rate_limit_buckets "
                    "SET refilled_at = refilled_at - %s * interval '500 s'",
                    [amount],
                )
                tokens = min(capacity * 2, tokens + refill * amount)
                continue
            row = app.execute(
                "SELECT granted, tokens "
                "FROM clonedb.take_tokens('talk', ARRAY[%s]::float8[], ARRAY[%s], NULL, NULL)",
                [amount / 2, together],
            ).fetchone()
            assert row is not None
            assert row[0] == [min(together, tokens // amount)]
            assert tokens / 2 <= row[1][0] < tokens / 2 + 0.25
            tokens -= row[0][0] * amount


# Which rules count.


@pytest.mark.parametrize(
    ("endpoint", "tier", "expected"),
    [
        ("talk", "free", RateLimitRuleKey("user", "talk", "free")),
        ("talk", "pro", RateLimitRuleKey("user", "talk", "*")),
        ("search", "pro", RateLimitRuleKey("user", "*", "pro")),
        ("search", "enterprise", RateLimitRuleKey("user", "*", "*")),
    ],
)
async def test_the_rule_of_the_endpoint_goes_before_the_one_of_the_tier(
    as_ada: UserScope,
    rule: PutRule,
    worker: Database,
    ada: User,
    endpoint: str,
    tier: Any,
    expected: RateLimitRuleKey,
) -> None:
    await worker.users.set_tier(ada.id, tier)
    await rule("user", 10)
    await rule("user", 20, tier="pro")
    await rule("user", 30, endpoint="talk")
    await rule("user", 40, endpoint="talk", tier="free")
    assert (await as_ada.rate_limits.take(endpoint)).rule == expected
    assert [state.rule for state in await as_ada.rate_limits.status(endpoint)] == [expected]


async def test_endpoints_without_a_rule_share_the_users_bucket_and_others_have_their_own(
    as_ada: UserScope, rule: PutRule
) -> None:
    await rule("user", 5)
    await rule("user", 2, endpoint="talk")
    assert await taken(as_ada, "talk") == 2
    assert await taken(as_ada, "search", most=3) == 3
    assert await taken(as_ada, "upload") == 2


async def test_every_endpoint_has_a_bucket_that_all_users_share(
    as_ada: UserScope, as_grace: UserScope, rule: PutRule
) -> None:
    await rule("endpoint", 3)
    assert await taken(as_ada, "talk", most=2) == 2
    assert await taken(as_grace, "talk") == 1
    assert await taken(as_grace, "search") == 3


async def test_a_request_takes_from_all_of_its_buckets_or_from_none(
    as_ada: UserScope, rule: PutRule, migrated: IsolatedDatabase
) -> None:
    await rule("user", 10)
    await rule("endpoint", 7)
    await rule("everybody", 2)
    for _ in range(2):
        admitted = await as_ada.rate_limits.take("talk")
        assert admitted.rule is not None
        assert admitted.rule.scope == "everybody"  # it has least left
    before = buckets(migrated)
    assert [(row[0], row[3]) for row in before] == [("endpoint", 5), ("everybody", 0), ("user", 8)]
    denied = await as_ada.rate_limits.take("talk")
    assert (denied.allowed, denied.rule) == (False, RateLimitRuleKey("everybody", "*", "*"))
    assert buckets(migrated) == before


async def test_a_denial_names_the_rule_to_wait_longest_for(
    as_ada: UserScope, rule: PutRule
) -> None:
    await rule("user", 3, SLOW)
    await rule("endpoint", 3, SLOW / 10)
    await rule("everybody", 10)
    assert await taken(as_ada) == 3
    denied = await as_ada.rate_limits.take("talk")
    assert denied.rule is not None
    assert denied.rule.scope == "endpoint"
    assert denied.retry_after == pytest.approx(10_000, abs=600)
    # Never is longer than anything.
    await rule("user", 3, 0)
    denied = await as_ada.rate_limits.take("talk")
    assert (denied.rule and denied.rule.scope, denied.retry_after) == ("user", None)


async def test_a_denial_changes_no_bucket_and_waits_for_none(
    as_ada: UserScope, rule: PutRule, migrated: IsolatedDatabase
) -> None:
    await rule("user", 2)
    await rule("everybody", 100)
    await taken(as_ada)
    before = buckets(migrated)
    with as_superuser(migrated) as holder, holder.transaction():
        holder.execute("SELECT FROM clonedb.rate_limit_buckets FOR UPDATE")
        denied = await as_ada.within(5).rate_limits.take("talk")
        assert not denied.allowed
        assert len(await as_ada.within(5).rate_limits.status("talk")) == 2
    after = buckets(migrated)
    assert after == before


async def test_status_says_what_a_request_would_find_and_takes_nothing(
    as_ada: UserScope, rule: PutRule, migrated: IsolatedDatabase
) -> None:
    await rule("everybody", 50, SLOW)
    await rule("user", 4, SLOW)
    for _ in range(2):
        states = await as_ada.rate_limits.status("talk")
        assert [(state.rule.scope, state.limit, state.remaining) for state in states] == [
            ("user", 4, 4),
            ("everybody", 50, 50),
        ]
    assert buckets(migrated) == []
    await as_ada.rate_limits.take("talk", cost=3)
    user, everybody = await as_ada.rate_limits.status("talk")
    assert user.remaining == pytest.approx(1, abs=0.1)
    assert everybody.remaining == pytest.approx(47, abs=0.1)
    assert user.refill_per_second == SLOW
    assert user.reset_at is not None
    assert user.reset_at > datetime.now(UTC)


# People who are not logged in.


async def test_an_address_has_a_bucket_and_a_user_none_by_address(
    app: Database, as_ada: UserScope, rule: PutRule
) -> None:
    await rule("address", 2)
    await rule("user", 3)
    for _ in range(2):
        admitted = await app.rate_limits.take("sign_up", address="192.0.2.1")
        assert admitted.rule == RateLimitRuleKey("address", "*", "*")
    assert not (await app.rate_limits.take("sign_up", address="192.0.2.1")).allowed
    assert (await app.rate_limits.take("sign_up", address="192.0.2.2")).allowed
    assert await taken(as_ada, "sign_up") == 3
    status = await app.rate_limits.status("sign_up", address="192.0.2.2")
    assert [(state.rule.scope, state.remaining) for state in status] == [("address", 1)]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "::ffff:192.0.2.1", True),
        ("192.0.2.1", ipaddress.ip_address("192.0.2.1"), True),
        ("2001:db8::1", "2001:0DB8:0:0::ffff", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("192.0.2.1", "192.0.2.2", False),
        ("::1", "127.0.0.1", False),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False),
    ],
)
async def test_addresses_of_one_host_share_a_bucket(
    app: Database, rule: PutRule, one: str, other: str, same: bool
) -> None:
    await rule("address", 1)
    assert (await app.rate_limits.take("login", address=one)).allowed
    assert (await app.rate_limits.take("login", address=other)).allowed is not same


async def test_an_address_is_reset_by_the_worker(
    app: Database, worker: Database, rule: PutRule
) -> None:
    await rule("address", 1)
    await rule("address", 1, endpoint="login")
    for address in ("2001:db8::1", "192.0.2.1"):
        for endpoint in ("login", "sign_up"):
            assert (await app.rate_limits.take(endpoint, address=address)).allowed
    assert await worker.rate_limits.reset(address="2001:db8::99", endpoint="login") == 1
    assert (await app.rate_limits.take("login", address="2001:db8::1")).allowed
    assert not (await app.rate_limits.take("sign_up", address="2001:db8::1")).allowed
    assert await worker.rate_limits.reset(address="192.0.2.1") == 2
    with pytest.raises(PermissionDenied):
        await app.rate_limits.reset(address="2001:db8::1")
