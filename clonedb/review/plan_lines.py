"""A plan as the ledger outlines it, read for what it scans and how."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Final, NamedTuple

_SCAN: Final = re.compile(
    r"(?P<indent> *)(?P<kind>(?:Seq|Sample|Index|Index Only|Bitmap Heap|Tid|Tid Range) Scan)"
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
    waiting: tuple[int, re.Match[str], list[str | None], dict[str, str]] | None = None
    for line in [*lines, ""]:
        depth = len(line) - len(line.lstrip())
        if waiting is not None and depth <= waiting[0]:
            yield _scan(*waiting[1:])
            waiting = None
        match = _SCAN.fullmatch(line)
        if match is not None:
            waiting = depth, match, [match["index"]], {}
        elif waiting is not None and (bitmap := _BITMAP.fullmatch(line)):
            waiting[2].append(bitmap["index"])
        elif waiting is not None and (condition := _CONDITION.fullmatch(line)):
            before = waiting[3].get(condition["label"])
            text = condition["text"]
            waiting[3][condition["label"]] = f"{before} AND {text}" if before else text


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


def _scan(match: re.Match[str], indexes: list[str | None], conditions: dict[str, str]) -> Scan:
    index = next((each for each in indexes if each), None)
    return Scan(
        match["kind"],
        match["table"],
        index,
        conditions.get("cond", ""),
        conditions.get("filter", ""),
    )
