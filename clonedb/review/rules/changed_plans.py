"""Plans that are others than before, where the statement is the same or not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from clonedb.review.comparison import Comparison
from clonedb.review.risk import Risk, Rule, Severity


def find(comparison: Comparison) -> Iterator[Risk]:
    for change in comparison.queries:
        changed = change.changed_plans()
        if not changed or change.after is None:
            continue
        labels = ", ".join(label for found, _, _ in changed for label in found)
        place = f"{change.after.query.path}:{change.after.query.line}"
        if change.kind == "affected":
            what = f"has another plan though its text is the same ({labels})"
            yield Risk(Severity.MEDIUM, change.name, what, place)
        else:
            yield Risk(Severity.LOW, change.name, f"has another plan ({labels})", place)


RULE: Final = Rule(
    "changed_plans",
    "A plan has turned",
    "At production's size PostgreSQL takes another way. Both are below, side by side.",
    find,
)
