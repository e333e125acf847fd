"""Watching one file of a migration from inside the transaction that runs it.

Locks stay until the transaction ends, so what pg_locks has of the own session before that is all
of them. What the tables were before, what they are behind the last statement, and what the
statistics of the own session counted meanwhile, tells the rest. Only what was there before is
looked at: nobody can wait for a table that nobody sees yet.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import psycopg
from psycopg.rows import namedtuple_row

from clonedb.check.catalogue import read_query
from clonedb.check.migrations.locks import NOTABLE, mode_of, strength
from clonedb.check.migrations.rehearsal import Lock, Part, Work

# A builder of an index with this mode or a stronger one keeps writers waiting.
_BUILDING: Final = strength("SHARE")
MONTHS: Final = "months"


class Observation:
    """What one file does, looked at between its statements; made before the first one."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection
        self._before = self._relations()
        self._validated = {row.key for row in self._rows("constraints")}
        self._locks: dict[int, tuple[str, int]] = {}

    @property
    def tables(self) -> list[int]:
        """The tables that were there before."""
        return [oid for oid, row in self._before.items() if row.kind in ("r", "p")]

    def look(self, line: int, locks: Iterable[tuple[int, str]] | None = None) -> None:
        """Note the locks that the statement of that line has added; this session's by default."""
        for relation, name in self.locks_of(None) if locks is None else locks:
            mode = mode_of(name)
            known = self._locks.get(relation)
            if mode in NOTABLE and (known is None or strength(known[0]) < strength(mode)):
                self._locks[relation] = mode, line

    def locks_of(
        self, process: int | None, connection: psycopg.Connection[Any] | None = None
    ) -> list[tuple[int, str]]:
        """What a session has locked, or waits for, of what was there before."""
        rows = self._rows("locks", [process, list(self._before)], connection)
        return [(row.relation, row.mode) for row in rows]

    def work(self, *, counted: bool = True) -> Work:
        """What was done, when the last statement is; without `counted`, not what became of rows.

        Rows are counted within one transaction only.
        """
        after = self._relations()
        locks = self._folded()
        rewrites: set[str] = set()
        builds: set[Part] = set()
        reads: set[str] = set()
        writes: set[str] = set()
        for oid, row in after.items():
            old = self._before.get(oid)
            known = row.whole in self._before
            if row.kind in ("i", "I"):
                new = known and row.root not in self._before
                heap = self._before.get(row.heap)
                moved = (
                    old is not None
                    and old.file != row.file
                    and heap is not None
                    and after[row.heap].file == heap.file
                )
                if (new or moved) and self._keeps_writers_out(row):
                    builds.add(Part(row.root_name, row.table_name))
                continue
            if old is None:
                continue
            if row.kind in ("r", "m") and row.file != old.file:
                rewrites.add(row.table_name)
            if not counted:
                continue
            if row.kind in ("r", "m") and row.scans > old.scans and row.rows_read > old.rows_read:
                reads.add(row.table_name)
            if row.rows_written > old.rows_written:
                writes.add(row.table_name)
        # With the rows every index of a table is written anew, which goes without saying.
        builds = {each for each in builds if each.of not in rewrites}
        validates = {
            Part(row.name, after[row.relation].table_name)
            for row in self._rows("constraints")
            if row.key not in self._validated
            and row.relation in self._before
            and after[row.relation].table_name in reads
        }
        return Work(
            locks=locks,
            rewrites=tuple(sorted(rewrites)),
            validates=tuple(sorted(validates)),
            builds=tuple(sorted(builds)),
            reads_all=tuple(sorted(reads)),
            writes=tuple(sorted(writes)),
        )

    def _keeps_writers_out(self, index: Any) -> bool:
        held = [self._locks.get(oid) for oid in (index.whole, index.heap)]
        return any(each is not None and strength(each[0]) >= _BUILDING for each in held)

    def _folded(self) -> tuple[Lock, ...]:
        """One lock for a table; for its months, then for an index, where that is a stronger one."""
        strongest: dict[tuple[int, int, str], Lock] = {}
        for oid, (mode, line) in self._locks.items():
            row = self._before[oid]
            if row.kind in ("i", "I"):
                key, lock = (
                    (row.whole, 2, row.root_name),
                    Lock(row.root_name, row.table_name, mode, line),
                )
            elif oid != row.whole:
                key, lock = (row.whole, 1, ""), Lock(MONTHS, row.table_name, mode, line)
            else:
                key, lock = (row.whole, 0, ""), Lock(row.table_name, None, mode, line)
            known = strongest.get(key)
            if known is None or strength(mode) > strength(known.mode):
                strongest[key] = lock
        kept: dict[tuple[int, int, str], Lock] = {}
        for key in sorted(strongest):
            lock = strongest[key]
            wider = [each for other, each in kept.items() if other[0] == key[0] and other < key]
            if all(
                strength(each.mode) < strength(lock.mode)
                for each in wider
                if each.relation in (MONTHS, lock.table)
            ):
                kept[key] = lock
        return tuple(sorted(kept.values(), key=lambda lock: (lock.table, lock.of or "", lock)))

    def _relations(self) -> Mapping[int, Any]:
        return {row.relation: row for row in self._rows("relations")}

    def _rows(
        self,
        name: str,
        parameters: list[Any] | None = None,
        connection: psycopg.Connection[Any] | None = None,
    ) -> list[Any]:
        with psycopg.RawCursor(
            connection or self._connection, row_factory=namedtuple_row
        ) as cursor:
            return cursor.execute(read_query(f"rehearsal/{name}"), parameters).fetchall()
