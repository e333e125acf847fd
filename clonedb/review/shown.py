"""A comparison as it is shown: what page and Markdown both say of a query or a migration."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import groupby
from typing import Final, NamedTuple

from clonedb.check.entry import Entry, Planned, Touched
from clonedb.check.migrations.locks import blocks
from clonedb.check.migrations.rehearsal import Lock, Rehearsal, Work
from clonedb.review import difference
from clonedb.review.comparison import Comparison, FileChange, ObjectChange, QueryChange
from clonedb.review.difference import ShownLine
from clonedb.review.risk import Ranked, Risk, Rule, Severity

# Of these only the number is said: comments are prose, and docs/grants.md has the rights.
UNSHOWN_KINDS: Final = ("COMMENT", "ACL", "DEFAULT ACL")


class Group(NamedTuple):
    """The risks of one rule and severity."""

    severity: Severity
    rule: Rule
    risks: list[Risk]


class Fact(NamedTuple):
    """Something the ledger says of a query: the lines before only, now only, and on both sides."""

    title: str
    before: list[str]
    after: list[str]
    same: list[str]

    @property
    def short(self) -> bool:
        """Whether what stays is shown too: who may run a query is a few words."""
        return self.title == _RIGHTS


class Plan(NamedTuple):
    """A plan that is another: of which choices, as whom, and its lines before and now."""

    labels: str
    login: str
    before: list[ShownLine]
    after: list[ShownLine]


class Caller(NamedTuple):
    """A place in Python that names a query, and the function there."""

    place: str
    function: str


class Blocked(NamedTuple):
    """A lock of a migration, what it blocks, and the named queries that would wait."""

    lock: Lock
    blocks: str
    queries: list[str]


def groups(ranked: list[Ranked]) -> list[Group]:
    """Risks as they are ranked, those of one rule and severity together."""
    found = groupby(ranked, key=lambda each: (each.risk.severity, each.rule))
    return [Group(*key, [each.risk for each in risks]) for key, risks in found]


def worst(ranked: list[Ranked], subject: str) -> Severity | None:
    """How grave what was found of a subject is."""
    found = (each.risk.severity for each in ranked if each.risk.subject == subject)
    return max(found, default=None)


def facts(change: QueryChange) -> list[Fact]:
    """What the ledger says of a query, before and now; the rights always, others if they differ."""
    old = change.before.entry if change.before else None
    new = change.after.entry if change.after else None
    found = []
    for title, lines_of in _FACTS:
        if title == _LOCKS and old and new and not (old.locks and new.locks):
            continue  # an entry from before the ledger told them
        before, after = lines_of(old) if old else [], lines_of(new) if new else []
        fact = Fact(
            title,
            [each for each in before if each not in after],
            [each for each in after if each not in before],
            [each for each in after if each in before],
        )
        if title == _RIGHTS or fact.before or fact.after or before != after:
            found.append(fact)
    return found


def touched_no_more(change: QueryChange) -> Iterator[Touched]:
    """What a query read or wrote before and does not now."""
    if change.entries is not None:
        yield from QueryChange(change.name, change.after, change.before).new_touches()


def changed_plans(change: QueryChange) -> list[Plan]:
    """The plans that differ, before and now, where the ledger speaks of both."""
    if change.entries is None:
        return []
    found = []
    for labels, was, plan in change.changed_plans():
        lines = difference.of_text("\n".join(was.lines), "\n".join(plan.lines), context=5)
        login = plan.login if plan.login == was.login else f"{plan.login}, before {was.login}"
        found.append(
            Plan(
                ", ".join(labels),
                login,
                [line for line in lines if line.mark != "+"],
                [line for line in lines if line.mark != "-"],
            )
        )
    for labels, was_none, plan in change.plans():
        if was_none is None:
            found.append(_new_plan(labels, plan))
    return found


def callers(comparison: Comparison, change: QueryChange) -> list[Caller]:
    """Where Python names the query; before, if it is gone and nothing does now."""
    for revision in (comparison.head, comparison.base):
        found = {
            Caller(revision.place(each), each.function)
            for each in revision.callers.get(change.name, ())
        }
        if found or change.after is not None:
            return sorted(found)
    return []


def blocked(comparison: Comparison, work: Work) -> list[Blocked]:
    """The locks of a migration that are more than a query's, with who would wait."""
    waiting = work.blocked(comparison.head.locks)
    return [
        Blocked(lock, blocks(lock.mode), [name for name, held in waiting.items() if lock in held])
        for lock in work.locks
    ]


def rehearsal_of(comparison: Comparison, change: FileChange) -> Rehearsal | None:
    """What the ledger says of a migration now, or before, if it is gone."""
    revision = comparison.base if change.after is None else comparison.head
    return revision.rehearsals.get(change.name)


def work_lines(work: Work) -> list[tuple[str, str]]:
    """What a migration did besides locks: rewrites, validates, builds, reads all, writes."""
    kinds = ("rewrites", "validates", "builds", "reads_all", "writes")
    return [
        (kind.replace("_", " "), ", ".join(str(each) for each in getattr(work, kind)))
        for kind in kinds
        if getattr(work, kind)
    ]


def shown_objects(comparison: Comparison) -> list[ObjectChange]:
    """The objects of the schema that have changed and are worth reading, functions first."""
    found = [each for each in comparison.objects if each.object.kind not in UNSHOWN_KINDS]
    order = ("FUNCTION", "POLICY", "ROW SECURITY")
    return sorted(
        found,
        key=lambda each: (
            order.index(each.object.kind) if each.object.kind in order else len(order),
            each.object.kind,
        ),
    )


def summary(comparison: Comparison) -> str:
    """What has changed, in numbers."""
    unshown = len(comparison.objects) - len(shown_objects(comparison))
    numbers = [
        (len(comparison.queries), "query", "queries"),
        (len(comparison.migrations), "migration", "migrations"),
        (len(shown_objects(comparison)), "object of the schema", "objects of the schema"),
        (unshown, "comment or right", "comments and rights"),
    ]
    said = [f"{number} {one if number == 1 else many}" for number, one, many in numbers if number]
    return ", ".join(said) or "nothing"


def _new_plan(labels: tuple[str, ...], plan: Planned) -> Plan:
    lines = difference.whole("\n".join(plan.lines))
    return Plan(", ".join(labels), plan.login, [], lines)


def _takes(entry: Entry) -> list[str]:
    return [
        f"{each.name} {each.type}{f', {each.when}' if each.when else ''}" for each in entry.takes
    ]


def _returns(entry: Entry) -> list[str]:
    return [
        f"{column.name} {column.type}, {'never null' if column.never_null else 'may be null'}"
        f"{f' ({shape})' if shape else ''}"
        for shape, columns in entry.returns.items()
        for column in columns
    ]


def _rights(entry: Entry) -> list[str]:
    lacks = [f"not {role}, which lacks {rights}" for role, rights in entry.lacking.items()]
    return [*(entry.roles or ["nobody"]), *lacks]


def _locks(entry: Entry) -> list[str]:
    return [f"{mode} on {table}" for table, mode in sorted(entry.locks.items())]


_RIGHTS: Final = "may be run by"
_LOCKS: Final = "locks"
_FACTS: Final[tuple[tuple[str, Callable[[Entry], list[str]]], ...]] = (
    (_RIGHTS, _rights),
    ("users", lambda entry: list(entry.users)),
    ("takes", _takes),
    ("returns", _returns),
    ("calls", lambda entry: list(entry.calls)),
    (_LOCKS, _locks),
    ("does not prepare", lambda entry: list(entry.refused)),
)
