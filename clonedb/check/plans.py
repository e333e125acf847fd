"""The generic plan of a statement at production size, as an outline that does not wobble.

What is kept: the kinds of nodes, tables, indexes, conditions and orders. What is left out: costs,
row counts, widths, and the names of months. Months that are read alike are one line.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import psycopg
from psycopg import sql

from clonedb.check.catalogue import Catalogue
from clonedb.query.statements import Statement

Plan = dict[str, Any]

_CONDITIONS: Final = (
    ("Index Cond", "cond"),
    ("Recheck Cond", "recheck"),
    ("Hash Cond", "hash"),
    ("Merge Cond", "merge"),
    ("Join Filter", "join filter"),
    ("Filter", "filter"),
    ("One-Time Filter", "once"),
    ("TID Cond", "tid"),
    ("Order By", "order by"),
)
_LISTS: Final = (("Sort Key", "by"), ("Presorted Key", "presorted"), ("Group Key", "group by"))
# They ask for no more rows than they are asked for.
_PASSING: Final = ("Result", "Subquery Scan", "LockRows", "Append", "Merge Append", "Unique")
_PASSING_JOINS: Final = {"Outer": ("Nested Loop", "Merge Join"), "Inner": ("Merge Join",)}
# What find_page asks for by default: a page of 50, and one to see whether more follow.
PAGE_ROWS: Final = 51
_ARROW: Final = "  "


@dataclass(frozen=True, slots=True)
class Scan:
    """A table that a plan reads.

    `rows_read` is how many rows the planner expects one pass to look at, in one month of a table
    that has them, and no more than a LIMIT above it asks for.
    """

    table: str
    alias: str
    node: str
    index: str | None
    conditions: str
    index_condition: str
    rows_read: float


def with_limits(statement: Statement, limits: set[str]) -> str:
    """The text with a page's usual size in the place of the parameters that limit rows.

    A generic plan expects a tenth of all rows of an unknown limit, and so reads tables whole that
    the server, which then takes a custom plan, does not.
    """
    numbers = {number for number, name in enumerate(statement.parameters, 1) if name in limits}
    return re.sub(
        r"\$(\d+)",
        lambda found: str(PAGE_ROWS) if int(found[1]) in numbers else found[0],
        statement.text,
    )


class Planner:
    """Plans statements as one role, at production size; runs nothing."""

    def __init__(
        self,
        connection: psycopg.Connection[Any],
        catalogue: Catalogue,
        role: str | None,
        stored_rows: Mapping[str, float],
    ) -> None:
        self._connection = connection
        self._catalogue = catalogue
        self.stored_rows = stored_rows
        self.whole_tables = {
            each.name: whole.name
            for each in catalogue.relations.values()
            if each.is_partition and (whole := catalogue.whole(each.oid)) is not None
        }
        self._whole_indexes = {
            each.name: _whole_index(catalogue, each.oid) for each in catalogue.indexes.values()
        }
        if role is not None:
            connection.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(role)))

    def plan(self, text: str) -> Plan | str:
        """The plan, or PostgreSQL's reason for giving none."""
        explain = f"EXPLAIN (GENERIC_PLAN, VERBOSE, FORMAT JSON) {text}"
        try:
            row = self._connection.execute(explain.encode()).fetchone()
        except psycopg.Error as error:
            return error.diag.message_primary or str(error)
        explained = row[0] if row else "[]"
        plans = json.loads(explained) if isinstance(explained, str) else explained
        found: Plan = plans[0]["Plan"]
        return found

    def scans(self, plan: Plan) -> Iterator[Scan]:
        """Every reading of a table in a plan."""
        for node, share in _asked_for(plan, 1.0):
            if "Relation Name" not in node or "Scan" not in node["Node Type"]:
                continue
            table = str(node["Relation Name"])
            inner = [each for each in nodes(node) if "Bitmap" in each["Node Type"]]
            texts = [
                str(each[name])
                for each in (node, *inner)
                for name, _ in _CONDITIONS
                if name in each and not (each is node and name == "Recheck Cond")
            ]
            indexed = [str(each["Index Cond"]) for each in (node, *inner) if "Index Cond" in each]
            rows = float(node["Plan Rows"])
            indexes = [each["Index Name"] for each in (node, *inner) if "Index Name" in each]
            if "Filter" in node and not indexed:
                # What is filtered away is looked at too.
                read = indexes[0] if indexes else self.whole_tables.get(table, table)
                rows = max(rows, self.stored_rows.get(read, 0))
            yield Scan(
                self.whole_tables.get(table, table),
                re.sub(r"_\d+$", "", str(node.get("Alias", table))),
                str(node["Node Type"]),
                self._whole_indexes.get(indexes[0], indexes[0]) if indexes else None,
                self._without_months(" AND ".join(texts)),
                self._without_months(" AND ".join(indexed)),
                rows * share,
            )

    def joins(self, plan: Plan) -> str:
        """The conditions of a plan that belong to no reading of a table."""
        names = ("Hash Cond", "Merge Cond", "Join Filter", "One-Time Filter")
        found = [str(node[name]) for node in nodes(plan) for name in names if name in node]
        return self._without_months(" AND ".join(found))

    def outline(self, plan: Plan) -> list[str]:
        """The plan as indented lines."""
        return list(self._lines(plan, 0))

    def _lines(self, node: Plan, depth: int) -> Iterator[str]:
        indent = _ARROW * depth
        name = node.get("Subplan Name")
        if name is not None:
            yield f"{indent}{name}"
            indent += _ARROW
            depth += 1
        yield indent + self._title(node)
        detail = indent + _ARROW
        for key, label in _LISTS:
            if key in node:
                yield f"{detail}{label}: {self._without_months(', '.join(node[key]))}"
        for key, label in _CONDITIONS:
            if key in node and not (key == "Recheck Cond" and "Bitmap" in node["Node Type"]):
                yield f"{detail}{label}: {self._without_months(_bare(str(node[key])))}"
        before: list[str] = []
        repeated = 0
        for child in node.get("Plans", []):
            lines = list(self._lines(child, depth + 1))
            if lines == before and child["Parent Relationship"] == "Member":
                repeated += 1
                continue
            if repeated:
                yield f"{detail}(and so each further month)"
                repeated = 0
            yield from lines
            before = lines
        if repeated:
            yield f"{detail}(and so each further month)"

    def _title(self, node: Plan) -> str:
        kind = str(node["Node Type"])
        if kind == "ModifyTable":
            kind = str(node["Operation"])
        if kind == "Aggregate":
            kind = {
                "Plain": "Aggregate",
                "Sorted": "Group Aggregate",
                "Hashed": "Hash Aggregate",
            }.get(str(node.get("Strategy")), "Mixed Aggregate")
        join = node.get("Join Type")
        if join not in (None, "Inner"):
            kind += f" ({join})"
        if node.get("Scan Direction") == "Backward":
            kind += " backward"
        index = node.get("Index Name")
        if index is not None:
            kind += f" {self._whole_indexes.get(index, index)}"
        table = node.get("Relation Name")
        if table is not None:
            whole = self.whole_tables.get(table, table)
            alias = (
                re.sub(r"_\d+$", "", str(node.get("Alias", whole)))
                if whole != table
                else (node.get("Alias", whole))
            )
            kind += f" on {whole}" + ("" if alias == whole else f" AS {alias}")
            if whole != table:
                kind += ", a month"
        elif node.get("CTE Name"):
            kind += f" {node['CTE Name']}"
        elif node.get("Function Name"):
            kind += f" {node['Function Name']}"
        if node.get("Conflict Resolution"):
            kind += f", on conflict {str(node['Conflict Resolution']).lower()}"
        return kind

    def _without_months(self, text: str) -> str:
        text = re.sub(r"\b([a-z]\w*?)_\d+\.", r"\1.", text)
        return re.sub(r"\b\w+_\d{4}_\d\d\b", lambda m: self.whole_tables.get(m[0], m[0]), text)


