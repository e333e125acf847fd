"""A user's key that reached every table of a query, and no longer does."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from clonedb.check.entry import Planned
from clonedb.review.comparison import Comparison, QueryChange
from clonedb.review.plan_lines import scans
from clonedb.review.revision import Source
from clonedb.review.risk import Risk, Rule, Severity

_ONE_USER: Final = "one user's rows"
_MET: Final = "run as one of two people"


def find(comparison: Comparison) -> Iterator[Risk]:
    for change in comparison.queries:
        if change.after is not None:
            query = change.after.query
            for severity, what in _about(comparison, change, change.after):
                yield Risk(severity, change.name, what, f"{query.path}:{query.line}")


def _about(
    comparison: Comparison, change: QueryChange, now: Source
) -> Iterator[tuple[Severity, str]]:
    across = now.query.tags.get("users") == "all"
    if across and (change.before is None or change.before.query.tags.get("users") != "all"):
        if change.before is None:
            yield Severity.MEDIUM, "is new, and works across users"
        elif _sql(change.before) == _sql(now):
            yield Severity.LOW, "says users: all now; the statement is the same"
        else:
            yield Severity.HIGH, "works across users now: its header says users: all"
    if change.entries is None:
        return
    before, after = change.entries
    of_users = [table for table in after.tables if table in comparison.user_tables]
    if of_users and not across:
        if _says(before.users, _ONE_USER) and not _says(after.users, _ONE_USER):
            yield Severity.HIGH, "is no longer proved to give one user's rows"
        elif _says(before.users, _MET) and not _says(after.users, _MET):
            yield Severity.MEDIUM, "was run as one of two people, and is no longer"
    told = set()
    for labels, was, plan in change.plans():
        for table, key in comparison.user_tables.items():
            if was is None or across or table in told:
                continue
            if _reaches(was, table, key) is True and _reaches(plan, table, key) is False:
                told.add(table)
                what = f"{key} reached {table} by an index, and does not ({', '.join(labels)})"
                yield Severity.HIGH, what


def _sql(source: Source) -> list[tuple[object, object]]:
    """The statement without its header, wherever in the file it is."""
    return [(line.parts, line.conditions) for line in source.query.lines]


def _says(users: tuple[str, ...], words: str) -> bool:
    return any(line.startswith(words) for line in users)


def _reaches(plan: Planned, table: str, key: str) -> bool | None:
    """Whether the key is in the index condition of every scan of the table; None for no scan."""
    found = [each for each in scans(plan.lines) if each.table == table]
    if not found:
        return None
    return all(re.search(rf"\b{key} = ", each.condition) for each in found)


RULE: Final = Rule(
    "strangers",
    "Another user's rows may come back",
    "The user's key is the first of two walls between people. Where it no longer reaches a table, "
    "row-level security alone keeps them apart, and the worker's login has none.",
    find,
)
