"""The app login reaches the rows of the living user in its context, and no others."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any, NamedTuple
from uuid import UUID

import psycopg
import pytest
from people import (
    NOBODY,
    ROWS,
    SHARING,
    act_for,
    copy_of,
    owned_by,
    share_rows,
    store_person,
)
from psycopg import sql
from psycopg.errors import InsufficientPrivilege
from psycopg.types.json import Jsonb

from clonedb import new_id

ADA, GRACE, DELETED = new_id(), new_id(), new_id()
TABLES = list(ROWS)
# Whoever could look a receipt up could give back what they never took.
READABLE = [table for table in TABLES if table != "rate_limit_receipts"]
OWNED_BY_USER_ID = [table for table in TABLES if table not in ("users", "audit_logs")]
# Whoever deletes a user drops these, or makes them old, so their readers are not asked whether they
# live (decision 25). Here nothing is deleted but the user.
DROPPED = {
    "embedding_cache",
    "vector_search_cache",
    "llm_response_cache",
    "audio_chunk_cache",
    "cache_changes",
    "cache_fill_leases",
}
OUTSIDERS = pytest.mark.parametrize(
    "outsider", [GRACE, DELETED, None, new_id()], ids=["another", "deleted", "nobody", "unknown"]
)

JSON = ("metadata", "resolution", "settings", "results")

Login = Callable[[str], AbstractContextManager[psycopg.Connection[Any]]]


class Row(NamedTuple):
    """A stored row: what the app may give when it inserts one, and which columns it may update."""

    insertable: dict[str, Any]
    updatable: list[str]


@pytest.fixture(scope="module")
def login(server: Any, clonedb_template: Any) -> Iterator[Login]:
    """Connections to a database with three people, whose transactions are rolled back."""
    with copy_of(server, clonedb_template, "people") as database:
        with psycopg.connect(database.dsn("clonedb_superuser")) as connection:
            for user in (ADA, GRACE, DELETED):
                store_person(connection, user)
            share_rows(connection)
            connection.execute(
                "UPDATE clonedb.users SET deleted_at = now() WHERE id = %s", (DELETED,)
            )

        with ExitStack() as opened:
            connections: dict[str, psycopg.Connection[Any]] = {}

            @contextmanager
            def connect(role: str) -> Iterator[psycopg.Connection[Any]]:
                if role not in connections:
                    connections[role] = opened.enter_context(psycopg.connect(database.dsn(role)))
                try:
                    yield connections[role]
                finally:
                    connections[role].rollback()

            yield connect


def count(connection: psycopg.Connection[Any], table: str, where: sql.Composable) -> int:
    statement = sql.SQL("SELECT count(*) FROM {} WHERE {}")
    row = connection.execute(statement.format(sql.Identifier("clonedb", table), where)).fetchone()
    assert row is not None
    return int(row[0])


def stored_row(login: Login, table: str, user: UUID) -> Row:
    """One of a person's rows, as the superuser sees it."""
    with login("clonedb_superuser") as connection:
        columns = connection.execute(
            """
            SELECT
                a.attname,
                has_column_privilege('clonedb_app', a.attrelid, a.attnum, 'INSERT'),
                has_column_privilege('clonedb_app', a.attrelid, a.attnum, 'UPDATE')
            FROM pg_attribute AS a
            WHERE a.attrelid = ('clonedb.' || %s)::regclass AND a.attnum > 0
                AND NOT a.attisdropped AND a.attgenerated = ''
            """,
            (table,),
        ).fetchall()
        insertable = [name for name, allowed, _ in columns if allowed]
        updatable = [name for name, _, allowed in columns if allowed]
        statement = sql.SQL("SELECT {} FROM clonedb.{} WHERE {}").format(
            sql.SQL(", ").join(map(sql.Identifier, insertable)),
            sql.Identifier(table),
            owned_by(table, user),
        )
        values = connection.execute(statement).fetchone()
    assert values is not None
    return Row(dict(zip(insertable, values, strict=True)), updatable)


