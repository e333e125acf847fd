"""Refunds: what was taken comes back once, to whom it was taken from, and mints no token."""

from __future__ import annotations

import asyncio

import msgspec
import psycopg
import pytest
from ground import as_superuser
from limiting import SLOW, PutRule, let_pass, taken

from clonedb import Database, InvalidInput, Limits, User, UserScope, new_id
from clonedb.testing import IsolatedDatabase


async def left(scope: UserScope) -> dict[str, float]:
    return {state.rule.scope: state.remaining for state in await scope.rate_limits.status("talk")}


async def test_a_refund_gives_back_to_every_bucket_what_was_taken_once(
    limits: Limits, as_ada: UserScope, ada: User, rule: PutRule
) -> None:
    for scope in ("user", "endpoint", "everybody"):
        await rule(scope, 10)
    mine = limits.of_user(ada.id)
    decision = await mine.take("talk", cost=4, refundable=True)
    assert await left(as_ada) == {"user": 6, "endpoint": 6, "everybody": 6}
    assert await mine.refund(decision)
    assert await left(as_ada) == {"user": 10, "endpoint": 10, "everybody": 10}
    assert (await mine.take("talk", cost=10)).allowed
    assert not await mine.refund(decision)
    assert await left(as_ada) == {"user": 0, "endpoint": 0, "everybody": 0}


async def test_an_address_is_given_back_too(limits: Limits, rule: PutRule) -> None:
    await rule("address", 3)
    theirs = limits.of_address("2001:db8::1")
    decision = await theirs.take("login", cost=3, refundable=True)
    assert not (await theirs.take("login")).allowed
    assert await limits.of_address("2001:db8::2").refund(decision)
    assert not await theirs.refund(decision)
    assert (await theirs.take("login", cost=3)).allowed


async def test_only_one_of_many_refunds_at_once_gives_back(
    limits: Limits, as_ada: UserScope, ada: User, rule: PutRule
) -> None:
    await rule("user", 10)
    mine = limits.of_user(ada.id)
    decision = await mine.take("talk", cost=2, refundable=True)
    assert (await mine.take("talk", cost=8)).allowed
    assert sum(await asyncio.gather(*(mine.refund(decision) for _ in range(30)))) == 1
    assert await left(as_ada) == {"user": 2}


async def test_a_refund_never_fills_above_the_capacity(
    limits: Limits, as_ada: UserScope, ada: User, rule: PutRule, migrated: IsolatedDatabase
) -> None:
    await rule("user", 10, SLOW)
    mine = limits.of_user(ada.id)
    decision = await mine.take("talk", cost=6, refundable=True)
    let_pass(migrated, 5_000)  # five of the six came back by themselves
    assert await mine.refund(decision)
    await rule("user", 100, SLOW)  # which shows what is stored
    assert await taken(as_ada) == 10
    # Nor above one that has become smaller.
    let_pass(migrated, 1_000_000)
    decision = await as_ada.rate_limits.take("talk", cost=60, refundable=True)
    await rule("user", 50, SLOW)
    assert await mine.refund(decision)
    assert await taken(as_ada) == 50


async def test_what_was_not_asked_for_to_be_refundable_is_not(
    limits: Limits, ada: User, rule: PutRule
) -> None:
    await rule("user", 1)
    mine = limits.of_user(ada.id)
    for decision in (
        await mine.take("talk"),
        await mine.take("talk", refundable=True),  # denied, so there is nothing to give back
    ):
        assert decision.receipt is None
        with pytest.raises(InvalidInput, match="no receipt"):
            await mine.refund(decision)


async def test_a_receipt_is_worth_nothing_to_others_invented_or_old(
    limits: Limits, ada: User, grace: User, rule: PutRule, migrated: IsolatedDatabase
) -> None:
    await rule("user", 5)
    await rule("address", 5)
    mine = limits.of_user(ada.id)
    decision = await mine.take("talk", cost=5, refundable=True)
    assert not await limits.of_user(grace.id).refund(decision)
    assert not await limits.of_address("192.0.2.1").refund(decision)
    assert not await mine.refund(msgspec.structs.replace(decision, receipt=new_id()))
    with as_superuser(migrated) as superuser:
        superuser.execute(
            "UPDATE clonedb.rate_limit_receipts SET taken_at = taken_at - interval '61 min'"
        )
    assert not await mine.refund(decision)
    assert not (await mine.take("talk")).allowed


