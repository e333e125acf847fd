"""The front: the answers are the database's, and rules that it knows spare asking for them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from ground import as_superuser, nothing_stored
from limiting import SLOW, PutRule, let_pass

from clonedb import (
    Database,
    DatabaseClosed,
    InvalidInput,
    Limits,
    NotFound,
    RateLimitRuleKey,
    User,
    UserScope,
    new_id,
)
from clonedb.testing import IsolatedDatabase


class Clock:
    """A process's clock, that stands still until it is told."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


async def knows_the_rules(front: Limits) -> None:
    """Returns once the front has read the rules."""
    if front._rules.fresh() is None:
        await front._rules.close()  # which waits for the reading
    assert front._rules.fresh() is not None


async def test_users_and_addresses_have_what_their_rules_give(
    limits: Limits, ada: User, grace: User, rule: PutRule
) -> None:
    await rule("user", 2, SLOW)
    await rule("address", 1)
    for user in (ada, grace):
        mine = limits.of_user(user.id)
        answers = [await mine.take("talk") for _ in range(3)]
        assert [answer.allowed for answer in answers] == [True, True, False]
        assert answers[2].rule == RateLimitRuleKey("user", "*", "*")
        assert answers[2].retry_after == pytest.approx(1_000, abs=60)
        assert [state.remaining for state in await mine.status("talk")] == pytest.approx(
            [0], abs=0.1
        )
    for address in ("192.0.2.1", "2001:db8::1"):
        assert (await limits.of_address(address).take("login")).allowed
    # The same hosts, by other names.
    for address in ("::ffff:192.0.2.1", "2001:0db8:0:0:ffff::1"):
        assert not (await limits.of_address(address).take("login")).allowed
        (state,) = await limits.of_address(address).status("login")
        assert state.remaining == 0


async def test_what_no_rule_concerns_is_admitted_without_asking(
    limits: Limits, ada: User, rule: PutRule, writes: Callable[[], int], migrated: IsolatedDatabase
) -> None:
    await rule("user", 1, endpoint="another")
    await rule("address", 1)
    mine = limits.of_user(ada.id)
    await knows_the_rules(limits)
    before = writes()
    with nothing_stored(migrated):
        for _ in range(50):
            decision = await mine.take("talk")
            assert (decision.allowed, decision.rule, decision.limit) == (True, None, None)
    assert writes() == before
    assert (await mine.take("another")).allowed
    assert not (await mine.take("another")).allowed
    assert writes() > before
    assert (await limits.of_address("192.0.2.1").take("talk")).limit == 1


async def test_a_cost_above_every_capacity_is_refused_without_asking(
    limits: Limits, ada: User, worker: Database, rule: PutRule, writes: Callable[[], int]
) -> None:
    await rule("user", 5, tier="free")
    await rule("user", 50, tier="pro")
    await rule("everybody", 20)
    mine = limits.of_user(ada.id)
    # Before the rules are known the database refuses.
    with pytest.raises(InvalidInput, match="cost 21 is more than the"):
        await mine.take("talk", cost=21)
    await knows_the_rules(limits)
    before = writes()
    with pytest.raises(InvalidInput, match="cost 21 is more than the 20 "):
        await mine.take("talk", cost=21)
    assert writes() == before
    # Her tier is not known here, so this one is the database's to refuse.
    with pytest.raises(InvalidInput, match=r"cost 6 is more than the 5 .*tier free"):
        await mine.take("talk", cost=6)
    await worker.users.set_tier(ada.id, "pro")
    assert (await mine.take("talk", cost=20)).allowed


async def test_a_change_of_rules_is_seen_by_every_process_within_a_second(
    app: Database, worker: Database, ada: User, rule: PutRule, migrated: IsolatedDatabase
) -> None:
    await rule("user", 1, endpoint="another")
    clock = Clock()
    async with (
        Database(migrated.dsn("clonedb_app")) as other,
        Limits(app, clock=clock) as here,
        Limits(other, clock=clock) as there,
    ):
        fronts = (here.of_user(ada.id), there.of_user(ada.id))
        for front in (here, there):
            await knows_the_rules(front)
        await rule("everybody", 1)
        clock.now += 0.999
        for front in fronts:  # what they know is this old, and says that nothing concerns her
            assert (await front.take("talk")).rule is None
        clock.now += 0.001
        answers = [(await front.take("talk")) for front in fronts]
        assert [answer.rule and answer.rule.scope for answer in answers] == ["everybody"] * 2
        assert [answer.allowed for answer in answers] == [True, False]


async def test_a_change_is_seen_within_a_second_of_the_real_clock(
    app: Database, ada: User, rule: PutRule, migrated: IsolatedDatabase
) -> None:
    await rule("user", 1, endpoint="another")
    async with (
        Database(migrated.dsn("clonedb_app")) as other,
        Limits(app) as here,
        Limits(other) as there,
    ):
        for front in (here, there):
            await knows_the_rules(front)
        await rule("everybody", 1_000)
        changed = asyncio.get_running_loop().time()
        for front in (here, there):
            async with asyncio.timeout_at(changed + 1.2):
                while (await front.of_user(ada.id).take("talk")).rule is None:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)


