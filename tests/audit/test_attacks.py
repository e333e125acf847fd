"""An app login with SQL of its own puts nothing false on record, and takes nothing off it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, LiteralString

import psycopg
import pytest
from ground import as_superuser, nothing_stored
from people import act_for, copy_of, store_person
from psycopg import errors
from sealed import append

from clonedb import new_id
from clonedb.embedded import EmbeddedServer
from clonedb.testing import IsolatedDatabase

APPEND: LiteralString = "INSERT INTO clonedb.audit_logs (action, resource, result{}) "
DEED: LiteralString = "'user.login', 'users', 'success'"


ADA, GRACE = new_id(), new_id()


@pytest.fixture(scope="module")
def attacked(server: EmbeddedServer, clonedb_template: Any) -> Iterator[IsolatedDatabase]:
    """A sealed log of two people; whatever was tried, at the end every table is as it was."""
    with copy_of(server, clonedb_template, "attacked") as database:
        with as_superuser(database) as connection:
            store_person(connection, ADA)
            store_person(connection, GRACE)
        append(database, 3)
        with psycopg.connect(database.dsn("clonedb_worker"), autocommit=True) as worker:
            assert worker.execute("SELECT clonedb.seal_audit_logs(10)").rowcount == 1
        with nothing_stored(database):
            yield database


def attempt(database: IsolatedDatabase, role: str, statement: str, **values: Any) -> None:
    """Under a login, in Ada's context, and committed where it is not refused."""
    with psycopg.connect(database.dsn(role)) as connection:
        act_for(connection, ADA)
        connection.execute(statement.encode(), values)


def refs(database: IsolatedDatabase) -> list[Any]:
    with as_superuser(database) as connection:
        found = dict(connection.execute("SELECT id, subject_ref FROM clonedb.users").fetchall())
    return [found[ADA], found[GRACE]]


@pytest.mark.parametrize(
    ("actor", "subject"),
    [
        ("other", "other"),
        ("own", "other"),
        ("other", "own"),
        ("other", None),
        (None, "other"),
        ("own", None),
        (None, "own"),
        ("invented", "own"),
        ("own", "invented"),
        ("invented", "invented"),
    ],
)
def test_the_app_names_nobody_but_the_user_it_acts_for(
    attacked: IsolatedDatabase, actor: str | None, subject: str | None
) -> None:
    own, other = refs(attacked)
    people = {"own": own, "other": other, "invented": GRACE, None: None}
    with pytest.raises(errors.InsufficientPrivilege):
        attempt(
            attacked,
            "clonedb_app",
            APPEND.format(", actor_ref, subject_ref") + f"VALUES ({DEED}, %(actor)s, %(subject)s)",
            actor=people[actor],
            subject=people[subject],
        )


@pytest.mark.parametrize("role", ["clonedb_app", "clonedb_worker"])
@pytest.mark.parametrize(
    ("columns", "values"),
    [
        (", xid", ", '5'"),
        (", xid", ", pg_current_xact_id()"),
        (", system_identifier", ", 1"),
        (", created_at", ", now() - interval '1 year'"),
        (", created_at", ", now() + interval '1 year'"),
        (", created_at, id", ", now() - interval '9 days', clonedb.uuid_v7()"),
    ],
)
def test_nobody_says_when_an_entry_was_made(
    attacked: IsolatedDatabase, role: str, columns: str, values: str
) -> None:
    with pytest.raises(errors.InsufficientPrivilege):
        attempt(attacked, role, APPEND.format(columns) + f"VALUES ({DEED}{values})")


@pytest.mark.parametrize("role", ["clonedb_app", "clonedb_worker"])
@pytest.mark.parametrize("moment", ["now() - interval '25 hours'", "now() + interval '25 hours'"])
def test_an_id_is_of_its_time(attacked: IsolatedDatabase, role: str, moment: str) -> None:
    with pytest.raises(errors.CheckViolation) as refusal:
        attempt(
            attacked,
            role,
            APPEND.format(", id") + f"VALUES ({DEED}, clonedb.uuid_v7_floor({moment}))",
        )
    assert refusal.value.diag.constraint_name == "audit_logs_id_is_of_its_time"


@pytest.mark.parametrize("role", ["app", "worker", "readonly", "backup", "dba"])
@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE clonedb.audit_logs SET result = 'failure'",
        "UPDATE {month} SET result = 'failure'",
        "DELETE FROM clonedb.audit_logs",
        "DELETE FROM {month}",
        "TRUNCATE clonedb.audit_logs",
        "TRUNCATE {month}",
        "DROP TABLE {month}",
        "ALTER TABLE clonedb.audit_logs DETACH PARTITION {month}",
        "ALTER TABLE clonedb.audit_logs DISABLE ROW LEVEL SECURITY",
        "ALTER TABLE clonedb.audit_logs ALTER COLUMN xid SET DEFAULT '5'",
        "INSERT INTO {month} (action, resource, result) VALUES ('user.login', 'users', 'success')",
        "COPY clonedb.audit_logs FROM STDIN",
        "COPY clonedb.audit_logs (action, resource, result, xid) FROM STDIN",
        """
        INSERT INTO clonedb.audit_logs (id, action, resource, result)
        SELECT id, action, resource, result FROM clonedb.audit_logs
        ON CONFLICT (id) DO UPDATE SET action = 'x'
        """,
        """
        MERGE INTO clonedb.audit_logs AS l USING (VALUES (1)) AS v (n) ON true
        WHEN MATCHED THEN DELETE
        """,
        "SET session_replication_role = replica",
        "SET ROLE clonedb_owner",
        """
        CREATE OR REPLACE FUNCTION clonedb.uuid_v7() RETURNS uuid LANGUAGE sql
        AS 'SELECT gen_random_uuid()'
        """,
    ],
)
def test_no_login_changes_what_is_on_record(
    attacked: IsolatedDatabase, role: str, statement: str
) -> None:
    with as_superuser(attacked) as superuser:
        (month,) = superuser.execute(
            "SELECT 'clonedb.audit_logs_' || to_char(now() AT TIME ZONE 'UTC', 'YYYY_MM')"
        ).fetchone() or ("",)
    with pytest.raises(errors.InsufficientPrivilege):
        attempt(attacked, f"clonedb_{role}", statement.format(month=month))


# Nothing personal.


@pytest.mark.parametrize("role", ["clonedb_app", "clonedb_worker"])
@pytest.mark.parametrize(
    "text",
    [
        "ada@example.com",
        "Ada",
        "ada lovelace",
        "she said hello",
        "192.0.2.7",
        "2001:db8::1",
        "+49 30 123456",
        "login:ada",
        "",
        "ä",
        "users/ada",
        "users/192.0.2.7",
        "login\nada",
        "login\n",
    ],
)
def test_neither_action_nor_resource_holds_an_address_or_a_text(
    attacked: IsolatedDatabase, role: str, text: str
) -> None:
    for values in ("%(text)s, 'users'", "'user.login', %(text)s"):
        with pytest.raises(errors.CheckViolation):
            attempt(
                attacked,
                role,
                APPEND.format("") + f"VALUES ({values}, 'success')",
                text=text,
            )
