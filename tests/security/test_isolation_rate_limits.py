"""Nobody spends, reads or fills another's bucket or quota, through whatever method or function."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from decimal import Decimal
from typing import Any

import psycopg
import pytest
import pytest_asyncio
from ground import as_superuser, nothing_stored

from clonedb import (
    DailyUsageRepository,
    Database,
    NewRateLimitRule,
    PermissionDenied,
    RateLimitDecision,
    RateLimitRepository,
    TokenRequest,
    User,
    UserScope,
    new_id,
)
from clonedb.testing import IsolatedDatabase

Call = Callable[[UserScope], Awaitable[Any]]

LIMIT_CALLS: dict[str, Call] = {
    "take": lambda scope: scope.rate_limits.take("talk", cost=2),
    "count_denials": lambda scope: scope.rate_limits.count_denials("talk", 1),
    "take_many": lambda scope: scope.rate_limits.take_many("talk", [TokenRequest(2)]),
    "peek": lambda scope: scope.rate_limits.peek("talk"),
    "refund": lambda scope: scope.rate_limits.refund(
        RateLimitDecision(True, None, 7, 5, 0, None, 0, scope.user_id)
    ),
    "status": lambda scope: scope.rate_limits.status("talk"),
    "find_many": lambda scope: scope.rate_limits.find_many(with_total=True),
    "statistics": lambda scope: scope.rate_limits.statistics(),
    "reset": lambda scope: scope.rate_limits.reset(),
}
USAGE_CALLS: dict[str, Call] = {
    "use": lambda scope: scope.daily_usage.use(5),
    "reserve": lambda scope: scope.daily_usage.reserve(5),
    "settle": lambda scope: scope.daily_usage.settle(new_id(), seconds=0),
    "today": lambda scope: scope.daily_usage.today(),
    "find_many": lambda scope: scope.daily_usage.find_many(with_total=True),
}


def public_methods(repository: type) -> set[str]:
    return {name for name in vars(repository) if not name.startswith("_")}


def test_every_method_has_a_call() -> None:
    assert LIMIT_CALLS.keys() == public_methods(RateLimitRepository)
    assert USAGE_CALLS.keys() == public_methods(DailyUsageRepository)


@pytest_asyncio.fixture
async def spent(worker: Database, ada: User) -> User:
    """Ada, who has used what she had for `talk` and 1,234 seconds of today."""
    await worker.rate_limit_rules.put(
        NewRateLimitRule(scope="user", endpoint="talk", capacity=7, refill_per_second=0)
    )
    scope = worker.as_user(ada.id)
    assert (await scope.rate_limits.take("talk", cost=7)).allowed
    assert not (await scope.rate_limits.take("talk")).allowed
    assert (await scope.daily_usage.use(1234)).allowed
    return ada


@pytest_asyncio.fixture(params=["app", "app without row-level security", "worker"])
async def as_attacker(
    request: pytest.FixtureRequest,
    app: Database,
    worker: Database,
    grace: User,
    spent: User,
    migrated: IsolatedDatabase,
) -> AsyncIterator[UserScope]:
    if request.param == "app without row-level security":
        with as_superuser(migrated) as connection:
            for table in ("rate_limit_buckets", "rate_limits", "daily_usage", "users"):
                connection.execute(f"ALTER TABLE clonedb.{table} DISABLE ROW LEVEL SECURITY")
    yield (worker if request.param == "worker" else app).as_user(grace.id)


def of(database: IsolatedDatabase, user: User) -> list[list[tuple[Any, ...]]]:
    """All that is stored of a user's limits and usage."""
    with as_superuser(database) as connection:
        return [
            connection.execute(
                f"SELECT t.*, t.xmin::text FROM clonedb.{table} AS t WHERE t.user_id = %s",
                [user.id],
            ).fetchall()
            for table in ("rate_limit_buckets", "rate_limits", "daily_usage")
        ]


async def test_no_method_spends_reads_or_fills_what_is_anothers(
    as_attacker: UserScope, spent: User, grace: User, migrated: IsolatedDatabase
) -> None:
    before = of(migrated, spent)
    limits, usage = as_attacker.rate_limits, as_attacker.daily_usage
    (status, *_) = await limits.status("talk")
    assert status.remaining == 7
    assert (await limits.take("talk", cost=7)).allowed
    assert not (await limits.take("talk")).allowed
    (counted,) = await limits.statistics()
    assert (counted.request_count, counted.denied_count) == (1, 1)
    page = await limits.find_many(with_total=True)
    assert sum(window.request_count + window.denied_count for window in page.items) == 2
    assert (await usage.today()).used_seconds == 0
    assert (await usage.use(1000)).usage.used_seconds == 1000
    assert [day.conversation_seconds for day in (await usage.find_many()).items] == [Decimal(1000)]
    try:
        assert await limits.reset() == 1  # the worker's; her own
        assert await limits.reset(endpoint="talk") == 0
    except PermissionDenied:
        pass
    assert of(migrated, spent) == before


