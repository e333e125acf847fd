"""Statements run as one of two people: does anything of the other's come back, or change?

Every row of the second person bears their name or an id of theirs. A statement is run, and rolled
back, for the first person with the second one's values in every other parameter: first where no
policy hides a row, so that it is the statement alone that keeps them apart; then as the app, with
the second person's id even in :user_id, so that it is the policies alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import psycopg
from psycopg import sql

from clonedb.check.catalogue import Catalogue, Relation
from clonedb.check.dependencies import Dependencies
from clonedb.query.statements import Statement

# The parameters that say whose rows are asked for.
ASKED_FOR: Final = frozenset({"user_id", "user_ids"})

FIRST: Final = "01900000-0000-7000-8000-00000000000a"
SECOND: Final = "01900000-0000-7000-8000-00000000000b"
SECOND_NAME: Final = "grace_of_the_check"

# Two seconds are longer than any of them needs on two people's rows.
_BEGINNING: Final = sql.SQL(
    "BEGIN; SET LOCAL statement_timeout = '2s'; SET LOCAL lock_timeout = '1s'; "
    "SET LOCAL SESSION AUTHORIZATION {}; SELECT set_config('clonedb.user_id', {}, true)"
)
_BY_TYPE: Final = {
    "boolean": "true",
    "bytea": "\\x00",
    "date": "2100-01-01",
    "inet": "127.0.0.1",
    "interval": "1 day",
    "json": "[]",
    "jsonb": "{}",
    "text": "check",
    "timestamp with time zone": "2100-01-01T00:00:00Z",
    "uuid": SECOND,
}
_LOWEST_UUID: Final = "00000000-0000-7000-8000-000000000000"
_HIGHEST_UUID: Final = "ffffffff-ffff-7fff-bfff-ffffffffffff"


@dataclass(frozen=True, slots=True)
class Meeting:
    """What came of one run: whether the other's rows were shown, or changed."""

    shown: bool
    changed: bool


