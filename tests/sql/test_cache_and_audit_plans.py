"""The caches and the audit log are read and purged through their indexes, under the app's rules."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from plans import nodes, plan_of

from clonedb import new_id, queries
from clonedb.queries import query_of
from clonedb.testing import SUPERUSER, IsolatedDatabase

Connection = psycopg.Connection[Any]


VALUES = {
    "embedding_cache": ("embedding, model, dimensions", "'\\x00000000', 'm', 1"),
    "vector_search_cache": ("results", "'[]'"),
    "llm_response_cache": ("response, provider", "'Hi', 'gpt-4-turbo'"),
    "audio_chunk_cache": ("audio, format, duration_ms, sample_rate", "'\\x00', 'pcm', 1, 24000"),
}


@pytest.fixture
def peopled(migrated: IsolatedDatabase) -> Iterator[tuple[Connection, str]]:
    """A superuser's connection to a database of 50 users, and one of them."""
    with psycopg.connect(migrated.dsn(SUPERUSER), autocommit=True) as connection:
        connection.execute(
            "INSERT INTO clonedb.users (email) SELECT 'u' || n || '@example.com' "
            "FROM generate_series(1, 50) AS n"
        )
        row = connection.execute("SELECT id::text FROM clonedb.users LIMIT 1").fetchone()
        assert row is not None
        yield connection, row[0]


def fill_cache(connection: Connection, table: str) -> None:
    """100 entries of each user, of which half have expired."""
    columns, row = VALUES[table]
    connection.execute(
        f"INSERT INTO clonedb.{table} (user_id, key, expires_at, {columns}) "
        "SELECT u.id, sha256(n::text::bytea), now() + (n - 50) * interval '1 min', "
        f"{row} FROM clonedb.users AS u, generate_series(1, 100) AS n".encode()
    )
    connection.execute(f"ANALYZE clonedb.{table}".encode())


def fill_audit_log(connection: Connection) -> None:
    """100 entries about each user, with details."""
    connection.execute(
        "INSERT INTO clonedb.audit_logs (actor_ref, subject_ref, action, resource, result) "
        "SELECT u.subject_ref, u.subject_ref, 'a' || n, 'r' || n, "
        "CASE WHEN n % 50 = 0 THEN 'failure' ELSE 'success' END "
        "FROM clonedb.users AS u, generate_series(1, 100) AS n"
    )
    connection.execute(
        "INSERT INTO clonedb.audit_subjects (user_id, id, user_agent) "
        "SELECT u.id, l.id, 'Firefox' FROM clonedb.audit_logs AS l "
        "INNER JOIN clonedb.users AS u ON u.subject_ref = l.subject_ref"
    )
    connection.execute("ANALYZE clonedb.audit_logs, clonedb.audit_subjects, clonedb.users")


def act_as(connection: Connection, role: str, user_id: str) -> None:
    connection.execute(f"SET ROLE {role}".encode())
    connection.execute("SELECT set_config('clonedb.user_id', %s, false)", [user_id])
    connection.execute("SET plan_cache_mode = force_generic_plan")


def scans(plan: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        node for node in nodes(plan) if "Relation Name" in node and node.get("Actual Loops", 0) > 0
    ]


@pytest.mark.parametrize("table", VALUES)
def test_an_entry_is_read_through_its_key(peopled: tuple[Connection, str], table: str) -> None:
    connection, user_id = peopled
    fill_cache(connection, table)
    act_as(connection, "clonedb_app", user_id)
    statement = query_of(getattr(queries, table).get).full
    plan = plan_of(connection, statement, user_id=user_id, key=b"\0" * 32)
    assert {node.get("Index Name") for node in scans(plan)} == {f"{table}_pkey"}, plan
    [scan] = scans(plan)
    assert "key = $" in scan["Index Cond"] or "key = '" in scan["Index Cond"]


