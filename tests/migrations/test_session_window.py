"""The window that a turn's CHECK writes out is the one that its session's functions compute."""

from __future__ import annotations

from datetime import UTC, datetime

import psycopg
from hypothesis import given, settings
from hypothesis import strategies as st

from clonedb.testing import SUPERUSER, IsolatedDatabase


def test_the_check_of_turns_has_the_bounds_of_the_session(migrated: IsolatedDatabase) -> None:
    with psycopg.connect(migrated.dsn(SUPERUSER), autocommit=True) as connection:
        row = connection.execute(
            "SELECT pg_get_expr(c.conbin, c.conrelid) FROM pg_constraint AS c "
            "WHERE c.conname = 'conversation_turns_id_is_in_session_window' "
            "AND c.conrelid = 'clonedb.conversation_turns'::regclass"
        ).fetchone()
        assert row is not None
        query = psycopg.sql.SQL(
            "SELECT {check} FROM (SELECT bound AS id, "
            "started_at AS session_started_at FROM (VALUES (%(started)s::timestamptz)) "
            "AS s (started_at), LATERAL (VALUES "
            "(1, clonedb.session_window_start(started_at)), "
            "(2, clonedb.uuid_before(clonedb.session_window_start(started_at))), "
            "(3, clonedb.uuid_before(clonedb.session_window_end(started_at))), "
            "(4, clonedb.session_window_end(started_at))) AS b (position, bound) "
            "ORDER BY position) AS turn"
        ).format(check=psycopg.sql.SQL(row[0]))
        connection.execute(
            "CREATE FUNCTION clonedb.uuid_before(p_id uuid) RETURNS uuid LANGUAGE sql IMMUTABLE "
            "RETURN (SELECT encode(overlay(b.bytes PLACING int8send(("
            "('x' || encode(substr(b.bytes, 1, 8), 'hex'))::bit(64)::bigint - 1)) "
            "|| '\\xffffffffffffffff'::bytea FROM 1), 'hex')::uuid "
            "FROM (SELECT uuid_send(p_id)) AS b (bytes))"
        )

        @settings(deadline=None, max_examples=300)
        @given(
            st.datetimes(
                min_value=datetime(1970, 1, 2),
                max_value=datetime(2200, 1, 1),
                timezones=st.just(UTC),
            ),
            st.sampled_from(["UTC", "America/New_York", "Asia/Kolkata", "Pacific/Apia"]),
        )
        def same(started: datetime, zone: str) -> None:
            connection.execute("SELECT set_config('TimeZone', %s, false)", [zone])
            found = connection.execute(query, {"started": started}).fetchall()
            assert [inside for (inside,) in found] == [True, False, True, False]

        same()
