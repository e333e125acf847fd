"""What has changed from one revision to another: queries, migrations, objects of the schema."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Literal

from msgspec.structs import replace

from clonedb.check.entry import Entry, Planned, Touched
from clonedb.review.plan_lines import same_shape
from clonedb.review.revision import Revision, Source
from clonedb.review.schema import SchemaObject

Kind = Literal["added", "removed", "changed", "affected"]

# Of the schema's objects what a reviewer reads; tables and columns are in the migrations.
SHOWN_KINDS: Final = ("FUNCTION", "POLICY", "ROW SECURITY", "INDEX", "VIEW", "TRIGGER", "DOMAIN")
_ROW_COLUMNS: Final = re.compile(r"^\s+user_id uuid NOT NULL", re.MULTILINE)


@dataclass(frozen=True)
class QueryChange:
    """A query that is not as it was. `affected`: its text is, but not what PostgreSQL says."""

    name: str
    before: Source | None
    after: Source | None

    @property
    def kind(self) -> Kind:
        if self.before is None:
            return "added"
        if self.after is None:
            return "removed"
        return "affected" if self.before.text == self.after.text else "changed"

    @property
    def source(self) -> Source:
        """The newer of the two."""
        found = self.after or self.before
        if found is None:
            raise ValueError("a change has two sides, and at most one of them is nothing")
        return found

    @property
    def entries(self) -> tuple[Entry, Entry] | None:
        """What the ledger says before and after, where it speaks of both."""
        before = self.before.entry if self.before else None
        after = self.after.entry if self.after else None
        return (before, after) if before is not None and after is not None else None

    @property
    def entry(self) -> Entry | None:
        """What the ledger says of it now."""
        return self.after.entry if self.after else None

    def new_touches(self) -> Iterator[Touched]:
        """What it reads and writes and did not before, columns of a table together.

        Nothing where the ledger does not say what it did before.
        """
        if self.entry is None or (self.before is not None and self.before.entry is None):
            return
        old = set(_cells(self.before.entry if self.before else None))
        for touched in self.entry.touches:
            columns = tuple(
                each for each in touched.columns if (touched.table, touched.verb, each) not in old
            )
            if columns or (touched.table, touched.verb, "") not in old:
                yield Touched(touched.table, touched.verb, columns)

    def plans(self) -> Iterator[tuple[tuple[str, ...], Planned | None, Planned]]:
        """The plans of now beside those of the same choices before, in their order."""
        before = self.before.entry if self.before else None
        old = {label: plan for plan in (before.plans if before else ()) for label in plan.labels}
        for plan in self.entry.plans if self.entry else ():
            together: dict[int, tuple[Planned | None, list[str]]] = {}
            for label in plan.labels:
                was = old.get(label)
                together.setdefault(id(was), (was, []))[1].append(label)
            for was, labels in together.values():
                yield tuple(labels), was, plan

    def changed_plans(self) -> list[tuple[tuple[str, ...], Planned, Planned]]:
        """Those of `plans` that are another plan than before, by another login included."""
        return [
            (labels, was, plan)
            for labels, was, plan in self.plans()
            if was is not None and not _same(was, plan)
        ]


@dataclass(frozen=True)
class FileChange:
    """A migration that is not as it was; texts are None where there is none."""

    name: str
    before: str | None
    after: str | None

    @property
    def kind(self) -> Kind:
        if self.before is None:
            return "added"
        return "removed" if self.after is None else "changed"


@dataclass(frozen=True)
class ObjectChange:
    """An object of the schema that is not as it was."""

    before: SchemaObject | None
    after: SchemaObject | None

    @property
    def kind(self) -> Kind:
        if self.before is None:
            return "added"
        return "removed" if self.after is None else "changed"

    @property
    def object(self) -> SchemaObject:
        """The newer of the two."""
        found = self.after or self.before
        if found is None:
            raise ValueError("a change has two sides, and at most one of them is nothing")
        return found


@dataclass(frozen=True)
class Comparison:
    """Two revisions side by side."""

    base: Revision
    head: Revision

    @cached_property
    def queries(self) -> list[QueryChange]:
        """The queries that have changed, in the order of files; those removed behind."""
        old, new = self.base.queries, self.head.queries
        names = [*new, *(name for name in old if name not in new)]
        changes = (QueryChange(name, old.get(name), new.get(name)) for name in names)
        return [each for each in changes if self._differs(each)]

    def _differs(self, change: QueryChange) -> bool:
        if change.before is None or change.after is None:
            return True
        if change.before.text != change.after.text:
            return True
        if change.entries is None:
            return False
        before, after = change.entries
        if not before.locks or not after.locks:  # an entry from before the ledger told them
            before, after = replace(before, locks={}), replace(after, locks={})
        return _said(before) != _said(after) or not _same_plans(before, after)

    @cached_property
    def migrations(self) -> list[FileChange]:
        """The migrations that have changed, in their order."""
        return _files(self.base.migrations, self.head.migrations)

    @cached_property
    def rollbacks(self) -> list[FileChange]:
        """The rollbacks that have changed, by the names of their migrations."""
        return _files(self.base.rollbacks, self.head.rollbacks)

    @cached_property
    def objects(self) -> list[ObjectChange]:
        """The objects of the schema that have changed, of every kind; none if a dump is missing."""
        old, new = self.base.schema.objects, self.head.schema.objects
        if not old or not new:
            return []
        return [
            ObjectChange(old.get(key), new.get(key))
            for key in [*new, *(key for key in old if key not in new)]
            if old.get(key) != new.get(key)
        ]

    @cached_property
    def user_tables(self) -> dict[str, str]:
        """The tables whose rows belong to users, and the column that says to whom."""
        return {
            each.name: "id" if each.name == "users" else "user_id"
            for revision in (self.base, self.head)
            for each in revision.schema.of("TABLE")
            if each.name == "users" or _ROW_COLUMNS.search(each.text)
        }

    def is_empty(self) -> bool:
        """Whether nothing that is compared has changed."""
        return not (
            self.queries
            or self.migrations
            or self.rollbacks
            or self.objects
            or self.base.text("docs/grants.md") != self.head.text("docs/grants.md")
        )


def _cells(entry: Entry | None) -> Iterator[tuple[str, str, str]]:
    for touched in entry.touches if entry else ():
        yield touched.table, touched.verb, ""
        yield from ((touched.table, touched.verb, each) for each in touched.columns)


def _said(entry: Entry) -> Entry:
    """All but plans, and the digests, which change with whatever the query touches."""
    return replace(entry, query_hash="", schema_hash="", plans=())


def _same_plans(before: Entry, after: Entry) -> bool:
    old = {label: plan for plan in before.plans for label in plan.labels}
    new = {label: plan for plan in after.plans for label in plan.labels}
    return old.keys() == new.keys() and all(_same(old[each], new[each]) for each in new)


def _same(one: Planned, other: Planned) -> bool:
    return one.login == other.login and same_shape(one.lines, other.lines)


def _files(old: dict[str, str], new: dict[str, str]) -> list[FileChange]:
    return [
        FileChange(name, old.get(name), new.get(name))
        for name in sorted(old.keys() | new.keys())
        if old.get(name) != new.get(name)
    ]
