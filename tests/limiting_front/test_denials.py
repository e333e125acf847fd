"""Denials that a process remembers: nobody is admitted more, and every one of them is counted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest_asyncio
from limiting import PutRule, let_pass

from clonedb import Database, Limits, User, UserLimits, UserScope
from clonedb.testing import IsolatedDatabase


class Clock:
    """A process's clock, that stands still until it is told."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest_asyncio.fixture
async def clock() -> Clock:
    return Clock()


@pytest_asyncio.fixture
async def front(app: Database, clock: Clock) -> AsyncIterator[Limits]:
    async with Limits(app, remember_denials=10, clock=clock) as limits:
        yield limits


@pytest_asyncio.fixture
async def mine(front: Limits, ada: User) -> UserLimits:
    return front.of_user(ada.id)


async def test_whoever_was_denied_is_denied_without_asking_until_the_tokens_are_there(
    mine: UserLimits, clock: Clock, rule: PutRule, writes: Callable[[], int],
    migrated: IsolatedDatabase,
) -> None:  # fmt: skip
    await rule("user", 10, 1)
    assert (await mine.take("talk", cost=10)).allowed
    asked = clock.now
    denied = await mine.take("talk", cost=4)
    assert denied.retry_after is not None
    assert 3 < denied.retry_after <= 4
    before = writes()
    clock.now = asked + denied.retry_after - 0.01
    for cost in (4, 5, 10):
        assert await mine.take("talk", cost=cost) == denied
    assert writes() == before
    # Not a hundredth more: the sum of both parts may be less than the whole.
    clock.now = asked + denied.retry_after
    let_pass(migrated, denied.retry_after)
    assert (await mine.take("talk", cost=4)).allowed


async def test_what_costs_less_is_asked_for(mine: UserLimits, rule: PutRule) -> None:
    await rule("user", 10)
    assert (await mine.take("talk", cost=7)).allowed
    assert not (await mine.take("talk", cost=5)).allowed
    assert (await mine.take("talk", cost=3)).allowed
    assert not (await mine.take("talk", cost=1)).allowed
    assert not (await mine.take("talk", cost=5)).allowed


async def test_it_is_remembered_for_the_time_set_at_most(
    mine: UserLimits, clock: Clock, as_ada: UserScope, worker: Database, rule: PutRule
) -> None:
    await rule("user", 1)
    assert (await mine.take("talk")).allowed
    assert (await mine.take("talk")).retry_after is None  # never
    assert as_ada.user_id is not None
    await worker.as_user(as_ada.user_id).rate_limits.reset()
    clock.now += 9.99
    assert not (await mine.take("talk")).allowed
    clock.now += 0.01
    assert (await mine.take("talk")).allowed


async def test_a_refund_of_this_process_is_noticed_at_once(mine: UserLimits, rule: PutRule) -> None:
    await rule("user", 1)
    decision = await mine.take("talk", refundable=True)
    assert not (await mine.take("talk")).allowed
    assert not (await mine.take("draw")).allowed  # of the same bucket
    assert await mine.refund(decision)
    assert (await mine.take("draw")).allowed


async def test_every_denial_is_counted(
    app: Database, as_ada: UserScope, ada: User, rule: PutRule
) -> None:
    await rule("user", 2)
    async with Limits(app, remember_denials=10) as front:
        mine = front.of_user(ada.id)
        answers = await asyncio.gather(*(mine.take("talk") for _ in range(20)))
        for _ in range(30):
            answers.append(await mine.take("talk"))
        assert sum(answer.allowed for answer in answers) == 2
        for _ in range(5):
            await front.of_address("192.0.2.1").take("talk")
    (counted,) = await as_ada.rate_limits.statistics()
    assert (counted.request_count, counted.denied_count) == (2, 48)


async def test_callers_who_never_pause_hold_up_nobody(mine: UserLimits, rule: PutRule) -> None:
    await rule("user", 1)
    for _ in range(2):
        await mine.take("talk")

    async def insist() -> None:
        while not (await mine.take("talk")).allowed:
            pass

    insisting = asyncio.ensure_future(insist())
    async with asyncio.timeout(5):
        await asyncio.sleep(0.01)
    assert not insisting.done()
    insisting.cancel()
