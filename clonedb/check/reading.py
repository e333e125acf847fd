"""Finding one's way in a parse tree: levels of queries, predicates, where a column comes from."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from clonedb.check.catalogue import Catalogue
from clonedb.check.tree import Node

RELATION, SUBQUERY, JOIN, FUNCTION, VALUES, CTE, GROUP = "0", "1", "2", "3", "5", "6", "9"
_WRAPPERS: Final = ("RELABELTYPE", "COERCEVIAIO", "COLLATEEXPR", "ARRAYCOERCEEXPR")
_DEEP: Final = 20
_IDENTIFIER: Final = rb'(?:"(?:[^"]|"")*"|[A-Za-z_\x80-\xff][\w$\x80-\xff]*)'
_NAME: Final = re.compile(rb"(?P<name>" + _IDENTIFIER + rb")(?P<dot>\s*\.)?")
_STAR: Final = re.compile(rb"(?:" + _IDENTIFIER + rb"\s*\.\s*)*\*")


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


def predicates(query: Node, *, of_rows: bool = False) -> Iterator[Node]:
    """The parts of WHERE and ON that must all hold; unless only `of_rows`, of HAVING as well."""
    for node in own_nodes(query):
        if node.tag in ("FROMEXPR", "JOINEXPR"):
            yield from _parts(node.node("quals"))
        elif node.tag == "ONCONFLICTEXPR" and not of_rows:
            yield from _parts(node.node("onConflictWhere"))
    yield from _parts(query.node("mergeJoinCondition"))
    if not of_rows:
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
    catalogue: Catalogue,
    node: Node | None,
    scope: tuple[Node, ...],
    *,
    searched: bool = False,
) -> tuple[int, int] | None:
    """The table and column that a plain reference leads to, through CTEs, sub-selects and joins.

    With `searched` only where a predicate on it may be one of the table itself: not out of a CTE
    that is made as a whole, or behind a LIMIT.
    """
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
        return base_column(catalogue, inner, scope, searched=searched)
    source, around = entry.node("subquery"), scope
    if kind == CTE:
        source, around = find_cte(entry, scope)
    if source is None or source.node("setOperations") is not None:
        return None
    if searched and (source.node("limitCount") is not None or _is_made_whole(entry, scope)):
        return None
    entries = [each for each in result_entries(source) if each.number("resno") == number]
    if not entries:
        return None
    expression = entries[0].node("expr")
    return base_column(catalogue, expression, (source, *around), searched=searched)


def _is_made_whole(entry: Node, scope: tuple[Node, ...]) -> bool:
    """Whether a CTE is run by itself, and not as a part of what reads it."""
    cte = next(
        (
            each
            for each in (
                scope[entry.number("ctelevelsup")].nodes("cteList")
                if entry.text("rtekind") == CTE
                else ()
            )
            if each.text("ctename") == entry.text("ctename")
        ),
        None,
    )
    query = cte.node("ctequery") if cte is not None else None
    if cte is None or query is None:
        return False
    materialized = cte.text("ctematerialized")
    return (
        cte.flag("cterecursive")
        or query.number("commandType") != 1
        or bool(query.nodes("rowMarks"))
        or materialized == "1"
        or (materialized == "0" and cte.number("cterefcount") > 1)
    )


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


def results(node: Node, scope: tuple[Node, ...], depth: int = 0) -> Iterator[Node]:
    """An expression, or what it may come to: of CASE, COALESCE, ARRAY, VALUES and sub-selects."""
    bare = strip_casts(node)
    if bare is None or depth > _DEEP:
        return
    if bare.tag == "CASEEXPR":
        found = [each.node("result") for each in bare.nodes("args")] + [bare.node("defresult")]
    elif bare.tag in ("COALESCEEXPR", "MINMAXEXPR"):
        found = [*bare.nodes("args")]
    elif bare.tag == "NULLIFEXPR":
        found = [*bare.nodes("args")[:1]]
    elif bare.tag == "ARRAYEXPR":
        found = [*bare.nodes("elements")]
    elif bare.tag == "VAR" and bare.number("varlevelsup") < len(scope):
        for inner, around in _behind(bare, scope[bare.number("varlevelsup") :]):
            yield from results(inner, around, depth + 1)
        return
    else:
        yield node
        return
    for each in found:
        if each is not None:
            yield from results(each, scope, depth + 1)


def _behind(node: Node, scope: tuple[Node, ...]) -> Iterator[tuple[Node, tuple[Node, ...]]]:
    """The expressions that a column of VALUES, a sub-select, a CTE or a join comes from."""
    entry, number = scope[0].nodes("rtable")[node.number("varno") - 1], node.number("varattno")
    kind = entry.text("rtekind")
    rows: Any = entry.fields.get("values_lists") or []
    if kind == VALUES:
        yield from ((row[number - 1], scope) for row in rows)
    elif kind in (JOIN, GROUP):
        inner: Any = entry.fields["joinaliasvars" if kind == JOIN else "groupexprs"] or []
        yield from ((each, scope) for each in inner[number - 1 : number] if each is not None)
    elif kind in (SUBQUERY, CTE):
        source, around = entry.node("subquery"), scope
        if kind == CTE:
            source, around = find_cte(entry, scope)
        if source is None:
            return
        for each in result_entries(source):
            expression = each.node("expr")
            if each.number("resno") == number and expression is not None:
                yield expression, (source, *around)


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


def name_at(text: bytes, offset: int) -> str:
    """The name that stands at the offset, "" where there is none."""
    name = _NAME.match(text, offset)
    return name["name"].decode(errors="replace") if name is not None else ""