async def test_rules_that_are_out_of_date_admit_nobody_more(
    app: Database, ada: User, rule: PutRule
) -> None:
    await rule("user", 100)
    async with Limits(app, clock=Clock()) as front:  # for which no second ever passes
        await knows_the_rules(front)
        await rule("user", 5)
        answers = await asyncio.gather(*(front.of_user(ada.id).take("talk") for _ in range(20)))
        assert sum(answer.allowed for answer in answers) == 5
        await rule("endpoint", 2, endpoint="talk 2")
        await rule("user", 100, endpoint="talk 2")
        answers = await asyncio.gather(*(front.of_user(ada.id).take("talk 2") for _ in range(20)))
        assert sum(answer.allowed for answer in answers) == 2


async def test_rules_that_cannot_be_read_are_no_reason_to_fail(
    app: Database, worker: Database, ada: User, rule: PutRule, migrated: IsolatedDatabase
) -> None:
    await rule("user", 2)
    with as_superuser(migrated) as superuser:
        superuser.execute("REVOKE SELECT ON clonedb.rate_limit_rules FROM clonedb_app")
    async with Limits(app) as front:
        answers = [await front.of_user(ada.id).take("talk") for _ in range(3)]
    assert [answer.allowed for answer in answers] == [True, True, False]


async def test_peek_says_what_take_would_and_takes_and_counts_nothing(
    limits: Limits, ada: User, rule: PutRule, migrated: IsolatedDatabase
) -> None:
    await rule("user", 10, SLOW)
    await rule("address", 1)
    mine, theirs = limits.of_user(ada.id), limits.of_address("192.0.2.1")
    for cost in (1, 4, 5, 2):
        with nothing_stored(migrated):
            peeked = await mine.peek("talk", cost=cost)
            assert (await theirs.peek("talk")).allowed
        taken = await mine.take("talk", cost=cost)
        assert peeked.allowed == taken.allowed == (cost != 2)
        assert peeked.rule == taken.rule
        assert peeked.remaining == pytest.approx(taken.remaining, abs=0.01)
        assert peeked.retry_after == pytest.approx(taken.retry_after, abs=1)
    assert (await theirs.take("talk")).allowed
    assert not (await theirs.peek("talk")).allowed
    with pytest.raises(InvalidInput, match="cost 11"):
        await mine.peek("talk", cost=11)
    with pytest.raises(NotFound):
        await limits.of_user(new_id()).peek("talk")


async def test_whoever_waits_as_told_is_admitted(
    limits: Limits, ada: User, rule: PutRule, migrated: IsolatedDatabase
) -> None:
    await rule("user", 7, SLOW / 3)
    mine = limits.of_user(ada.id)
    assert (await mine.take("talk", cost=7)).allowed
    denied = await mine.take("talk", cost=5)
    assert denied.retry_after is not None
    let_pass(migrated, denied.retry_after)
    assert (await mine.take("talk", cost=5)).allowed


async def test_bad_input_is_refused_and_nothing_is_stored(
    limits: Limits, app: Database, ada: User, migrated: IsolatedDatabase
) -> None:
    mine, theirs = limits.of_user(ada.id), limits.of_address("192.0.2.1")
    wrong: Any
    with nothing_stored(migrated):
        for of in (mine, theirs):
            for wrong in (0, -1, float("nan"), float("inf"), 1e10, True, "1", None, [1]):
                for call in (of.take, of.peek):
                    with pytest.raises(InvalidInput, match="cost"):
                        await call("talk", cost=wrong)
            for wrong in ("", "*", "x" * 201, "nul\0", "\ud800", 5, None, b"talk"):
                for call in (of.take, of.peek, of.status):
                    with pytest.raises(InvalidInput, match="endpoint"):
                        await call(wrong)
            for wrong in (None, True, new_id()):
                with pytest.raises(InvalidInput, match="decision"):
                    await of.refund(wrong)
        for wrong in ("", "nobody", 5, None):
            with pytest.raises(InvalidInput, match="user_id"):
                limits.of_user(wrong)
            with pytest.raises(InvalidInput, match="address"):
                limits.of_address(wrong)
        for wrong in (-1, 61, float("nan"), "1", None):
            with pytest.raises(InvalidInput, match="remember_denials"):
                Limits(app, remember_denials=wrong)


async def test_a_user_who_is_not_there_is_told_so(
    limits: Limits, migrated: IsolatedDatabase, rule: PutRule
) -> None:
    await rule("user", 5)
    with nothing_stored(migrated), pytest.raises(NotFound):
        await limits.of_user(new_id()).take("talk")


async def test_after_closing_nothing_is_taken(
    app: Database, as_ada: UserScope, ada: User, rule: PutRule
) -> None:
    await rule("user", 10)
    front = Limits(app)
    mine = front.of_user(ada.id)
    asked = [asyncio.ensure_future(mine.take("talk")) for _ in range(3)]
    await asyncio.sleep(0)
    await front.close()
    assert [(await answer).allowed for answer in asked] == [True] * 3
    with pytest.raises(DatabaseClosed):
        await mine.take("talk")
    assert (await as_ada.rate_limits.status("talk"))[0].remaining == 7
