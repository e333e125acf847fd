"""Statements that make caches old, or should, and what is declared of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from clonedb.check.entry import Entry
from clonedb.review.comparison import Comparison
from clonedb.review.risk import Risk, Rule, Severity

_CHANGES: Final = "cache_changes"
_DECLARED: Final = "sql/check/caches.toml"


def find(comparison: Comparison) -> Iterator[Risk]:
    declared = comparison.head.cache_sources
    if comparison.base.text(_DECLARED) != comparison.head.text(_DECLARED):
        what = "what caches are made from is declared anew"
        yield Risk(Severity.MEDIUM, _DECLARED, what, f"{_DECLARED}:1")
    for change in comparison.queries:
        if change.after is None or change.entry is None:
            continue
        place = f"{change.after.query.path}:{change.after.query.line}"
        before = change.before.entry if change.before else None
        told, tells = _tells(before), _tells(change.entry)
        watched = sorted(
            f"{each.table}.{column}"
            for each in change.new_touches()
            if each.verb in ("inserts", "updates") and each.table in declared
            for column in each.columns
            if column in declared[each.table].columns
        )
        if told and not tells:
            yield Risk(Severity.HIGH, change.name, "made caches old, and does no more", place)
        elif watched and not tells:
            what = f"writes {', '.join(watched)}, which caches are made from, and leaves them be"
            yield Risk(Severity.HIGH, change.name, what, place)
        elif tells and not told:
            yield Risk(Severity.LOW, change.name, "makes caches old", place)
        elif tells and change.before and _part(change.before.text) != _part(change.after.text):
            what = "makes caches old in another way"
            yield Risk(Severity.MEDIUM, change.name, what, place)


def _tells(entry: Entry | None) -> bool:
    return entry is not None and any(
        (each.table, each.verb) == (_CHANGES, "inserts") for each in entry.touches
    )


def _part(text: str) -> str:
    """The statement from its first word of cache changes to the end of that step."""
    start = text.find(f"INTO clonedb.{_CHANGES}")
    end = text.find("\n)", start)
    return " ".join(text[start:end].split()) if start >= 0 else ""


RULE: Final = Rule(
    "caches",
    "Which caches are made old is touched",
    "A write that does not say which caches it makes old leaves callers with answers from before "
    "it, for as long as the entries live.",
    find,
)
