"""Which columns can never be NULL, and which statements do nothing, by what the planner knows.

The planner can prove what a tree does not show: an outer join that WHERE makes inner, a CHECK, a
view. `SELECT 1 FROM (the statement) AS q WHERE q.c IS NULL` is planned, and where the plan reads
nothing at all, there is no such row. A LIMIT at the end would stand between, and is left out for
the proof: with fewer rows there are no more NULLs.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any, Final

import psycopg

from clonedb.errors import QueryFileError
from clonedb.query.lexer import Kind, lex
from clonedb.query.statements import Statement

_CLAUSES_BEHIND_ROWS: Final = frozenset({"order", "limit", "offset", "fetch", "for"})


class PlannerProof:
    """Proves by what the planner knows, on a connection of its own."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection
        connection.execute(b"SET constraint_exclusion = on")
        connection.execute(b"SET max_parallel_workers_per_gather = 0")

    def proved(self, text: str, columns: int, wanted: Sequence[int]) -> set[int]:
        """Which of the wanted columns (from 0) of a SELECT are proved to be never NULL."""
        names = ", ".join(f"c{number}" for number in range(columns))
        rows = without_limit(text)
        found: set[int] = set()
        for number in wanted:
            probe = (
                "EXPLAIN (GENERIC_PLAN, COSTS OFF, FORMAT JSON) "  # noqa: S608
                f"SELECT 1 FROM (\n{rows}\n) AS q ({names}) WHERE q.c{number} IS NULL"
            )
            try:
                row = self._connection.execute(probe.encode()).fetchone()
            except psycopg.Error:
                return found  # it is no SELECT that can stand in FROM
            plan = _plan_of(row)
            if plan is not None and _is_empty(plan):
                found.add(number)
        return found

    def does_nothing(self, statement: Statement, parameter: str, type_name: str) -> bool:
        """Whether the statement neither reads nor writes a row when the parameter is NULL."""
        place = statement.parameters.index(parameter) + 1

        def other(match: re.Match[str]) -> str:
            number = int(match[1])
            if number == place:
                return f"NULL::{type_name}"
            return f"${number - 1 if number > place else number}"

        text = re.sub(r"\$(\d+)", other, statement.text)
        try:
            row = self._connection.execute(
                f"EXPLAIN (GENERIC_PLAN, COSTS OFF, FORMAT JSON) {text}".encode()
            ).fetchone()
        except psycopg.Error:
            return False
        plan = _plan_of(row)
        return plan is not None and _is_idle(plan)


def _plan_of(row: Any) -> dict[str, Any] | None:
    if row is None:
        return None
    explained: Any = json.loads(row[0]) if isinstance(row[0], str) else row[0]
    plan: dict[str, Any] = explained[0]["Plan"]
    return plan


def _is_idle(plan: dict[str, Any]) -> bool:
    # What WITH writes is written whether its rows are read or not.
    for child in plan.get("Plans", []):
        if child["Node Type"] == "ModifyTable" and not _is_idle(child):
            return False
    if plan["Node Type"] == "ModifyTable":
        return all(_is_idle(each) for each in plan.get("Plans", []))
    if plan["Node Type"] == "Aggregate" and plan.get("Plans"):
        return _is_idle(plan["Plans"][0])
    return _is_empty(plan)


def _is_empty(plan: dict[str, Any]) -> bool:
    """Whether a plan says by itself that no row can come of it."""
    children = [
        each
        for each in plan.get("Plans", [])
        if each["Parent Relationship"] in ("Outer", "Inner", "Member", "Subquery")
    ]
    match plan["Node Type"]:
        case "Result" if not children:
            return bool(plan.get("One-Time Filter") == "false")
        case "Append" | "Merge Append":
            return bool(children) and all(map(_is_empty, children))
        case "Nested Loop" | "Hash Join" | "Merge Join" if plan.get("Join Type") == "Inner":
            return any(map(_is_empty, children))
        case "Aggregate":
            return bool(plan.get("Group Key")) and bool(children) and _is_empty(children[0])
        case (
            "Sort"
            | "Limit"
            | "Unique"
            | "Subquery Scan"
            | "Group"
            | "WindowAgg"
            | "Hash"
            | ("Incremental Sort" | "ProjectSet" | "Materialize" | "LockRows" | "Result")
        ):
            return bool(children) and _is_empty(children[0])
    return False


def without_limit(text: str) -> str:
    """A SELECT without its last ORDER BY, LIMIT, OFFSET, FETCH and FOR: the same rows or more.

    These words are reserved, so outside of parentheses they are what they say, unless they follow a
    dot or AS.
    """
    depth, before = 0, ""
    named = re.sub(r"\$(\d+)", r"numbered_\1", text)
    try:
        tokens = lex(named, path="")
    except QueryFileError:
        return text
    for token in tokens:
        if token.kind is not Kind.CODE:
            before = ""
            continue
        for word in re.finditer(r"[A-Za-z_][\w$]*|[().\S]", token.text):
            if word[0] == "(":
                depth += 1
            elif word[0] == ")":
                depth -= 1
            elif (
                depth == 0
                and word[0].lower() in _CLAUSES_BEHIND_ROWS
                and before.lower() not in (".", "as")
            ):
                return re.sub(r"\bnumbered_(\d+)\b", r"$\1", named[: token.start + word.start()])
            before = word[0]
    return text
