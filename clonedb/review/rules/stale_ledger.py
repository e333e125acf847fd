"""Files that cannot be read, and a ledger that is not of its queries."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from clonedb.review.comparison import Comparison
from clonedb.review.revision import Problem
from clonedb.review.risk import Risk, Rule, Severity

# Beyond so many a reader learns nothing from another.
_SHOWN: Final = 8


def find(comparison: Comparison) -> Iterator[Risk]:
    yield from _told(comparison.head.problems, "now", Severity.HIGH)
    yield from _told(comparison.head.unreadable_code, "callers are unknown", Severity.HIGH)
    yield from _told(comparison.base.problems, "before the change", Severity.MEDIUM)
    for revision, side in ((comparison.head, "now"), (comparison.base, "before the change")):
        if not revision.schema.objects:
            what = f"{side}: it is missing, so functions, policies and indexes are not compared"
            yield Risk(Severity.MEDIUM, "docs/schema.sql", what, "docs/schema.sql:1")


def _told(problems: Sequence[Problem], side: str, severity: Severity) -> Iterator[Risk]:
    for problem in problems[:_SHOWN]:
        place = f"{problem.path}:{problem.line}"
        yield Risk(severity, problem.path, f"{side}: {problem.what}", place)
    if len(problems) > _SHOWN:
        what = f"{side}: and {len(problems) - _SHOWN} more"
        yield Risk(severity, "sql/ledger", what)


RULE: Final = Rule(
    "stale_ledger",
    "What this page says may be wrong",
    "A file cannot be read, or the ledger is of other queries or migrations than those beside it. "
    "Run clonedb check, commit what it writes, and review again.",
    find,
)
