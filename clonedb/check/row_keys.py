"""Which columns of a query are enough to tell each of its rows from the others."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from clonedb.check.catalogue import Catalogue
from clonedb.check.reading import (
    CTE,
    FUNCTION,
    GROUP,
    JOIN,
    RELATION,
    SUBQUERY,
    VALUES,
    find_cte,
    result_entries,
    strip_casts,
)
from clonedb.check.tree import Node

# A place in a query's list of relations, and a column's number there.
_Column = tuple[int, int]
_UNKNOWN: Final = (0, 0)
_LEFT, _FULL, _RIGHT = 1, 2, 3
_ENOUGH: Final = 10


class RowKeys:
    """Tells it by unique keys, and by what conditions make equal."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue

    def tell_page(self, query: Node, scope: tuple[Node, ...], given: set[int]) -> bool:
        """Whether rows in the order of the given columns are the same page each time."""
        columns = {each.number("resno") for each in result_entries(query)}
        # Of rows that are alike any may be the one.
        if _is_one(query.node("limitCount")) and columns <= given:
            return True
        return self._tell(query, scope, given)

    def tell(self, query: Node, scope: tuple[Node, ...], given: set[int]) -> bool:
        """Whether the given columns, numbers of the query's targets, tell its rows apart."""
        return _is_one(query.node("limitCount")) or self._tell(query, scope, given)

    def _tell(self, query: Node, scope: tuple[Node, ...], given: set[int]) -> bool:
        if len(scope) > _ENOUGH:
            return False
        operations = query.node("setOperations")
        if operations is not None:
            columns = {each.number("resno") for each in result_entries(query)}
            return not operations.flag("all") and columns <= given
        if query.number("commandType") != 1:
            return self._plain(query, scope, given)
        by_reference = {
            each.number("ressortgroupref"): each
            for each in query.nodes("targetList")
            if each.number("ressortgroupref")
        }
        distinct = [each.number("tleSortGroupRef") for each in query.nodes("distinctClause")]
        if distinct and all(by_reference[each].number("resno") in given for each in distinct):
            return True
        multiplied = [
            each.number("resno")
            for each in query.nodes("targetList")
            if any(node.flag("funcretset") for node in each.walk(into_queries=False))
        ]
        if not set(multiplied) <= given:
            return False
        groups = [each.number("tleSortGroupRef") for each in query.nodes("groupClause")]
        if not groups:
            return query.flag("hasAggs") or self._plain(query, scope, given)
        covered = self._covered(query, scope, given)
        return all(
            by_reference[each].number("resno") in given
            or covered.has(self._column(query, by_reference[each].node("expr")))
            for each in groups
        )

    def missing(self, query: Node, scope: tuple[Node, ...], given: set[int]) -> str:
        """What could be added to the given columns to tell the rows apart."""
        if query.node("setOperations") is not None:
            return "all columns"
        if query.nodes("groupClause"):
            return "the columns of GROUP BY"
        covered = self._covered(query, scope, given)
        wanted = []
        for place in _places(query.node("jointree")):
            entry = query.nodes("rtable")[place - 1]
            if place in covered.whole:
                continue
            keys = sorted(self._keys_of(entry), key=len)
            if not keys:
                return "a unique key"
            relation = self._catalogue.relations[entry.number("relid")]
            eref = entry.node("eref")
            alias = eref.text("aliasname") if eref is not None else relation.name
            wanted += [
                f"{alias}.{relation.columns[number].name}"
                for number in keys[0]
                if not covered.has((place, number))
            ]
        return ", ".join(wanted) or "a unique key"

    def _plain(self, query: Node, scope: tuple[Node, ...], given: set[int]) -> bool:
        covered = self._covered(query, scope, given)
        places = set(_places(query.node("jointree")))
        if query.number("commandType") != 1:
            places.add(query.number("resultRelation"))
        return places <= covered.whole

    def _covered(self, query: Node, scope: tuple[Node, ...], given: set[int]) -> _Covered:
        covered = _Covered()
        for entry in result_entries(query) + query.nodes("targetList"):
            if entry.number("resno") in given:
                column = self._column(query, entry.node("expr"))
                if column is not None:
                    covered.columns.add(column)
        steps = list(self._steps(query, query.node("jointree")))
        places = set(_places(query.node("jointree")))
        if query.number("resultRelation"):
            places.add(query.number("resultRelation"))
        before = -1
        while before != len(covered.columns) + len(covered.whole):
            before = len(covered.columns) + len(covered.whole)
            covered.columns |= {to for known, to in steps if all(map(covered.has, known))}
            for place in places - covered.whole:
                if self._is_told(query.nodes("rtable")[place - 1], place, scope, covered):
                    covered.whole.add(place)
        return covered

    def _is_told(self, entry: Node, place: int, scope: tuple[Node, ...], covered: _Covered) -> bool:
        kind = entry.text("rtekind")
        numbers = {number for at, number in covered.columns if at == place}
        eref = entry.node("eref")
        names: Any = (eref.fields.get("colnames") if eref is not None else None) or []
        if kind == RELATION:
            keys = self._keys_of(entry)
            if keys or entry.text("relkind") != "v":
                return any(set(key) <= numbers for key in keys)
        # What has no key is told by all of its columns, as well as can be.
        if set(range(1, len(names) + 1)) <= numbers:
            return True
        if kind == SUBQUERY:
            inner = entry.node("subquery")
            return inner is not None and self.tell(inner, (inner, *scope), numbers)
        if kind == CTE:
            inner, around = find_cte(entry, scope)
            return (
                inner is not None
                and not entry.flag("self_reference")
                and inner.node("setOperations") is None
                and self.tell(inner, (inner, *around), numbers)
            )
        if kind == FUNCTION:
            calls = [each.node("funcexpr") for each in entry.nodes("functions")]
            return (entry.flag("funcordinality") and len(names) in numbers) or not any(
                each is None or each.flag("funcretset") for each in calls
            )
        if kind == VALUES:
            rows: Any = entry.fields.get("values_lists") or []
            return len(rows) == 1
        return kind == "8"  # no table at all

    def _keys_of(self, entry: Node) -> list[tuple[int, ...]]:
        oid = entry.number("relid")
        return list(self._catalogue.unique_keys(oid)) if oid in self._catalogue.relations else []

    def _steps(self, query: Node, node: Node | None) -> Iterator[tuple[set[_Column], _Column]]:
        """What is known with which columns, by what must be equal."""
        if node is None:
            return
        inside: set[int] = set()
        kind = node.number("jointype") if node.tag == "JOINEXPR" else 0
        if kind == _LEFT:
            inside = set(_places(node.node("rarg")))
        elif kind == _RIGHT:
            inside = set(_places(node.node("larg")))
        if node.tag in ("JOINEXPR", "FROMEXPR") and kind != _FULL:
            for sides in _equal(self._catalogue, node.node("quals")):
                for known, to in (sides, sides[::-1]):
                    column = self._column(query, to)
                    # Of an outer join, only where rows may be missing.
                    if column is not None and (kind == 0 or column[0] in inside):
                        yield self._columns(query, known), column
        for child in (*node.nodes("fromlist"), node.node("larg"), node.node("rarg")):
            if child is not None and child.tag == "JOINEXPR":
                yield from self._steps(query, child)

    def _columns(self, query: Node, node: Node) -> set[_Column]:
        """The columns that an expression is made of; what is in a sub-select is not known."""
        found = set()
        for each in node.walk(into_queries=False):
            if each.tag == "VAR" and not each.number("varlevelsup"):
                found.add(self._column(query, each) or _UNKNOWN)
            elif each.tag == "SUBLINK" and _looks_out(each):
                found.add(_UNKNOWN)
        return found

    def _column(self, query: Node, node: Node | None) -> _Column | None:
        """The column that an expression is, through joins and GROUP BY."""
        while node is not None and node.tag in ("RELABELTYPE", "COLLATEEXPR"):
            node = node.node("arg")
        if node is None or node.tag != "VAR" or node.number("varlevelsup"):
            return None
        place, number = node.number("varno"), node.number("varattno")
        entry = query.nodes("rtable")[place - 1]
        kind = entry.text("rtekind")
        if kind in (JOIN, GROUP):
            inner: Any = entry.fields["joinaliasvars" if kind == JOIN else "groupexprs"] or []
            return self._column(query, inner[number - 1]) if number <= len(inner) else None
        return place, number


