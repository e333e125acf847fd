"""Limits and quotas under real concurrency: the original's limiter admitted all of 50 callers past
a limit of 10, or threw for 49."""

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter
from collections.abc import AsyncIterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest_asyncio
from ground import as_superuser, someone_waits_for_a_lock
from limiting import PutRule, without_rules

from clonedb import Database, NewUser, User, UserScope
from clonedb.testing import IsolatedDatabase

CONNECTIONS = 16


@pytest_asyncio.fixture
async def app(migrated: IsolatedDatabase) -> AsyncIterator[Database]:
    """The app login with enough connections that callers do meet in the server."""
    async with Database(
        migrated.dsn("clonedb_app"),
        minimum_connections=CONNECTIONS,
        maximum_connections=CONNECTIONS,
    ) as database:
        yield database


@pytest_asyncio.fixture
async def rule(worker: Database) -> PutRule:
    """Stores a rule; there are no others."""
    return await without_rules(worker)


def tokens(database: IsolatedDatabase) -> dict[str, float]:
    """What is left in each bucket, by scope, user or address, and endpoint."""
    with as_superuser(database) as connection:
        rows = connection.execute(
            "SELECT concat_ws(' ', scope, nullif(user_id, '00000000-0000-0000-0000-000000000000'), "
            "nullif(subject, ''), endpoint), tokens FROM clonedb.rate_limit_buckets"
        ).fetchall()
    return dict(rows)


