"""A query that is gone, and what still calls it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from clonedb.review.comparison import Comparison
from clonedb.review.risk import Risk, Rule, Severity


def find(comparison: Comparison) -> Iterator[Risk]:
    unreadable = {each.path for each in comparison.head.problems}
    for change in comparison.queries:
        if change.before is None or change.after is not None:
            continue
        places = sorted(
            {comparison.head.place(each) for each in comparison.head.callers.get(change.name, ())}
        )
        if change.before.query.path in unreadable:
            continue
        if places:
            yield Risk(Severity.HIGH, change.name, "is gone, and still called", ", ".join(places))
        else:
            yield Risk(Severity.LOW, change.name, "is gone; nothing calls it")


RULE: Final = Rule(
    "removed_queries",
    "A query is gone",
    "A call of a query that does not exist raises AttributeError when it is made, not before.",
    find,
)
