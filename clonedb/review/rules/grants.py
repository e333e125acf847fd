"""Rights that docs/grants.md lists now and did not, or lists no more."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from clonedb.review.comparison import Comparison
from clonedb.review.risk import Risk, Rule, Severity

# Who must not gain a right by accident; the others are people who run the database.
_NARROW: Final = ("app", "worker", "readonly", "backup", "PUBLIC")
_PLACE: Final = "docs/grants.md"
_SEPARATOR: Final = re.compile(r"\|[ |:-]+\|?")


def find(comparison: Comparison) -> Iterator[Risk]:
    old = dict(_rights(comparison.base.text(_PLACE)))
    new = dict(_rights(comparison.head.text(_PLACE)))
    if not old or not new:
        return
    known = {subject for subject, _ in old}
    for key in sorted(old.keys() | new.keys()):
        before, after = old.get(key, ""), new.get(key, "")
        if before == after:
            continue
        subject, who = key
        gained = sorted(set(_single(after)) - set(_single(before)))
        severity = Severity.MEDIUM
        if gained and subject in known and any(name in who for name in _NARROW):
            severity = Severity.HIGH
        what = f"{who}: {before or 'nothing'} before, {after or 'nothing'} now"
        yield Risk(severity, subject, what, f"{_PLACE}:1")


def _single(rights: str) -> list[str]:
    return re.split(r"[\s,]+", rights.strip()) if rights.strip() else []


def _rights(text: str) -> Iterator[tuple[tuple[str, str], str]]:
    """What each is given of what, by ("`users`", "app"); policies apart."""
    section, header = "", list[str]()
    for line in text.splitlines():
        if line.startswith("#"):
            section, header = line.lstrip("# "), []
        elif section == "Policies" or _SEPARATOR.fullmatch(line):
            continue
        elif line.startswith("|"):
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            if not header:
                header = cells
                continue
            for who, rights in zip(header[1:], cells[1:], strict=False):
                yield (cells[0].strip("`"), who), rights
        elif line.startswith("- "):
            what, _, given = line.removeprefix("- ").partition(": ")
            yield (what.partition(",")[0].strip("`"), what.partition(", ")[2] or section), given


RULE: Final = Rule(
    "grants",
    "Rights are granted or taken",
    "What a login may do beyond its queries is what an attacker with its password may do. Rights "
    "of tables: select, insert, update, delete, in lower case of some columns.",
    find,
)
