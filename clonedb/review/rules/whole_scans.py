"""A large table that a query reads as a whole, and did not before."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from clonedb.check.entry import Planned
from clonedb.check.refusals.broken_tags import LARGE_ROWS
from clonedb.query.headers import access_paths
from clonedb.review.comparison import Comparison, QueryChange
from clonedb.review.plan_lines import Scan, scans
from clonedb.review.risk import Risk, Rule, Severity


def find(comparison: Comparison) -> Iterator[Risk]:
    for change in comparison.queries:
        if change.after is None or (change.before is not None and change.entries is None):
            continue
        query = change.after.query
        meant = {name for kind, name in access_paths(query.tags) if kind == "scan"}
        before = change.before.entry if change.before else None
        known = {scan.table for plan in (before.plans if before else ()) for scan in _whole(plan)}
        for labels, scan in _new(change, known):
            rows = rows_of(comparison, scan.table)
            if rows < LARGE_ROWS:
                continue
            how = f"by all of {scan.used}" if scan.used else "from end to end"
            what = f"reads {scan.table} ({rows:,} rows) {how} ({', '.join(labels)})"
            severity = Severity.HIGH if scan.used is None else Severity.MEDIUM
            if scan.table in meant:
                severity, what = Severity.MEDIUM, what + ", as its header says"
            yield Risk(severity, change.name, what, f"{query.path}:{query.line}")


def rows_of(comparison: Comparison, table: str) -> int:
    """How many rows a table has in production, by sizes.toml."""
    rows = comparison.head.table_rows
    others = "other_users_tables" if table in comparison.user_tables else "other_tables"
    return rows.get(table, rows.get(others, 0))


def _new(change: QueryChange, known: set[str]) -> Iterator[tuple[tuple[str, ...], Scan]]:
    told = set(known)
    for labels, _, plan in change.plans():
        for scan in _whole(plan):
            if scan.table not in told:
                told.add(scan.table)
                yield labels, scan


def _whole(plan: Planned) -> Iterator[Scan]:
    limited = any(line.strip() == "Limit" for line in plan.lines)
    for scan in scans(plan.lines):
        # An index is read as a whole in its order, until a LIMIT is reached.
        if scan.whole and not (scan.used and limited):
            yield scan


RULE: Final = Rule(
    "whole_scans",
    "A large table is read as a whole",
    f"At production's size (sql/check/sizes.toml) the plan reads more than {LARGE_ROWS:,} rows "
    "from end to end where it did not before: it takes longer with every day's rows.",
    find,
)
