"""What ids promise."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID, uuid4

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clonedb import InvalidInput, check_id, id_at, new_id, time_of
from clonedb.testing import IsolatedDatabase

MOMENTS = st.datetimes(
    min_value=datetime(1970, 1, 1),
    max_value=datetime(9999, 12, 31),
    timezones=st.just(UTC),
)


def test_ids_of_one_process_are_in_the_order_of_their_making() -> None:
    made = [new_id() for _ in range(50_000)]
    assert made == sorted(made)
    assert len(set(made)) == len(made)


def test_threads_never_share_an_id() -> None:
    with ThreadPoolExecutor(8) as pool:
        made = [identifier for part in pool.map(_make, range(8)) for identifier in part]
    assert len(set(made)) == len(made)


def _make(_: int) -> list[UUID]:
    made = [new_id() for _ in range(5_000)]
    assert made == sorted(made)
    return made


def test_a_new_id_is_accepted_and_carries_this_moment() -> None:
    before = datetime.now(UTC)
    identifier = new_id()
    assert identifier.version == 7
    assert check_id(identifier) is identifier
    assert check_id(str(identifier)) == identifier
    # The counter may have borrowed from the milliseconds after this one.
    assert abs(time_of(identifier) - before) < timedelta(seconds=60)


@given(MOMENTS, st.integers(min_value=0, max_value=2**256 - 1))
def test_an_id_made_for_a_moment_carries_it_and_is_the_same_again(
    moment: datetime, distinguisher: int
) -> None:
    identifier = id_at(moment, distinguisher)
    assert identifier.version == 7
    assert identifier == id_at(moment, distinguisher)
    assert timedelta(0) <= moment - time_of(identifier) < timedelta(milliseconds=1)


@given(st.integers(0, 2**74 - 1), st.integers(0, 2**74 - 1))
def test_ids_of_one_moment_differ_where_their_74_bits_do(first: int, second: int) -> None:
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    assert (id_at(moment, first) == id_at(moment, second)) == (first == second)


def test_a_moment_is_the_same_in_every_time_zone() -> None:
    moment = datetime(2026, 1, 1, 12, tzinfo=UTC)
    elsewhere = moment.astimezone(timezone(timedelta(hours=9)))
    assert id_at(moment, 1) == id_at(elsewhere, 1)


@pytest.mark.parametrize(
    "moment",
    [datetime(2026, 1, 1), datetime(1969, 12, 31, tzinfo=UTC)],
)
def test_a_moment_without_zone_or_before_1970_is_refused(moment: datetime) -> None:
    with pytest.raises(InvalidInput):
        id_at(moment, 0)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("abc", "not a UUID"),
        ("'; DROP TABLE users", "not a UUID"),
        (uuid4(), "version 7"),
        (UUID(int=0), "version 7"),
        ("c78e2796-a2f3-4e0a-927b-e3420173b976", "version 7"),
        (UUID(int=new_id().int & ~(0b11 << 62)), "version 7"),
        (id_at(datetime.now(UTC) + timedelta(days=3650), 0), "future"),
        (id_at(datetime.now(UTC) + timedelta(days=1, hours=1), 0), "future"),
        (7, "must be a UUID"),
        (None, "must be a UUID"),
    ],
)
def test_what_is_no_id_is_refused_and_named(value: object, said: str) -> None:
    with pytest.raises(InvalidInput, match=said) as caught:
        check_id(value, "session_id")  # type: ignore[arg-type]
    assert "session_id" in str(caught.value)


def test_a_clock_that_is_ahead_by_hours_is_tolerated() -> None:
    check_id(id_at(datetime.now(UTC) + timedelta(hours=23), 0))


def test_the_database_reads_the_same_time_from_an_id(migrated: IsolatedDatabase) -> None:
    identifiers = [new_id(), id_at(datetime(2026, 1, 31, 23, 59, 59, 999_999, tzinfo=UTC), 2**70)]
    with psycopg.connect(migrated.dsn("clonedb_worker")) as connection:
        for identifier in identifiers:
            row = connection.execute(
                "SELECT clonedb.uuid_v7_time(%s), clonedb.is_uuid_v7(%s)",
                [identifier, identifier],
            ).fetchone()
            assert row == (time_of(identifier), True)
        row = connection.execute("SELECT clonedb.uuid_v7()").fetchone()
        assert row is not None
        assert abs(time_of(check_id(row[0])).timestamp() - time.time()) < 60
