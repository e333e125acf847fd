"""Callers of one process who share a call: as if each had come by itself, in order of arrival."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from typing import Any

import psycopg
import pytest
from ground import as_superuser, someone_waits_for_a_lock
from limiting import SLOW, PutRule, without_rules

from clonedb import (
    ClonedbError,
    Database,
    InvalidInput,
    Limits,
    NotFound,
    RateLimitDecision,
    TokenRequest,
    Unavailable,
    User,
    UserLimits,
    UserScope,
)
from clonedb.testing import IsolatedDatabase


async def together(mine: UserLimits, costs: Sequence[float]) -> list[Any]:
    """What callers are told who come in this order, all at once."""
    return await asyncio.gather(
        *(mine.take("talk", cost=cost) for cost in costs), return_exceptions=True
    )


async def test_64_callers_share_a_call_and_the_first_are_admitted(
    limits: Limits, as_ada: UserScope, ada: User, rule: PutRule, writes: Callable[[], int]
) -> None:
    await rule("user", 10)
    await rule("everybody", 100)
    before = writes()
    answers = await together(limits.of_user(ada.id), [1] * 64)
    assert writes() - before <= 2  # a call that finds its channel too busy is sent again
    assert [answer.allowed for answer in answers] == [True] * 10 + [False] * 54
    assert [answer.remaining for answer in answers] == [*range(9, -1, -1), *[0] * 54]
    (counted,) = await as_ada.rate_limits.statistics()
    assert (counted.request_count, counted.denied_count) == (10, 54)


async def test_callers_who_come_again_and_again_share_every_call(
    limits: Limits, ada: User, rule: PutRule, writes: Callable[[], int]
) -> None:
    await rule("user", 10)
    mine = limits.of_user(ada.id)
    await mine.take("talk")
    before = writes()

    async def caller() -> None:
        for _ in range(20):
            await mine.take("talk")

    await asyncio.gather(*(caller() for _ in range(64)))
    assert 20 <= writes() - before <= 25


async def test_the_answers_are_those_of_as_many_calls_one_after_another(
    limits: Limits, worker: Database, ada: User, grace: User, rule: PutRule
) -> None:
    await rule("user", 30, SLOW / 100)
    await rule("endpoint", 100, SLOW / 10_000)
    randomly = random.Random(7)
    one, other = worker.as_user(ada.id), limits.of_user(grace.id)
    for _ in range(12):
        costs = [randomly.choice((0.5, 1, 1, 3, 10, 29, 31)) for _ in range(20)]
        await worker.as_user(grace.id).rate_limits.reset()
        await one.rate_limits.reset()
        one_by_one = [await _one_by_one(one, cost) for cost in costs]
        await _fill_endpoints(worker)
        answers = await together(other, costs)
        for alone, shared in zip(one_by_one, answers, strict=True):
            assert type(alone) is type(shared)
            if isinstance(alone, RateLimitDecision):
                assert shared.allowed == alone.allowed
                assert shared.rule == alone.rule
                assert shared.remaining == pytest.approx(alone.remaining, abs=0.01)
                assert (shared.retry_after or 0) == pytest.approx(alone.retry_after or 0, rel=0.01)
        await _fill_endpoints(worker)


async def _one_by_one(scope: UserScope, cost: float) -> RateLimitDecision | ClonedbError:
    try:
        return await scope.rate_limits.take("talk", cost=cost)
    except InvalidInput as refused:
        return refused


async def _fill_endpoints(worker: Database) -> None:
    """What no method does: it would be everybody's."""
    connection = await psycopg.AsyncConnection.connect(worker.settings.dsn, autocommit=True)
    async with connection:
        await connection.execute("DELETE FROM clonedb.rate_limit_buckets WHERE scope = 'endpoint'")


async def test_who_comes_while_a_call_is_under_way_is_in_the_next_one_in_order(
    app: Database, ada: User, as_grace: UserScope, rule: PutRule, migrated: IsolatedDatabase
) -> None:
    await rule("user", 100)
    await rule("everybody", 6)
    async with Limits(app) as limits:
        mine = limits.of_user(ada.id)
        async with as_grace.transaction() as holder:
            assert (await holder.rate_limits.take("talk")).allowed
            first = [asyncio.ensure_future(mine.take("talk")) for _ in range(2)]
            await someone_waits_for_a_lock(migrated)
            later = [asyncio.ensure_future(mine.take("talk", cost=cost)) for cost in (2, 2, 1, 1)]
            await asyncio.sleep(0.05)
            assert not any(task.done() for task in (*first, *later))
        answers = await asyncio.gather(*first, *later)
    # Five were left: two for the first; of the others one of 2, no second one, and one of 1.
    assert [answer.allowed for answer in answers] == [True, True, True, False, True, False]


async def test_whoever_gives_up_before_it_is_sent_takes_nothing(
    limits: Limits, as_ada: UserScope, ada: User, rule: PutRule
) -> None:
    await rule("user", 3)
    mine = limits.of_user(ada.id)
    tasks = [asyncio.ensure_future(mine.take("talk")) for _ in range(6)]
    await asyncio.sleep(0)  # they have asked, and nothing is sent yet
    for task in tasks[:4]:
        task.cancel()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(answer, asyncio.CancelledError) for answer in answers[:4])
    assert [answer.allowed for answer in answers[4:]] == [True, True]  # type: ignore[union-attr]
    assert (await as_ada.rate_limits.status("talk"))[0].remaining == 1
    (counted,) = await as_ada.rate_limits.statistics()
    assert (counted.request_count, counted.denied_count) == (2, 0)