def insert(connection: psycopg.Connection[Any], table: str, row: dict[str, Any]) -> None:
    """Insert a row, or one of defaults where nothing of it may be given."""
    statement = sql.SQL("INSERT INTO clonedb.{} ({}) VALUES ({})").format(
        sql.Identifier(table),
        sql.SQL(", ").join(map(sql.Identifier, row)),
        sql.SQL(", ").join(sql.Placeholder() * len(row)),
    )
    if not row:
        statement = sql.SQL("INSERT INTO clonedb.{} DEFAULT VALUES").format(sql.Identifier(table))
    connection.execute(
        statement, [Jsonb(value) if column in JSON else value for column, value in row.items()]
    )


def test_every_table_of_people_is_tried(login: Login) -> None:
    with login("clonedb_superuser") as connection:
        found = connection.execute(
            """
            SELECT DISTINCT c.relname
            FROM pg_class AS c
            INNER JOIN pg_attribute AS a ON a.attrelid = c.oid
            WHERE c.relnamespace = 'clonedb'::regnamespace
                AND c.relkind IN ('r', 'p') AND NOT c.relispartition
                AND (c.relname = 'users' OR a.attname IN ('user_id', 'subject_ref', 'subject'))
            """
        ).fetchall()
    assert {name for (name,) in found} == set(TABLES)


@pytest.mark.parametrize("table", READABLE)
def test_a_user_sees_their_own_rows(login: Login, table: str) -> None:
    with login("clonedb_app") as connection:
        act_for(connection, ADA)
        assert count(connection, table, owned_by(table, ADA)) == 1


@pytest.mark.parametrize("table", READABLE)
@OUTSIDERS
def test_select_finds_nothing_of_others(login: Login, table: str, outsider: UUID | None) -> None:
    with login("clonedb_app") as connection:
        act_for(connection, outsider)
        everything = count(connection, table, sql.SQL("true"))
        shared = 1 if table in SHARING else 0
        reads_own = outsider == GRACE or (outsider == DELETED and table in DROPPED)
        assert everything == shared + reads_own
        if table != "audit_logs":
            assert count(connection, table, owned_by(table, ADA)) == 0


@pytest.mark.parametrize("table", TABLES)
@OUTSIDERS
def test_insert_for_others_is_refused(login: Login, table: str, outsider: UUID | None) -> None:
    row = stored_row(login, table, ADA).insertable
    with login("clonedb_app") as connection:
        act_for(connection, outsider)
        with pytest.raises(InsufficientPrivilege) as refusal:
            insert(connection, table, row)
    # Where the app may insert at all, it is the policy that refuses, not a missing right.
    assert ("row-level security" in str(refusal.value)) == bool(row)


@pytest.mark.parametrize("table", TABLES)
@OUTSIDERS
def test_update_of_others_changes_nothing(login: Login, table: str, outsider: UUID | None) -> None:
    updatable = stored_row(login, table, ADA).updatable
    column = (updatable or ["action" if table == "audit_logs" else "user_id"])[0]
    statement = sql.SQL("UPDATE clonedb.{table} SET {column} = {column} WHERE {theirs}").format(
        table=sql.Identifier(table),
        column=sql.Identifier(column),
        theirs=sql.SQL("true") if table == "audit_logs" else owned_by(table, ADA),
    )
    with login("clonedb_app") as connection:
        act_for(connection, outsider)
        if updatable:
            assert connection.execute(statement).rowcount == 0
        else:
            with pytest.raises(InsufficientPrivilege):
                connection.execute(statement)


@pytest.mark.parametrize("table", TABLES)
@OUTSIDERS
def test_delete_of_others_deletes_nothing(login: Login, table: str, outsider: UUID | None) -> None:
    statement = sql.SQL("DELETE FROM clonedb.{} WHERE {}").format(
        sql.Identifier(table), sql.SQL("true") if table == "audit_logs" else owned_by(table, ADA)
    )
    with login("clonedb_app") as connection:
        act_for(connection, outsider)
        allowed = connection.execute(
            "SELECT has_table_privilege('clonedb.' || %s, 'DELETE')", (table,)
        ).fetchone()
        if allowed == (True,):
            assert connection.execute(statement).rowcount == 0
        else:
            with pytest.raises(InsufficientPrivilege):
                connection.execute(statement)


