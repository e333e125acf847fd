"""What each login may do, beyond whose rows it sees."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from people import act_for, copy_of, share_rows, store_person
from psycopg.errors import InsufficientPrivilege

from clonedb import new_id
from clonedb.embedded import EmbeddedServer
from clonedb.testing import IsolatedDatabase

ADA, GRACE = new_id(), new_id()
Connection = psycopg.Connection[Any]


@pytest.fixture(scope="module")
def database(server: EmbeddedServer, clonedb_template: Any) -> Iterator[IsolatedDatabase]:
    """A database with two people who own a row in every table."""
    with copy_of(server, clonedb_template, "rights") as copy:
        with psycopg.connect(copy.dsn("clonedb_superuser")) as connection:
            store_person(connection, ADA)
            store_person(connection, GRACE)
            share_rows(connection)
        yield copy


def refused(database: IsolatedDatabase, role: str, statement: str) -> None:
    with psycopg.connect(database.dsn(role)) as connection:
        act_for(connection, ADA)
        with pytest.raises(InsufficientPrivilege):
            connection.execute(statement.encode(), {"ada": ADA})


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM clonedb.conversation_turns_{month}",
        "TRUNCATE clonedb.rate_limits",
        "COPY clonedb.users FROM STDIN",
        "SET ROLE clonedb_owner",
        "SET ROLE clonedb_worker",
        "CREATE TABLE clonedb.mine (id integer)",
        "CREATE TABLE public.mine (id integer)",
        "ALTER TABLE clonedb.users DISABLE ROW LEVEL SECURITY",
        "DROP POLICY own_rows ON clonedb.users",
        "SELECT clonedb.protect_user_table('clonedb.users')",
        "SELECT clonedb.create_month_partitions('clonedb.audit_logs', current_date, 1)",
        "INSERT INTO clonedb.session_transitions VALUES ('idle', 'speaking')",
        "UPDATE clonedb.rate_limit_rules SET capacity = 1000",
        "INSERT INTO clonedb.rate_limit_buckets VALUES (%(ada)s, 'user', '', '*', 1000)",
        "UPDATE clonedb.daily_usage SET conversation_seconds = 0",
        "DELETE FROM clonedb.rate_limits",
        "UPDATE clonedb.conversation_turns SET user_transcript = 'I said nothing'",
        "DELETE FROM clonedb.conversation_turns",
        "SELECT * FROM clonedb.audit_seals",
    ],
)
def test_the_app_may_not(database: IsolatedDatabase, statement: str) -> None:
    with psycopg.connect(database.dsn("clonedb_app")) as app:
        (month,) = app.execute("SELECT to_char(now(), 'YYYY_MM')").fetchone() or ("",)
    refused(database, "clonedb_app", statement.format(month=month))


def test_row_security_cannot_be_switched_off(database: IsolatedDatabase) -> None:
    with psycopg.connect(database.dsn("clonedb_app")) as app:
        app.execute("SET row_security = off")
        with pytest.raises(InsufficientPrivilege, match="row-level security"):
            app.execute("SELECT id FROM clonedb.users")


@pytest.mark.parametrize("role", ["clonedb_app", "clonedb_worker", "clonedb_dba"])
@pytest.mark.parametrize(
    "verb",
    [
        "UPDATE clonedb.audit_logs SET result = 'success'",
        "DELETE FROM clonedb.audit_logs",
        "TRUNCATE clonedb.audit_logs",
    ],
)
def test_nobody_with_a_login_changes_the_audit_log(
    database: IsolatedDatabase, role: str, verb: str
) -> None:
    refused(database, role, verb)


APPEND = """
    INSERT INTO clonedb.audit_logs (actor_ref, subject_ref, action, resource, result)
    SELECT {actor}, {subject}, 'login', 'users', 'failure'
