"""Months that are over: dropped whole, while others read and write, whatever is killed when."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import IO, Any
from uuid import UUID

import psycopg
import pytest
import pytest_asyncio
from ground import as_superuser, someone_waits_for_a_lock
from people import copy_of
from policies import switched_on

from clonedb import Database, NewSession, NewTurn, NewUser, UserScope, id_at
from clonedb.audit import seal, verify
from clonedb.embedded import EmbeddedServer
from clonedb.maintenance import UpkeepStep, maintain, what_is_over
from clonedb.testing import IsolatedDatabase

PROCESS = Path(__file__).parent / "dropping_process.py"

# A wait that does not end is a failed test, not one that hangs.
PATIENCE_SECONDS = 20

# By then, and a policy of 730 days, these months of the year 2011 are over, and April is not.
NOW = datetime(2013, 4, 2, tzinfo=UTC)
OVER = ["2011-01", "2011-02", "2011-03"]


@pytest.fixture(scope="module")
def database(server: EmbeddedServer, clonedb_template: Any) -> Iterator[IsolatedDatabase]:
    """A database for these tests alone; none of the year 2011 is left after each."""
    with copy_of(server, clonedb_template, "retention") as copy:
        yield copy


@pytest_asyncio.fixture
async def worker(database: IsolatedDatabase) -> AsyncIterator[Database]:
    async with Database(database.dsn("clonedb_worker")) as opened:
        yield opened


@pytest_asyncio.fixture
async def ada(worker: Database, database: IsolatedDatabase) -> AsyncIterator[UserScope]:
    """Somebody who talked in each of four months, and from March into April."""
    await worker.create_turn_months(date(2011, 1, 1), months=4)
    user = await worker.users.create(NewUser(email="ada@example.com"))
    scope = worker.as_user(user.id)
    for month in (1, 2, 3, 4):
        started_at = datetime(2011, month, 28, tzinfo=UTC)
        session = await scope.conversation_sessions.create(NewSession(started_at=started_at))
        for days in (0, 5) if month == 3 else (0,):
            turn = NewTurn(
                id=id_at(started_at + timedelta(days=days), 1),
                user_transcript="Hello",
                llm_response="Hello to you",
            )
            await scope.conversation_sessions.record_turn(session.id, turn)
    yield scope
    with as_superuser(database) as connection:
        for name in tables(database):
            connection.execute(f"DROP TABLE clonedb.{name}".encode())
    await worker.users.hard_delete(user.id)


def tables(database: IsolatedDatabase) -> list[str]:
    """The months of 2011 that are there, attached or not."""
    with as_superuser(database) as connection:
        rows = connection.execute(
            "SELECT relname FROM pg_class WHERE relnamespace = 'clonedb'::regnamespace "
            "AND relname ~ '^conversation_turns_2011_..$' ORDER BY relname"
        ).fetchall()
    return [row[0] for row in rows]


def marks(database: IsolatedDatabase) -> list[str]:
    """Which months the audit log says were dropped, by the time in the id of the resource."""
    with as_superuser(database) as connection:
        rows = connection.execute(
            "DELETE FROM clonedb.audit_logs WHERE action = 'retention.drop_month' "
            "RETURNING resource"
        ).fetchall()
    return sorted(f"{month_of(resource)}" for (resource,) in rows)


def month_of(resource: str) -> str:
    subject, _, floor = resource.partition("/")
    assert subject == "conversation_turns"
    moment = datetime.fromtimestamp((UUID(floor).int >> 80) / 1000, UTC)
    return f"{moment:%Y-%m}"


async def run(
    worker: Database, database: IsolatedDatabase, *, patience: float = 0, **options: Any
) -> dict[str, UpkeepStep]:
    """What upkeep did, by step."""
    given = {"owner_dsn": database.dsn("clonedb_migrator"), "now": NOW, **options}
    return {step.step: step async for step in maintain(worker, patience=patience, **given)}


@contextmanager
def open_transaction(
    database: IsolatedDatabase, statement: str
) -> Iterator[psycopg.Connection[Any]]:
    """A worker's transaction that has run a statement and stays open."""
    with psycopg.connect(database.dsn("clonedb_worker")) as connection:
        connection.execute(statement.encode())
        yield connection