async def test_whoever_gives_up_afterwards_harms_nobody_else(
    limits: Limits, as_ada: UserScope, ada: User, rule: PutRule, migrated: IsolatedDatabase
) -> None:
    await rule("user", 3)
    mine = limits.of_user(ada.id)
    await mine.take("talk")
    async with as_ada.transaction() as holder:
        assert (await holder.rate_limits.take("talk")).allowed
        sent = [asyncio.ensure_future(mine.take("talk")) for _ in range(3)]
        await someone_waits_for_a_lock(migrated)
        sent[0].cancel()
        waiting = [asyncio.ensure_future(mine.take("talk")) for _ in range(2)]
        await asyncio.sleep(0)
        waiting[0].cancel()
    answers = await asyncio.gather(*sent, *waiting, return_exceptions=True)
    cancelled = [isinstance(answer, asyncio.CancelledError) for answer in answers]
    assert cancelled == [True, False, False, True, False]
    # The token of the one who was sent and gave up is gone; it was the last.
    assert [answer.allowed for answer in answers[1:3]] == [False, False]  # type: ignore[union-attr]
    (counted,) = await as_ada.rate_limits.statistics()
    assert (counted.request_count, counted.denied_count) == (3, 3)


async def test_a_failure_reaches_everybody_as_an_error_of_their_own(
    limits: Limits, worker: Database, ada: User, rule: PutRule
) -> None:
    await rule("user", 5)
    mine = limits.of_user(ada.id)
    await worker.users.delete(ada.id)
    answers = await together(mine, [1] * 20)
    assert [type(answer) for answer in answers] == [NotFound] * 20
    assert len({id(answer) for answer in answers}) == 20
    assert {str(answer) for answer in answers} == {f"user {ada.id} does not exist"}
    # And the queue goes on.
    await worker.users.restore(ada.id)
    assert (await mine.take("talk")).allowed


async def test_a_server_that_goes_away_fails_everybody_and_comes_back(
    limits: Limits, as_ada: UserScope, ada: User, rule: PutRule, migrated: IsolatedDatabase
) -> None:
    await rule("user", 5)
    mine = limits.of_user(ada.id)
    await mine.take("talk")
    async with as_ada.transaction() as holder:
        await holder.rate_limits.take("talk")
        asked = asyncio.ensure_future(together(mine, [1] * 10))
        with as_superuser(migrated) as superuser:
            # It waits in its channel first, and then on the pool.
            while not asked.done():
                superuser.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE datname = current_database() AND wait_event_type = 'Lock'"
                )
                await asyncio.sleep(0.01)
        answers = await asked
    assert all(isinstance(answer, Unavailable) for answer in answers), answers
    assert sum(answer.allowed for answer in await together(mine, [1] * 10)) == 3


async def test_a_cost_that_never_fits_is_its_callers_alone(
    limits: Limits, as_ada: UserScope, ada: User, rule: PutRule
) -> None:
    await rule("user", 5, tier="free")
    await rule("user", 50, tier="pro")  # so that it is the database that has to say so
    answers = await together(limits.of_user(ada.id), [2, 6, 2, 7, 2])
    assert [isinstance(answer, InvalidInput) for answer in answers] == [
        False, True, False, True, False,
    ]  # fmt: skip
    assert [answers[number].allowed for number in (0, 2, 4)] == [True, True, False]
    (counted,) = await as_ada.rate_limits.statistics()
    assert (counted.request_count, counted.denied_count) == (2, 1)


async def test_more_callers_than_a_call_takes_are_all_answered_in_order(
    limits: Limits, ada: User, rule: PutRule, writes: Callable[[], int]
) -> None:
    await rule("user", 1_500)
    before = writes()
    answers = await together(limits.of_user(ada.id), [1] * 2_500)
    assert [answer.allowed for answer in answers] == [True] * 1_500 + [False] * 1_000
    assert writes() - before <= 4


async def test_a_crowd_on_one_key_holds_up_nobody_on_another(
    limits: Limits, ada: User, grace: User, rule: PutRule
) -> None:
    await rule("user", 1_000)
    crowded, alone = limits.of_user(ada.id), limits.of_user(grace.id)
    stopped = False

    async def crowd() -> int:
        answered = 0
        while not stopped:
            await crowded.take("talk")
            answered += 1
        return answered

    crowds = [asyncio.ensure_future(crowd()) for _ in range(32)]
    async with asyncio.timeout(10):
        for _ in range(20):
            assert (await alone.take("talk")).allowed
    stopped = True
    answered = await asyncio.gather(*crowds)
    # Each of them was served as often as the others.
    assert max(answered) - min(answered) <= 1


async def test_many_requests_of_one_call_are_checked(as_ada: UserScope, worker: Database) -> None:
    await without_rules(worker)
    take_many = as_ada.rate_limits.take_many
    for wrong in ([], [TokenRequest(1)] * 1_001):
        with pytest.raises(InvalidInput, match="requests"):
            await take_many("talk", wrong)
    for wrong in ([TokenRequest(1), TokenRequest(0)], [TokenRequest(float("nan"))]):
        with pytest.raises(InvalidInput, match="cost"):
            await take_many("talk", wrong)
    receipt: Any = "5"
    with pytest.raises(InvalidInput, match="receipt"):
        await take_many("talk", [TokenRequest(1, receipt)])
    assert [answer.allowed for answer in await take_many("talk", [TokenRequest(1)] * 3)] == [
        True
    ] * 3