class TwoPeople:
    """The rows of both, and statements run on them."""

    def __init__(self, connection: psycopg.Connection[Any], catalogue: Catalogue) -> None:
        self._connection = connection
        self._catalogue = catalogue
        self._tables = [
            relation
            for relation in catalogue.relations.values()
            if relation.user_key is not None and not relation.is_partition
        ]
        row = connection.execute(
            b"SELECT subject_ref::text FROM clonedb.users WHERE id = $1", [SECOND]
        ).fetchone()
        self._subject = str(row[0]) if row else ""
        self._rows = {each.oid: self._row(each) for each in self._tables}
        self._ids = sorted(
            {
                str(value)
                for row in self._rows.values()
                for name, value in row.items()
                if value and (name == "id" or name == "user_id" or name == "subject_ref")
            }
        )
        self._marks = {SECOND_NAME, *self._ids, *(each.replace("-", "") for each in self._ids)}
        self._digest = self._digest_of_rows()

    @property
    def absent(self) -> list[Relation]:
        """The users' tables that hold nothing of the second person."""
        return [each for each in self._tables if not self._rows[each.oid]]

    @property
    def present(self) -> bool:
        """Whether the two people are there at all."""
        return bool(self._subject)

    def meet(
        self,
        statement: Statement,
        parameters: Mapping[str, int],
        used: Dependencies,
        *,
        asked_for: str,
        role: str | None,
        context: str,
    ) -> Meeting:
        """Run a statement with the second person's values, and `asked_for` as :user_id(s)."""
        asked = {"user_id": asked_for, "user_ids": f"{{{asked_for}}}"}
        values = [
            asked.get(name) or self._value(name, parameters[name], used)
            for name in statement.parameters
        ]
        connection = self._connection
        acting = sql.Identifier(role) if role is not None else sql.SQL("DEFAULT")
        connection.execute(_BEGINNING.format(acting, sql.Literal(context)))
        try:
            try:
                cursor = connection.execute(statement.text.encode(), values)
                rows: Sequence[Any] = cursor.fetchall() if cursor.description else ()
            except psycopg.Error:
                return Meeting(False, False)
            shown = self._shows(rows, values)
            changed = False
            if statement.access == "write" or self._may_write(used):
                connection.execute(b"RESET SESSION AUTHORIZATION")
                changed = self._digest_of_rows() != self._digest
            return Meeting(shown, changed)
        finally:
            connection.execute(b"ROLLBACK")

    def may_reach(self, used: Dependencies) -> bool:
        """Whether a statement may read people's rows: itself, through a view or in a function."""
        keyed = {each.oid for each in self._tables}
        relations, functions = self._catalogue.relations, self._catalogue.functions
        return any(oid in keyed or relations[oid].kind in ("v", "m") for oid in used.tables) or any(
            functions[oid].schema == "clonedb" for oid in used.functions
        )

    def _may_write(self, used: Dependencies) -> bool:
        functions = (self._catalogue.functions[oid] for oid in used.functions)
        return any(each.schema == "clonedb" and each.is_volatile for each in functions)

    def _shows(self, rows: Sequence[Any], values: Sequence[Any]) -> bool:
        # What was handed in may come back; a mark that was not, is the other's.
        given = repr(values)
        marks = [mark for mark in self._marks if mark not in given]
        printed = repr(rows)
        return any(mark in printed for mark in marks)

    def _value(self, name: str, kind: int, used: Dependencies) -> Any:
        kind_name = self._catalogue.type_name(kind)
        if kind_name in ("json", "jsonb"):
            return _BY_TYPE[kind_name]
        for oid in used.tables:
            row = self._rows.get(oid, {})
            for column in (name, name.removeprefix("after_"), name.removesuffix("s")):
                value = row.get(column)
                if value is not None:
                    return (
                        f'{{"{value}"}}' if kind_name.endswith("[]") and value[0] != "{" else value
                    )
        if kind_name in ("uuid[]", "text[]"):
            return "{" + ",".join(self._ids if kind_name == "uuid[]" else [SECOND_NAME]) + "}"
        if kind_name.endswith("[]"):
            return "{}"
        words = set(name.split("_"))
        if kind_name == "uuid" and words & {"first", "from", "start"}:
            return _LOWEST_UUID
        if kind_name == "uuid" and words & {"end", "to", "before"}:
            return _HIGHEST_UUID
        if kind_name.startswith("timestamp") and words & {"from", "after", "start"}:
            return "2000-01-01T00:00:00Z"
        return _BY_TYPE.get(kind_name, "100")

    def _row(self, relation: Relation) -> dict[str, str | None]:
        """A row of the second person as text, {} where they have none."""
        names = [column.name for column in relation.columns.values()]
        query = sql.SQL("SELECT {} FROM {} WHERE {} = $1 LIMIT 1").format(
            sql.SQL(", ").join(sql.SQL("{}::text").format(sql.Identifier(each)) for each in names),
            sql.Identifier(relation.schema, relation.name),
            sql.Identifier(relation.user_key or ""),
        )
        row = self._connection.execute(query, [self._owner(relation)]).fetchone()
        return dict(zip(names, row, strict=True)) if row is not None else {}

    def _owner(self, relation: Relation) -> str:
        return self._subject if relation.user_key == "subject_ref" else SECOND

    def _digest_of_rows(self) -> Any:
        parts = [
            sql.SQL(
                "SELECT {}, {} || string_agg(t::text, ',' ORDER BY t::text) FROM {} AS t "
                "WHERE {} = {}"
            ).format(
                sql.Literal(number),
                sql.Literal(f"{number}:"),
                sql.Identifier(relation.schema, relation.name),
                sql.Identifier(relation.user_key or ""),
                sql.Literal(self._owner(relation) or SECOND),
            )
            for number, relation in enumerate(self._tables)
        ]
        return self._connection.execute(sql.SQL(" UNION ALL ").join(parts)).fetchall()
