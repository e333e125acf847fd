"""Functions of the database that are new or changed, those with their owner's rights first."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from clonedb.review.comparison import Comparison, ObjectChange
from clonedb.review.risk import Risk, Rule, Severity


def find(comparison: Comparison) -> Iterator[Risk]:
    for change in comparison.objects:
        if change.object.kind == "FUNCTION":
            severity, what = _about(change)
            called = callers_of(comparison, change.object.bare_name)
            by = f"; called by {', '.join(called)}" if called else "; no query calls it"
            yield Risk(severity, change.object.name, what + by)


def callers_of(comparison: Comparison, function: str) -> list[str]:
    """The queries that call a function, now or, where it is gone, before."""
    return [
        name
        for name, entry in (comparison.base.entries | comparison.head.entries).items()
        if any(call.startswith(f"clonedb.{function}(") for call in entry.calls)
    ]


def _about(change: ObjectChange) -> tuple[Severity, str]:
    before, after = change.before, change.after
    if after is None:
        return Severity.MEDIUM, "is dropped"
    if after.as_owner:
        if before is None:
            return Severity.HIGH, "is new, and runs with its owner's rights"
        if not before.as_owner:
            return Severity.HIGH, "runs with its owner's rights now"
        return Severity.HIGH, "is changed, and runs with its owner's rights"
    if before is None:
        return Severity.LOW, "is new"
    return Severity.MEDIUM, "is changed"


RULE: Final = Rule(
    "functions",
    "A function of the database is new or changed",
    "With SECURITY DEFINER its owner's rights and policies count, not the caller's: whatever it "
    "lets through, everybody who may execute it has.",
    find,
)
