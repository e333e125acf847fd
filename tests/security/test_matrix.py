"""Every login on every table, month, view, sequence and function, by every verb.

What is expected stands in tests/matrix.py; what is not declared there fails.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from declared_rights import OF_A_MONTH, TABLES, WITHOUT_POLICIES
from ground import as_superuser
from matrix import (
    differences,
    drop_stranger,
    login_of,
    make_stranger,
    relations,
)
from people import NOBODY, ROWS, SHARING, act_for, copy_of, share_rows, store_person

from clonedb import new_id
from clonedb.embedded import EmbeddedServer
from clonedb.testing import IsolatedDatabase

ADA, GRACE = new_id(), new_id()


@pytest.fixture(scope="module")
def database(server: EmbeddedServer, clonedb_template: Any) -> Iterator[IsolatedDatabase]:
    """Two people with a row in every table, and rows of nobody."""
    with copy_of(server, clonedb_template, "matrix") as copy:
        make_stranger(copy)
        with as_superuser(copy) as connection:
            store_person(connection, ADA)
            store_person(connection, GRACE)
            share_rows(connection)
        yield copy
        drop_stranger(copy)


def test_every_login_may_do_what_is_declared_and_nothing_else(database: IsolatedDatabase) -> None:
    found = relations(database)
    assert len([each for each in found if each.parent == "conversation_turns"]) >= 24
    assert {each.label for each in found if not each.is_partition} == TABLES.keys()
    assert differences(database) == []


# What a hasty migration or a helpful administrator would do, how it is undone, of what something is
# said, and what.
PLANTED = {
    "a table of people without protection": (
        (
            "CREATE TABLE clonedb.planted (user_id uuid NOT NULL, said text);"
            "GRANT SELECT ON clonedb.planted TO clonedb_app"
        ),
        "DROP TABLE clonedb.planted",
        "planted",
        "planted is not declared",
        "app: SELECT on planted is allowed, not refused",
        "planted is without forced row-level security",
    ),
    "a table that nobody may use yet": (
        "CREATE TABLE clonedb.planted (user_id uuid NOT NULL)",
        "DROP TABLE clonedb.planted",
        "planted",
        "planted is not declared",
    ),
    "a month without protection": (
        (
            "CREATE TABLE clonedb.planted PARTITION OF clonedb.audit_logs "
            "FOR VALUES FROM ('f0000000-0000-7000-8000-000000000000') TO (MAXVALUE);"
            "GRANT SELECT ON clonedb.planted TO clonedb_app"
        ),
        "DROP TABLE clonedb.planted",
        "planted",
        "planted is without forced row-level security",
        "app: SELECT on planted is allowed, not refused",
    ),
    "a month whose protection is not forced": (
        "ALTER TABLE clonedb.{month} NO FORCE ROW LEVEL SECURITY",
        "ALTER TABLE clonedb.{month} FORCE ROW LEVEL SECURITY",
        "{month}",
        "{month} is without forced row-level security",
    ),
    "a view": (
        (
            "CREATE VIEW clonedb.planted AS SELECT id FROM clonedb.users;"
            "GRANT SELECT ON clonedb.planted TO clonedb_readonly"
        ),
        "DROP VIEW clonedb.planted",
        "planted",
        "planted is not declared",
        "readonly: SELECT on planted is allowed, not refused",
    ),
    "a materialised view for all": (
        (
            "CREATE MATERIALIZED VIEW clonedb.planted AS SELECT id FROM clonedb.users;"
            "GRANT SELECT ON clonedb.planted TO PUBLIC"
        ),
        "DROP MATERIALIZED VIEW clonedb.planted",
        "planted",
        "planted is not declared",
        "app: SELECT on planted is allowed, not refused",
    ),
    "a sequence": (
        "CREATE SEQUENCE clonedb.planted; GRANT USAGE ON SEQUENCE clonedb.planted TO clonedb_app",
        "DROP SEQUENCE clonedb.planted",
        "planted",
        "planted is not declared",
        "app: nextval on planted is allowed, not refused",
    ),
    "a function for all": (
        (
            "CREATE FUNCTION clonedb.planted() RETURNS int LANGUAGE sql AS 'SELECT 1';"
            "GRANT EXECUTE ON FUNCTION clonedb.planted TO PUBLIC"
        ),
        "DROP FUNCTION clonedb.planted",
        "planted",
        "planted() is not declared",
        "stranger may execute planted()",
    ),
    "a right too many": (
        "GRANT TRUNCATE ON clonedb.users TO clonedb_app",
        "REVOKE TRUNCATE ON clonedb.users FROM clonedb_app",
        "users",
        "app: TRUNCATE on users is allowed, not refused",
    ),
    "a right too few": (
        "REVOKE SELECT ON clonedb.voice_models FROM clonedb_worker",
        "GRANT SELECT ON clonedb.voice_models TO clonedb_worker",
        "voice_models",
        "worker: SELECT on voice_models is refused, not allowed",
    ),
    "a column for readonly too many": (
        "GRANT SELECT ON clonedb.audit_subjects TO clonedb_readonly",
        "REVOKE SELECT ON clonedb.audit_subjects FROM clonedb_readonly",
        "audit_subjects",
        "readonly: SELECT on audit_subjects is allowed, not refused",
    ),
}


@pytest.mark.parametrize("defect", PLANTED)
def test_what_is_not_declared_fails(database: IsolatedDatabase, defect: str) -> None:
    plant, undo, only, *said = PLANTED[defect]
    month = next(each.name for each in relations(database) if each.is_partition)
    only = only.format(month=month)
    with as_superuser(database) as superuser:
        superuser.execute(plant.format(month=month).encode())
        try:
            found = differences(database, only)
        finally:
            superuser.execute(undo.format(month=month).encode())
    for line in said:
        assert [each for each in found if each.startswith(line.format(month=month))], found
    assert differences(database, only) == []


CONTEXTS = {"no context": (None, 0), "Grace": (GRACE, 1), "unknown": (new_id(), 0)}


@pytest.mark.parametrize("context", CONTEXTS)
def test_the_app_reads_of_every_table_what_is_its_users(
    database: IsolatedDatabase, context: str
) -> None:
    user, own = CONTEXTS[context]
    with psycopg.connect(database.dsn("clonedb_app")) as app:
        for table, rights in TABLES.items():
            if "S" not in rights.get("app", "") or table in WITHOUT_POLICIES:
                continue
            assert table in ROWS, f"{table} has no rows to try: give tests/migrations/people.py one"
            act_for(app, user)
            rows = app.execute(f"SELECT t::text FROM clonedb.{table} AS t".encode()).fetchall()
            app.rollback()
            assert len(rows) == own + (table in SHARING), table
            assert not [row for (row,) in rows if str(ADA) in row], table
            assert len([row for (row,) in rows if str(NOBODY) in row]) == (table in SHARING), table


def test_no_month_is_read_or_written_by_itself(database: IsolatedDatabase) -> None:
    months = [each for each in relations(database) if each.is_partition]
    assert {each.parent for each in months} == {"audit_logs", "conversation_turns"}
    assert OF_A_MONTH.keys() == {"backup"}
    for role in ("app", "worker", "dba"):
        with psycopg.connect(database.dsn(login_of(role))) as connection:
            for month in months:
                act_for(connection, ADA)
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    connection.execute(f"SELECT FROM clonedb.{month.name}".encode())
                connection.rollback()
