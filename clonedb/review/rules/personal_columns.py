"""Columns with people's data that a query reads or writes and did not."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from clonedb.review.comparison import Comparison
from clonedb.review.risk import Risk, Rule, Severity

_CLASS: Final = re.compile(r"\[personal: (?P<class>[\w ,-]+)\]")
# What tells nothing of a person, and the key by which rows are theirs.
_HARMLESS: Final = ("none", "technical", "identifier")
_INTIMATE: Final = ("biometric", "content", "contact")


def find(comparison: Comparison) -> Iterator[Risk]:
    for change in comparison.queries:
        if change.after is None:
            continue
        query = change.after.query
        across = query.tags.get("users") == "all"
        for touched in change.new_touches():
            classes: dict[str, list[str]] = {}
            for column in touched.columns:
                kind = personal_class(comparison, touched.table, column)
                if kind and kind not in _HARMLESS:
                    classes.setdefault(kind, []).append(column)
            for kind, columns in sorted(classes.items()):
                what = f"{touched.verb} {touched.table}.{', '.join(columns)} ({kind})"
                severity = Severity.MEDIUM if kind in _INTIMATE else Severity.LOW
                if across and kind in _INTIMATE:
                    severity = Severity.HIGH
                yield Risk(severity, change.name, what, f"{query.path}:{query.line}")


def personal_class(comparison: Comparison, table: str, column: str) -> str:
    """How the comment of a column classes it, "" where it does not."""
    match = _CLASS.search(comparison.head.schema.comment(f"COLUMN {table}.{column}"))
    return match["class"].strip() if match else ""


RULE: Final = Rule(
    "personal_columns",
    "Personal data is read or written anew",
    "Each place that has people's words, faces, voices or addresses has to be told in an export "
    "and forgotten in an erasure, and kept out of logs.",
    find,
)
