"""Rights that a query needs and did not, and logins that may no longer run it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from clonedb.check.entry import Entry
from clonedb.review.comparison import Comparison, QueryChange
from clonedb.review.risk import Risk, Rule, Severity

_LOGINS: Final = ("clonedb_app", "clonedb_worker")
_RIGHTS: Final = {
    "reads": "SELECT",
    "inserts": "INSERT",
    "updates": "UPDATE",
    "locks": "UPDATE",
    "deletes": "DELETE",
}
_AS_OWNER: Final = ", with the rights of "


def find(comparison: Comparison) -> Iterator[Risk]:
    for change in comparison.queries:
        if change.after is not None and change.entry is not None:
            for severity, what in _about(change, change.entry):
                query = change.after.query
                yield Risk(severity, change.name, what, f"{query.path}:{query.line}")


def _about(change: QueryChange, after: Entry) -> Iterator[tuple[Severity, str]]:
    if after.refused:
        yield Severity.HIGH, f"does not prepare: {after.refused[0]}"
        return
    if not set(after.roles) & set(_LOGINS):
        yield Severity.HIGH, "may be run by neither the app nor the worker"
    if change.entries is None:
        for call in _as_owner(after):
            yield Severity.MEDIUM, f"is new, and calls {_short(call)}"
        return
    before, _ = change.entries
    for role in before.roles:
        if role not in after.roles and not before.refused:
            severity = Severity.HIGH if role in _LOGINS else Severity.MEDIUM
            lacks = f", which lacks {after.lacking[role]}" if role in after.lacking else ""
            yield severity, f"may no longer be run by {role}{lacks}"
    gained = [role for role in after.roles if role not in before.roles]
    if gained:
        yield Severity.LOW, f"may now be run by {', '.join(gained)}"
    needed = _needed(before)
    for right, table in sorted(_needed(after) - needed):
        yield Severity.MEDIUM, f"needs {right} on {table}, which it did not"
    for call in _as_owner(after):
        if call not in before.calls:
            yield Severity.HIGH, f"calls {_short(call)}, which it did not"


def _needed(entry: Entry) -> set[tuple[str, str]]:
    return {(_RIGHTS[each.verb], each.table) for each in entry.touches}


def _as_owner(entry: Entry) -> list[str]:
    return [call for call in entry.calls if _AS_OWNER in call]


def _short(call: str) -> str:
    """A call without its arguments."""
    name, _, rest = call.partition("(")
    return f"{name}(){rest[rest.rfind(_AS_OWNER) :]}"


RULE: Final = Rule(
    "rights",
    "A query needs other rights",
    "Rights are granted by migrations: a query that needs more fails until they are applied, and "
    "one that a login may no longer run fails from then on.",
    find,
)