async def test_without_a_user_only_the_address_is_limited(
    app: Database, spent: User, migrated: IsolatedDatabase
) -> None:
    before = of(migrated, spent)
    decision = await app.rate_limits.take("talk", address="192.0.2.1")
    assert decision.rule is not None
    assert decision.rule.scope == "address"
    assert of(migrated, spent) == before


FORBIDDEN = (
    "INSERT INTO clonedb.rate_limit_buckets VALUES (%(ada)s, 'user', '', 'talk', 1000)",
    "INSERT INTO clonedb.rate_limit_buckets VALUES (%(grace)s, 'user', '', 'talk', 1000)",
    "UPDATE clonedb.rate_limit_buckets SET tokens = 1000",
    "DELETE FROM clonedb.rate_limit_buckets",
    "SELECT id FROM clonedb.rate_limit_receipts",
    "INSERT INTO clonedb.rate_limit_receipts VALUES (%(grace)s, %(grace)s, '', 9, '{user}', '{*}')",
    "SELECT clonedb.log_rate_limits(true)",
    "DELETE FROM clonedb.rate_limit_receipts",
    "INSERT INTO clonedb.rate_limits VALUES (%(ada)s, 'talk', now(), 5)",
    "UPDATE clonedb.rate_limits SET request_count = 0",
    "DELETE FROM clonedb.rate_limits",
    "UPDATE clonedb.rate_limit_rules SET capacity = 1000000",
    "INSERT INTO clonedb.daily_usage VALUES (%(ada)s, current_date, 5)",
    "UPDATE clonedb.daily_usage SET conversation_seconds = 0",
    "DELETE FROM clonedb.daily_usage",
    "INSERT INTO clonedb.daily_reservations VALUES (%(grace)s, %(grace)s, current_date, 5)",
    "UPDATE clonedb.daily_reservations SET settled_seconds = 0",
    "DELETE FROM clonedb.daily_reservations",
    "UPDATE clonedb.daily_quotas SET conversation_seconds = NULL",
    "DELETE FROM clonedb.daily_quotas",
)


@pytest.mark.parametrize("acting", [True, False], ids=["as Grace", "without context"])
async def test_hand_written_sql_under_the_app_login_changes_no_limit(
    spent: User, grace: User, migrated: IsolatedDatabase, acting: bool
) -> None:
    given = {"ada": spent.id, "grace": grace.id}
    with nothing_stored(migrated), psycopg.connect(migrated.dsn("clonedb_app")) as connection:
        for statement in FORBIDDEN:
            connection.execute(
                "SELECT set_config('clonedb.user_id', %s, true)", [str(grace.id) if acting else ""]
            )
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement.encode(), given)
            connection.rollback()


@pytest.mark.parametrize("table", ["rate_limit_buckets", "rate_limits", "daily_usage"])
async def test_the_app_login_reads_its_users_own_rows_and_no_others(
    spent: User, ada: User, grace: User, migrated: IsolatedDatabase, table: str
) -> None:
    with psycopg.connect(migrated.dsn("clonedb_app")) as connection:
        for user, rows in ((ada, 1), (grace, 0), (None, 0)):
            connection.execute(
                "SELECT set_config('clonedb.user_id', %s, true)", [str(user.id) if user else ""]
            )
            count = connection.execute(f"SELECT FROM clonedb.{table}").rowcount
            # A minute may have passed between her two requests.
            assert (count >= rows) if rows else (count == 0)


async def test_a_schema_of_the_callers_own_changes_no_decision(
    spent: User, worker: Database, migrated: IsolatedDatabase
) -> None:
    # The functions run as the owner: whatever the caller's search_path holds must not reach them.
    # In a hundred years of a clock that lies, three thousand tokens would have come back.
    await worker.rate_limit_rules.put(
        NewRateLimitRule(scope="user", endpoint="talk", capacity=7, refill_per_second=1e-6)
    )
    with as_superuser(migrated) as superuser:
        superuser.execute("CREATE SCHEMA trap")
        superuser.execute("GRANT USAGE ON SCHEMA trap TO PUBLIC")
        superuser.execute(
            "CREATE FUNCTION trap.clock_timestamp() RETURNS timestamptz LANGUAGE sql "
            "AS $$SELECT pg_catalog.now() + interval '100 years'$$"
        )
        with psycopg.connect(migrated.dsn("clonedb_app")) as connection:
            connection.execute("SELECT set_config('clonedb.user_id', %s, true)", [str(spent.id)])
            connection.execute("SET LOCAL search_path = trap, pg_catalog")
            row = connection.execute(
                "SELECT granted FROM clonedb.take_tokens('talk', '{1}', '{1}', NULL, NULL)"
            ).fetchone()
            assert row == ([0],)
        superuser.execute("DROP SCHEMA trap CASCADE")
