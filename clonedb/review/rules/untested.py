"""A new or changed query that nothing calls, or that no test reaches."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from clonedb.review.comparison import Comparison
from clonedb.review.risk import Risk, Rule, Severity


def find(comparison: Comparison) -> Iterator[Risk]:
    head = comparison.head
    if head.unreadable_code or not head.callers:
        return
    for change in comparison.queries:
        if change.after is None or change.kind == "affected":
            continue
        place = f"{change.after.query.path}:{change.after.query.line}"
        callers = head.callers.get(change.name)
        if not callers:
            yield Risk(Severity.MEDIUM, change.name, "nothing in the package calls it", place)
        elif head.tested and not head.leading_to(change.name) & head.tested:
            names = ", ".join(sorted({each.function for each in callers}))
            yield Risk(Severity.MEDIUM, change.name, f"no test calls {names}", place)


RULE: Final = Rule(
    "untested",
    "A query without a test",
    "What nothing runs before it is deployed is run by users first.",
    find,
)
