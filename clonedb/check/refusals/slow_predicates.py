"""`$1 IS NULL OR …` and COALESCE in a predicate: a generic plan cannot use an index for them.

A custom plan knows the values and folds what is made of parameters alone, so a query whose header
forces one may have them around parameters.
"""

from __future__ import annotations

from collections.abc import Iterator

from clonedb.check.finding import Finding
from clonedb.check.reading import Level, base_column, levels, location, predicates
from clonedb.check.refusals.subject import Subject, at
from clonedb.check.tree import Node


def find(subject: Subject) -> Iterator[Finding]:
    for found, variant, tree in subject.trees():
        custom = found.query.tags.get("plan_cache_mode") == "force_custom_plan"
        for level in levels(tree):
            for predicate in predicates(level.query):
                if custom and not any(_has_column(each) for each in _folded(predicate)):
                    continue
                complaint = _complaint(subject, level, predicate)
                if complaint is not None:
                    what, remedy, node = complaint
                    yield at(
                        "slow_predicates",
                        found,
                        what,
                        remedy,
                        statement=variant.statement,
                        offset=location(node),
                    )


def _complaint(subject: Subject, level: Level, predicate: Node) -> tuple[str, str, Node] | None:
    if predicate.tag == "BOOLEXPR" and predicate.text("boolop") == "or":
        for part in predicate.nodes("args"):
            argument = part.node("arg") if part.tag == "NULLTEST" else None
            if argument is not None and any(each.tag == "PARAM" for each in argument.walk()):
                return (
                    (
                        "a parameter that is NULL for 'all' (IS NULL OR) loses the index under a "
                        "generic plan"
                    ),
                    "give the predicate a line of its own that ends in -- filter: name",
                    predicate,
                )
    if predicate.tag not in ("OPEXPR", "SCALARARRAYOPEXPR", "ROWCOMPAREEXPR"):
        return None
    nodes = list(predicate.walk(into_queries=False))
    folded = next(iter(_folded(predicate)), None)
    if folded is None or not any(each.tag in ("PARAM", "VAR") for each in folded.walk()):
        return None
    stored = any(
        each.tag == "VAR" and base_column(subject.catalogue, each, level.scope) is not None
        for each in nodes
    )
    # Over rows of a function or VALUES there is no index to lose.
    if not stored or not _reads_table(level.query):
        return None
    return (
        "COALESCE in a predicate keeps it from an index",
        "compare the column itself: a conditional line, two predicates, or a generated column",
        folded,
    )


def _folded(predicate: Node) -> list[Node]:
    return [each for each in predicate.walk(into_queries=False) if each.tag == "COALESCEEXPR"]


def _has_column(node: Node) -> bool:
    return any(each.tag == "VAR" for each in node.walk())


def _reads_table(query: Node) -> bool:
    return any(entry.text("rtekind") == "0" for entry in query.nodes("rtable"))
