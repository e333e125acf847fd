"""A parameter of a type that is narrower than the column it is compared with or stored in.

What the column may hold, the caller cannot say: 22003 or a cut text, on the day it first matters.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from clonedb.check.catalogue import Catalogue
from clonedb.check.finding import Finding
from clonedb.check.reading import (
    base_column,
    levels,
    location,
    own_nodes,
    results,
    strip_casts,
)
from clonedb.check.refusals.subject import Subject, at
from clonedb.check.tree import Node

# Each is narrower than those behind it.
_RANKS: Final = (
    ("smallint", "integer", "bigint", "numeric"),
    ("real", "double precision"),
    ("real", "numeric"),
    ("double precision", "numeric"),
    ("smallint", "integer", "bigint", "real"),
    ("smallint", "integer", "bigint", "double precision"),
    ("date", "timestamp without time zone", "timestamp with time zone"),
    ("name", "text"),
    ("json", "jsonb"),
)

_UPDATE, _INSERT = 2, 3
_IMPLICIT: Final = "2"

WRONG: Final = """\
-- name: find_many(user_id, least)
-- Finds sessions.
SELECT s.id
FROM clonedb.conversation_sessions AS s
WHERE s.user_id = :user_id::uuid
    AND s.total_latency_ms > :least::integer;
"""
RIGHT: Final = """\
-- name: find_many(user_id, least)
-- Finds sessions.
SELECT s.id
FROM clonedb.conversation_sessions AS s
WHERE s.user_id = :user_id::uuid
    AND s.total_latency_ms > :least::bigint;
"""


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
    if target:
        relation = query.nodes("rtable")[target - 1].number("relid")
        for entry in _stored(query):
            expression = entry.node("expr")
            if expression is not None and not entry.flag("resjunk"):
                for each in results(expression, scope):
                    yield each, (relation, entry.number("resno"))
    for node in own_nodes(query):
        for one, other in _compared(node):
            column = base_column(catalogue, _plain(one), scope)
            if column is not None and column[1] > 0:
                for each in results(other, scope):
                    yield each, column


def _stored(query: Node) -> Iterator[Node]:
    """The values that a statement stores, by the number of their column."""
    if query.number("commandType") in (_UPDATE, _INSERT):
        yield from query.nodes("targetList")
    conflict = query.node("onConflict")
    if conflict is not None:
        yield from conflict.nodes("onConflictSet")
    for action in query.nodes("mergeActionList"):
        yield from action.nodes("targetList")


def _compared(node: Node) -> Iterator[tuple[Node, Node]]:
    """What is compared with what, both ways round."""
    if node.tag == "ROWCOMPAREEXPR":
        pairs = list(zip(node.nodes("largs"), node.nodes("rargs"), strict=False))
    elif node.tag in ("OPEXPR", "SCALARARRAYOPEXPR", "DISTINCTEXPR", "NULLIFEXPR"):
        sides = node.nodes("args")
        pairs = [(sides[0], sides[1])] if len(sides) == 2 else []
    else:
        return
    for one, other in pairs:
        yield one, other
        yield other, one


def _plain(node: Node | None) -> Node | None:
    """A column without the casts that the server has added; one that is written is meant."""
    while node is not None and node.tag == "FUNCEXPR" and node.text("funcformat") == _IMPLICIT:
        node = next(iter(node.nodes("args")), None)
    return node


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
