"""The lock that a query takes on each table, its months and indexes included.

From the parse tree: what is read, written, or has its rows locked. From the foreign keys: a row
that refers to another locks it, and a deletion looks for, or takes along, what refers to it. From
the text of the functions that are called, and of the policies that the tables have: whatever table
they name, or all of people where they ask which those are, since no catalogue says what a function
in PL/pgSQL does. That errs on the side of more, most of all for a function that changes tables, as
those that make months do.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final

import psycopg
from psycopg.rows import namedtuple_row

from clonedb.check.catalogue import Catalogue, read_query
from clonedb.check.dependencies import Dependencies, Use
from clonedb.check.migrations.locks import MODES, strength

_WRITE: Final = r"(?P<write>\b(?:INSERT\s+INTO|UPDATE|DELETE\s+FROM|MERGE\s+INTO)\s+(?:ONLY\s+)?)?"
_NAMED: Final = re.compile(rf"{_WRITE}\bclonedb\.(?P<name>\w+)", re.IGNORECASE)
# A name that format() puts together ends as some literal of the same text does.
_COMPOSED: Final = re.compile(rf"{_WRITE}\bclonedb\.%(?:\d+\$)?[Is]", re.IGNORECASE)
# Whatever has rows of people, as the catalogue shows it.
_OF_PEOPLE: Final = "clonedb.person_tables()"
_CHANGES_TABLES: Final = re.compile(
    r"\b(?:(?:ALTER|CREATE|DROP|LOCK)\s+(?:UNLOGGED\s+)?(?:TABLE|INDEX)|TRUNCATE)\b", re.IGNORECASE
)
_LITERAL: Final = re.compile(r"'(\w{3,})'")
_ROW_LOCK: Final = re.compile(
    r"\bFOR\s+(?:NO\s+KEY\s+)?(?:KEY\s+)?(?:UPDATE|SHARE)\b", re.IGNORECASE
)
_READS, _LOCKS_ROWS, _WRITES = "ACCESS SHARE", "ROW SHARE", "ROW EXCLUSIVE"
_STRONGEST: Final = MODES[-1]
_CASCADING: Final = frozenset("cnd")  # CASCADE, SET NULL, SET DEFAULT

Taken = dict[str, str]


class LocksTaken:
    """Knows what the functions, policies and foreign keys of one database add to a statement."""

    def __init__(self, connection: psycopg.Connection[Any], catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._tables = {
            each.name: each.oid for each in catalogue.relations.values() if each.schema == "clonedb"
        }
        self._keys = _rows(connection, "foreign_keys")
        self._bodies: dict[str, list[str]] = {}
        self._policies: dict[int, list[str]] = {}
        for row in _rows(connection, "bodies"):
            if row.relation is None:
                self._bodies.setdefault(row.name, []).append(row.body)
            else:
                self._policies.setdefault(row.relation, []).append(row.body)
        self._of_functions: dict[str, dict[int, str]] = {}
        # The functions that change tables, themselves or through others.
        self._changing: set[str] = set()

    def by(self, used: Dependencies) -> Taken:
        """The strongest mode on each table of schema clonedb that a query touches."""
        found: dict[int, str] = {}
        for oid, use in used.tables.items():
            _add(found, {oid: _mode(use)})
            _add(found, self._by_keys(oid, use))
        for oid in used.functions:
            function = self._catalogue.functions[oid]
            if function.schema == "clonedb":
                _add(found, self._by_function(function.name))
        for oid in list(found):
            for text in self._policies.get(oid, ()):
                _add(found, self._by_text(text))
        return self._named(found)

    def _named(self, found: dict[int, str]) -> Taken:
        taken: Taken = {}
        for oid, mode in found.items():
            table = self._catalogue.whole(oid)
            if table is not None and table.schema == "clonedb":
                known = taken.get(table.name)
                if known is None or strength(known) < strength(mode):
                    taken[table.name] = mode
        return taken

    def _by_keys(self, oid: int, use: Use, known: frozenset[int] = frozenset()) -> dict[int, str]:
        found: dict[int, str] = {}
        inserts, deletes = "INSERT" in use.rights, "DELETE" in use.rights
        for key in self._keys:
            if key.referencing == oid and (inserts or use.updated.intersection(key.columns)):
                _add(found, {key.referenced: _LOCKS_ROWS})
            if key.referenced != oid or oid in known:
                continue
            if not deletes and not use.updated.intersection(key.keys):
                continue
            takes_along = deletes and key.on_delete in _CASCADING
            _add(found, {key.referencing: _WRITES if takes_along else _LOCKS_ROWS})
            if takes_along:
                below = Use(rights={"DELETE"}, updated=set(key.columns))
                _add(found, self._by_keys(key.referencing, below, known | {oid}))
        return found

    def _by_function(self, name: str) -> dict[int, str]:
        if name not in self._of_functions:
            self._of_functions[name] = {}  # for one that calls itself
            found: dict[int, str] = {}
            for body in self._bodies.get(name, ()):
                _add(found, self._by_text(body))
                called = {each["name"] for each in _NAMED.finditer(body)}
                if _CHANGES_TABLES.search(body) or called & self._changing:
                    self._changing.add(name)
            if name in self._changing:
                # Of which tables, and by which commands, its text says too little.
                found = dict.fromkeys(self._with_referenced(found), _STRONGEST)
            self._of_functions[name] = found
        return self._of_functions[name]

    def _with_referenced(self, tables: Iterable[int]) -> set[int]:
        named = set(tables)
        return named | {key.referenced for key in self._keys if key.referencing in named}

    def _by_text(self, text: str) -> dict[int, str]:
        found: dict[int, str] = {}
        reads = _LOCKS_ROWS if _ROW_LOCK.search(text) else _READS
        for named in _NAMED.finditer(text):
            name = named["name"]
            if name in self._tables:
                self._add_named(found, self._tables[name], named["write"], reads)
            else:
                _add(found, self._by_function(name))
        composed = list(_COMPOSED.finditer(text))
        endings = tuple(_LITERAL.findall(text)) if composed else ()
        for name, oid in self._tables.items():
            if name.endswith(endings) or (_OF_PEOPLE in text and self._is_of_people(oid)):
                for each in composed:
                    self._add_named(found, oid, each["write"], reads)
        return found

    def _is_of_people(self, oid: int) -> bool:
        relation = self._catalogue.relations[oid]
        columns = {column.name for column in relation.columns.values()}
        return relation.name == "users" or bool(columns & {"user_id", "subject_ref"})

    def _add_named(self, found: dict[int, str], oid: int, write: str | None, reads: str) -> None:
        _add(found, {oid: _WRITES if write else reads})
        if write:
            _add(found, self._by_keys(oid, self._everything(oid, write)))

    def _everything(self, oid: int, words: str) -> Use:
        """What a command that only its first words are known of may do at most."""
        verb = words.split()[0].upper()
        columns = set(self._catalogue.relations[oid].columns)
        keys = {number for key in self._keys if key.referenced == oid for number in key.keys}
        return Use(
            # No statement of ours changes the keys that others refer to.
            updated=columns - keys if verb in ("UPDATE", "MERGE") else set(),
            rights={verb} if verb != "MERGE" else {"INSERT", "UPDATE", "DELETE"},
        )


def _mode(use: Use) -> str:
    if use.written or use.rights & {"INSERT", "DELETE"}:
        return _WRITES
    return _LOCKS_ROWS if "UPDATE" in use.rights else _READS


def _add(found: dict[int, str], more: dict[int, str]) -> None:
    for oid, mode in more.items():
        known = found.get(oid)
        if known is None or strength(known) < strength(mode):
            found[oid] = mode


def _rows(connection: psycopg.Connection[Any], name: str) -> list[Any]:
    with connection.cursor(row_factory=namedtuple_row) as cursor:
        return cursor.execute(read_query(f"rehearsal/{name}")).fetchall()