async def in_processes(
    database: IsolatedDatabase,
    pairs: list[tuple[str, str]],
    *,
    processes: int = 4,
    callers: int = 16,
    calls: int = 10,
) -> tuple[Counter[str], float]:
    """How often each pair of subject and endpoint was admitted, and in how many seconds at most.

    The seconds are the server's, around all the calls.
    """
    started = [
        await asyncio.create_subprocess_exec(
            sys.executable,
            str(Path(__file__).with_name("limiting_process.py")),
            json.dumps(
                {
                    "dsn": database.dsn("clonedb_app"),
                    "pairs": pairs,
                    "first": number,
                    "callers": callers,
                    "calls": calls,
                }
            ),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        for number in range(processes)
    ]
    for process in started:
        assert process.stdout is not None
        assert await process.stdout.readline() == b"ready\n"
    # All of them are there: now together.
    with as_superuser(database) as clock:
        begin = clock.execute("SELECT clock_timestamp()").fetchone()
        outputs = await asyncio.gather(*(process.communicate(b"go\n") for process in started))
        end = clock.execute("SELECT clock_timestamp()").fetchone()
    assert begin is not None
    assert end is not None
    assert [process.returncode for process in started] == [0] * processes
    admitted: Counter[str] = Counter()
    for output, _ in outputs:
        admitted.update(json.loads(output))
    return admitted, (end[0] - begin[0]).total_seconds()


async def test_of_fifty_callers_past_a_limit_of_ten_ten_are_admitted_and_none_fails(
    as_ada: UserScope, rule: PutRule
) -> None:
    for number in range(3):
        await rule("user", 10, endpoint=f"talk {number}")
        decisions = await asyncio.gather(
            *(as_ada.rate_limits.take(f"talk {number}") for _ in range(50))
        )
        assert sum(decision.allowed for decision in decisions) == 10
        left = {decision.remaining for decision in decisions if decision.allowed}
        assert left == set(range(10))  # each was told its own
        counted = await as_ada.rate_limits.statistics()
        assert {(row.request_count, row.denied_count) for row in counted} == {(10, 40)}


async def test_64_callers_in_4_processes_are_given_what_one_bucket_holds(
    rule: PutRule, ada: User, migrated: IsolatedDatabase
) -> None:
    await rule("user", 100)
    admitted, _ = await in_processes(migrated, [(str(ada.id), "talk")])
    assert admitted.total() == 100
    assert list(tokens(migrated).values()) == [0]


async def test_64_callers_in_4_processes_are_given_no_more_than_capacity_and_refill(
    rule: PutRule, ada: User, migrated: IsolatedDatabase
) -> None:
    await rule("user", 100, 150)
    admitted, seconds = await in_processes(migrated, [(str(ada.id), "talk")], calls=20)
    assert 100 <= admitted.total() <= 100 + 150 * seconds
    assert admitted.total() < 64 * 20


async def test_the_first_calls_of_64_callers_make_one_bucket(
    as_ada: UserScope, rule: PutRule, migrated: IsolatedDatabase
) -> None:
    for number in range(8):
        await rule("user", 20, endpoint=f"talk {number}")
        decisions = await asyncio.gather(
            *(as_ada.rate_limits.take(f"talk {number}") for _ in range(64))
        )
        assert sum(decision.allowed for decision in decisions) == 20
    assert set(tokens(migrated).values()) == {0}
    assert len(tokens(migrated)) == 8


async def test_several_rules_are_taken_from_all_or_none_by_64_callers_in_4_processes(
    rule: PutRule, worker: Database, migrated: IsolatedDatabase
) -> None:
    # Users who share endpoints, endpoints that share users, addresses that share both, and
    # everybody: what one locks first is what another needs last.
    await rule("user", 60)
    await rule("address", 30)
    await rule("endpoint", 70)
    await rule("everybody", 150)
    users = [
        str((await worker.users.create(NewUser(email=f"{name}@example.com"))).id)
        for name in ("a", "b", "c")
    ]
    subjects = [users[0], "192.0.2.1", users[1], "2001:db8::1", users[2]]
    pairs = [(subject, endpoint) for endpoint in ("x", "y", "z") for subject in subjects]
    admitted, _ = await in_processes(migrated, pairs + [(s, e) for s, e in reversed(pairs)])
    by_subject: Counter[str] = Counter()
    by_endpoint: Counter[str] = Counter()
    for pair, count in admitted.items():
        subject, endpoint = pair.split(" ")
        by_subject[subject] += count
        by_endpoint[endpoint] += count
    expected = {f"user {user} *": 60 - by_subject[user] for user in users}
    expected |= {"address 192.0.2.1 *": 30 - by_subject["192.0.2.1"]}
    expected |= {"address 2001:db8::/64 *": 30 - by_subject["2001:db8::1"]}
    expected |= {f"endpoint {endpoint}": 70 - by_endpoint[endpoint] for endpoint in "xyz"}
    expected |= {"everybody *": 150 - admitted.total()}
    assert tokens(migrated) == expected
    # Only where some bucket is empty was anybody denied.
    assert admitted.total() == 150


async def test_a_caller_who_waited_for_the_last_token_is_denied(
    as_ada: UserScope, as_grace: UserScope, rule: PutRule, migrated: IsolatedDatabase
) -> None:
    await rule("user", 5)
    await rule("everybody", 1)
    async with as_grace.transaction() as holder:
        assert (await holder.rate_limits.take("talk")).allowed
        waiting = asyncio.ensure_future(as_ada.rate_limits.take("talk"))
        await someone_waits_for_a_lock(migrated)
    denied = await waiting
    assert denied.rule is not None
    assert (denied.allowed, denied.rule.scope) == (False, "everybody")
    # What she had locked before is as full as it was.
    assert (await as_ada.rate_limits.status("talk"))[0].remaining == 5


async def test_tokens_of_a_transaction_that_is_rolled_back_are_given_back(
    as_ada: UserScope, rule: PutRule, migrated: IsolatedDatabase
) -> None:
    await rule("user", 1)
    waiting: asyncio.Future[Any]
    try:
        async with as_ada.transaction() as holder:
            assert (await holder.rate_limits.take("talk")).allowed
            waiting = asyncio.ensure_future(as_ada.rate_limits.take("talk"))
            await someone_waits_for_a_lock(migrated)
            raise ZeroDivisionError
    except ZeroDivisionError:
        pass
    assert (await waiting).allowed
    assert not (await as_ada.rate_limits.take("talk")).allowed


async def test_purges_and_resets_meanwhile_give_nobody_a_token(
    worker: Database, as_ada: UserScope, rule: PutRule, ada: User, migrated: IsolatedDatabase
) -> None:
    with as_superuser(migrated) as connection:
        for number in range(12):
            endpoint = f"talk {number}"
            await rule("user", 10, endpoint=endpoint)
            # Full and idle: what a purge takes away, at the moment when it is wanted again.
            connection.execute(
                "INSERT INTO clonedb.rate_limit_buckets VALUES (%s, 'user', '', %s, 10, "
                "now() - interval '1 day')",
                [ada.id, endpoint],
            )
            purge = worker.rate_limits.purge_buckets
            decisions: list[Any] = await asyncio.gather(
                *(
                    purge(idle=timedelta(0))
                    if caller % 4 == 0
                    else as_ada.rate_limits.take(endpoint)
                    for caller in range(40)
                )
            )
            allowed = sum(outcome.allowed for outcome in decisions if not isinstance(outcome, int))
            assert allowed == 10


async def test_the_last_seconds_of_a_day_are_granted_once(
    as_ada: UserScope, worker: Database
) -> None:
    await worker.daily_quotas.put("free", 100)
    decisions = await asyncio.gather(
        *(as_ada.daily_usage.use(Decimal("7.5"), turns=1) for _ in range(64))
    )
    assert sum(decision.allowed for decision in decisions) == 13
    assert {decision.reason for decision in decisions if not decision.allowed} == {"over_quota"}
    usage = await as_ada.daily_usage.today()
    assert (usage.used_seconds, usage.used_turns) == (Decimal("97.5"), 13)


async def test_a_use_that_waited_for_the_last_seconds_is_refused_with_what_is_used_now(
    as_ada: UserScope, worker: Database, migrated: IsolatedDatabase
) -> None:
    await worker.daily_quotas.put("free", 100)
    async with as_ada.transaction() as holder:
        assert (await holder.daily_usage.use(95)).allowed
        waiting = asyncio.ensure_future(as_ada.daily_usage.use(10))
        await someone_waits_for_a_lock(migrated)
    refused = await waiting
    assert (refused.reason, refused.usage.used_seconds) == ("over_quota", Decimal(95))
