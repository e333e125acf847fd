"""Finding one's way in a parse tree: levels of queries, predicates, where a column comes from."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from clonedb.check.catalogue import Catalogue
from clonedb.check.tree import Node

RELATION, SUBQUERY, JOIN, FUNCTION, VALUES, CTE, GROUP = "0", "1", "2", "3", "5", "6", "9"
_WRAPPERS: Final = ("RELABELTYPE", "COERCEVIAIO", "COLLATEEXPR", "ARRAYCOERCEEXPR")
_NAME: Final = re.compile(rb'(?:"(?:[^"]|"")*"|[A-Za-z_\x80-\xff][\w$\x80-\xff]*)(?P<dot>\s*\.)?')

_STAR: Final = re.compile(rb"(?:(?:" + _NAME.pattern.replace(b"(?P<dot>\s*\.)?", b"") + rb")\s*\.\s*)*\*")


class Level(NamedTuple):
    """A query in a statement; `scope` is it and those around it, `visible` those it may name."""

    query: Node
    scope: tuple[Node, ...]
    visible: tuple[Node, ...]


def levels(
    query: Node, around: tuple[Node, ...] = (), visible: tuple[Node, ...] = ()
) -> Iterator[Level]:
    """Every query of a statement, from the outermost in."""
    scope = (query, *around)
    yield Level(query, scope, visible)
    for cte in query.nodes("cteList"):
        if (inner := cte.node("ctequery")) is not None:
            yield from levels(inner, scope, visible)
    for entry in query.nodes("rtable"):
        if (inner := entry.node("subquery")) is not None:
            sees = (query, *visible) if entry.flag("lateral") else visible
            yield from levels(inner, scope, sees)
    for node in own_nodes(query):
        if node.tag == "SUBLINK" and (inner := node.node("subselect")) is not None:
            yield from levels(inner, scope, (query, *visible))


def own_nodes(query: Node) -> Iterator[Node]:
    """The nodes of a query that belong to no query inside it."""
    for child in query.children():
        if child.tag not in ("QUERY", "COMMONTABLEEXPR"):
            yield from child.walk(into_queries=False)


def sources(query: Node) -> list[Node]:
    """What a query's columns may come from: tables, CTEs, functions and so on, without joins."""
    target = query.number("resultRelation")
    return [
        entry
        for number, entry in enumerate(query.nodes("rtable"), 1)
        if entry.text("rtekind") not in (JOIN, GROUP)
        and (entry.flag("inFromCl") or number == target)
    ]


def limit_parameters(tree: Node | None) -> set[int]:
    """The numbers of the parameters that say how many rows are wanted."""
    if tree is None:
        return set()
    limits = [strip_casts(query.node("limitCount")) for query, _, _ in levels(tree)]
    return {each.number("paramid") for each in limits if each is not None and each.tag == "PARAM"}


def predicates(query: Node) -> Iterator[Node]:
    """The parts of WHERE, ON, HAVING and DO UPDATE … WHERE that must all hold."""
    for node in own_nodes(query):
        if node.tag in ("FROMEXPR", "JOINEXPR"):
            yield from _parts(node.node("quals"))
        elif node.tag == "ONCONFLICTEXPR":
            yield from _parts(node.node("onConflictWhere"))
    yield from _parts(query.node("havingQual"))


def _parts(node: Node | None) -> Iterator[Node]:
    if node is None:
        return
    if node.tag == "BOOLEXPR" and node.text("boolop") == "and":
        for part in node.nodes("args"):
            yield from _parts(part)
    else:
        yield node


