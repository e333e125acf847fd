"""Every statement of the query files, in every declared variant, against the real schema."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from plans import nodes, plan_of
from psycopg.pq import ExecStatus

from clonedb import queries
from clonedb.ids import new_id
from clonedb.queries import query_of
from clonedb.query.statements import Query
from clonedb.resources import sql_directory
from clonedb.testing import SUPERUSER, IsolatedDatabase

MODULES = sorted(path.stem for path in sql_directory().glob("*.sql"))


def queries_of(module: str) -> list[Query]:
    functions = getattr(queries, module)
    return [
        query_of(getattr(functions, name))
        for name in functions.available_queries
        if not name.endswith("_cursor")
    ]


@pytest.mark.parametrize("module", MODULES)
def test_every_variant_of_every_query_prepares(module: str, migrated: IsolatedDatabase) -> None:
    with psycopg.connect(migrated.dsn(SUPERUSER), autocommit=True) as connection:
        for query in queries_of(module):
            for number, statement in enumerate(query.variants()):
                result = connection.pgconn.prepare(b"", statement.text.encode())
                assert result.status == ExecStatus.COMMAND_OK, (
                    f"{statement.path}:{statement.line} variant {number}: "
                    f"{result.error_message.decode()}\n{statement.text}"
                )


@pytest.mark.parametrize("module", MODULES)
def test_a_query_of_a_users_table_names_the_user(module: str) -> None:
    owned = (
        "conversation_sessions",
        "conversation_turns",
        "face_models",
        "knowledge_documents",
        "object_uploads",
        "stored_objects",
        "voice_models",
    )
    for query in queries_of(module):
        if module in ("object_deletions", "retention", "statistics") or query.name in (
            "document_queue.claim_pending",
            "document_queue.statistics",
            "privacy_export.find_person",
        ):
            continue  # across users, for the worker login
        for statement in query.variants():
            if module != "users" and any(f"clonedb.{table}" in statement.text for table in owned):
                assert "user_id" in statement.parameters, statement.name


@pytest.fixture
def filled(migrated: IsolatedDatabase) -> Iterator[tuple[psycopg.Connection[Any], str]]:
    """A connection as the app, in the context of one of 200 users with 40 sessions each."""
    with psycopg.connect(migrated.dsn(SUPERUSER), autocommit=True) as connection:
        connection.execute(
            "INSERT INTO clonedb.users (email) SELECT 'u' || n || '@example.com' "
            "FROM generate_series(1, 200) AS n"
        )
        connection.execute(
            "INSERT INTO clonedb.conversation_sessions (user_id, llm_provider, tts_provider, "
            "started_at) SELECT u.id, 'gpt-4-turbo', 'xtts-v2', now() - n * interval '1 hour' "
            "FROM clonedb.users AS u, generate_series(1, 40) AS n"
        )
        connection.execute("ANALYZE clonedb.users, clonedb.conversation_sessions")
        row = connection.execute("SELECT id FROM clonedb.users LIMIT 1").fetchone()
        assert row is not None
        connection.execute("SET ROLE clonedb_app")
        connection.execute("SELECT set_config('clonedb.user_id', %s, false)", [str(row[0])])
        connection.execute("SET plan_cache_mode = force_generic_plan")
        # So few rows may lie on so few pages that reading all of them is cheapest.
        connection.execute("SET enable_seqscan = off")
        yield connection, str(row[0])


def test_a_page_of_sessions_reads_as_many_rows_as_it_returns(
    filled: tuple[psycopg.Connection[Any], str],
) -> None:
    connection, user_id = filled
    query = query_of(queries.conversation_sessions.find_many)
    for order in query.orders:
        arguments: dict[str, Any] = {
            "user_id": user_id,
            "order": order,
            "after_started_at": "2026-06-01T00:00:00Z" if order == "oldest" else "2099-01-01",
            "after_id": str(new_id()),
            "limit": 10,
        }
        statement, _ = query.bind(arguments)
        plan = plan_of(connection, statement, **arguments)
        scans = [node for node in nodes(plan) if "Relation Name" in node]
        assert [node["Node Type"] for node in scans] == ["Index Scan"], json.dumps(plan, indent=1)
        assert scans[0]["Actual Rows"] <= 10
        assert "Sort" not in {node["Node Type"] for node in nodes(plan)}


def test_the_login_is_found_through_its_index_under_row_level_security(
    filled: tuple[psycopg.Connection[Any], str],
) -> None:
    connection, _ = filled
    # As the worker: the app's policy names the user's id, and is as good with its index.
    connection.execute("SET ROLE clonedb_worker")
    statement, _ = query_of(queries.users.find_by_email).bind({"email": "U7@example.com"})
    plan = plan_of(connection, statement, email="U7@example.com")
    scans = [node for node in nodes(plan) if "Relation Name" in node]
    assert [node.get("Index Name") for node in scans] == ["users_email_key_living"]


@pytest.mark.parametrize("name", ["find_many", "count", "find_by_id", "find_with_turns"])
def test_turns_are_read_from_the_months_of_their_session_alone(
    filled: tuple[psycopg.Connection[Any], str], name: str
) -> None:
    connection, user_id = filled
    module = queries.conversation_turns
    if name == "find_with_turns":
        module = queries.conversation_sessions
    query = query_of(getattr(module, name))
    session = connection.execute(
        "SELECT id FROM clonedb.conversation_sessions ORDER BY started_at DESC LIMIT 1"
    ).fetchone()
    assert session is not None
    possible = {
        "user_id": user_id,
        "session_id": str(session[0]),
        "id": str(session[0]) if name == "find_with_turns" else str(new_id()),
        "after_turn_number": 3,
        "after_id": str(new_id()),
        "limit": 10,
    }
    arguments = {key: value for key, value in possible.items() if key in query.parameters}
    statement, _ = query.bind(arguments)
    plan = plan_of(connection, statement, **arguments)
    executed = [
        node
        for node in nodes(plan)
        if node.get("Relation Name", "").startswith("conversation_turns_")
        and node.get("Actual Loops", 0) > 0
    ]
    assert len(executed) <= 2, json.dumps(plan, indent=1)


def test_a_claim_reads_as_many_documents_as_it_takes(
    migrated: IsolatedDatabase,
) -> None:
    with psycopg.connect(migrated.dsn(SUPERUSER), autocommit=True) as connection:
        connection.execute(
            "INSERT INTO clonedb.users (email) SELECT 'u' || n || '@example.com' "
            "FROM generate_series(1, 20) AS n"
        )
        connection.execute(
            "INSERT INTO clonedb.knowledge_documents (user_id, filename, content_type, "
            "size_bytes, uploaded_at, status, claimed_at, claimed_by, lease_expires_at, attempts) "
            "SELECT u.id, 'f', 'c', 1, now() - n * interval '1 minute', "
            "CASE WHEN n % 4 = 0 THEN 'processing' ELSE 'pending' END, "
            "CASE WHEN n % 4 = 0 THEN now() END, CASE WHEN n % 4 = 0 THEN 'one' END, "
            "CASE WHEN n % 4 = 0 THEN now() + n * interval '1 minute' END, 1 "
            "FROM clonedb.users AS u, generate_series(1, 200) AS n"
        )
        connection.execute("VACUUM ANALYZE clonedb.knowledge_documents")
        connection.execute("SET ROLE clonedb_worker")
        arguments = {
            "worker": "two",
            "lease_seconds": 60,
            "maximum_attempts": 5,
            "limit": 10,
            "now": None,
        }
        statement, _ = query_of(queries.document_queue.claim_pending).bind(arguments)
        connection.execute(f"SET plan_cache_mode = {statement.plan_cache_mode}".encode())
        connection.execute("SET enable_seqscan = off")  # cheapest on so few pages
        plan = plan_of(connection, statement, **arguments)
    scans = [node for node in nodes(plan) if "Relation Name" in node]
    assert "Seq Scan" not in {node["Node Type"] for node in scans}
    assert {node.get("Index Name") for node in nodes(plan)} >= {
        "knowledge_documents_leases",
        "knowledge_documents_pending",
        "knowledge_documents_pkey",
    }
    assert all(node["Actual Rows"] <= 10 for node in scans)
