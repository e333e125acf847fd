"""A page whose order does not end in a unique key: rows are repeated or missed between pages."""

from __future__ import annotations

from collections.abc import Iterator

from clonedb.check.catalogue import Catalogue
from clonedb.check.finding import Finding
from clonedb.check.reading import base_column, location, predicates, result_entries
from clonedb.check.refusals.subject import Subject, at
from clonedb.check.tree import Node


def find(subject: Subject) -> Iterator[Finding]:
    for found, variant, tree in subject.trees():
        if tree.number("commandType") != 1 or tree.node("limitCount") is None:
            continue
        if not tree.nodes("sortClause"):
            continue
        missing = _missing_key(subject.catalogue, tree)
        if missing is not None:
            last = _sorted_by(tree)[-1]
            yield at(
                "page_orders",
                found,
                "rows that are equal in its order come in any order, so that pages repeat or miss "
                "them",
                f"end ORDER BY in a unique key, such as {missing}",
                statement=variant.statement,
                offset=location(last),
            )


def _sorted_by(tree: Node) -> list[Node]:
    by_reference = {
        entry.number("ressortgroupref"): expression
        for entry in tree.nodes("targetList")
        if (expression := entry.node("expr")) is not None
    }
    return [by_reference[each.number("tleSortGroupRef")] for each in tree.nodes("sortClause")]


def _equal(catalogue: Catalogue, tree: Node) -> Iterator[list[Node]]:
    """Both sides of every predicate that says that two things are equal."""
    for predicate in predicates(tree):
        sides = predicate.nodes("args")
        if predicate.tag != "OPEXPR" or len(sides) != 2:
            continue
        if catalogue.operators[predicate.number("opno")].name == "=":
            yield sides


def _missing_key(catalogue: Catalogue, tree: Node) -> str | None:
    """A unique key that the order lacks; None where it has one, or the rows have no table."""
    scope = (tree,)
    fixed: set[tuple[int, int]] = set()
    alike: list[set[tuple[int, int]]] = []
    for sides in _equal(catalogue, tree):
        columns = {base_column(catalogue, each, scope) for each in sides} - {None}
        if len(columns) == 2:
            alike.append({each for each in columns if each is not None})
        elif not all(any(node.tag == "VAR" for node in each.walk()) for each in sides):
            fixed |= {each for each in columns if each is not None}
    ordered = {base_column(catalogue, each, scope) for each in _sorted_by(tree)}
    covered = fixed | {each for each in ordered if each is not None}
    for pair in alike * 2:
        if pair & covered:
            covered |= pair
    if tree.nodes("groupClause"):
        groups = {
            base_column(catalogue, entry.node("expr"), scope)
            for entry in result_entries(tree)
            if entry.number("ressortgroupref")
            in {each.number("tleSortGroupRef") for each in tree.nodes("groupClause")}
        }
        return None if groups <= covered else "the columns of GROUP BY"
    tables = {each[0] for each in ordered if each is not None}
    shown = None
    for table in tables or {entry.number("relid") for entry in tree.nodes("rtable")} - {0}:
        relation = catalogue.relations.get(table)
        if relation is None:
            continue
        for key in catalogue.unique_keys(table):
            if all((table, number) in covered for number in key):
                return None
            shown = shown or ", ".join(
                relation.columns[number].name for number in key if (table, number) not in fixed
            )
    return shown
