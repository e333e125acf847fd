"""Whether the statements of a release work on a schema that is not its own.

A statement works there if it prepares, takes and gives the same types under the same names, its
logins may run it, and an INSERT leaves no column out that has to be given. What becomes of rows
that the other release has written is not seen, nor what a function in PL/pgSQL does inside.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import psycopg

from clonedb.check.catalogue import Catalogue
from clonedb.check.dependencies import Dependencies, dependencies, missing_rights
from clonedb.check.describe import Description, Refused, TreeReader, describe_all
from clonedb.check.examine import declared
from clonedb.check.examined import LOGINS
from clonedb.query.modules import all_queries
from clonedb.query.statements import Query, Statement


@dataclass(frozen=True, slots=True)
class Seen:
    """A statement on one schema: why it is refused, or what it takes, gives, and lacks."""

    refused: str | None
    takes: tuple[str, ...] = ()
    gives: tuple[tuple[str, str], ...] = ()
    lacks: Mapping[str, frozenset[str]] | None = None
    leaves_out: frozenset[str] = frozenset()

    def trouble(self, home: Seen) -> str | None:
        """What is wrong here with a statement that is as `home` at home; None if nothing is."""
        if self.refused is not None or home.refused is not None:
            return self.refused
        if self.takes != home.takes:
            return f"takes {_difference(home.takes, self.takes)}"
        if self.gives != home.gives:
            mine = [f"{name} {kind}" for name, kind in self.gives]
            return f"gives {_difference([f'{name} {kind}' for name, kind in home.gives], mine)}"
        if out := self.leaves_out - home.leaves_out:
            return f"gives no value to {', '.join(sorted(out))}, which must have one"
        for role, lacking in (self.lacks or {}).items():
            known = (home.lacks or {}).get(role, frozenset())
            if not known and lacking:
                return f"{role} lacks {'; '.join(sorted(lacking))}"
        return None


Look = dict[str, Seen]


class Release:
    """The statements of one release by their text, each with its query."""

    def __init__(self, modules: SimpleNamespace) -> None:
        self.queries: dict[str, Query] = {}
        self.statements: dict[str, Statement] = {}
        # One tree a query is enough for its rights and columns.
        self.whole: set[str] = set()
        for query in all_queries(modules):
            statements = [statement for _, _, statement in declared(query)]
            if query.full in set(query.variants()):
                statements.append(query.full)
            self.whole.add(statements[-1].text if query.full in statements else statements[0].text)
            for statement in statements:
                self.statements[statement.text] = statement
                self.queries[statement.text] = query


def look(connection: psycopg.Connection[Any], trees: TreeReader, *releases: Release) -> Look:
    """Every statement of some releases on the schema that the connections see."""
    catalogue = Catalogue(connection)
    statements = {text: each for release in releases for text, each in release.statements.items()}
    whole = {text for release in releases for text in release.whole}
    found: Look = {}
    for statement, answer in describe_all(connection, statements.values()):
        if isinstance(answer, Refused):
            found[statement.text] = Seen(answer.message)
            continue
        tree = trees.tree(statement.text) if statement.text in whole else None
        used = dependencies(tree) if tree is not None else Dependencies()
        found[statement.text] = _seen(catalogue, answer, used)
    return found


def _seen(catalogue: Catalogue, answer: Description, used: Dependencies) -> Seen:
    return Seen(
        None,
        tuple(map(catalogue.type_name, answer.parameters)),
        tuple((column.name, catalogue.type_name(column.type)) for column in answer.columns),
        {role: frozenset(missing_rights(catalogue, role, used)) for role in LOGINS},
        frozenset(
            f"{relation.shown}.{column.name}"
            for oid, use in used.tables.items()
            if "INSERT" in use.rights
            for relation in (catalogue.relations[oid],)
            for number, column in relation.columns.items()
            if column.is_demanded and number not in use.inserted
        ),
    )


def _difference(wanted: Iterable[str], found: Iterable[str]) -> str:
    """The first thing that differs, in words."""
    before, now = list(wanted), list(found)
    for old, new in zip(before, now, strict=False):
        if old != new:
            return f"{new}, and took it for {old}"
    if len(now) > len(before):
        return f"{now[len(before)]} besides"
    return f"no {before[len(now)]} any more"