def nodes(plan: Plan) -> Iterator[Plan]:
    """Every node of a plan, from the root on."""
    yield plan
    for child in plan.get("Plans", []):
        yield from nodes(child)


def _asked_for(plan: Plan, share: float) -> Iterator[tuple[Plan, float]]:
    """Every node with the share of its rows that a LIMIT above it asks for, 1 without one."""
    yield plan, share
    kind = plan["Node Type"]
    for child in plan.get("Plans", []):
        relationship = child["Parent Relationship"]
        passed = 1.0
        if kind == "Limit" and relationship == "Outer":
            passed = share * min(1.0, plan["Plan Rows"] / max(child["Plan Rows"], 1))
        elif (kind in _PASSING and relationship in ("Outer", "Member", "Subquery")) or (
            kind in _PASSING_JOINS.get(relationship, ())
        ):
            passed = share
        yield from _asked_for(child, passed)


def _whole_index(catalogue: Catalogue, oid: int) -> str:
    index = catalogue.indexes[oid]
    while index.parent is not None and index.parent in catalogue.indexes:
        index = catalogue.indexes[index.parent]
    return index.name


def _bare(condition: str) -> str:
    """Without the parentheses around the whole."""
    if not (condition.startswith("(") and condition.endswith(")")):
        return condition
    depth = 0
    for position, character in enumerate(condition):
        depth += {"(": 1, ")": -1}.get(character, 0)
        if depth == 0 and position < len(condition) - 1:
            return condition
    return condition[1:-1]
