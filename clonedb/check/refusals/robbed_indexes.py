"""A predicate that row-level security robs of its index.

Under a policy only leakproof functions and operators may look at a row before the policy has: any
other becomes a filter behind it. A predicate is refused if it uses one that is not leakproof, the
plan without policies has an index for that column which the plan of the login has not, and what the
policy leaves, one user's rows, is more than a few.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from clonedb.check.catalogue import Catalogue
from clonedb.check.examined import NOBODY
from clonedb.check.finding import Finding
from clonedb.check.plans import Plan, Planner
from clonedb.check.reading import base_column, levels, location, predicates
from clonedb.check.refusals.subject import Subject, at
from clonedb.check.tree import Node

# Of an average user; one who has a hundred times as many still waits no longer than milliseconds.
FEW_ROWS: Final = 100
_FUNCTIONS: Final = ("funcid", "opfuncid", "aggfnoid")

WRONG: Final = """\
-- name: search(words)
-- Finds documents.
SELECT d.id
FROM clonedb.knowledge_documents AS d
WHERE d.deleted_at IS NULL
    AND d.search @@ plainto_tsquery('simple', :words::text);
"""
RIGHT: Final = """\
-- name: search(words, limit)
-- Finds documents through a function that takes its user from the context.
SELECT found.id
FROM clonedb.search_documents(:words::text, ARRAY['simple'], :limit::bigint) AS found;
"""


def find(subject: Subject) -> Iterator[Finding]:
    planner = subject.examination.outliner
    rows = subject.examination.table_rows
    users = rows.get("users", 1)
    for found in subject.found:
        for variant in found.variants:
            tree = variant.tree or (found.full.tree if found.full is not None else None)
            statement = variant.statement if variant.tree else found.query.full
            free = variant.plans.get(NOBODY)
            bound = found.plan_of(variant)
            if not isinstance(free, dict) or bound is None or tree is None:
                continue
            lost = _indexed(planner, free) - _indexed(planner, bound)
            for node, table, column in _leaking(subject.catalogue, tree) if lost else ():
                if (table, column) in lost and rows.get(table, 0) > FEW_ROWS * users:
                    yield at(
                        "robbed_indexes",
                        found,
                        f"under row-level security the predicate on {table}.{column} loses its "
                        "index: its operator, or a function around the column, is not leakproof",
                        "store what is compared as a generated column, or ask through a narrow "
                        "function of the owner",
                        statement=statement,
                        offset=location(node),
                    )


def _indexed(planner: Planner, plan: Plan) -> set[tuple[str, str]]:
    """The tables and columns that an index is searched by."""
    return {
        (scan.table, name)
        for scan in planner.scans(plan)
        for name in re.findall(r"\.(\w+)", scan.index_condition)
    }


def _leaking(catalogue: Catalogue, tree: Node) -> Iterator[tuple[Node, str, str]]:
    """Predicates whose functions could tell of rows that a policy hides."""
    for query, scope, _ in levels(tree):
        for predicate in predicates(query):
            for node in predicate.walk(into_queries=False):
                function = next(
                    (node.number(name) for name in _FUNCTIONS if name in node.fields), 0
                )
                if not function or catalogue.functions[function].leakproof:
                    continue
                for each in node.walk(into_queries=False):
                    column = base_column(catalogue, each, scope)
                    if column is None or column[1] < 1:
                        continue
                    relation = catalogue.relations[column[0]]
                    if relation.has_policies:
                        yield predicate, relation.name, relation.columns[column[1]].name
