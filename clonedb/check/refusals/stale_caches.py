"""A write to what caches are made from, in a statement that does not make the caches old.

What they are made from is declared in sql/check/caches.toml, and nowhere else.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from clonedb.check.catalogue import Relation
from clonedb.check.declarations import CACHES, CacheSources, read_declared
from clonedb.check.dependencies import Use, dependencies
from clonedb.check.examined import NOBODY, Variant
from clonedb.check.finding import Finding
from clonedb.check.plans import nodes
from clonedb.check.reading import levels, results
from clonedb.check.refusals.subject import Subject, at
from clonedb.check.tree import Node
from clonedb.errors import InvalidInput
from clonedb.resources import sql_directory

_CHANGES = "cache_changes"
_INSERT = 3
_WRITES = {"INSERT", "UPDATE", "DELETE"}

WRONG: Final = """\
-- name: rename(user_id, id, title)!
-- Renames a document.
UPDATE clonedb.knowledge_documents AS d
SET title = :title::text
WHERE d.user_id = :user_id::uuid
    AND d.id = :id::uuid;
"""
RIGHT: Final = """\
-- name: rename(user_id, id, title)!
-- Renames a document.
WITH renamed AS (
    UPDATE clonedb.knowledge_documents AS d
    SET title = :title::text
    WHERE d.user_id = :user_id::uuid
        AND d.id = :id::uuid
    RETURNING d.user_id
)
INSERT INTO clonedb.cache_changes AS ch (user_id, caches)
SELECT
    renamed.user_id,
    ARRAY['vector_search', 'llm_response']
FROM renamed
ON CONFLICT (user_id, xid) DO UPDATE SET caches = ch.caches || excluded.caches;
"""


def find(subject: Subject) -> Iterator[Finding]:
    file = sql_directory() / "check" / CACHES
    declared = read_declared(file, CacheSources)
    changes, users = (subject.catalogue.table(each) for each in (_CHANGES, "users"))
    for name, source in declared.items():
        table = subject.catalogue.table(name)
        if table is None or changes is None:
            continue
        if unknown := [each for each in source.columns if table.numbered(each) is None]:
            raise InvalidInput(f"{file.name}: {name} has no column {', '.join(unknown)}")
        watched = {number for each in source.columns if (number := table.numbered(each))}
        for found, variant, tree in subject.trees():
            used = dependencies(tree).tables
            use = used.get(table.oid, Use())
            # Through a view, which does not tell the columns.
            unseen = not use.rights & _WRITES and name in _changed_tables(variant)
            if not unseen and not _changes(use, watched):
                continue
            if users is not None and "DELETE" in used.get(users.oid, Use()).rights:
                continue  # with a user all of theirs goes
            named = _named(tree, changes)
            missing = [each for each in source.caches if each not in named]
            if missing:
                yield at(
                    "stale_caches",
                    found,
                    f"it changes what caches keep of {name} and leaves {', '.join(missing)} of the "
                    f"caches as they are ({variant.label})",
                    f"end it in dropped_caches as its neighbours do, a row in clonedb.{_CHANGES}",
                )


def _changes(use: Use, watched: set[int]) -> bool:
    return bool((use.updated | use.inserted) & watched) or "DELETE" in use.rights


def _changed_tables(variant: Variant) -> set[str]:
    """The tables that the plan of a variant inserts into, updates or deletes from."""
    plan = variant.plans.get(NOBODY)
    return {
        str(node["Relation Name"])
        for node in (nodes(plan) if isinstance(plan, dict) else ())
        if node["Node Type"] == "ModifyTable" and "Relation Name" in node
    }


def _named(tree: Node, changes: Relation) -> set[str]:
    """The caches that a statement adds to the changes by name."""
    column = changes.numbered("caches")
    named: set[str] = set()
    for query, scope, _ in levels(tree):
        target = query.number("resultRelation")
        if query.number("commandType") != _INSERT or not target:
            continue
        if query.nodes("rtable")[target - 1].number("relid") != changes.oid:
            continue
        for entry in query.nodes("targetList"):
            value = entry.node("expr")
            if value is None or entry.number("resno") != column:
                continue
            for result in results(value, scope):
                for node in result.walk():
                    content = node.fields.get("constvalue")
                    if isinstance(content, bytes):
                        named |= set(re.findall("[a-z_]+", content.decode("latin-1")))
    return named
