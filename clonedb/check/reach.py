"""Which readings of users' tables in a plan are bound to the user that is asked for.

Bound is a reading whose rows come through only where its user key equals :user_id, one of
:user_ids, or the user key of a reading that is bound itself. What says so must hold for every one
of its rows: a whole part of AND, in the reading itself or above it, and not a condition of an outer
join that keeps them whether they match or not.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from clonedb.check.catalogue import Catalogue
from clonedb.check.conditions import bare, conjuncts, equalities, split
from clonedb.check.plans import Plan, nodes
from clonedb.check.tree import Node

NOBODYS: Final = "'00000000-0000-0000-0000-000000000000'::uuid"
_CONDITIONS: Final = ("Index Cond", "Recheck Cond", "Filter", "TID Cond")
_OF_JOIN: Final = ("Hash Cond", "Merge Cond", "Join Filter")
_OF_RESULT: Final = ("Filter", "One-Time Filter")
# Whose rows come through a join only where its condition holds.
_FILTERED: Final = {
    "Inner": ("Outer", "Inner"),
    "Semi": ("Outer", "Inner"),
    "Right Semi": ("Outer", "Inner"),
    "Left": ("Inner",),
    "Anti": ("Inner",),
    "Right": ("Outer",),
    "Right Anti": ("Outer",),
}
_NEED_BOTH: Final = ("Inner", "Semi", "Right Semi")
# They give a row only of one below.
_ONE_BELOW: Final = (
    "LockRows", "Limit", "Materialize", "Memoize", "ModifyTable", "Result", "Sort", "Subquery Scan",
    "Unique", "Hash",
)  # fmt: skip
_NAME: Final = r'(?:"(?:[^"]|"")+"|\w+)'
_COLUMN: Final = re.compile(rf"(?P<alias>{_NAME})\.(?P<column>{_NAME})")
_INIT: Final = re.compile(r"\(?(?P<plan>InitPlan \d+)\)?\.col(?P<number>\d+)")


@dataclass(slots=True)
class Reading:
    """A reading of a table in a plan, and every condition that all its rows have to meet."""

    table: str
    alias: str
    aliases: frozenset[str]
    conditions: list[str]


class Reach:
    """The readings of one plan; `tree` is the statement's, which knows what columns are called."""

    def __init__(
        self,
        plan: Plan,
        tree: Node | None,
        catalogue: Catalogue,
        partitions: Mapping[str, str],
        user_parameters: set[str],
    ) -> None:
        self._catalogue = catalogue
        self._keys = user_keys(catalogue)
        self._partitions = partitions
        self._subplans = {
            str(node["Subplan Name"]).removesuffix(" (returns $0)"): node
            for node in nodes(plan)
            if "Subplan Name" in node
        }
        self._scanned = {
            str(node["Alias"]): node
            for node in nodes(plan)
            if "Alias" in node and "Relation Name" not in node
        }
        self._inserted = {
            str(node["Alias"]): node
            for node in nodes(plan)
            if node["Node Type"] == "ModifyTable" and node.get("Operation") == "Insert"
        }
        self._columns = _column_names(tree)
        self._functions = _function_columns(tree)
        self.readings = list(self._readings(plan, []))
        # What users are asked for by is a user's id, whatever its name.
        self._bound_terms = user_parameters | {
            each
            for reading in self.readings
            if reading.table == "users"
            for one, other in equalities(reading.conditions)
            if self._is_key(one, reading, ("id",))
            for each in re.findall(r"^(?:ANY \()?(\$\d+)\)?$", other)
        }
        self._bound: set[int] = set()

    def unbound(self) -> list[Reading]:
        """The readings of users' tables that are not bound to one user."""
        keyed = [each for each in self.readings if each.table in self._keys]
        while True:
            more = {
                id(each) for each in keyed if id(each) not in self._bound and self._is_bound(each)
            }
            if not more:
                return [each for each in keyed if id(each) not in self._bound]
            self._bound |= more

    def _readings(self, node: Plan, above: list[str]) -> Iterator[Reading]:
        if "Relation Name" in node and "Alias" in node and node["Node Type"] != "ModifyTable":
            table = str(node["Relation Name"])
            whole = self._partitions.get(table, table)
            alias = str(node["Alias"])
            aliases = {alias}
            if whole != table:
                aliases.add(re.sub(r"_\d+$", "", alias))
            parts = [each for each in nodes(node) if "Bitmap" in each["Node Type"]]
            own = [str(each[key]) for each in (node, *parts) for key in _CONDITIONS if key in each]
            yield Reading(whole, alias, frozenset(aliases), conjuncts([*own, *above]))
        own = [str(node[key]) for key in _OF_RESULT if key in node]
        of_join = [str(node[key]) for key in _OF_JOIN if key in node]
        filtered = _FILTERED.get(str(node.get("Join Type")), ())
        inner = node.get("Join Type") in _NEED_BOTH
        for child in node.get("Plans", []):
            relationship = child["Parent Relationship"]
            if relationship in ("InitPlan", "SubPlan"):
                yield from self._readings(child, [])
                continue
            there = [*above, *own]
            if relationship in filtered:
                there += of_join
            if inner:
                for other in node["Plans"]:
                    if other is not child and other["Parent Relationship"] in ("Outer", "Inner"):
                        there += self._needed(other)
            yield from self._readings(child, there)

    def _needed(self, node: Plan) -> list[str]:
        """What must be true of parameters for a part of the plan to give any row at all."""
        found = [str(node[key]) for key in _OF_RESULT if key in node]
        if "CTE Name" in node:
            cte = self._subplans.get(f"CTE {node['CTE Name']}")
            found += self._needed(cte) if cte is not None else []
        inner = node.get("Join Type") in _NEED_BOTH
        for child in node.get("Plans", []):
            relationship = child["Parent Relationship"]
            alone = node["Node Type"] in _ONE_BELOW and relationship in ("Outer", "Subquery")
            if alone or (inner and relationship in ("Outer", "Inner")):
                found += self._needed(child)
        return [each for each in conjuncts(found) if re.fullmatch(r"\(*\$\d+ = \$\d+\)*", each)]

    def _is_bound(self, reading: Reading) -> bool:
        keys = [self._keys[reading.table]]
        if reading.table == "users":
            keys.append("subject_ref")
        equal = list(equalities(reading.conditions))
        known = set(self._bound_terms)
        for _ in range(2):
            for one, other in equal:
                if one in known and other.startswith("$"):
                    known.add(other)
        for one, other in equal:
            # A row's place comes from a reading that is looked at by itself.
            if self._is_key(one, reading, ("ctid",)):
                return True
            if self._is_key(one, reading, tuple(keys)) and self._is_users(other, known):
                return True
        return False

    @staticmethod
    def _is_key(term: str, reading: Reading, keys: tuple[str, ...]) -> bool:
        match = _COLUMN.fullmatch(term)
        return (
            match is not None
            and _unquoted(match["alias"]) in reading.aliases
            and _unquoted(match["column"]) in keys
        )

    def _is_users(self, term: str, known: set[str], depth: int = 0) -> bool:
        """Whether a term is the id, or the reference, of the user who is asked for, or nobody's."""
        term = bare(term)
        if term in known or term == NOBODYS:
            return True
        if depth > 10:
            return False
        if term.startswith("ANY (") and term.endswith(")"):
            return self._is_users(term[5:-1], known, depth + 1)
        if term.startswith("ARRAY[") and term.endswith("]"):
            return all(self._is_users(each, known, depth + 1) for each in split(term[6:-1], ", "))
        if (case := re.fullmatch(r"CASE WHEN .*? THEN (.*?) ELSE (.*) END", term)) is not None:
            return all(self._is_users(each, known, depth + 1) for each in case.groups())
        if (init := _INIT.fullmatch(term)) is not None:
            plan = self._subplans.get(init["plan"])
            return plan is not None and self._gives_users(
                plan, int(init["number"]) - 1, known, depth + 1
            )
        column = _COLUMN.fullmatch(term)
        return column is not None and self._is_users_column(
            _unquoted(column["alias"]), _unquoted(column["column"]), known, depth + 1
        )

    def _is_users_column(self, alias: str, name: str, known: set[str], depth: int) -> bool:
        named = [each for each in self.readings if alias in each.aliases]
        if named:
            return all(
                id(each) in self._bound
                and (
                    name == self._keys.get(each.table)
                    or (each.table == "users" and name == "subject_ref")
                )
                for each in named
            )
        if alias in self._inserted:
            return self._is_inserted(self._inserted[alias], name, known, depth)
        scan = self._scanned.get(alias)
        if scan is None:
            return False
        if scan["Node Type"] == "Function Scan":
            return self._is_unnested(alias, scan, name, known)
        if "CTE Name" in scan:
            cte = str(scan["CTE Name"])
            source = self._subplans.get(f"CTE {cte}")
            names = self._columns.get(cte, [])
        else:
            source = next(iter(scan.get("Plans", [])), None)
            names = self._columns.get(re.sub(r"_\d+$", "", alias), self._columns.get(alias, []))
        return (
            source is not None
            and name in names
            and self._gives_users(source, names.index(name), known, depth)
        )

    def _is_unnested(self, alias: str, scan: Plan, name: str, known: set[str]) -> bool:
        """Whether a column has the items of a parameter that says who is asked for.

        The plan's output has the columns that are wanted, its calls are all: which is whose, the
        tree knows.
        """
        columns = self._functions.get(re.sub(r"_\d+$", "", alias), self._functions.get(alias, []))
        calls = split(str(scan.get("Function Call", "")), ", ")
        return (
            name in columns
            and len(columns) - len(calls) in (0, 1)  # with the place
            and all(re.fullmatch(r"unnest\(\$\d+\)", call) for call in calls)
            and columns.index(name) < len(calls)
            and calls[columns.index(name)] in {f"unnest({parameter})" for parameter in known}
        )

    def _is_inserted(self, insert: Plan, name: str, known: set[str], depth: int) -> bool:
        """Whether the row that INSERT has met is the user's: it has the same key."""
        table = self._catalogue.table(
            self._partitions.get(insert["Relation Name"], insert["Relation Name"])
        )
        number = table.numbered(name) if table is not None else None
        indexes = [
            index
            for index in self._catalogue.indexes.values()
            if index.name in insert.get("Conflict Arbiter Indexes", [])
        ]
        return (
            table is not None
            and number is not None
            and self._keys.get(table.name) == name
            and bool(indexes)
            and all(number in index.columns for index in indexes)
            and any(
                self._gives_users(each, number - 1, known, depth)
                for each in insert["Plans"]
                if each["Parent Relationship"] == "Outer"
            )
        )

    def _gives_users(self, plan: Plan, number: int, known: set[str], depth: int) -> bool:
        """Whether a column that a part of the plan gives is the user's."""
        if "Output" not in plan:
            parts = [
                each
                for each in plan.get("Plans", [])
                if each["Parent Relationship"] in ("Outer", "Member")
            ]
            return bool(parts) and all(
                self._gives_users(each, number, known, depth + 1) for each in parts
            )
        output = plan["Output"]
        return number < len(output) and self._is_users(str(output[number]), known, depth + 1)


