"""Production's sizes are declared anew, so that every plan may be another."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from clonedb.review.comparison import Comparison
from clonedb.review.risk import Risk, Rule, Severity

_SIZES: Final = "sql/check/sizes.toml"


def find(comparison: Comparison) -> Iterator[Risk]:
    if comparison.base.text(_SIZES) == comparison.head.text(_SIZES):
        return
    sides = (comparison.base, comparison.head)
    if any(problem.path == _SIZES for side in sides for problem in side.problems):
        return  # that is said already
    old, new = comparison.base.table_rows, comparison.head.table_rows
    changed = [
        f"{name} {old.get(name, 0):,} before, {new.get(name, 0):,} rows now"
        for name in sorted(old.keys() | new.keys())
        if old.get(name) != new.get(name)
    ]
    what = "; ".join(changed) or "shares, widths or settings are others"
    yield Risk(Severity.LOW, _SIZES, what, f"{_SIZES}:1")


RULE: Final = Rule(
    "sizes",
    "Production is said to be of another size",
    "Plans are made for these sizes; a plan that turned with them tells of the sizes, not of the "
    "query.",
    find,
)