@pytest.mark.parametrize("table", OWNED_BY_USER_ID)
def test_nobody_gives_their_rows_to_another(login: Login, table: str) -> None:
    with login("clonedb_app") as connection:
        act_for(connection, GRACE)
        with pytest.raises(InsufficientPrivilege):
            connection.execute(
                sql.SQL("UPDATE clonedb.{} SET user_id = {}").format(
                    sql.Identifier(table), sql.Literal(ADA)
                )
            )


@pytest.mark.parametrize("table", SHARING)
@pytest.mark.parametrize("statement", ["UPDATE {} SET created_at = now()", "DELETE FROM {}"])
def test_shared_rows_are_changed_by_the_worker_alone(
    login: Login, table: str, statement: str
) -> None:
    command = sql.SQL(statement + " WHERE {}").format(
        sql.Identifier("clonedb", table), owned_by(table, NOBODY)
    )
    with login("clonedb_app") as connection:
        act_for(connection, ADA)
        assert count(connection, table, owned_by(table, NOBODY)) == 1
        assert connection.execute(command).rowcount == 0
    with login("clonedb_worker") as connection:
        assert connection.execute(command).rowcount == 1


@pytest.mark.parametrize("table", SHARING)
def test_the_app_shares_no_rows(login: Login, table: str) -> None:
    row = stored_row(login, table, NOBODY).insertable
    with login("clonedb_app") as connection:
        act_for(connection, ADA)
        with pytest.raises(InsufficientPrivilege, match="row-level security"):
            insert(connection, table, row)


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("role", ["clonedb_worker", "clonedb_dba", "clonedb_backup"])
def test_the_other_roles_see_everybody(login: Login, table: str, role: str) -> None:
    with login(role) as connection:
        shared = 1 if table in SHARING else 0
        assert count(connection, table, sql.SQL("true")) == 3 + shared


@pytest.mark.parametrize("table", TABLES)
def test_the_owner_sees_everybody(login: Login, table: str) -> None:
    """Without a policy of its own, the owner's backfills would silently change nothing."""
    with login("clonedb_migrator") as connection:
        connection.execute("SET LOCAL ROLE clonedb_owner")
        shared = 1 if table in SHARING else 0
        assert count(connection, table, sql.SQL("true")) == 3 + shared


def test_deleting_oneself_in_one_statement_reaches_all_that_one_owns(login: Login) -> None:
    with login("clonedb_app") as connection:
        act_for(connection, ADA)
        cursor = connection.execute(
            """
            WITH deleted AS (
                UPDATE clonedb.users SET deleted_at = now() WHERE id = %(ada)s RETURNING id
            ),
            voices AS (
                UPDATE clonedb.voice_models SET deleted_at = now() WHERE user_id = %(ada)s
                RETURNING id
            ),
            cached AS (
                DELETE FROM clonedb.embedding_cache WHERE user_id = %(ada)s RETURNING key
            )
            SELECT
                (SELECT count(*) FROM deleted),
                (SELECT count(*) FROM voices),
                (SELECT count(*) FROM cached)
            """,
            {"ada": ADA},
        )
        assert cursor.fetchone() == (1, 1, 1)
        assert count(connection, "users", sql.SQL("true")) == 0
        assert count(connection, "knowledge_documents", sql.SQL("true")) == 0


def test_an_upsert_does_not_reach_a_row_of_another(login: Login) -> None:
    with login("clonedb_app") as connection:
        act_for(connection, GRACE)
        with pytest.raises(InsufficientPrivilege, match="row-level security"):
            connection.execute(
                """
                INSERT INTO clonedb.llm_response_cache AS c
                    (user_id, key, response, provider, expires_at)
                VALUES (%s, sha256('1'), 'poison', 'gpt-4-turbo', now())
                ON CONFLICT (user_id, key) DO UPDATE SET response = excluded.response
                """,
                (ADA,),
            )
