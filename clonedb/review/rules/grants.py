"""Rights that docs/grants.md lists now and did not, or lists no more."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

from clonedb.review.comparison import Comparison
from clonedb.review.risk import Risk, Rule, Severity

# Who must not gain a right by accident; the others are people who run the database.
_NARROW: Final = ("app", "worker", "readonly", "backup", "PUBLIC")
_PLACE: Final = "docs/grants.md"
_SEPARATOR: Final = re.compile(r"\|[ |:-]+\|?")


class _Right(NamedTuple):
    subject: str
    who: str
    given: str
    line: int


def find(comparison: Comparison) -> Iterator[Risk]:
    old = {(each.subject, each.who): each for each in _rights(comparison.base.text(_PLACE))}
    new = {(each.subject, each.who): each for each in _rights(comparison.head.text(_PLACE))}
    if not old or not new:
        return
    known = {subject for subject, _ in old}
    fresh: dict[str, list[_Right]] = {}
    for key, right in (old | new).items():
        before, after = (side[key].given if key in side else "" for side in (old, new))
        place = f"{_PLACE}:{right.line}"
        if right.subject not in known:
            fresh.setdefault(right.subject, []).append(right)
        elif before != after:
            gained = set(_single(after)) - set(_single(before))
            narrow = gained and any(name in right.who for name in _NARROW)
            what = f"{right.who}: {before or 'nothing'} before, {after or 'nothing'} now"
            severity = Severity.HIGH if narrow else Severity.MEDIUM
            yield Risk(severity, right.subject, what, place)
    for subject, rights in fresh.items():
        given = "; ".join(f"{each.who} {each.given}" for each in rights if each.given)
        place = f"{_PLACE}:{rights[0].line}"
        yield Risk(Severity.MEDIUM, subject, f"is new: {given or 'for nobody'}", place)


def _single(rights: str) -> list[str]:
    return re.split(r"[\s,]+", rights.strip()) if rights.strip() else []


def _rights(text: str) -> Iterator[_Right]:
    """What each is given of what; policies apart, which are in the schema."""
    section, header = "", list[str]()
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith("#"):
            section, header = line.lstrip("# "), []
        elif section == "Policies" or _SEPARATOR.fullmatch(line):
            continue
        elif line.startswith("|"):
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            if not header:
                header = cells
                continue
            for who, given in zip(header[1:], cells[1:], strict=False):
                yield _Right(cells[0].strip("`"), who, given, number)
        elif line.startswith("- "):
            what, _, given = line.removeprefix("- ").partition(": ")
            subject, _, who = what.partition(", ")
            yield _Right(subject.strip("`"), who or section, given, number)


RULE: Final = Rule(
    "grants",
    "Rights are granted or taken",
    "What a login may do beyond its queries is what an attacker with its password may do. Rights "
    "of tables: select, insert, update, delete, in lower case of some columns.",
    find,
)
