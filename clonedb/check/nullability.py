"""Which columns of a result can never be NULL.

Two proofs, and what neither gives is optional.

The parse tree says of every column whose it is and which outer joins stand between (16 and later).
A column with a validated NOT NULL, under no outer join that could leave it out, is not NULL; nor is
what is made of such columns by functions and operators of which that is known. This covers
RETURNING and data-modifying CTEs, whose rows satisfy the table's constraints.

The planner can prove what a tree does not show: see `clonedb.check.planner_proof`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from clonedb.check.catalogue import Catalogue
from clonedb.check.faithful import ALWAYS, IF_GIVEN, Faithful
from clonedb.check.tree import Node

_RELATION, _SUBQUERY, _JOIN, _FUNCTION, _VALUES, _CTE, _GROUP = "0", "1", "2", "3", "5", "6", "9"
_SELECT: Final = 1
_UPDATE, _INSERT = 2, 3
_IS_NOT_NULL: Final = "1"
# Assumed while a SET is looked at: there a column of the target is that of the row before.
_OLD_ROW: Final = "the old row"
_MERGE: Final = 5
_INTERSECT, _EXCEPT = 2, 3
_CURRENT_SCHEMA: Final = 14  # the only one of CURRENT_DATE, CURRENT_USER, … that may be NULL


class TreeProof:
    """Proves by the parse tree."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._faithful = Faithful(catalogue)

    def proved(self, query: Node) -> list[bool]:
        """For each column of the result, in order, whether it is proved to be never NULL."""
        return self._columns(query, ())

    def _columns(
        self, query: Node, outer: tuple[Node, ...], assumed: frozenset[str] = frozenset()
    ) -> list[bool]:
        operations = query.node("setOperations")
        if operations is not None:
            return self._set_operation(operations, query, outer, assumed)
        kind = "targetList" if query.number("commandType") == _SELECT else "returningList"
        scope = (query, *outer)
        return [
            self._never(entry.node("expr"), scope, assumed)
            for entry in query.nodes(kind)
            if not entry.flag("resjunk")
        ]

    def _set_operation(
        self, node: Node, query: Node, outer: tuple[Node, ...], assumed: frozenset[str]
    ) -> list[bool]:
        if node.tag == "RANGETBLREF":
            entry = query.nodes("rtable")[node.number("rtindex") - 1]
            subquery = entry.node("subquery")
            return [] if subquery is None else self._columns(subquery, (query, *outer), assumed)
        left, right = node.node("larg"), node.node("rarg")
        if left is None or right is None:
            return []
        a = self._set_operation(left, query, outer, assumed)
        b = self._set_operation(right, query, outer, assumed)
        operation = node.number("op")
        if operation == _EXCEPT:
            return a
        if operation == _INTERSECT:
            return [x or y for x, y in zip(a, b, strict=True)]
        return [x and y for x, y in zip(a, b, strict=True)]

    def _never(self, node: Node | None, scope: tuple[Node, ...], assumed: frozenset[str]) -> bool:
        if node is None:
            return False

        def every(nodes: Sequence[Node]) -> bool:
            return all(self._never(each, scope, assumed) for each in nodes)

        arguments = node.nodes("args")
        match node.tag:
            case "VAR":
                return self._variable(node, scope, assumed)
            case "CONST":
                return not node.flag("constisnull")
            case "COALESCEEXPR" | "MINMAXEXPR":
                return any(self._never(each, scope, assumed) for each in arguments)
            case "CASEEXPR":
                results = [each.node("result") for each in arguments]
                return all(
                    self._never(each, scope, assumed) for each in (*results, node.node("defresult"))
                )
            case "BOOLEXPR":
                return every(arguments)
            case (
                "NULLTEST"
                | "BOOLEANTEST"
                | "DISTINCTEXPR"
                | "ROWEXPR"
                | "ARRAYEXPR"
                | "GROUPINGFUNC"
            ):
                return True
            case "RELABELTYPE" | "COLLATEEXPR" | "COERCEVIAIO" | "ARRAYCOERCEEXPR" | "NAMEDARGEXPR":
                return self._never(node.node("arg"), scope, assumed)
            case "SQLVALUEFUNCTION":
                return node.number("op") < _CURRENT_SCHEMA
            case "FUNCEXPR":
                faithful = self._faithful.function(node)
                return faithful == ALWAYS or (faithful == IF_GIVEN and every(arguments))
            case "OPEXPR":
                return self._faithful.operator(node) and every(arguments)
            case "AGGREF":
                return self._aggregate(node, scope, assumed)
            case "WINDOWFUNC":
                return self._faithful.window(node)
            case "SUBLINK":
                return self._sublink(node, scope, assumed)
        return False

    def _aggregate(self, node: Node, scope: tuple[Node, ...], assumed: frozenset[str]) -> bool:
        faithful = self._faithful.aggregate(node)
        if faithful == ALWAYS or node.number("agglevelsup"):
            return faithful == ALWAYS and not node.number("agglevelsup")
        grouped = bool(scope[0].nodes("groupClause")) and not scope[0].nodes("groupingSets")
        return (
            grouped
            and faithful == IF_GIVEN
            and node.node("aggfilter") is None
            and all(
                self._never(each.node("expr"), scope, assumed)
                for each in node.nodes("args")
                if not each.flag("resjunk")
            )
        )

    def _sublink(self, node: Node, scope: tuple[Node, ...], assumed: frozenset[str]) -> bool:
        kind, subquery = node.text("subLinkType"), node.node("subselect")
        if kind in ("0", "6"):  # EXISTS, ARRAY
            return True
        if kind != "4" or subquery is None:  # a scalar
            return False
        # Only an aggregate without GROUP BY gives a row whatever happens.
        always = (
            subquery.flag("hasAggs")
            and not subquery.nodes("groupClause")
            and not subquery.nodes("groupingSets")
            and subquery.node("havingQual") is None
            and subquery.node("limitCount") is None
            and subquery.node("limitOffset") is None
        )
        return always and self._columns(subquery, scope, assumed)[:1] == [True]

    def _variable(self, node: Node, scope: tuple[Node, ...], assumed: frozenset[str]) -> bool:
        level = node.number("varlevelsup")
        if level >= len(scope) or node.number("varreturningtype"):  # old.x, new.x of RETURNING
            return False
        query, outer = scope[level], scope[level + 1 :]
        index, number = node.number("varno"), node.number("varattno")
        if self._is_demanded(query, index, number):
            return True
        if node.numbers("varnullingrels"):
            return False
        entry = query.nodes("rtable")[index - 1]
        if query.number("commandType") == _MERGE and index != query.number("resultRelation"):
            return False
        kind = entry.text("rtekind")
        if kind == _RELATION:
            return self._stored(entry, number) or (
                index == query.number("resultRelation")
                and _OLD_ROW not in assumed
                and self._is_assigned(query, entry, number, (query, *outer), assumed)
            )
        if number < 1:
            return False  # a whole row
        if kind == _SUBQUERY:
            subquery = entry.node("subquery")
            above = (query, *outer)
            return subquery is not None and self._at(
                self._columns(subquery, above, assumed), number
            )
        if kind in (_JOIN, _GROUP):
            expressions = entry.fields["joinaliasvars" if kind == _JOIN else "groupexprs"] or []
            return number <= len(expressions) and self._never(
                expressions[number - 1], (query, *outer), assumed
            )
        if kind == _VALUES:
            rows = entry.fields.get("values_lists") or []
            return bool(rows) and all(
                self._never(row[number - 1], (query, *outer), assumed) for row in rows
            )
        if kind == _CTE:
            return self._of_cte(entry, number, (query, *outer), assumed)
        return False

    def _is_demanded(self, query: Node, index: int, number: int) -> bool:
        """Whether WHERE lets no row through in which the column is NULL.

        Not of the target of an UPDATE, whose new row is another than WHERE has seen.
        """
        tree = query.node("jointree")
        if tree is None or (index == query.number("resultRelation")):
            return False
        for part in _conjuncts(tree.node("quals")):
            of = part.node("arg") if part.tag == "NULLTEST" else None
            if (
                of is not None
                and of.tag == "VAR"
                and part.text("nulltesttype") == _IS_NOT_NULL
                and not part.flag("argisrow")
                and (of.number("varno"), of.number("varattno"), of.number("varlevelsup"))
                == (index, number, 0)
            ):
                return True
        return False

    def _is_assigned(
        self,
        query: Node,
        entry: Node,
        number: int,
        scope: tuple[Node, ...],
        assumed: frozenset[str],
    ) -> bool:
        """Whether the statement itself stores something that is not NULL, for RETURNING to give."""
        relation = self._catalogue.relations.get(entry.number("relid"))
        if relation is None or relation.kind not in ("r", "p"):
            return False
        if query.number("commandType") not in (_UPDATE, _INSERT):
            return False
        if relation.oid in self._catalogue.triggered or query.node("onConflict") is not None:
            return False
        return any(
            each.number("resno") == number
            and self._never(each.node("expr"), scope, assumed | {_OLD_ROW})
            for each in query.nodes("targetList")
            if not each.flag("resjunk")
        )

    def _stored(self, entry: Node, number: int) -> bool:
        if number < 0:
            return True  # ctid, xmax, tableoid
        relation = self._catalogue.relations.get(entry.number("relid"))
        if relation is None or relation.kind not in ("r", "p") or number not in relation.columns:
            return False
        if relation.columns[number].never_null:
            return True
        expression = self._catalogue.generated.get((relation.oid, number))
        if expression is None:
            return False
        # Made of columns of the same row.
        row = Node("QUERY", {"commandType": "1", "rtable": [entry]})
        return self._never(expression, (row,), frozenset())

    def _of_cte(
        self, entry: Node, number: int, scope: tuple[Node, ...], assumed: frozenset[str]
    ) -> bool:
        name, level = entry.text("ctename"), entry.number("ctelevelsup")
        if level >= len(scope):
            return False
        for cte in scope[level].nodes("cteList"):
            query = cte.node("ctequery")
            if cte.text("ctename") != name or query is None:
                continue
            # By what it is, for a CTE inside of it may have its name.
            key = f"{id(cte)}.{number}"
            if key in assumed:
                # The recursion's own rows: if the first rows and those made of rows like these are
                # never NULL, all are.
                return True
            if cte.flag("cterecursive"):
                assumed = assumed | {key}
            return self._at(self._columns(query, scope[level:], assumed), number)
        return False

    @staticmethod
    def _at(columns: list[bool], number: int) -> bool:
        return number <= len(columns) and columns[number - 1]


def _conjuncts(node: Node | None) -> list[Node]:
    if node is None:
        return []
    if node.tag == "BOOLEXPR" and node.text("boolop") == "and":
        return [part for each in node.nodes("args") for part in _conjuncts(each)]
    return [node]
