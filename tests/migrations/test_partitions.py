"""Months of turns and of the audit log: made ahead, by anybody at once, and pruned."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg
import pytest
from people import copy_of
from psycopg.errors import CheckViolation, InvalidParameterValue, QueryCanceled

from clonedb import new_id
from clonedb.embedded import EmbeddedServer
from clonedb.ids import id_at
from clonedb.testing import IsolatedDatabase

Connection = psycopg.Connection[Any]

# Seconds; reached only by a test that fails.
PATIENCE = 30


@pytest.fixture(scope="module")
def database(server: EmbeddedServer, clonedb_template: Any) -> Iterator[IsolatedDatabase]:
    """A database for these tests alone; each uses users and years of its own."""
    with copy_of(server, clonedb_template, "months") as copy:
        yield copy


@pytest.fixture
def worker(database: IsolatedDatabase) -> Iterator[Connection]:
    with psycopg.connect(database.dsn("clonedb_worker"), autocommit=True) as connection:
        yield connection


def value(connection: Connection, query: str, *parameters: object) -> Any:
    row = connection.execute(query.encode(), parameters).fetchone()
    assert row is not None
    return row[0]


def store_user(connection: Connection) -> UUID:
    user = new_id()
    connection.execute(
        "INSERT INTO clonedb.users (id, email) VALUES (%s, %s)", (user, f"{user}@example.com")
    )
    return user


def store_session(connection: Connection, user: UUID, started_at: datetime) -> UUID:
    session = new_id()
    connection.execute(
        """
        INSERT INTO clonedb.conversation_sessions
            (user_id, id, started_at, llm_provider, tts_provider)
        VALUES (%s, %s, %s, 'gpt-4-turbo', 'xtts-v2')
        """,
        (user, session, started_at),
    )
    return session


def store_turn(connection: Connection, user: UUID, session: UUID, moment: datetime) -> None:
    connection.execute(
        """
        INSERT INTO clonedb.conversation_turns (
            user_id, session_id, id, session_started_at, turn_number, user_transcript,
            llm_response, total_latency_ms
        )
        SELECT s.user_id, s.id, %s, s.started_at, 1, 'Hello', 'Hello to you', 800
        FROM clonedb.conversation_sessions AS s
        WHERE s.user_id = %s AND s.id = %s
        """,
        (id_at(moment, 1), user, session),
    )


@pytest.mark.parametrize("log", ["turn", "audit"])
def test_two_years_are_ready_after_migrating(migrated: Any, log: str) -> None:
    with psycopg.connect(migrated.dsn("clonedb_app")) as app:
        assert value(app, f"SELECT clonedb.{log}_months_ahead()") == 24


@pytest.mark.parametrize("log", ["turn", "audit"])
def test_months_that_exist_are_not_made_again(worker: Connection, log: str) -> None:
    ahead = value(worker, f"SELECT clonedb.{log}_months_ahead()")
    make = f"SELECT clonedb.create_{log}_partitions(current_date, %s)"
    assert value(worker, make, ahead + 1) == 0
    assert value(worker, make, ahead + 3) == 2
    assert value(worker, f"SELECT clonedb.{log}_months_ahead()") == ahead + 2


def test_a_gap_ends_the_months_ahead(database: IsolatedDatabase, worker: Connection) -> None:
    in_three_months, this_month = worker.execute(
        """
        SELECT to_char(m, '"clonedb.conversation_turns_"YYYY_MM'),
            to_char(m - interval '3 months', '"clonedb.conversation_turns_"YYYY_MM')
        FROM (SELECT date_trunc('month', now() AT TIME ZONE 'UTC') + interval '3 months') AS x (m)
        """
    ).fetchone() or ("", "")
    with psycopg.connect(database.dsn("clonedb_superuser"), autocommit=True) as superuser:
        superuser.execute(f"DROP TABLE {in_three_months}".encode())
        assert value(worker, "SELECT clonedb.turn_months_ahead()") == 2
        superuser.execute(f"DROP TABLE {this_month}".encode())
        assert value(worker, "SELECT clonedb.turn_months_ahead()") == -1
    assert value(worker, "SELECT clonedb.create_turn_partitions(current_date, 4)") == 2
    assert value(worker, "SELECT clonedb.turn_months_ahead()") >= 24


def test_a_month_that_is_missing_is_refused_until_it_is_made(worker: Connection) -> None:
    a_year_ago = datetime.now(UTC) - timedelta(days=366)
    user = store_user(worker)
    session = store_session(worker, user, a_year_ago)
    with pytest.raises(CheckViolation, match="no partition of relation") as refusal:
        store_turn(worker, user, session, a_year_ago)
    assert refusal.value.diag.constraint_name is None
    assert value(worker, "SELECT clonedb.create_turn_partitions(%s, 1)", a_year_ago.date()) == 1
    store_turn(worker, user, session, a_year_ago)
    stored = "SELECT count(*) FROM clonedb.conversation_turns WHERE user_id = %s"
    assert value(worker, stored, user) == 1


def test_the_last_and_the_first_moment_of_months_have_a_place(worker: Connection) -> None:
    user = store_user(worker)
    turn_of_the_year = datetime(2020, 1, 1, tzinfo=UTC)
    session = store_session(worker, user, turn_of_the_year - timedelta(hours=1))
    value(worker, "SELECT clonedb.create_turn_partitions('2019-12-31', 2)")
    for moment in (turn_of_the_year - timedelta(milliseconds=1), turn_of_the_year):
        store_turn(worker, user, session, moment)
    months = worker.execute(
        "SELECT tableoid::regclass::text FROM clonedb.conversation_turns "
        "WHERE user_id = %s ORDER BY id",
        (user,),
    ).fetchall()
    assert months == [
        ("clonedb.conversation_turns_2019_12",),
        ("clonedb.conversation_turns_2020_01",),
    ]


def test_four_callers_at_once_make_each_month_once(database: IsolatedDatabase) -> None:
    def make(_: int) -> int:
        with psycopg.connect(database.dsn("clonedb_worker"), autocommit=True) as connection:
            return int(value(connection, "SELECT clonedb.create_turn_partitions('2001-01-01', 12)"))

    with ThreadPoolExecutor(4) as callers:
        made = list(callers.map(make, range(4)))
    assert sorted(made) == [0, 0, 0, 12]


def test_a_new_month_is_protected(database: IsolatedDatabase, worker: Connection) -> None:
    value(worker, "SELECT clonedb.create_turn_partitions('2002-01-01', 1)")
    with psycopg.connect(database.dsn("clonedb_superuser")) as superuser:
        found = superuser.execute(
            """
            SELECT c.relrowsecurity, c.relforcerowsecurity, c.relowner::regrole::text,
                (SELECT count(*) FROM pg_policy AS p WHERE p.polrelid = c.oid),
                obj_description(c.oid, 'pg_class')
            FROM pg_class AS c
            WHERE c.oid = 'clonedb.conversation_turns_2002_01'::regclass
            """
        ).fetchone()
    assert found == (True, True, "clonedb_owner", 3, "conversation_turns of 2002-01 (UTC).")


def wait_until_it_waits_for_sessions(database: IsolatedDatabase, maker: Connection) -> None:
    """Return once the maker of months stands in line for the table of sessions."""
    with psycopg.connect(database.dsn("clonedb_superuser"), autocommit=True) as superuser:
        deadline = time.monotonic() + PATIENCE
        while not value(
            superuser,
            """
            SELECT EXISTS (
                SELECT
                FROM pg_locks
                WHERE pid = %s AND NOT granted
                    AND relation = 'clonedb.conversation_sessions'::regclass
            )
            """,
            maker.info.backend_pid,
        ):
            assert time.monotonic() < deadline, "it never waited"


def test_others_go_on_while_months_wait_for_a_writer(
    database: IsolatedDatabase, worker: Connection
) -> None:
    user = store_user(worker)
    with (
        ThreadPoolExecutor(1) as maker,
        psycopg.connect(database.dsn("clonedb_worker")) as writer,
        psycopg.connect(database.dsn("clonedb_worker"), autocommit=True) as another,
    ):
        another.execute(f"SET statement_timeout = '{PATIENCE} s'")
        store_session(writer, user, datetime.now(UTC))
        made = maker.submit(value, worker, "SELECT clonedb.create_turn_partitions('2004-01-01', 1)")
        wait_until_it_waits_for_sessions(database, worker)
        for _ in range(20):
            store_session(another, user, datetime.now(UTC))
        assert not made.done()
        writer.commit()
        assert made.result() == 1


def test_months_that_were_given_up_leave_nothing(
    database: IsolatedDatabase, worker: Connection
) -> None:
    user = store_user(worker)
    with psycopg.connect(database.dsn("clonedb_worker")) as writer:
        store_session(writer, user, datetime.now(UTC))
        worker.execute("SET statement_timeout = '700ms'")
        with pytest.raises(QueryCanceled):
            value(worker, "SELECT clonedb.create_turn_partitions('2005-01-01', 2)")
        worker.execute("RESET statement_timeout")
    assert value(worker, "SELECT to_regclass('clonedb.conversation_turns_2005_01')") is None
    assert value(worker, "SELECT clonedb.create_turn_partitions('2005-01-01', 2)") == 2


@pytest.mark.parametrize("months", [0, -1, 121, None])
def test_a_senseless_number_of_months_is_refused(worker: Connection, months: int | None) -> None:
    with pytest.raises(InvalidParameterValue):
        value(worker, "SELECT clonedb.create_turn_partitions(current_date, %s)", months)


@pytest.mark.parametrize("day", ["1960-01-01", "9999-01-01", "infinity", None])
def test_a_month_without_ids_is_refused(worker: Connection, day: str | None) -> None:
    with pytest.raises(psycopg.DataError):
        value(worker, "SELECT clonedb.create_turn_partitions(%s::date, 1)", day)


def test_the_app_makes_no_months(database: IsolatedDatabase) -> None:
    with (
        psycopg.connect(database.dsn("clonedb_app"), autocommit=True) as app,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        value(app, "SELECT clonedb.create_turn_partitions(current_date, 1)")


# Under the app login: row-level security must not keep the bounds from pruning.
@pytest.mark.parametrize(
    "query",
    [
        """
        SELECT t.id
        FROM clonedb.conversation_turns AS t
        WHERE t.user_id = $1 AND t.session_id = $2
            AND t.id >= clonedb.session_window_start($3) AND t.id < clonedb.session_window_end($3)
        """,
        """
        SELECT t.id
        FROM clonedb.conversation_sessions AS s
        INNER JOIN clonedb.conversation_turns AS t
            ON t.user_id = s.user_id AND t.session_id = s.id
            AND t.id >= s.turn_window_start AND t.id < s.turn_window_end
        WHERE s.user_id = $1 AND s.id = $2 AND $3::timestamptz IS NOT NULL
        """,
    ],
    ids=["by parameter", "by the session's columns"],
)
def test_bounded_reads_leave_the_other_months_alone(database: IsolatedDatabase, query: str) -> None:
    with psycopg.connect(database.dsn("clonedb_superuser"), autocommit=True) as superuser:
        user = store_user(superuser)
        started_at = datetime.now(UTC)
        session = store_session(superuser, user, started_at)
        for _ in range(100):
            store_session(superuser, user, started_at)
        # Enough that a plan is worth something.
        superuser.execute(
            """
            INSERT INTO clonedb.conversation_turns (
                user_id, session_id, session_started_at, turn_number, user_transcript,
                llm_response, total_latency_ms
            )
            SELECT s.user_id, s.id, s.started_at, n, 'Hello', 'Hello to you', 800
            FROM clonedb.conversation_sessions AS s
            CROSS JOIN generate_series(1, 100) AS n
            WHERE s.user_id = %s
            """,
            (user,),
        )
        superuser.execute("VACUUM ANALYZE clonedb.conversation_turns")
        superuser.execute("VACUUM ANALYZE clonedb.conversation_sessions")
    with psycopg.connect(database.dsn("clonedb_app")) as app:
        app.execute("SELECT set_config('clonedb.user_id', %s, true)", (str(user),))
        app.execute("SET LOCAL plan_cache_mode = force_generic_plan")
        app.execute(f"PREPARE turns (uuid, uuid, timestamptz) AS {query}".encode())
        execute = f"EXECUTE turns ('{user}', '{session}', '{started_at}')"
        assert len(app.execute(execute.encode()).fetchall()) == 100
        plan = [
            line
            for (line,) in app.execute(
                f"EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF) {execute}".encode()
            )
        ]
    scanned = [
        line for line in plan if " on conversation_turns_" in line and "never executed" not in line
    ]
    # The window covers at most two months: the last 7 days' and the 5 minutes' before.
    assert 1 <= len(scanned) <= 2, "\n".join(plan)
