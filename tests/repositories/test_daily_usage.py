"""The daily quota: granted exactly, refused with a reason, and there after a crash."""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Awaitable, Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pytest
from ground import as_superuser, nothing_stored

from clonedb import (
    Database,
    InvalidInput,
    NewUser,
    NotFound,
    PermissionDenied,
    UsageFilter,
    User,
    UserScope,
    migrate,
    new_id,
)
from clonedb.embedded import EmbeddedServer
from clonedb.testing import IsolatedDatabase

LATEST_HOUR = 23


@pytest.fixture(autouse=True)
def _not_around_midnight() -> None:
    now = datetime.now(UTC)
    if (now.hour, now.minute) == (LATEST_HOUR, 59):
        pytest.skip("the day in UTC is about to change, and with it the quota")


async def test_seconds_are_granted_up_to_the_quota_and_then_refused_with_the_reason(
    as_ada: UserScope, worker: Database
) -> None:
    await worker.daily_quotas.put("free", 100)
    first = await as_ada.daily_usage.use(Decimal("59.5"), turns=2)
    assert (first.allowed, first.reason) == (True, None)
    assert first.usage.used_seconds == Decimal("59.5")
    assert first.usage.remaining == Decimal("40.5")
    refused = await as_ada.daily_usage.use(41, turns=1)
    assert (refused.allowed, refused.reason) == (False, "over_quota")
    assert (refused.usage.used_seconds, refused.usage.used_turns) == (Decimal("59.5"), 2)
    exactly = await as_ada.daily_usage.use(Decimal("40.5"), turns=1)
    assert exactly.allowed
    assert (exactly.usage.remaining, exactly.usage.used_turns) == (Decimal(0), 3)
    assert not (await as_ada.daily_usage.use(Decimal("0.001"))).allowed
    assert await as_ada.daily_usage.today() == exactly.usage


async def test_a_refusal_writes_nothing(
    as_ada: UserScope, worker: Database, migrated: IsolatedDatabase
) -> None:
    await worker.daily_quotas.put("free", 10)
    with nothing_stored(migrated):
        assert not (await as_ada.daily_usage.use(11)).allowed
    await as_ada.daily_usage.use(10)
    with nothing_stored(migrated):
        refused = await as_ada.daily_usage.use(1)
    assert (refused.reason, refused.usage.used_seconds) == ("over_quota", Decimal(10))


async def test_the_quota_is_the_tiers_and_a_change_counts_at_once(
    as_ada: UserScope, worker: Database, ada: User
) -> None:
    await worker.daily_quotas.put("free", 10)
    assert not (await as_ada.daily_usage.use(11)).allowed
    await worker.users.set_tier(ada.id, "pro")
    assert (await as_ada.daily_usage.use(11)).usage.quota == 14_400
    await worker.users.set_tier(ada.id, "enterprise")
    unlimited = await as_ada.daily_usage.use(86_400)
    assert (unlimited.allowed, unlimited.usage.quota, unlimited.usage.remaining) == (
        True,
        None,
        None,
    )
    await worker.users.set_tier(ada.id, "free")
    lowered = await as_ada.daily_usage.today()
    assert (lowered.quota, lowered.remaining) == (Decimal(10), Decimal(0))
    await worker.daily_quotas.put("free", 0)
    assert not (await as_ada.daily_usage.use(Decimal("0.001"))).allowed


async def test_less_than_the_column_holds_is_counted_as_a_thousandth(as_ada: UserScope) -> None:
    for _ in range(3):
        await as_ada.daily_usage.use(Decimal("0.0001"))
    assert (await as_ada.daily_usage.today()).used_seconds == Decimal("0.003")


async def test_a_new_day_has_a_new_quota(
    as_ada: UserScope, worker: Database, migrated: IsolatedDatabase
) -> None:
    await worker.daily_quotas.put("free", 10)
    full = await as_ada.daily_usage.use(10)
    assert full.usage.day == datetime.now(UTC).date()
    assert full.usage.reset_at == datetime(
        full.usage.day.year, full.usage.day.month, full.usage.day.day, tzinfo=UTC
    ) + timedelta(days=1)
    with as_superuser(migrated) as connection:
        connection.execute("UPDATE clonedb.daily_usage SET day = day - 1")
    assert (await as_ada.daily_usage.today()).used_seconds == 0
    assert (await as_ada.daily_usage.use(10)).allowed
    days = (await as_ada.daily_usage.find_many(with_total=True)).items
    assert [day.day for day in days] == [full.usage.day, full.usage.day - timedelta(days=1)]
    assert [day.conversation_seconds for day in days] == [10, 10]


@pytest.fixture
def year(migrated: IsolatedDatabase, ada: User) -> date:
    """A year of days of Ada's; returns the first."""
    start = date(2025, 1, 1)
    with as_superuser(migrated) as connection:
        connection.execute(
            "INSERT INTO clonedb.daily_usage (user_id, day, conversation_seconds, turns) "
            "SELECT %s, %s + n, n, 1 FROM generate_series(0, 364) AS n",
            [ada.id, start],
        )
    return start


@pytest.mark.parametrize("order", ["newest", "oldest"])
async def test_days_are_read_in_pages_without_a_repeat_or_a_gap(
    as_ada: UserScope, year: date, order: str
) -> None:
    seen: list[date] = []
    cursor = None
    while True:
        page = await as_ada.daily_usage.find_many(order=order, cursor=cursor, limit=50)
        seen += [day.day for day in page.items]
        if (cursor := page.next) is None:
            break
    expected = [year + timedelta(days=number) for number in range(365)]
    assert seen == (expected if order == "oldest" else expected[::-1])
    march = UsageFilter(day_from=date(2025, 3, 1), day_before=date(2025, 4, 1))
    assert (await as_ada.daily_usage.find_many(march, with_total=True)).total == 31