"""
OWN = "clonedb.living_subject_ref()"


@pytest.mark.parametrize(
    ("actor", "subject", "acting"),
    [(OWN, OWN, True), ("NULL", "NULL", True), ("NULL", "NULL", False)],
    ids=["of oneself", "of somebody unknown", "before there is a context"],
)
def test_the_app_appends_to_the_audit_log(
    database: IsolatedDatabase, actor: str, subject: str, acting: bool
) -> None:
    with psycopg.connect(database.dsn("clonedb_app")) as app:
        act_for(app, ADA if acting else None)
        assert app.execute(APPEND.format(actor=actor, subject=subject).encode()).rowcount == 1
        app.rollback()


@pytest.mark.parametrize(
    ("actor", "subject"),
    [
        ("%(other)s", OWN),
        (OWN, "%(other)s"),
        ("NULL", "%(other)s"),
        ("%(other)s", "NULL"),
        ("%(other)s", "%(other)s"),
        ("%(mine)s", "NULL"),
        ("NULL", "%(mine)s"),  # it would look like the system's deed
    ],
)
@pytest.mark.parametrize("acting", [True, False], ids=["as Ada", "without context"])
def test_actor_and_subject_cannot_be_forged(
    database: IsolatedDatabase, actor: str, subject: str, acting: bool
) -> None:
    with psycopg.connect(database.dsn("clonedb_superuser")) as superuser:
        other, mine = (
            (
                superuser.execute(
                    "SELECT subject_ref FROM clonedb.users WHERE id = %s", (user,)
                ).fetchone()
                or (None,)
            )[0]
            for user in (GRACE, ADA)
        )
    with psycopg.connect(database.dsn("clonedb_app")) as app:
        act_for(app, ADA if acting else None)
        with pytest.raises(InsufficientPrivilege, match="row-level security"):
            app.execute(
                APPEND.format(actor=actor, subject=subject).encode(), {"other": other, "mine": mine}
            )


@pytest.mark.parametrize("column", ["system_identifier", "xid", "created_at"])
@pytest.mark.parametrize("role", ["clonedb_app", "clonedb_worker"])
def test_nobody_chooses_what_an_entry_is_filed_under(
    database: IsolatedDatabase, role: str, column: str
) -> None:
    refused(
        database,
        role,
        f"INSERT INTO clonedb.audit_logs (action, resource, result, {column}) "
        f"SELECT 'login', 'users', 'success', {column} FROM clonedb.audit_logs LIMIT 1",
    )


def test_an_entry_bears_its_transaction(database: IsolatedDatabase) -> None:
    with psycopg.connect(database.dsn("clonedb_worker")) as worker:
        row = worker.execute(
            "INSERT INTO clonedb.audit_logs (action, resource, result) "
            "VALUES ('login', 'users', 'success') "
            "RETURNING xid = pg_current_xact_id(), created_at = now()"
        ).fetchone()
        worker.rollback()
    assert row == (True, True)


def test_an_entry_cannot_be_put_into_a_month_that_is_over(database: IsolatedDatabase) -> None:
    with (
        psycopg.connect(database.dsn("clonedb_worker")) as worker,
        pytest.raises(psycopg.errors.CheckViolation) as refusal,
    ):
        worker.execute(
            "INSERT INTO clonedb.audit_logs (id, action, resource, result) VALUES "
            "(clonedb.uuid_v7_floor(now() - interval '2 days'), 'login', 'users', 'success')"
        )
    assert refusal.value.diag.constraint_name == "audit_logs_id_is_of_its_time"


def test_details_of_an_entry_are_appended_for_oneself_or_for_nobody(
    database: IsolatedDatabase,
) -> None:
    append = (
        b"INSERT INTO clonedb.audit_subjects (user_id, id, ip_address) "
        b"VALUES (%s, clonedb.uuid_v7(), '192.0.2.7')"
    )
    with psycopg.connect(database.dsn("clonedb_app")) as app:
        act_for(app, ADA)
        for user in (ADA, "00000000-0000-0000-0000-000000000000"):
            assert app.execute(append, (user,)).rowcount == 1
        with pytest.raises(InsufficientPrivilege, match="row-level security"):
            app.execute(append, (GRACE,))


# Readonly

INTIMATE = [
    ("users", "email"),
    ("users", "email_key"),
    ("users", "name"),
    ("users", "personality_traits"),
    ("users", "speaking_style"),
    ("users", "settings"),
    ("users", "subject_ref"),
    ("voice_models", "model_path"),
    ("voice_models", "metadata"),
    ("face_models", "model_path"),
    ("face_models", "metadata"),
    ("conversation_turns", "user_transcript"),
    ("conversation_turns", "llm_response"),
    ("conversation_turns", "retrieved_chunks"),
    ("knowledge_documents", "filename"),
    ("knowledge_documents", "title"),
    ("knowledge_documents", "text_content"),
    ("knowledge_documents", "search"),
    ("knowledge_documents", "tags"),
    ("embedding_cache", "embedding"),
    ("vector_search_cache", "results"),
    ("llm_response_cache", "response"),
    ("audio_chunk_cache", "audio"),
    ("rate_limit_buckets", "subject"),
    ("audit_subjects", "ip_address"),
]


@pytest.mark.parametrize(("table", "column"), INTIMATE)
def test_readonly_sees_nothing_intimate(
    database: IsolatedDatabase, table: str, column: str
) -> None:
    refused(database, "clonedb_readonly", f"SELECT {column} FROM clonedb.{table}")


def test_readonly_counts_across_users(database: IsolatedDatabase) -> None:
    with psycopg.connect(database.dsn("clonedb_readonly")) as readonly:
        row = readonly.execute(
            "SELECT count(id), sum(total_latency_ms), min(total_cost) "
            "FROM clonedb.conversation_turns"
        ).fetchone()
    assert row is not None
    assert row[:2] == (2, 1800)


def test_readonly_writes_nowhere(database: IsolatedDatabase) -> None:
    with psycopg.connect(database.dsn("clonedb_superuser")) as superuser:
        rights = superuser.execute(
            """
            SELECT c.relname, p.privilege
            FROM pg_class AS c
            CROSS JOIN unnest('{INSERT,UPDATE,DELETE,TRUNCATE}'::text[]) AS p (privilege)
            WHERE c.relnamespace = 'clonedb'::regnamespace AND c.relkind IN ('r', 'p')
                AND (
                    has_table_privilege('clonedb_readonly', c.oid, p.privilege)
                    OR p.privilege IN ('INSERT', 'UPDATE')
                    AND has_any_column_privilege('clonedb_readonly', c.oid, p.privilege)
                )
            """
        ).fetchall()
    assert rights == []


# Backup


def test_a_backup_holds_every_row(database: IsolatedDatabase) -> None:
    dump = subprocess.run(
        [
            database.server.binaries / "pg_dump",
            "--enable-row-security",
            "--no-sync",
            database.dsn("clonedb_backup"),
        ],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    for user in (ADA, GRACE):
        assert f"a secret of {user}@example.com" in dump
    assert "0019_grant_migrations_table" in dump


@pytest.mark.parametrize("role", ["clonedb_app", "clonedb_worker", "clonedb_readonly"])
def test_a_login_sees_which_migrations_are_applied(database: IsolatedDatabase, role: str) -> None:
    with psycopg.connect(database.dsn(role)) as connection:
        applied = connection.execute("SELECT migration_id FROM public._yoyo_migration").fetchall()
    assert ("0001_create_roles",) in applied


@pytest.mark.parametrize("role", ["clonedb_app", "clonedb_worker", "clonedb_readonly"])
def test_temporary_tables_are_nobodys(migrated: Any, role: str) -> None:
    with (
        psycopg.connect(migrated.dsn(role)) as connection,
        pytest.raises(InsufficientPrivilege),
    ):
        connection.execute("CREATE TEMPORARY TABLE users (id uuid)")