def base_column(
    catalogue: Catalogue, node: Node | None, scope: tuple[Node, ...]
) -> tuple[int, int] | None:
    """The table and column that a plain reference leads to, through CTEs, sub-selects and joins."""
    while node is not None and node.tag in _WRAPPERS:
        node = node.node("arg")
    if node is None or node.tag != "VAR" or node.number("varlevelsup") >= len(scope):
        return None
    scope = scope[node.number("varlevelsup") :]
    entry = scope[0].nodes("rtable")[node.number("varno") - 1]
    number, kind = node.number("varattno"), entry.text("rtekind")
    if kind == RELATION:
        return entry.number("relid"), number
    if kind in (JOIN, GROUP):
        expressions: Any = entry.fields["joinaliasvars" if kind == JOIN else "groupexprs"] or []
        inner = expressions[number - 1] if number <= len(expressions) else None
        return base_column(catalogue, inner, scope)
    source, around = entry.node("subquery"), scope
    if kind == CTE:
        source, around = find_cte(entry, scope)
    if source is None or source.node("setOperations") is not None:
        return None
    entries = [each for each in result_entries(source) if each.number("resno") == number]
    return base_column(catalogue, entries[0].node("expr"), (source, *around)) if entries else None


def find_cte(entry: Node, scope: tuple[Node, ...]) -> tuple[Node | None, tuple[Node, ...]]:
    """The query of the CTE that an entry names, and what is around it."""
    level = entry.number("ctelevelsup")
    if level < len(scope):
        for cte in scope[level].nodes("cteList"):
            if cte.text("ctename") == entry.text("ctename"):
                return cte.node("ctequery"), scope[level:]
    return None, ()


def result_entries(query: Node) -> list[Node]:
    """The columns that a query gives: its targets, or its RETURNING."""
    name = "targetList" if query.number("commandType") == 1 else "returningList"
    return [each for each in query.nodes(name) if not each.flag("resjunk")]


def is_functions_word(catalogue: Catalogue, node: Node | None, scope: tuple[Node, ...]) -> bool:
    """Whether a column is what a function of ours returns: its contract says if it is NULL."""
    node = strip_casts(node)
    if node is None:
        return False
    if node.tag == "FUNCEXPR":
        return catalogue.functions[node.number("funcid")].schema == "clonedb"
    if node.tag == "COALESCEEXPR":
        return any(is_functions_word(catalogue, each, scope) for each in node.nodes("args"))
    if node.tag != "VAR" or node.number("varlevelsup") >= len(scope):
        return False
    if node.numbers("varnullingrels"):
        return False
    scope = scope[node.number("varlevelsup") :]
    entry = scope[0].nodes("rtable")[node.number("varno") - 1]
    kind = entry.text("rtekind")
    if kind == FUNCTION:
        calls = [each.node("funcexpr") for each in entry.nodes("functions")]
        return all(
            each is not None
            and each.tag == "FUNCEXPR"
            and catalogue.functions[each.number("funcid")].schema == "clonedb"
            for each in calls
        )
    source, around = entry.node("subquery"), scope
    if kind == CTE:
        source, around = find_cte(entry, scope)
    if source is None or source.node("setOperations") is not None:
        return False
    entries = [
        each for each in result_entries(source) if each.number("resno") == node.number("varattno")
    ]
    return bool(entries) and is_functions_word(
        catalogue, entries[0].node("expr"), (source, *around)
    )


def strip_casts(node: Node | None) -> Node | None:
    """An expression without the casts around it."""
    while node is not None:
        if node.tag in _WRAPPERS:
            node = node.node("arg")
        elif (
            node.tag == "FUNCEXPR" and node.text("funcformat") in ("1", "2") and node.nodes("args")
        ):
            node = node.nodes("args")[0]
        else:
            return node
    return None


def location(node: Node) -> int:
    """Where in the text, in bytes, a node or the first of what is in it stands; -1 if unknown."""
    found = [each.number("location") for each in node.walk() if each.fields.get("location")]
    return min((each for each in found if each >= 0), default=-1)


def is_star(text: bytes, offset: int) -> bool:
    """Whether `*` or `t.*` stands at the offset."""
    return _STAR.match(text, offset) is not None


def is_qualified(text: bytes, offset: int) -> bool:
    """Whether the name at the offset is followed by a dot; True for what is no name."""
    name = _NAME.match(text, offset)
    return name is None or name["dot"] is not None
