"""Migrations that are edited, removed, out of order, or without a way back."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from clonedb.review.comparison import Comparison
from clonedb.review.risk import Risk, Rule, Severity


def find(comparison: Comparison) -> Iterator[Risk]:
    last = max(comparison.base.migrations, default="")
    for change in comparison.migrations:
        place = f"migrations/{change.name}.sql:1"
        if change.kind == "changed":
            what = "is edited: a database that has applied it refuses the next migration"
            yield Risk(Severity.HIGH, change.name, what, place)
        elif change.kind == "removed":
            yield Risk(Severity.HIGH, change.name, "is gone; databases have applied it")
        else:
            if change.name < last:
                what = f"goes before {last}, which databases have applied already"
                yield Risk(Severity.MEDIUM, change.name, what, place)
            if change.name not in comparison.head.rollbacks:
                yield Risk(Severity.HIGH, change.name, "has no rollback", place)
    added = {each.name for each in comparison.migrations if each.kind == "added"}
    for change in comparison.rollbacks:
        if change.name not in added and change.kind != "added":
            what = f"its rollback is {change.kind}"
            yield Risk(
                Severity.MEDIUM, change.name, what, f"migrations/{change.name}.rollback.sql:1"
            )


RULE: Final = Rule(
    "edited_migrations",
    "Migrations that databases know are touched",
    "Applied migrations are compared by checksum. What is to be different goes into a new one, "
    "with a way back.",
    find,
)