def user_keys(catalogue: Catalogue) -> dict[str, str]:
    """The tables whose rows belong to users, each with the column that says to whom."""
    return {
        relation.name: relation.user_key
        for relation in catalogue.relations.values()
        if relation.user_key is not None and not relation.is_partition
    }


def _column_names(tree: Node | None) -> dict[str, list[str]]:
    """What the columns of CTEs and sub-selects are called, in order."""
    found: dict[str, list[str]] = {}
    for node in tree.walk() if tree is not None else ():
        if node.tag == "COMMONTABLEEXPR" and (query := node.node("ctequery")) is not None:
            kind = "targetList" if query.number("commandType") == 1 else "returningList"
            names = [each.text("resname") for each in query.nodes(kind) if not each.flag("resjunk")]
            given: Any = node.fields.get("aliascolnames") or []
            found[node.text("ctename")] = [*given, *names[len(given) :]]
        elif node.tag == "RANGETBLENTRY" and node.node("subquery") is not None:
            eref = node.node("eref")
            if eref is not None:
                found.setdefault(eref.text("aliasname"), list(eref.fields.get("colnames") or []))
    return found


def _function_columns(tree: Node | None) -> dict[str, list[str]]:
    """What the columns of functions in FROM are called, by alias; nothing where two share one."""
    found: dict[str, list[str]] = {}
    for node in tree.walk() if tree is not None else ():
        eref = node.node("eref")
        if node.tag == "RANGETBLENTRY" and node.nodes("functions") and eref is not None:
            alias, columns = eref.text("aliasname"), list(eref.fields.get("colnames") or [])
            found[alias] = columns if found.get(alias, columns) == columns else []
    return found


def _unquoted(name: str) -> str:
    return name[1:-1].replace('""', '"') if name.startswith('"') else name
