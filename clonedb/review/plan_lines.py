"""A plan as the ledger outlines it, read for what it scans and how."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Final, NamedTuple

_SCAN: Final = re.compile(
    r" *(?P<kind>(?:Seq|Sample|Index|Index Only|Bitmap Heap|Tid|Tid Range) Scan)"
    r"(?: backward)?(?: (?P<index>(?!on )\w+))? on (?P<table>[\w.]+)(?: AS \w+)?(?:, a month)?"
)
_INITIAL: Final = re.compile(r" *InitPlan \d+")
_BITMAP: Final = re.compile(r" *Bitmap Index Scan (?P<index>\w+)")
_CONDITION: Final = re.compile(r" *(?P<label>cond|filter|join filter|recheck): (?P<text>.*)")
# What is numbered anew when another part of the statement comes or goes.
_NUMBERS: Final = re.compile(r"(?<=InitPlan )\d+|(?<=SubPlan )\d+|(?<=\$)\d+|(?<=[a-z])_\d+\b")


class Scan(NamedTuple):
    """A table that a plan reads; `used` and `condition` are the index's, `filter` is the rest's."""

    kind: str
    table: str
    used: str | None
    condition: str
    filter: str

    @property
    def whole(self) -> bool:
        """Whether all of the table, or of the index, is read."""
        return self.kind == "Seq Scan" or (self.used is not None and not self.condition)


def scans(lines: Iterable[str]) -> Iterator[Scan]:
    """Every scan of an outline, in its order."""
    found: list[_Open] = []
    open_scans: list[_Open] = []
    for line in lines:
        depth = len(line) - len(line.lstrip())
        while open_scans and depth <= open_scans[-1].depth:
            open_scans.pop()
        if match := _SCAN.fullmatch(line):
            open_scans.append(_Open(depth, match["kind"], match["table"], match["index"]))
            found.append(open_scans[-1])
        elif open_scans:
            open_scans[-1].take(line, depth)
    return (each.scan() for each in found)


class _Open:
    """A scan whose lines are still coming."""

    def __init__(self, depth: int, kind: str, table: str, used: str | None) -> None:
        self.depth = depth
        self._kind, self._table, self._used = kind, table, used
        self._own = {depth + 2}
        self._conditions: dict[str, list[str]] = {}

    def take(self, line: str, depth: int) -> None:
        """Read a line below it: its own, or of the bitmap that it is given."""
        if bitmap := _BITMAP.fullmatch(line):
            self._used = self._used or bitmap["index"]
            self._own.add(depth + 2)
        elif depth in self._own and (condition := _CONDITION.fullmatch(line)):
            self._conditions.setdefault(condition["label"], []).append(condition["text"])

    def scan(self) -> Scan:
        condition, rest = (
            " AND ".join(self._conditions.get(label, ())) for label in ("cond", "filter")
        )
        return Scan(self._kind, self._table, self._used, condition, rest)


def same_shape(one: Sequence[str], other: Sequence[str]) -> bool:
    """Whether two outlines differ in nothing but numbers and constants of the planner's own."""
    return one == other or list(_shape(one)) == list(_shape(other))


def _shape(lines: Sequence[str]) -> Iterator[str]:
    """The lines without numbers, and without what is worked out once and reads nothing."""
    constant = False
    for line, after in pairwise([*lines, ""]):
        if constant:
            constant = False
        elif _INITIAL.fullmatch(line) and after.strip() == "Result":
            constant = True
        else:
            yield _NUMBERS.sub("", line)
