"""Rate limits: counts by minute, purges, resets and rules."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import pytest_asyncio
from ground import as_superuser, nothing_stored
from limiting import SLOW, PutRule, buckets, let_pass, taken, without_rules

from clonedb import (
    Database,
    InvalidInput,
    NewRateLimitRule,
    PermissionDenied,
    RateLimitFilter,
    RateLimitPeriod,
    RateLimitRuleFilter,
    User,
    UserScope,
)
from clonedb.testing import IsolatedDatabase


@pytest_asyncio.fixture
async def rule(worker: Database) -> PutRule:
    """Stores a rule; there are no others."""
    return await without_rules(worker)


# Counts.


async def test_admitted_and_denied_requests_are_counted_by_minute(
    as_ada: UserScope, app: Database, rule: PutRule
) -> None:
    await rule("user", 3)
    await rule("address", 3)
    for _ in range(5):
        await as_ada.rate_limits.take("talk")
    await as_ada.rate_limits.take("search")
    await app.rate_limits.take("talk", address="192.0.2.1")
    with pytest.raises(InvalidInput):
        await as_ada.rate_limits.take("talk", cost=4)
    # The minute may have changed on the way, the sums not.
    page = await as_ada.rate_limits.find_many(with_total=True)
    assert page.total == len(page.items)
    for window in page.items:
        assert (window.window_start.second, window.window_start.microsecond) == (0, 0)
    talk, search = await as_ada.rate_limits.statistics()
    assert (talk.endpoint, talk.request_count, talk.denied_count) == ("talk", 3, 2)
    assert (search.endpoint, search.request_count, search.denied_count) == ("search", 0, 1)
    assert talk.busiest_minute <= 5
    assert talk.first_window <= talk.last_window <= datetime.now(UTC)


@pytest.fixture
def counted(migrated: IsolatedDatabase, ada: User) -> datetime:
    """An hour of Ada's counts, two endpoints a minute; returns its first minute."""
    start = datetime(2026, 3, 1, 12, tzinfo=UTC)
    with as_superuser(migrated) as connection:
        connection.execute(
            "INSERT INTO clonedb.rate_limits "
            "(user_id, endpoint, window_start, request_count, denied_count) "
            "SELECT %s, e, %s + n * interval '1 minute', n, 1 "
            "FROM generate_series(0, 59) AS n, unnest('{talk,search}'::text[]) AS e",
            [ada.id, start],
        )
    return start


@pytest.mark.parametrize("order", ["newest", "oldest"])
async def test_counts_are_read_in_pages_without_a_repeat_or_a_gap(
    as_ada: UserScope, counted: datetime, order: str
) -> None:
    seen = []
    cursor = None
    while True:
        page = await as_ada.rate_limits.find_many(order=order, cursor=cursor, limit=7)
        seen += [(window.window_start, window.endpoint) for window in page.items]
        if (cursor := page.next) is None:
            break
    assert len(seen) == 120
    assert seen == sorted(seen, reverse=order == "newest")


async def test_counts_are_filtered_and_added_up(as_ada: UserScope, counted: datetime) -> None:
    ten = counted + timedelta(minutes=10)
    twenty = counted + timedelta(minutes=20)
    page = await as_ada.rate_limits.find_many(
        RateLimitFilter(endpoint="talk", window_from=ten, window_before=twenty), with_total=True
    )
    assert [window.request_count for window in page.items] == list(range(19, 9, -1))
    assert page.total == 10
    statistics = await as_ada.rate_limits.statistics(
        RateLimitPeriod(window_from=ten, window_before=twenty)
    )
    assert [(row.endpoint, row.request_count, row.denied_count) for row in statistics] == [
        ("search", 145, 10),
        ("talk", 145, 10),
    ]
    assert statistics[0].busiest_minute == 20
    assert statistics[0].last_window == twenty - timedelta(minutes=1)


# Upkeep.


async def test_a_purge_deletes_full_buckets_and_gives_nobody_a_token(
    app: Database, worker: Database, as_ada: UserScope, rule: PutRule, migrated: IsolatedDatabase
) -> None:
    await rule("user", 2, 0)
    await rule("address", 4, SLOW)
    await taken(as_ada)
    await app.rate_limits.take("login", address="192.0.2.1", cost=1)
    await app.rate_limits.take("login", address="192.0.2.2", cost=4)
    let_pass(migrated, 1_800)
    assert await worker.rate_limits.purge_buckets(idle=timedelta(hours=1)) == 0
    assert await worker.rate_limits.purge_buckets(idle=timedelta(minutes=5)) == 1
    assert [(row[0], row[1]) for row in buckets(migrated)] == [
        ("address", "192.0.2.2"),
        ("user", ""),
    ]
    # A tier that Ada might get has a larger bucket: for that one hers is not full.
    await rule("user", 2, 1, tier="free")
    await rule("user", 1_000_000, 1, tier="pro")
    let_pass(migrated, 100_000)
    assert await worker.rate_limits.purge_buckets() == 1
    assert [row[0] for row in buckets(migrated)] == ["user"]


