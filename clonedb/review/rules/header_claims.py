"""Promises in a query's header that are withdrawn or weakened."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from clonedb.query.headers import access_paths, row_bound
from clonedb.review.comparison import Comparison
from clonedb.review.risk import Risk, Rule, Severity

_OTHERS: Final = ("access", "lane", "plan_cache_mode")


def find(comparison: Comparison) -> Iterator[Risk]:
    for change in comparison.queries:
        if change.after is None:
            continue
        query = change.after.query
        before = change.before.query.tags if change.before else {}
        for severity, what in _about(before, query.tags, new=change.before is None):
            yield Risk(severity, change.name, what, f"{query.path}:{query.line}")


def _about(
    before: Mapping[str, str], after: Mapping[str, str], *, new: bool
) -> Iterator[tuple[Severity, str]]:
    old, now = set(access_paths(before)), set(access_paths(after))
    for kind, name in sorted(old - now):
        if kind == "index":
            yield Severity.MEDIUM, f"promises index {name} no more"
    for kind, name in sorted(now - old):
        if kind == "scan":
            yield Severity.MEDIUM, f"is allowed to read {name} as a whole"
    if new:
        return
    bound, bound_now = row_bound(before), row_bound(after)
    if bound is not None and (bound_now is None or bound_now > bound):
        yield Severity.MEDIUM, f"promised rows <= {bound:,}, and now {_or_nothing(bound_now)}"
    if _milliseconds(before) < _milliseconds(after):
        had, has = before.get("timeout", "the default"), after.get("timeout", "the default")
        yield Severity.MEDIUM, f"may take longer: {had} before, {has} now"
    for tag in _OTHERS:
        if before.get(tag) != after.get(tag):
            had, has = before.get(tag, "nothing"), after.get(tag, "nothing")
            yield Severity.LOW, f"{tag}: {had} before, {has} now"


def _or_nothing(bound: int | None) -> str:
    return "nothing" if bound is None else f"rows <= {bound:,}"


def _milliseconds(tags: Mapping[str, str]) -> float:
    if "timeout" not in tags:
        return float("inf")
    amount, unit = tags["timeout"].split()
    return float(amount) * (1 if unit == "ms" else 1000)


RULE: Final = Rule(
    "header_claims",
    "A header promises less",
    "Tags are promises that clonedb check measures. What is not promised any more may turn "
    "without anybody hearing of it.",
    find,
)
