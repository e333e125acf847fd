"""What comes back from a query, or goes into it, is of another type, order or certainty."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from clonedb.check.entry import Entry, Result
from clonedb.review.comparison import Comparison
from clonedb.review.risk import Risk, Rule, Severity


def find(comparison: Comparison) -> Iterator[Risk]:
    for change in comparison.queries:
        if change.entries is None or change.after is None:
            continue
        query = change.after.query
        for severity, what in _about(*change.entries):
            yield Risk(severity, change.name, what, f"{query.path}:{query.line}")


def _about(before: Entry, after: Entry) -> Iterator[tuple[Severity, str]]:
    if before.refused or after.refused:
        return
    for shape, columns in before.returns.items():
        yield from _columns(columns, after.returns.get(shape, ()))
    if before.returns and not after.returns:
        yield Severity.HIGH, "gives no rows any more"
    taken = {each.name: each for each in after.takes}
    for argument in before.takes:
        now = taken.pop(argument.name, None)
        if now is None:
            yield Severity.LOW, f"takes {argument.name} no more"
        elif now.type != argument.type:
            yield Severity.MEDIUM, f"takes {argument.name} as {now.type}, not {argument.type}"
    for argument in taken.values():
        yield (
            Severity.LOW,
            f"takes {argument.name}, {argument.type}{' if given' * bool(argument.when)}",
        )


def _columns(
    before: tuple[Result, ...], after: tuple[Result, ...]
) -> Iterator[tuple[Severity, str]]:
    now = {each.name: each for each in after}
    for column in before if after else ():
        found = now.get(column.name)
        if found is None:
            yield Severity.HIGH, f"gives {column.name} no more"
            continue
        if found.type != column.type:
            yield Severity.HIGH, f"gives {column.name} as {found.type}, not {column.type}"
        if column.never_null and not found.never_null:
            yield Severity.HIGH, f"may give NULL as {column.name}, which it never did"
        elif found.never_null and not column.never_null:
            yield Severity.LOW, f"never gives NULL as {column.name} any more"
    kept = [each.name for each in after if each.name in {column.name for column in before}]
    if kept != [each.name for each in before if each.name in now]:
        yield Severity.HIGH, "gives its columns in another order; rows are read by position"
    added = [each.name for each in after if each.name not in {column.name for column in before}]
    if added and before:
        yield Severity.LOW, f"gives {', '.join(added)} too"


RULE: Final = Rule(
    "results",
    "What goes in or comes back is different",
    "Rows become Structs by position, without a check. A column that may be NULL now reaches code "
    "that was told it never is.",
    find,
)
