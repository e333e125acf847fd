"""The plan that the server runs for a statement."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import psycopg

from clonedb.query.statements import Statement


def plan_of(
    connection: psycopg.Connection[Any], statement: Statement, **values: object
) -> dict[str, Any]:
    """The plan of the statement, which is run, as EXPLAIN gives it; values by parameter."""
    names = statement.parameters
    connection.execute("DEALLOCATE ALL")
    connection.execute(f"PREPARE checked AS {statement.text}".encode())
    marks = f"({', '.join(['%s'] * len(names))})" if names else ""
    cursor = psycopg.ClientCursor(connection)
    cursor.execute(
        f"EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, FORMAT JSON) EXECUTE checked{marks}".encode(),
        [values[name] for name in names],
    )
    row = cursor.fetchone()
    assert row is not None
    explained = row[0] if isinstance(row[0], list) else json.loads(row[0])
    found: dict[str, Any] = explained[0]["Plan"]
    return found


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Every node of a plan, from the root on."""
    yield plan
    for child in plan.get("Plans", []):
        yield from nodes(child)
