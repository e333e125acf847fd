"""An index that is dropped or made anew, and the plans that used it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from clonedb.review.comparison import Comparison
from clonedb.review.plan_lines import scans
from clonedb.review.risk import Risk, Rule, Severity


def find(comparison: Comparison) -> Iterator[Risk]:
    old, new = comparison.base.schema, comparison.head.schema
    if not old.objects or not new.objects:
        return
    users = _users(comparison)
    for name in sorted(old.indexes() - new.indexes()):
        if name in users:
            yield Risk(Severity.HIGH, name, f"is dropped, and used by {_listed(users[name])}")
        else:
            yield Risk(Severity.LOW, name, "is dropped; no plan used it")
    for change in comparison.objects:
        name = change.object.bare_name
        if change.object.kind == "INDEX" and change.kind == "changed" and name in users:
            yield Risk(Severity.MEDIUM, name, f"is another, and used by {_listed(users[name])}")


def _users(comparison: Comparison) -> dict[str, list[str]]:
    """The queries whose plans used an index, by its name."""
    found: dict[str, list[str]] = {}
    for name, entry in comparison.base.entries.items():
        used = {scan.used for plan in entry.plans for scan in scans(plan.lines) if scan.used}
        for index in used:
            found.setdefault(index, []).append(name)
    return found


def _listed(names: list[str]) -> str:
    shown = ", ".join(names[:6])
    return f"{shown} and {len(names) - 6} more" if len(names) > 6 else shown


RULE: Final = Rule(
    "lost_indexes",
    "An index that plans used is gone",
    "The release that still runs while this one is deployed has these plans too. Drop an index one "
    "release after the last query that needs it.",
    find,
)