@pytest.mark.parametrize("table", VALUES)
def test_a_put_looks_at_one_row(peopled: tuple[Connection, str], table: str) -> None:
    connection, user_id = peopled
    fill_cache(connection, table)
    act_as(connection, "clonedb_app", user_id)
    given: dict[str, Any] = {
        "user_id": user_id,
        "key": b"\0" * 32,
        "ttl": timedelta(hours=1),
        "tags": [],
        "embedding": b"\0" * 4,
        "model": "m",
        "dimensions": 1,
        "results": "[]",
        "document_ids": [],
        "response": "Hi",
        "provider": "gpt-4-turbo",
        "audio": b"\0",
        "format": "pcm",
        "duration_ms": 1,
        "sample_rate": 24_000,
    }
    plan = plan_of(connection, query_of(getattr(queries, table).put).full, **given)
    reads = [node for node in scans(plan) if node["Node Type"] != "ModifyTable"]
    assert {node.get("Index Name") for node in reads} == {
        f"{table}_pkey",
        "cache_fill_leases_pkey",
    }


@pytest.mark.parametrize("table", VALUES)
def test_the_purge_reads_no_more_than_its_batch(
    peopled: tuple[Connection, str], table: str
) -> None:
    connection, _ = peopled
    fill_cache(connection, table)
    act_as(connection, "clonedb_worker", "")
    statement, _ = query_of(getattr(queries, table).purge_expired).bind({"limit": 20})
    plan = plan_of(connection, statement, limit=20)
    reads = [node for node in scans(plan) if node["Node Type"] != "ModifyTable"]
    assert {(node["Node Type"], node.get("Index Name")) for node in reads} == {
        ("Index Scan", f"{table}_expiry"),
        ("Tid Scan", None),
    }, json.dumps(plan, indent=1)
    assert all(node["Actual Rows"] <= 20 for node in reads)


@pytest.mark.parametrize(
    ("role", "given", "index"),
    [
        ("clonedb_app", {"user_id": ...}, "subject_ref"),
        ("clonedb_worker", {"user_id": ...}, "subject_ref"),
        ("clonedb_worker", {"subject_id": ...}, "subject_ref"),
        ("clonedb_worker", {"action": "a1"}, "action"),
        ("clonedb_worker", {"resource": "r1"}, "resource"),
        ("clonedb_worker", {"result": "failure"}, "id"),
        ("clonedb_worker", {}, "pkey"),
    ],
    ids=["own", "of a user", "subject", "action", "resource", "failures", "everything"],
)
@pytest.mark.parametrize("order", ["newest", "oldest"])
def test_a_page_of_the_audit_log_reads_as_many_entries_as_it_returns(
    peopled: tuple[Connection, str], role: str, given: dict[str, Any], index: str, order: str
) -> None:
    connection, user_id = peopled
    fill_audit_log(connection)
    act_as(connection, role, user_id)
    arguments: dict[str, Any] = {
        name: user_id if value is ... else value for name, value in given.items()
    }
    arguments |= {"limit": 10}
    statement, _ = query_of(queries.audit_logs.find_many).bind(arguments | {"order": order})
    plan = plan_of(connection, statement, **arguments)
    assert "Sort" not in {node["Node Type"] for node in nodes(plan)}, json.dumps(plan, indent=1)
    read = [node for node in scans(plan) if node["Relation Name"].startswith("audit_logs_")]
    assert sum(node["Actual Rows"] * node["Actual Loops"] for node in read) <= 10
    filled_scan = max(read, key=lambda node: node["Actual Rows"])
    assert filled_scan["Node Type"].startswith("Index"), json.dumps(filled_scan, indent=1)
    if index != "id":
        assert index in filled_scan["Index Name"], json.dumps(filled_scan, indent=1)


def test_a_bound_on_the_time_leaves_other_months_out(peopled: tuple[Connection, str]) -> None:
    connection, user_id = peopled
    fill_audit_log(connection)
    act_as(connection, "clonedb_worker", user_id)
    row = connection.execute("SELECT now() - interval '1 h', now() + interval '1 h'").fetchone()
    assert row is not None
    arguments = {"created_from": row[0], "created_before": row[1], "limit": 10}
    arguments["after_id"] = new_id()
    for query in (queries.audit_logs.find_many, queries.audit_logs.top_actions):
        declared = query_of(query)
        known = {name: arguments[name] for name in arguments if name in declared.parameters}
        statement, _ = declared.bind(known)
        plan = plan_of(connection, statement, **known)
        months = [node for node in nodes(plan) if "audit_logs_" in node.get("Relation Name", "")]
        assert 1 <= len(months) <= 2, json.dumps(plan, indent=1)
