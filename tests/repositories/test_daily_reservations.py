"""Reservations: the most is used before a conversation begins, and what it left comes back."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
import pytest_asyncio
from ground import as_superuser, nothing_stored, someone_waits_for_a_lock

from clonedb import (
    AlreadyExists,
    ConcurrencyConflict,
    Database,
    InvalidInput,
    NotFound,
    PermissionDenied,
    UserScope,
    new_id,
)
from clonedb.testing import IsolatedDatabase


@pytest_asyncio.fixture(autouse=True)
async def quota(worker: Database) -> None:
    await worker.daily_quotas.put("free", 100)


async def test_what_was_not_taken_comes_back_and_turns_are_counted(as_ada: UserScope) -> None:
    usage = as_ada.daily_usage
    reserved = await usage.reserve(60)
    assert reserved.allowed
    assert reserved.reservation is not None
    assert (reserved.usage.used_seconds, reserved.usage.remaining) == (60, 40)
    refused = await usage.reserve(41)
    assert (refused.allowed, refused.reason, refused.reservation) == (False, "over_quota", None)
    settled = await usage.settle(reserved.reservation, seconds=Decimal("12.3456"), turns=3)
    assert (settled.used_seconds, settled.used_turns) == (Decimal("12.346"), 3)
    assert settled == await usage.today()
    assert (await usage.reserve(Decimal("87.654"))).allowed


async def test_a_reservation_is_made_and_settled_once(as_ada: UserScope) -> None:
    usage, id = as_ada.daily_usage, new_id()
    for _ in range(3):
        assert (await usage.reserve(50, id=id)).usage.used_seconds == 50
    with pytest.raises(AlreadyExists):
        await usage.reserve(51, id=id)
    for _ in range(3):
        assert (await usage.settle(id, seconds=20, turns=1)).used_seconds == 20
    with pytest.raises(AlreadyExists):
        await usage.settle(id, seconds=0)
    # One that is settled reserves no more.
    assert (await usage.reserve(50, id=id)).usage.used_seconds == 20
    today = await usage.today()
    assert (today.used_seconds, today.used_turns) == (20, 1)


async def test_no_more_is_settled_than_was_reserved(
    as_ada: UserScope, migrated: IsolatedDatabase
) -> None:
    usage = as_ada.daily_usage
    reserved = await usage.reserve(10)
    assert reserved.reservation is not None
    with nothing_stored(migrated), pytest.raises(InvalidInput, match="more than reservation"):
        await usage.settle(reserved.reservation, seconds=Decimal("10.001"))
    assert (await usage.settle(reserved.reservation, seconds=10)).used_seconds == 10


async def test_reservations_at_once_are_exact(as_ada: UserScope) -> None:
    usage = as_ada.daily_usage
    reserved = await asyncio.gather(*(usage.reserve(15) for _ in range(30)))
    ids = [one.reservation for one in reserved if one.reservation is not None]
    assert len(ids) == sum(one.allowed for one in reserved) == 6
    await asyncio.gather(*(usage.settle(id, seconds=5) for id in ids for _ in range(5)))
    assert (await usage.today()).used_seconds == 30


async def test_the_same_reservation_at_once_is_made_once(
    as_ada: UserScope, migrated: IsolatedDatabase
) -> None:
    id = new_id()
    async with as_ada.transaction() as holder:
        assert (await holder.daily_usage.reserve(20, id=id)).allowed
        again = asyncio.ensure_future(as_ada.daily_usage.reserve(20, id=id))
        await someone_waits_for_a_lock(migrated)
    with pytest.raises(ConcurrencyConflict):
        await again
    assert (await as_ada.daily_usage.reserve(20, id=id)).usage.used_seconds == 20


async def test_a_reservation_of_yesterday_is_settled_on_yesterday(
    as_ada: UserScope, migrated: IsolatedDatabase
) -> None:
    usage = as_ada.daily_usage
    reserved = await usage.reserve(90)
    assert reserved.reservation is not None
    with as_superuser(migrated) as superuser:
        for table in ("daily_usage", "daily_reservations"):
            superuser.execute(f"UPDATE clonedb.{table} SET day = day - 1")
    assert (await usage.reserve(100)).allowed
    settled = await usage.settle(reserved.reservation, seconds=30)
    assert settled.day == reserved.usage.day - timedelta(days=1)
    assert settled.used_seconds == 30
    assert (await usage.today()).used_seconds == 100


async def test_a_reservation_is_its_users_alone(
    as_ada: UserScope, as_grace: UserScope, migrated: IsolatedDatabase
) -> None:
    reserved = await as_ada.daily_usage.reserve(50)
    assert reserved.reservation is not None
    with nothing_stored(migrated):
        for reservation in (reserved.reservation, new_id()):
            with pytest.raises(NotFound):
                await as_grace.daily_usage.settle(reservation, seconds=0)


async def test_bad_reservations_are_refused_and_nothing_is_stored(
    as_ada: UserScope, app: Database, migrated: IsolatedDatabase
) -> None:
    usage = as_ada.daily_usage
    wrong: Any
    with nothing_stored(migrated):
        for wrong in (0, -1, 86_401, float("nan"), "x", None):
            with pytest.raises(InvalidInput, match="seconds"):
                await usage.reserve(wrong)
        for wrong in (-1, 86_401, float("nan"), "x", None):
            with pytest.raises(InvalidInput, match="seconds"):
                await usage.settle(new_id(), seconds=wrong)
        for wrong in (-1, 1.5, "x", None):
            with pytest.raises(InvalidInput, match="turns"):
                await usage.settle(new_id(), seconds=1, turns=wrong)
        for wrong in (5, "x", None):
            with pytest.raises(InvalidInput, match="reservation"):
                await usage.settle(wrong, seconds=1)
        with pytest.raises(NotFound):
            await app.as_user(new_id()).daily_usage.reserve(5)


async def test_reservations_of_days_that_are_over_are_purged(
    as_ada: UserScope, worker: Database, app: Database, migrated: IsolatedDatabase
) -> None:
    for _ in range(3):
        reserved = await as_ada.daily_usage.reserve(10)
    with as_superuser(migrated) as superuser:
        superuser.execute(
            "UPDATE clonedb.daily_reservations SET day = day - 2 WHERE id <> %s",
            [reserved.reservation],
        )
    tomorrow = reserved.usage.reset_at.date()
    assert await worker.daily_quotas.purge_reservations(before=tomorrow, limit=1) == 1
    assert await worker.daily_quotas.purge_reservations(before=tomorrow) == 1
    assert await worker.daily_quotas.purge_reservations(before=tomorrow) == 0
    with pytest.raises(PermissionDenied):
        await app.daily_quotas.purge_reservations(before=tomorrow)
