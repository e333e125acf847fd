"""What a statement touches: columns read and written, functions called, and the rights for it.

The parse tree lists, for every relation of every query in it, the columns and the kind of right
that PostgreSQL will ask for when the statement runs: that is the list, nothing is inferred.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from clonedb.check.catalogue import Catalogue
from clonedb.check.tree import Node

# Of a set of columns in the tree, which begins with the lowest system column.
_LOWEST: Final = 7
_INSERT, _SELECT, _UPDATE, _DELETE = 1, 2, 4, 8
_KINDS: Final = ((_INSERT, "INSERT"), (_SELECT, "SELECT"), (_UPDATE, "UPDATE"), (_DELETE, "DELETE"))


@dataclass(slots=True)
class Use:
    """What a statement does with one table or view; columns by number, 0 for the whole row."""

    selected: set[int] = field(default_factory=set)
    inserted: set[int] = field(default_factory=set)
    updated: set[int] = field(default_factory=set)
    rights: set[str] = field(default_factory=set)

    @property
    def written(self) -> set[int]:
        return self.inserted | self.updated


@dataclass(slots=True)
class Dependencies:
    """What a statement touches: tables by oid, functions by oid."""

    tables: dict[int, Use] = field(default_factory=dict)
    functions: set[int] = field(default_factory=set)

    def add(self, other: Dependencies) -> None:
        """The same of another variant as well."""
        for oid, use in other.tables.items():
            mine = self.tables.setdefault(oid, Use())
            mine.selected |= use.selected
            mine.inserted |= use.inserted
            mine.updated |= use.updated
            mine.rights |= use.rights
        self.functions |= other.functions


def dependencies(query: Node) -> Dependencies:
    """Of a whole statement, its CTEs and sub-selects included."""
    found = Dependencies()
    for node in query.walk():
        match node.tag:
            case "RTEPERMISSIONINFO":
                use = found.tables.setdefault(node.number("relid"), Use())
                use.selected |= _columns(node, "selectedCols")
                use.inserted |= _columns(node, "insertedCols")
                use.updated |= _columns(node, "updatedCols")
                asked = node.number("requiredPerms")
                use.rights |= {name for bit, name in _KINDS if asked & bit}
            case "FUNCEXPR":
                found.functions.add(node.number("funcid"))
            case "AGGREF":
                found.functions.add(node.number("aggfnoid"))
            case "WINDOWFUNC":
                found.functions.add(node.number("winfnoid"))
            case "OPEXPR" | "SCALARARRAYOPEXPR":
                found.functions.add(node.number("opfuncid"))
    found.functions.discard(0)
    return found


def missing_rights(catalogue: Catalogue, role: str, used: Dependencies) -> list[str]:
    """What a role lacks to run the statement, as GRANT would say it; [] if it may."""
    has = catalogue.rights.get(role, set())
    missing: list[str] = []
    for oid, use in used.tables.items():
        relation = catalogue.relations[oid]
        if relation.schema not in ("clonedb", "public"):
            continue
        by_kind = {"SELECT": use.selected, "INSERT": use.inserted, "UPDATE": use.updated}
        for kind in sorted(use.rights):
            columns = {number for number in by_kind.get(kind, set()) if number > 0}
            if not columns:
                if (oid, 0, kind) not in has:
                    missing.append(f"{kind} ON {relation.shown}")
                continue
            lacking = [
                relation.columns[number].name
                for number in sorted(columns)
                if (oid, number, kind) not in has
            ]
            if lacking:
                missing.append(f"{kind} ({', '.join(lacking)}) ON {relation.shown}")
    for oid in used.functions:
        function = catalogue.functions[oid]
        if function.schema != "pg_catalog" and (oid, -1, "EXECUTE") not in has:
            missing.append(f"EXECUTE ON {function.shown}({function.arguments})")
    return sorted(missing)


def _columns(node: Node, name: str) -> set[int]:
    return {number - _LOWEST for number in node.numbers(name)}