async def test_a_receipt_says_nothing_about_its_cost(
    limits: Limits, as_ada: UserScope, ada: User, rule: PutRule
) -> None:
    await rule("user", 10)
    mine = limits.of_user(ada.id)
    assert (await mine.take("talk", cost=8)).allowed
    decision = await mine.take("talk", cost=2, refundable=True)
    forged = msgspec.structs.replace(decision, limit=1e9, remaining=1e9)
    assert await mine.refund(forged)
    assert await left(as_ada) == {"user": 2}


async def test_a_rule_that_came_later_is_not_given_what_it_did_not_take(
    limits: Limits, as_ada: UserScope, ada: User, rule: PutRule
) -> None:
    await rule("user", 10)
    mine = limits.of_user(ada.id)
    decision = await mine.take("talk", cost=4, refundable=True)
    await rule("user", 3, endpoint="talk")
    await rule("everybody", 10)
    assert (await mine.take("talk", cost=3)).allowed
    assert await mine.refund(decision)
    assert await left(as_ada) == {"user": 0, "everybody": 7}


async def test_refundable_requests_share_a_call_and_each_has_its_own_receipt(
    limits: Limits, as_ada: UserScope, ada: User, rule: PutRule
) -> None:
    await rule("user", 6)
    mine = limits.of_user(ada.id)
    decisions = await asyncio.gather(
        *(mine.take("talk", refundable=number % 2 == 0) for number in range(10))
    )
    assert [decision.allowed for decision in decisions] == [True] * 6 + [False] * 4
    receipts = [decision.receipt for decision in decisions]
    assert [receipt is not None for receipt in receipts] == [True, False] * 3 + [False] * 4
    assert len(set(receipts)) == 4
    assert await mine.refund(decisions[2])
    assert await left(as_ada) == {"user": 1}


async def test_taking_and_giving_back_at_once_mints_nothing(
    limits: Limits, as_ada: UserScope, ada: User, rule: PutRule
) -> None:
    await rule("user", 20)
    await rule("everybody", 20)
    mine = limits.of_user(ada.id)

    async def caller(number: int) -> int:
        kept = 0
        for turn in range(10):
            decision = await mine.take("talk", refundable=True)
            if decision.allowed and (number + turn) % 3:
                assert await mine.refund(decision)
                assert not await mine.refund(decision)
            else:
                kept += decision.allowed
        return kept

    kept = sum(await asyncio.gather(*(caller(number) for number in range(16))))
    assert kept <= 20
    assert await left(as_ada) == {"user": 20 - kept, "everybody": 20 - kept}


async def test_the_worker_purges_receipts_that_are_too_old(
    limits: Limits, worker: Database, ada: User, rule: PutRule, migrated: IsolatedDatabase
) -> None:
    await rule("user", 10)
    mine = limits.of_user(ada.id)
    old, new = [await mine.take("talk", refundable=True) for _ in range(2)]
    with as_superuser(migrated) as superuser:
        superuser.execute(
            "UPDATE clonedb.rate_limit_receipts SET taken_at = taken_at - interval '61 min' "
            "WHERE id = %s",
            [old.receipt],
        )
    assert await worker.rate_limits.purge_receipts() == 1
    assert await mine.refund(new)


def test_the_app_login_finds_no_receipt_to_give_back(migrated: IsolatedDatabase, ada: User) -> None:
    with psycopg.connect(migrated.dsn("clonedb_app")) as connection:
        for statement in (
            "SELECT id FROM clonedb.rate_limit_receipts",
            "UPDATE clonedb.rate_limit_receipts SET cost = 1000",
            "INSERT INTO clonedb.rate_limit_receipts (user_id) VALUES (clonedb.current_user_id())",
        ):
            connection.execute("SELECT set_config('clonedb.user_id', %s, true)", [str(ada.id)])
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement.encode())
            connection.rollback()
