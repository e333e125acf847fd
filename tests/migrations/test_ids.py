"""Ids made and read by the database."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clonedb import new_id
from clonedb.ids import id_at

ANY_TIME = st.datetimes(
    min_value=datetime(1970, 1, 1), max_value=datetime(9998, 12, 31), timezones=st.just(UTC)
)
SAME_DATABASE = settings(
    deadline=None, max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture
def app(migrated: Any) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(migrated.dsn("clonedb_app"), autocommit=True) as connection:
        yield connection


def value(connection: psycopg.Connection[Any], query: str, *parameters: object) -> Any:
    row = connection.execute(query.encode(), parameters).fetchone()
    assert row is not None
    return row[0]


def test_an_id_has_version_variant_and_the_present_time(app: psycopg.Connection[Any]) -> None:
    before, made, after = app.execute(
        "SELECT date_trunc('milliseconds', clock_timestamp()), clonedb.uuid_v7(), clock_timestamp()"
    ).fetchone() or (None, None, None)
    assert isinstance(made, UUID)
    assert (made.version, made.variant) == (7, "specified in RFC 4122")
    assert before <= value(app, "SELECT clonedb.uuid_v7_time(%s)", made) <= after


def test_ids_of_one_server_are_in_the_order_of_their_making(app: psycopg.Connection[Any]) -> None:
    rows = app.execute(
        "SELECT clonedb.uuid_v7(), n FROM generate_series(1, 20000) AS s (n) ORDER BY 2"
    ).fetchall()
    ids = [made for made, _ in rows]
    assert len(set(ids)) == len(ids)
    # In order to the microsecond: two made within one microsecond may be the wrong way round.
    reversed_pairs = sum(later < earlier for earlier, later in pairwise(ids))
    assert reversed_pairs < len(ids) / 100
    assert all(later.int >> 64 >= earlier.int >> 64 for earlier, later in pairwise(ids))


@SAME_DATABASE
@given(moment=ANY_TIME)
def test_the_floor_of_a_time_is_its_lowest_id(
    app: psycopg.Connection[Any], moment: datetime
) -> None:
    floor, back = app.execute(
        "SELECT clonedb.uuid_v7_floor(%(t)s), clonedb.uuid_v7_time(clonedb.uuid_v7_floor(%(t)s))",
        {"t": moment},
    ).fetchone() or (None, None)
    assert floor == id_at(moment, 0)
    assert back == moment - timedelta(microseconds=moment.microsecond % 1000)


@SAME_DATABASE
@given(moment=ANY_TIME.filter(lambda moment: moment.year > 1970))
def test_the_window_of_a_session_is_five_minutes_before_to_seven_days_after(
    app: psycopg.Connection[Any], moment: datetime
) -> None:
    start, end = app.execute(
        "SELECT clonedb.session_window_start(%(t)s), clonedb.session_window_end(%(t)s)",
        {"t": moment},
    ).fetchone() or (None, None)
    assert start == id_at(moment - timedelta(minutes=5), 0)
    assert end == id_at(moment + timedelta(days=7), 0)


def test_a_window_does_not_depend_on_the_sessions_time_zone(app: psycopg.Connection[Any]) -> None:
    windows = set()
    for zone in ("UTC", "America/New_York", "Asia/Kathmandu"):
        value(app, "SELECT set_config('TimeZone', %s, false)", zone)
        # New York changes its clocks within these seven days.
        windows.add(value(app, "SELECT clonedb.session_window_end('2026-03-06 12:00:00+00')"))
    assert len(windows) == 1


@pytest.mark.parametrize(
    ("candidate", "is_one"),
    [
        (new_id(), True),
        (uuid4(), False),
        (UUID(int=0), False),
        (UUID("0189f000-0000-1000-8000-000000000000"), False),
        (UUID("0189f000-0000-7000-c000-000000000000"), False),
        (UUID("0189f000-0000-7000-bfff-ffffffffffff"), True),
    ],
    ids=["version 7", "version 4", "nil", "version 1", "another variant", "the highest"],
)
def test_version_7_is_told_from_others(
    app: psycopg.Connection[Any], candidate: UUID, is_one: bool
) -> None:
    assert value(app, "SELECT clonedb.is_uuid_v7(%s)", candidate) is is_one