class _Covered:
    """The columns that are known, and the relations of which the row is."""

    def __init__(self) -> None:
        self.columns: set[_Column] = set()
        self.whole: set[int] = set()

    def has(self, column: _Column | None) -> bool:
        return column is not None and (column in self.columns or column[0] in self.whole)


def _places(node: Node | None) -> Iterator[int]:
    """The relations of FROM, by their place in the query's list."""
    if node is None:
        return
    if node.tag == "RANGETBLREF":
        yield node.number("rtindex")
    children: tuple[Node | None, ...] = (
        *node.nodes("fromlist"),
        node.node("larg"),
        node.node("rarg"),
    )
    for child in children:
        yield from _places(child)


def _equal(catalogue: Catalogue, node: Node | None) -> Iterator[list[Node]]:
    """Both sides of every part that says that two things are equal."""
    if node is None:
        return
    if node.tag == "BOOLEXPR" and node.text("boolop") == "and":
        for part in node.nodes("args"):
            yield from _equal(catalogue, part)
    elif (
        node.tag == "OPEXPR"
        and len(node.nodes("args")) == 2
        and catalogue.operators[node.number("opno")].name == "="
    ):
        yield node.nodes("args")


def _looks_out(sublink: Node) -> bool:
    """Whether a sub-select may be of columns around it."""
    return any(each.number("varlevelsup") for each in sublink.walk() if each.tag == "VAR")


def _is_one(limit: Node | None) -> bool:
    limit = strip_casts(limit)
    value = limit.fields.get("constvalue") if limit is not None and limit.tag == "CONST" else None
    return isinstance(value, bytes) and int.from_bytes(value, "little") == 1