async def test_months_go_only_where_the_policy_is_on_and_only_whole_ones(
    worker: Database, database: IsolatedDatabase, ada: UserScope
) -> None:
    there = tables(database)
    assert await worker.retention.find_expired_months("conversation_turns", NOW) == []
    assert "conversation_turns" not in await run(worker, database)
    assert tables(database) == there
    with switched_on(database, "conversation_turns"):
        (would,) = [
            one for one in await what_is_over(worker, now=NOW) if one.step == "conversation_turns"
        ]
        assert (would.rows, would.months) == (3, OVER)
        assert tables(database) == there
        done = (await run(worker, database))["conversation_turns"]
        assert (done.rows, done.months, done.problem) == (3, OVER, None)
        again = (await run(worker, database))["conversation_turns"]
        assert (again.rows, again.months, again.problem) == (0, [], None)
    assert tables(database) == ["conversation_turns_2011_04"]
    assert marks(database) == OVER


async def test_a_session_whose_turns_have_gone_says_what_was_recorded(
    worker: Database, database: IsolatedDatabase, ada: UserScope
) -> None:
    with switched_on(database, "conversation_turns"):
        await run(worker, database)
    sessions = (await ada.conversation_sessions.find_many()).items
    left = {
        one.started_at.month: (
            one.total_turns,
            [turn.turn_number async for turn in _turns(ada, one.id)],
        )
        for one in sessions
    }
    assert left == {1: (1, []), 2: (1, []), 3: (2, [2]), 4: (1, [1])}
    # March's session lost its first turn with its month, and goes on where it was.
    (march,) = [one for one in sessions if one.started_at.month == 3]
    turn = NewTurn(
        id=id_at(march.started_at + timedelta(days=6), 2), user_transcript="And", llm_response="So"
    )
    stored = await ada.conversation_sessions.record_turn(march.id, turn)
    assert stored.turn_number == 3
    marks(database)


async def _turns(user: UserScope, session: UUID) -> AsyncIterator[Any]:
    for turn in (await user.conversation_sessions.find_turns(session)).items:
        yield turn


async def test_of_two_at_once_one_drops_and_each_month_is_dropped_once(
    worker: Database, database: IsolatedDatabase, ada: UserScope
) -> None:
    # Each meets the other's transactions, and waits for them.
    patient = {"patience": float(PATIENCE_SECONDS)}
    with switched_on(database, "conversation_turns"):
        runs = await asyncio.gather(*(run(worker, database, **patient) for _ in range(2)))
    steps = [one["conversation_turns"] for one in runs]
    assert sorted(month for step in steps for month in step.months) == OVER
    assert [step.problem for step in steps] == [None, None]
    assert tables(database) == ["conversation_turns_2011_04"]
    assert marks(database) == OVER