async def test_days_are_purged_oldest_first_and_never_today(
    as_ada: UserScope, worker: Database, year: date
) -> None:
    await as_ada.daily_usage.use(5)
    assert await worker.daily_quotas.purge(before=date(2025, 3, 1), limit=40) == 40
    assert await worker.daily_quotas.purge(before=date(2025, 3, 1)) == 19
    left = await as_ada.daily_usage.find_many(order="oldest", limit=1)
    assert left.items[0].day == date(2025, 3, 1)
    assert await worker.daily_quotas.purge(before=date(9999, 1, 1)) == 365 - 59
    assert (await as_ada.daily_usage.today()).used_seconds == 5


async def test_quotas_are_listed_and_changed_by_the_worker_alone(
    app: Database, worker: Database, as_ada: UserScope, year: date, migrated: IsolatedDatabase
) -> None:
    await worker.daily_quotas.put("pro", Decimal("7200.5"))
    quotas = await app.daily_quotas.find_many()
    assert [(quota.tier, quota.conversation_seconds) for quota in quotas] == [
        ("enterprise", None),
        ("free", 1800),
        ("pro", Decimal("7200.5")),
    ]
    with nothing_stored(migrated):
        for refused in (
            app.daily_quotas.put("free", None),
            app.daily_quotas.purge(before=date(2026, 1, 1)),
        ):
            with pytest.raises(PermissionDenied):
                await refused


async def test_bad_uses_and_quotas_are_refused_and_nothing_is_stored(
    as_ada: UserScope, worker: Database, migrated: IsolatedDatabase
) -> None:
    use, put, purge = as_ada.daily_usage.use, worker.daily_quotas.put, worker.daily_quotas.purge
    not_numbers = (float("nan"), float("inf"), True, "much")
    attempts: dict[str, tuple[Callable[[Any], Awaitable[Any]], tuple[Any, ...]]] = {
        "seconds": (use, (0, -1, Decimal("-0.001"), 86_401, None, *not_numbers)),
        "turns": (lambda turns: use(1, turns=turns), (-1, 1_000_001, 1.5, None, *not_numbers)),
        "conversation_seconds": (lambda quota: put("free", quota), (-1, 1_000_000, *not_numbers)),
        "tier": (lambda tier: put(tier, 10), ("gold", "", None, 5, "*")),
        "limit": (
            lambda limit: purge(before=date(2025, 1, 1), limit=limit),
            (0, 100_001, None, *not_numbers),
        ),
        "day_from": (
            lambda day: as_ada.daily_usage.find_many(UsageFilter(day_from=day)),
            (5, "yesterday", None),
        ),
    }
    with nothing_stored(migrated):
        for named, (attempt, wrong) in attempts.items():
            for value in wrong:
                with pytest.raises(InvalidInput, match=named):
                    await attempt(value)


@pytest.mark.parametrize(
    "arguments", [(0, 0), (-1, 0), ("NaN", 0), ("Infinity", 0), (86_401, 0), (1, -1), (None, 0)]
)
def test_the_function_itself_refuses_what_the_library_would_not_send(
    migrated: IsolatedDatabase, ada: User, arguments: tuple[Any, ...]
) -> None:
    with nothing_stored(migrated), psycopg.connect(migrated.dsn("clonedb_app")) as connection:
        connection.execute("SELECT set_config('clonedb.user_id', %s, true)", [str(ada.id)])
        with pytest.raises(psycopg.DataError):
            connection.execute("SELECT clonedb.use_conversation(%s::numeric, %s)", arguments)


async def test_a_user_who_is_not_there_has_no_quota(
    app: Database, worker: Database, migrated: IsolatedDatabase
) -> None:
    deleted = (await worker.users.create(NewUser(email="gone@example.com"))).id
    await worker.users.delete(deleted)
    with nothing_stored(migrated):
        for user in (new_id(), deleted):
            for call in (
                app.as_user(user).daily_usage.use(1),
                app.as_user(user).daily_usage.today(),
            ):
                with pytest.raises(NotFound):
                    await call


async def test_what_was_granted_is_still_used_after_the_server_was_killed() -> None:
    with tempfile.TemporaryDirectory(prefix="clonedb-") as folder:
        directory = Path(folder)
        with EmbeddedServer(directory) as server:
            migrate.apply(server.dsn("clonedb_migrator"))
            async with Database(server.dsn("clonedb_worker")) as worker:
                user = (await worker.users.create(NewUser(email="ada@example.com"))).id
            async with Database(server.dsn("clonedb_app")) as app:
                scope = app.as_user(user)
                for _ in range(3):
                    assert (await scope.daily_usage.use(500)).allowed
                assert (await scope.rate_limits.take("talk", cost=60)).allowed
                assert not (await scope.rate_limits.take("talk", cost=60)).allowed
                before = await scope.daily_usage.today()
            postmaster = int((directory / "cluster" / "postmaster.pid").read_text().split()[0])
            os.kill(postmaster, signal.SIGKILL)
            with EmbeddedServer(directory) as recovered:
                async with Database(recovered.dsn("clonedb_app")) as app:
                    scope = app.as_user(user)
                    assert await scope.daily_usage.today() == before
                    assert (await scope.daily_usage.use(500)).reason == "over_quota"
                    # Buckets begin again full, and so do the counts.
                    assert (await scope.rate_limits.take("talk", cost=60)).allowed
