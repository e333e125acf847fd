"""Everything the scratch server says about every query: the material of ledger and refusals.

Every variant is prepared. Trees and plans are asked for of a few that are declared here: the plain
statement (no filter, no flag, the default order), each order, each order's next page, each filter
alone and each flag alone; and the tree of the full statement, with every line, which stands for the
combinations.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from typing import Any

import psycopg

from clonedb.check.catalogue import Catalogue
from clonedb.check.declarations import DeclaredSizes, read_declared
from clonedb.check.dependencies import Dependencies, dependencies, missing_rights
from clonedb.check.describe import (
    Description,
    Refused,
    ResultColumn,
    TreeReader,
    describe_all,
)
from clonedb.check.examined import LOGINS, NOBODY, ROLES, Column, Examined, Variant
from clonedb.check.migrations.taken import LocksTaken
from clonedb.check.nullability import TreeProof
from clonedb.check.planner_proof import PlannerProof
from clonedb.check.plans import Planner, with_limits
from clonedb.check.reading import limit_parameters
from clonedb.check.scratch import PRODUCTION, Scratch, sizes_file
from clonedb.check.sizes import Sizes
from clonedb.check.two_people import ASKED_FOR, FIRST, SECOND, Meeting, TwoPeople
from clonedb.query.statements import Query, Statement


class Examination:
    """Asks one scratch server about queries."""

    def __init__(self, scratch: Scratch) -> None:
        self._stack = ExitStack()
        self.scratch = scratch
        self._describing = self.connect()
        self.catalogue = Catalogue(self._describing)
        self._trees = TreeReader(self.connect())
        self._locks = LocksTaken(self._describing, self.catalogue)
        self._tree_proof = TreeProof(self.catalogue)
        self._planner_proof = PlannerProof(self.connect())
        sizes = Sizes(read_declared(sizes_file(), DeclaredSizes), self.catalogue)
        self.table_rows = {
            each.name: sizes.rows(each)
            for each in self.catalogue.relations.values()
            if each.schema == "clonedb" and not each.is_partition
        }
        index_rows = {
            index.name: sizes.index_rows(whole, index, sizes.rows(whole))
            for index in self.catalogue.indexes.values()
            if (whole := self.catalogue.whole(index.table)) is not None
            and whole.name in self.table_rows
        }
        self._planners = {
            role: Planner(
                self.connect(database=PRODUCTION),
                self.catalogue,
                None if role == NOBODY else role,
                {**self.table_rows, **index_rows},
            )
            for role in (NOBODY, *LOGINS)
        }
        self.outliner = self._planners[NOBODY]
        self.people = TwoPeople(self.connect(), self.catalogue)

    def connect(self, database: str = "clonedb") -> psycopg.Connection[Any]:
        return self._stack.enter_context(self.scratch.connect(database=database))

    def __enter__(self) -> Examination:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def examine(self, queries: Iterable[Query]) -> Iterator[Examined]:
        """Each query in turn."""
        for query in queries:
            yield self._examine(query)

    def _examine(self, query: Query) -> Examined:
        reachable = dict.fromkeys(query.variants())
        # All lines together may be a statement that no arguments lead to.
        statements = list(dict.fromkeys((*reachable, query.full)))
        described = dict(describe_all(self._describing, statements))
        refused = [
            (statement, answer)
            for statement, answer in described.items()
            if isinstance(answer, Refused) and statement in reachable
        ]
        found = Examined(query, len(reachable), refused, [], None, {}, Dependencies(), {})
        if refused:
            return found
        for labels, flags, statement in declared(query):
            answer = described.get(statement)
            if isinstance(answer, Description):
                found.variants.append(Variant(labels, flags, statement, answer))
        for statement, answer in described.items():
            if isinstance(answer, Description):
                found.parameters.update(zip(statement.parameters, answer.parameters, strict=True))
        self._read_trees(found, described)
        found.missing = {role: missing_rights(self.catalogue, role, found.used) for role in ROLES}
        found.locks = self._locks.by(found.used)
        if any(True for _ in found.trees):
            self._plan(found)
        found.null_is_idle = frozenset(self._idle_parameters(found))
        if self.people.present and self.people.may_reach(found.used):
            self._let_meet(found)
        return found

    def _read_trees(
        self, found: Examined, described: dict[Statement, Description | Refused]
    ) -> None:
        # All lines together may be no statement: several orders are one, the default's, but two
        # flags may exclude each other.
        full = described.get(found.query.full)
        if isinstance(full, Description):
            same = [each for each in found.variants if each.statement is found.query.full]
            found.full = same[0] if same else Variant(["full"], frozenset(), found.query.full, full)
        shapes: dict[tuple[ResultColumn, ...], tuple[Column, ...]] = {}
        for variant in (*found.variants, *([found.full] if found.full else [])):
            only_filters = all(each.startswith("filter") for each in variant.labels)
            stands_apart = only_filters and found.full not in (None, variant)
            if variant.tree is None and not stands_apart:
                variant.tree = self._trees.tree(variant.statement.text)
                if variant.tree is not None:
                    found.used.add(dependencies(variant.tree))
            shape = variant.description.columns
            if shape not in shapes:
                shapes[shape] = self._prove(variant)
            variant.columns = shapes[shape]

    def _prove(self, variant: Variant) -> tuple[Column, ...]:
        shape = variant.description.columns
        if not shape:
            return ()
        tree = variant.tree or self._trees.tree(variant.statement.text)
        never = self._tree_proof.proved(tree) if tree is not None else []
        if len(never) != len(shape):
            never = [False] * len(shape)
        unproved = [number for number, proved in enumerate(never) if not proved]
        if unproved and tree is not None and tree.number("commandType") == 1:
            for number in self._planner_proof.proved(variant.statement.text, len(shape), unproved):
                never[number] = True
        return tuple(
            Column(each.name, each.type, each.table, each.number, proved)
            for each, proved in zip(shape, never, strict=True)
        )

    def _plan(self, found: Examined) -> None:
        limits = {
            statement.parameters[number - 1]
            for variant in found.trees
            for statement in (variant.statement,)
            for number in limit_parameters(variant.tree)
        }
        for variant in found.variants:
            login = found.login_of(variant)
            planned = with_limits(variant.statement, limits)
            for role in (NOBODY, *([login] if login is not None else [])):
                variant.plans[role] = self._planners[role].plan(planned)

    def _let_meet(self, found: Examined) -> None:
        def meet(variant: Variant, asked_for: str, role: str | None, context: str) -> Meeting:
            return self.people.meet(
                variant.statement,
                found.parameters,
                found.used,
                asked_for=asked_for,
                role=role,
                context=context,
            )

        for variant in found.variants:
            if not ASKED_FOR.isdisjoint(variant.statement.parameters):
                found.meetings.append((variant, None, meet(variant, FIRST, None, FIRST)))
            if "clonedb_app" in found.roles:
                meeting = meet(variant, SECOND, "clonedb_app", FIRST)
                found.meetings.append((variant, "clonedb_app", meeting))
            if not found.comparable:
                own = meet(variant, SECOND, found.login_of(variant), SECOND)
                found.comparable = own.shown or own.changed

    def _idle_parameters(self, found: Examined) -> Iterator[str]:
        """The parameters whose NULL lets a statement do nothing: None for them is a mistake."""
        if not found.variants:
            return
        for name, kind in found.parameters.items():
            type_name = self.catalogue.type_name(kind)
            for variant in found.variants:
                if name in variant.statement.parameters:
                    if self._planner_proof.does_nothing(variant.statement, name, type_name):
                        yield name
                    break


def declared(query: Query) -> Iterator[tuple[list[str], frozenset[str], Statement]]:
    """The choices of a query's lines that are looked at, each statement once: labels, flags."""
    choices: list[tuple[str, frozenset[str], Statement]] = [("plain", frozenset(), query.variant())]
    for number, order in enumerate(query.orders):
        if number:
            choices.append((f"order {order}", frozenset(), query.variant(order=order)))
        choices.append((f"after {order}", frozenset(), query.variant(order=order, after=True)))
    choices += [
        (f"filter {name}", frozenset(), query.variant(filters=[name])) for name in query.filters
    ]
    choices += [
        (f"flag {flag}", frozenset([flag]), query.variant(flags=[flag]))
        for flag in sorted(query.flags)
    ]
    known: dict[Statement, tuple[list[str], frozenset[str], Statement]] = {}
    for label, flags, statement in choices:
        if statement in known:
            known[statement][0].append(label)
        else:
            known[statement] = ([label], flags, statement)
    yield from known.values()
