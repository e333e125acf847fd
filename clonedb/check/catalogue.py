"""What the scratch database's catalogue says: relations, columns, indexes, types, functions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import psycopg
from psycopg.rows import namedtuple_row

from clonedb.check.tree import read_tree
from clonedb.resources import sql_directory

OWN_SCHEMAS: Final = ("clonedb", "public")


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a relation; `never_null` is what its NOT NULL promises of every stored row.

    `is_demanded`: an INSERT that leaves it out is refused, since it has no default.
    """

    number: int
    name: str
    type: int
    modifier: int
    never_null: bool
    is_demanded: bool


@dataclass(frozen=True, slots=True)
class Relation:
    """A table, view or composite type. `parent` is the table that a partition belongs to."""

    oid: int
    schema: str
    name: str
    kind: str
    is_partition: bool
    has_policies: bool
    has_triggers: bool
    parent: int | None
    columns: dict[int, Column] = field(default_factory=dict)

    def numbered(self, name: str) -> int | None:
        """The number of the column of that name."""
        return next((each.number for each in self.columns.values() if each.name == name), None)

    @property
    def shown(self) -> str:
        """As statements name it; the schema clonedb goes without saying."""
        return (
            self.name if self.schema in ("clonedb", "pg_catalog") else f"{self.schema}.{self.name}"
        )

    @property
    def user_key(self) -> str | None:
        """The column that says whose a row is, None for a table that belongs to no user."""
        if self.schema != "clonedb" or not self.has_policies:
            return None
        if self.name == "users":
            return "id"
        names = {each.name for each in self.columns.values()}
        return next((name for name in ("user_id", "subject_ref") if name in names), None)


@dataclass(frozen=True, slots=True)
class Index:
    """An index; `columns` are those of its key, 0 for an expression."""

    oid: int
    name: str
    table: int
    is_unique: bool
    predicate: str | None
    columns: tuple[int, ...]
    parent: int | None


@dataclass(frozen=True, slots=True)
class Type:
    """A type; `element` is what an array holds, `base` what a domain is made of, else 0."""

    oid: int
    name: str
    kind: str
    category: str
    element: int
    base: int


@dataclass(frozen=True, slots=True)
class Function:
    """A function, and whose rights it runs with."""

    oid: int
    schema: str
    name: str
    arguments: str
    is_strict: bool
    as_owner: bool
    owner: str
    leakproof: bool
    is_volatile: bool

    @property
    def shown(self) -> str:
        """As statements name it."""
        return self.name if self.schema == "pg_catalog" else f"{self.schema}.{self.name}"


@dataclass(frozen=True, slots=True)
class Operator:
    """An operator and the types that it takes."""

    name: str
    schema: str
    left: int
    right: int


class Catalogue:
    """The catalogue, read once."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self.relations: dict[int, Relation] = {}
        for row in _rows(connection, "columns"):
            relation = self.relations.setdefault(
                row.relation,
                Relation(
                    row.relation,
                    row.schema,
                    row.name,
                    row.kind,
                    row.is_partition,
                    row.has_policies,
                    row.has_triggers,
                    row.parent,
                ),
            )
            relation.columns[row.number] = Column(
                row.number,
                row.column_name,
                row.type,
                row.modifier,
                row.never_null,
                row.is_demanded,
            )
        # Of a table, or of any of its partitions.
        self.triggered = {
            (self.whole(each.oid) or each).oid
            for each in self.relations.values()
            if each.has_triggers
        }
        self.generated = {
            (row.relation, row.number): read_tree(row.expression)
            for row in _rows(connection, "generated_columns")
        }
        self.indexes = {
            row.relation: Index(
                row.relation,
                row.name,
                row.table_oid,
                row.is_unique,
                row.predicate,
                tuple(row.columns[: row.key_columns]),
                row.parent,
            )
            for row in _rows(connection, "indexes")
        }
        self.types = {row.type: Type(*row) for row in _rows(connection, "types")}
        self.functions = {row.function: Function(*row) for row in _rows(connection, "functions")}
        self.operators = {
            row.operator: Operator(row.name, row.schema, row.left_type, row.right_type)
            for row in _rows(connection, "operators")
        }
        self.rights: dict[str, set[tuple[int, int, str]]] = {}
        for row in _rows(connection, "rights"):
            self.rights.setdefault(row.role, set()).add((row.relation, row.number, row.privilege))

    def type_name(self, oid: int) -> str:
        """As SQL names it."""
        return self.types[oid].name if oid in self.types else f"type {oid}"

    def base_type(self, oid: int) -> int:
        """What a domain is made of, through domains of domains; another type itself."""
        while oid in self.types and self.types[oid].kind == "d":
            oid = self.types[oid].base
        return oid

    def table(self, name: str) -> Relation | None:
        """The table or view of schema clonedb by name."""
        for relation in self.relations.values():
            if relation.schema == "clonedb" and relation.name == name:
                return relation
        return None

    def whole(self, oid: int) -> Relation | None:
        """The relation, or for a partition the table that it is a part of."""
        relation = self.relations.get(oid)
        while relation is not None and relation.is_partition and relation.parent is not None:
            relation = self.relations.get(relation.parent)
        return relation

    def unique_keys(self, oid: int) -> Iterator[tuple[int, ...]]:
        """The columns of each unique index over all rows of a table, which are never null."""
        relation = self.relations[oid]
        for index in self.indexes.values():
            whole = index.is_unique and index.predicate is None and 0 not in index.columns
            if (
                whole
                and index.table == oid
                and all(relation.columns[number].never_null for number in index.columns)
            ):
                yield index.columns


def read_query(name: str) -> bytes:
    """A statement of sql/check/."""
    return (sql_directory() / "check" / f"{name}.sql").read_bytes()


def _rows(connection: psycopg.Connection[Any], name: str) -> list[Any]:
    with connection.cursor(row_factory=namedtuple_row) as cursor:
        return cursor.execute(read_query(name)).fetchall()
