"""A parameter of a type that is narrower than the column it is compared with or stored in.

What the column may hold, the caller cannot say: 22003 or a cut text, on the day it first matters.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from clonedb.check.catalogue import Catalogue
from clonedb.check.finding import Finding
from clonedb.check.reading import base_column, levels, location, own_nodes, strip_casts
from clonedb.check.refusals.subject import Subject, at
from clonedb.check.tree import Node

# Each is narrower than those behind it.
_RANKS: Final = (
    ("smallint", "integer", "bigint", "numeric"),
    ("real", "double precision"),
    ("real", "numeric"),
    ("double precision", "numeric"),
    ("date", "timestamp without time zone", "timestamp with time zone"),
    ("name", "text"),
    ("json", "jsonb"),
)


def find(subject: Subject) -> Iterator[Finding]:
    catalogue = subject.catalogue
    for found, variant, tree in subject.trees():
        for query, scope, _ in levels(tree):
            for node, column in _meetings(catalogue, query, scope):
                narrow = _narrow_parameter(catalogue, node, column)
                if narrow is None:
                    continue
                parameter, given, kept = narrow
                relation = catalogue.relations[column[0]]
                name = variant.statement.parameters[parameter.number("paramid") - 1]
                yield at(
                    "narrow_parameters",
                    found,
                    f":{name} is {given}, narrower than {relation.shown}."
                    f"{relation.columns[column[1]].name}, which is {kept}",
                    f"cast it as :{name}::{kept}",
                    statement=variant.statement,
                    offset=location(parameter),
                )


def _meetings(
    catalogue: Catalogue, query: Node, scope: tuple[Node, ...]
) -> Iterator[tuple[Node, tuple[int, int]]]:
    """Expressions and the columns that they are compared with, or stored in."""
    target = query.number("resultRelation")
    if target and query.number("commandType") in (2, 3):
        relation = query.nodes("rtable")[target - 1].number("relid")
        conflict = query.node("onConflict")
        stored = [
            *query.nodes("targetList"),
            *(conflict.nodes("onConflictSet") if conflict else []),
        ]
        for entry in stored:
            expression = entry.node("expr")
            if expression is not None and not entry.flag("resjunk"):
                yield from _results(expression, (relation, entry.number("resno")))
    for node in own_nodes(query):
        if node.tag in ("OPEXPR", "SCALARARRAYOPEXPR", "DISTINCTEXPR"):
            sides = node.nodes("args")
            if len(sides) == 2:
                for one, other in (sides, sides[::-1]):
                    column = base_column(catalogue, strip_casts(one), scope)
                    if column is not None and column[1] > 0:
                        yield other, column


def _results(node: Node, column: tuple[int, int]) -> Iterator[tuple[Node, tuple[int, int]]]:
    """An expression, and what it may come to through CASE and COALESCE."""
    bare = strip_casts(node)
    if bare is not None and bare.tag == "CASEEXPR":
        results = [each.node("result") for each in bare.nodes("args")]
        for result in (*results, bare.node("defresult")):
            if result is not None:
                yield from _results(result, column)
    elif bare is not None and bare.tag in ("COALESCEEXPR", "MINMAXEXPR"):
        for each in bare.nodes("args"):
            yield from _results(each, column)
    else:
        yield node, column


def _narrow_parameter(
    catalogue: Catalogue, node: Node, column: tuple[int, int]
) -> tuple[Node, str, str] | None:
    parameter = strip_casts(node)
    if parameter is None or parameter.tag != "PARAM":
        return None
    given = catalogue.types[catalogue.base_type(parameter.number("paramtype"))]
    stored = catalogue.relations[column[0]].columns[column[1]]
    kept = catalogue.types[catalogue.base_type(stored.type)]
    if given.category == "A" and kept.category != "A":
        given = catalogue.types[given.element]
    elif given.category == "A" and kept.category == "A":
        given, kept = catalogue.types[given.element], catalogue.types[kept.element]
    if given.name in ("character varying", "character") and kept.name == "text":
        # A length, as in varchar(10), is a function over the parameter.
        cut = any(each.tag == "FUNCEXPR" for each in node.walk())
        return (parameter, f"{given.name} of a length", kept.name) if cut else None
    for rank in _RANKS:
        if kept.name in rank and given.name in rank[: rank.index(kept.name)]:
            return parameter, given.name, kept.name
    return None