async def test_a_purge_deletes_no_more_than_its_batch(
    worker: Database, app: Database, rule: PutRule, migrated: IsolatedDatabase
) -> None:
    await rule("address", 4, 1)
    for number in range(7):
        await app.rate_limits.take("login", address=f"192.0.2.{number}")
    let_pass(migrated, 100_000)
    assert [await worker.rate_limits.purge_buckets(limit=3) for _ in range(4)] == [3, 3, 1, 0]


async def test_minutes_are_purged_oldest_first(
    worker: Database, as_ada: UserScope, counted: datetime
) -> None:
    half = counted + timedelta(minutes=30)
    assert await worker.rate_limits.purge_windows(before=half, limit=50) == 50
    left = (await as_ada.rate_limits.find_many(order="oldest")).items
    assert left[0].window_start == counted + timedelta(minutes=25)
    assert await worker.rate_limits.purge_windows(before=half) == 10
    assert await worker.rate_limits.purge_windows(before=half) == 0
    assert (await as_ada.rate_limits.find_many(with_total=True)).total == 60


async def test_the_app_login_purges_and_resets_nothing(
    app: Database, as_ada: UserScope, counted: datetime, migrated: IsolatedDatabase
) -> None:
    await as_ada.rate_limits.take("talk")
    with nothing_stored(migrated):
        for refused in (
            app.rate_limits.purge_buckets(idle=timedelta(0)),
            app.rate_limits.purge_windows(before=datetime.now(UTC)),
            as_ada.rate_limits.reset(),
            as_ada.rate_limits.reset(endpoint="*"),
        ):
            with pytest.raises(PermissionDenied):
                await refused


async def test_a_reset_of_one_endpoint_leaves_the_others(
    worker: Database, as_ada: UserScope, ada: User, rule: PutRule
) -> None:
    await rule("user", 2, endpoint="talk")
    await rule("user", 2)
    await taken(as_ada, "talk")
    await taken(as_ada, "search")
    limits = worker.as_user(ada.id).rate_limits
    assert await limits.reset(endpoint="talk") == 1
    assert await taken(as_ada, "talk") == 2
    assert await taken(as_ada, "search") == 0
    assert await limits.reset(endpoint="*") == 1
    assert await taken(as_ada, "search") == 2


# Rules.


async def test_a_rule_is_stored_changed_found_and_removed(worker: Database, app: Database) -> None:
    rules = worker.rate_limit_rules
    brought = await rules.find_many()
    assert {(known.scope, known.tier) for known in brought} == {
        ("user", "free"),
        ("user", "pro"),
        ("user", "enterprise"),
        ("address", "*"),
        ("everybody", "*"),
    }
    new = NewRateLimitRule(
        scope="user", endpoint="talk", tier="pro", capacity=5, refill_per_second=0.5
    )
    stored = await rules.put(new)
    assert (stored.capacity, stored.refill_per_second) == (5, 0.5)
    changed = await rules.put(
        NewRateLimitRule(scope="user", endpoint="talk", tier="pro", capacity=6, refill_per_second=0)
    )
    assert (changed.capacity, changed.refill_per_second) == (6, 0)
    assert changed.created_at == stored.created_at
    assert await app.rate_limit_rules.find_many(RateLimitRuleFilter(endpoint="talk")) == [changed]
    assert len(await rules.find_many(RateLimitRuleFilter(scope="user", tier="pro"))) == 2
    assert await rules.delete(scope="user", endpoint="talk", tier="pro") is True
    assert await rules.delete(scope="user", endpoint="talk", tier="pro") is False
    assert await rules.find_many() == brought


async def test_the_app_login_changes_no_rule(app: Database, migrated: IsolatedDatabase) -> None:
    with nothing_stored(migrated):
        for refused in (
            app.rate_limit_rules.put(
                NewRateLimitRule(scope="user", capacity=10, refill_per_second=1)
            ),
            app.rate_limit_rules.delete(scope="address"),
        ):
            with pytest.raises(PermissionDenied):
                await refused
