"""Row-level security: policies that change, and tables that lose or lack it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from clonedb.review.comparison import Comparison
from clonedb.review.risk import Risk, Rule, Severity

_FORCED: Final = "FORCE ROW LEVEL SECURITY"


def find(comparison: Comparison) -> Iterator[Risk]:
    protected = {each.name for each in comparison.head.schema.of("ROW SECURITY")}
    for change in comparison.objects:
        found, kind = change.object, change.kind
        if found.kind == "POLICY":
            if ("TABLE", found.name.split()[0]) not in comparison.head.schema.objects:
                continue  # it has gone with its table
            severity = Severity.MEDIUM if kind == "added" else Severity.HIGH
            yield Risk(severity, found.name, f"a policy is {kind}")
        elif found.kind == "ROW SECURITY" and kind == "removed":
            if ("TABLE", found.name) in comparison.head.schema.objects:
                yield Risk(Severity.HIGH, found.name, "has row-level security no more")
        elif found.kind == "TABLE" and change.after is not None:
            before = change.before.text if change.before else ""
            if _FORCED in before and _FORCED not in change.after.text:
                what = "does not force row-level security on its owner any more"
                yield Risk(Severity.HIGH, found.name, what)
            of_users = found.name in comparison.user_tables
            if kind == "added" and of_users and found.name not in protected:
                yield Risk(Severity.HIGH, found.name, "is a user's table without policies")


RULE: Final = Rule(
    "protection",
    "Who sees which rows is decided anew",
    "Policies are the second wall between people, and the only one for whatever forgets user_id. "
    "Read each of them whole, as every login that it names.",
    find,
)