@contextmanager
def dropping(database: IsolatedDatabase) -> Iterator[subprocess.Popen[str]]:
    """A process that drops months step by step; killed at the end of the block, at the latest."""
    with subprocess.Popen(
        [sys.executable, PROCESS, database.dsn("clonedb_migrator"), NOW.isoformat()],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert line_of(process.stdout) == "connected"
            yield process
        finally:
            process.kill()


def line_of(stream: IO[str] | None) -> str:
    assert stream is not None
    return stream.readline().strip()


def go_on(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


async def owners_are_gone(database: IsolatedDatabase) -> None:
    """Returns once the server has noticed that whoever dropped months is no more."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        connection = await psycopg.AsyncConnection.connect(
            database.dsn("clonedb_superuser"), autocommit=True
        )
        async with connection:
            while True:
                cursor = await connection.execute(
                    "SELECT count(*) FROM pg_stat_activity "
                    "WHERE datname = current_database() AND usename = 'clonedb_migrator'"
                )
                if await cursor.fetchone() == (0,):
                    return


async def test_while_one_is_at_it_another_leaves_the_months_to_it(
    worker: Database, database: IsolatedDatabase, ada: UserScope
) -> None:
    with switched_on(database, "conversation_turns"), dropping(database) as process:
        for step in ("marked", "detached", "emptied"):
            assert line_of(process.stdout) == f"{step} 2011-01"
            done = (await run(worker, database))["conversation_turns"]
            assert (done.rows, done.months, done.problem) == (0, [], None)
            go_on(process)
        assert line_of(process.stdout) == "dropped 2011-01"
    marks(database)


async def test_killed_at_any_step_it_is_followed_by_a_run_that_goes_on(
    worker: Database, database: IsolatedDatabase, ada: UserScope
) -> None:
    steps = ["marked", "detached", "emptied", "dropped"]
    with switched_on(database, "conversation_turns"):
        for place in range(len(steps)):
            await worker.create_turn_months(date(2011, 1, 1), months=1)
            (january,) = (
                one
                for one in (await ada.conversation_sessions.find_many()).items
                if one.started_at.month == 1
            )
            turn = NewTurn(
                id=id_at(january.started_at, 9 + place), user_transcript="A", llm_response="B"
            )
            await ada.conversation_sessions.record_turn(january.id, turn)
            with dropping(database) as process:
                for step in steps[: place + 1]:
                    assert line_of(process.stdout) == f"{step} 2011-01"
                    if step != steps[place]:
                        go_on(process)
            await owners_are_gone(database)
            assert ("conversation_turns_2011_01" in tables(database)) == (place < 3)
            done = (await run(worker, database))["conversation_turns"]
            assert done.problem is None
            assert tables(database) == ["conversation_turns_2011_04"]
            assert marks(database).count("2011-01") == 1


async def test_killed_while_it_detaches_it_leaves_a_month_that_the_next_run_finishes(
    worker: Database, database: IsolatedDatabase, ada: UserScope
) -> None:
    reading = "SELECT count(*) FROM clonedb.conversation_turns"
    with switched_on(database, "conversation_turns"):
        with open_transaction(database, reading), dropping(database) as process:
            assert line_of(process.stdout) == "marked 2011-01"
            go_on(process)
            await someone_waits_for_a_lock(database)
            process.kill()
            await owners_are_gone(database)
            health = await worker.health()
            assert health.half_detached_months == ["clonedb.conversation_turns_2011_01"]
            (problem,) = health.problems
            assert "conversation_turns_2011_01 is half detached" in problem
            # Nobody sees its turns, and a run that gets no further says so.
            assert len([one async for one in _every_turn(ada)]) == 4
            held_up = (await run(worker, database))["conversation_turns"]
            assert held_up.months == []
            assert held_up.problem is not None
            assert "2011-01 of conversation_turns is not dropped yet" in held_up.problem
        done = (await run(worker, database))["conversation_turns"]
        assert (done.months, done.problem) == (OVER, None)
        assert (await worker.health()).problems == []
    assert marks(database) == OVER


async def _every_turn(user: UserScope) -> AsyncIterator[Any]:
    for session in (await user.conversation_sessions.find_many()).items:
        async for turn in _turns(user, session.id):
            yield turn


async def test_what_was_begun_stops_when_the_policy_is_switched_off(
    worker: Database, database: IsolatedDatabase, ada: UserScope
) -> None:
    with switched_on(database, "conversation_turns"):
        with dropping(database) as process:
            assert line_of(process.stdout) == "marked 2011-01"
            go_on(process)
            assert line_of(process.stdout) == "detached 2011-01"
        await owners_are_gone(database)
    assert "conversation_turns" not in await run(worker, database)
    with switched_on(database, "conversation_turns", keep_days=3_650):
        assert (await run(worker, database))["conversation_turns"].months == []
    with as_superuser(database) as connection:
        rows = connection.execute("SELECT FROM clonedb.conversation_turns_2011_01").fetchall()
    assert len(rows) == 1
    marks(database)


async def test_writers_go_on_while_it_waits_for_one_and_it_gives_up_in_time(
    worker: Database, database: IsolatedDatabase, ada: UserScope
) -> None:
    (session, *_) = (await ada.conversation_sessions.find_many()).items
    slowest = 0.0

    async def write() -> None:
        nonlocal slowest
        for number in range(20):
            started = time.perf_counter()
            turn = NewTurn(
                id=id_at(session.started_at, 100 + number), user_transcript="A", llm_response="B"
            )
            await ada.conversation_sessions.record_turn(session.id, turn)
            slowest = max(slowest, time.perf_counter() - started)

    writing = "LOCK TABLE clonedb.conversation_sessions IN ROW EXCLUSIVE MODE"
    with switched_on(database, "conversation_turns"), open_transaction(database, writing):
        started = time.perf_counter()
        upkeep = asyncio.create_task(run(worker, database, patience=1))
        await someone_waits_for_a_lock(database)
        await write()
        step = (await upkeep)["conversation_turns"]
        taken = time.perf_counter() - started
    assert step.problem is not None
    assert step.months == []
    # Its own 0.3 s, and a machine that does other things.
    assert slowest < 1.5
    assert taken < 1 + 10
    with switched_on(database, "conversation_turns"):
        assert (await run(worker, database))["conversation_turns"].months == OVER
    marks(database)


async def test_only_what_it_has_marked_and_what_is_what_its_name_says_is_dropped(
    worker: Database, database: IsolatedDatabase, ada: UserScope
) -> None:
    with as_superuser(database) as connection:
        # An archive of the DBA's, and a partition of two years that is named after one month.
        connection.execute(
            "ALTER TABLE clonedb.conversation_turns "
            "DETACH PARTITION clonedb.conversation_turns_2011_01"
        )
        for name in ("conversation_turns_2011_02", "conversation_turns_2011_03"):
            connection.execute(f"DROP TABLE clonedb.{name}".encode())
        connection.execute(
            "CREATE TABLE clonedb.conversation_turns_2011_03 "
            "PARTITION OF clonedb.conversation_turns FOR VALUES "
            "FROM ('01217b4c-4000-7000-8000-000000000000') "
            "TO ('012ee9b0-ec00-7000-8000-000000000000')"
        )
    with switched_on(database, "conversation_turns"):
        done = (await run(worker, database))["conversation_turns"]
    assert (done.months, done.problem) == ([], None)
    assert tables(database) == [f"conversation_turns_2011_0{month}" for month in (1, 3, 4)]


async def test_without_the_owner_it_says_what_is_over_and_who_can(
    worker: Database, database: IsolatedDatabase, ada: UserScope
) -> None:
    with switched_on(database, "conversation_turns"):
        for dsn, message in (
            (None, "2011-01, 2011-02, 2011-03 of conversation_turns are over, and only the owner"),
            (database.dsn("clonedb_worker"), "permission denied to set role"),
            (database.dsn("clonedb_migrator") + " connect_timeout=2 host=/nowhere", "/nowhere"),
        ):
            step = (await run(worker, database, owner_dsn=dsn))["conversation_turns"]
            assert step.months == []
            assert step.problem is not None
            assert message in step.problem
        assert len(tables(database)) == 4


async def test_the_audit_log_loses_sealed_months_and_verifies_all_the_same(
    server: EmbeddedServer, clonedb_template: Any
) -> None:
    this_month = datetime.now(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    last_month = this_month - timedelta(days=3)
    append = (
        "INSERT INTO clonedb.audit_logs (id, created_at, action, resource, result) "
        "VALUES (%s, %s, 'user.login', 'users', 'success')"
    )
    with copy_of(server, clonedb_template, "retention_audit") as database:
        async with Database(database.dsn("clonedb_worker")) as worker:
            with switched_on(database, "audit_logs", keep_days=31), as_superuser(database) as log:
                log.execute(append, [id_at(last_month, 1), last_month])
                now = this_month + timedelta(days=31)
                # A transaction that is open holds the seal up, and so the month.
                with open_transaction(database, "SELECT pg_current_xact_id()"):
                    late = id_at(last_month, 2)
                    log.execute(append, [late, last_month + timedelta(seconds=1)])
                    step = (await run(worker, database, now=now))["audit_logs"]
                    assert step.problem is not None
                    assert "has entries that are not sealed" in step.problem
                    assert step.months == []
                await run(worker, database, now=now - timedelta(days=1))
                step = (await run(worker, database, now=now))["audit_logs"]
                assert (step.problem, step.months) == (None, [f"{last_month:%Y-%m}"])
            async for _ in seal(worker):
                pass
            report = await verify(worker)
    assert (report.findings, report.pending) == ([], 0)
    assert [(one.month, one.entries) for one in report.expired] == [(f"{last_month:%Y-%m}", 2)]
    assert report.entries == 1  # that the month was dropped
