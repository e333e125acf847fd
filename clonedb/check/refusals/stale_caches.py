"""A write to what caches are made from, in a statement that does not make the caches old.

What they are made from is declared in sql/check/caches.toml, and nowhere else.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator

from clonedb.check.dependencies import Use
from clonedb.check.examine import Examined
from clonedb.check.finding import Finding
from clonedb.check.reading import levels
from clonedb.check.refusals.subject import Subject, at
from clonedb.errors import InvalidInput
from clonedb.resources import sql_directory

_CHANGES = "cache_changes"
# What stands before the characters of a text in a tree.
_HEADER_BYTES = 4


def find(subject: Subject) -> Iterator[Finding]:
    file = sql_directory() / "check" / "caches.toml"
    declared = tomllib.loads(file.read_text(encoding="utf-8"))
    changes = subject.catalogue.table(_CHANGES)
    for name, source in declared.items():
        table = subject.catalogue.table(name)
        if table is None or changes is None:
            continue
        if unknown := [each for each in source["columns"] if table.numbered(each) is None]:
            raise InvalidInput(f"{file.name}: {name} has no column {', '.join(unknown)}")
        watched = {number for each in source["columns"] if (number := table.numbered(each))}
        for found in subject.found:
            use = found.used.tables.get(table.oid)
            if use is None or not _changes(use, watched):
                continue
            told = found.used.tables.get(changes.oid, Use())
            named = _texts_with(found, changes.oid) if told.inserted else set()
            missing = [each for each in source["caches"] if each not in named]
            if missing and "DELETE" not in told.rights:  # with a user all of theirs goes
                yield at(
                    "stale_caches",
                    found,
                    f"it changes what caches keep of {name} and leaves {', '.join(missing)} of the "
                    "caches as they are",
                    f"end it in dropped_caches as its neighbours do, a row in clonedb.{_CHANGES}",
                )


def _changes(use: Use, watched: set[int]) -> bool:
    return bool((use.updated | use.inserted) & watched) or "DELETE" in use.rights


def _texts_with(found: Examined, table: int) -> set[str]:
    """The texts in the queries of a statement that insert into a table."""
    texts: set[str] = set()
    for variant in found.trees:
        for query, _, _ in levels(variant.tree) if variant.tree is not None else ():
            target = query.number("resultRelation")
            if not target or query.nodes("rtable")[target - 1].number("relid") != table:
                continue
            for node in query.walk():
                value = node.fields.get("constvalue")
                if node.tag == "CONST" and isinstance(value, bytes):
                    texts.add(value[_HEADER_BYTES:].decode(errors="replace"))
    return texts
