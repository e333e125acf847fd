"""The locks that the ledger says a query takes, beside those that PostgreSQL gives it."""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg.pq import TransactionStatus

from clonedb.check.catalogue import Catalogue
from clonedb.check.dependencies import dependencies
from clonedb.check.describe import Description, TreeReader, describe_all
from clonedb.check.migrations.locks import MODES, keeps_waiting, mode_of, strength
from clonedb.check.migrations.query_locks import lock_lines, read_locks
from clonedb.check.migrations.taken import LocksTaken
from clonedb.check.scratch import Scratch
from clonedb.check.two_people import SECOND, TwoPeople
from clonedb.queries import modules
from clonedb.query.modules import all_queries

# Past the tables of each statement's own: the people's rows that the check compares are read later.
_HELD = b"""
SELECT l.relation::bigint, l.mode
FROM pg_locks AS l
INNER JOIN pg_class AS c ON c.oid = l.relation
WHERE l.pid = pg_backend_pid()
    AND c.relnamespace = 'clonedb'::regnamespace
    AND c.relkind IN ('r', 'p')
"""


class Watched:
    """A connection that looks, once in each transaction, which locks a statement has left."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self.connection = connection
        self.held: list[tuple[int, str]] = []
        self._looked = True

    def execute(self, query: Any, *parameters: Any) -> Any:
        ending = query in (b"RESET SESSION AUTHORIZATION", b"ROLLBACK")
        status = self.connection.info.transaction_status
        if ending and not self._looked and status == TransactionStatus.INTRANS:
            self._looked = True
            self.held = self.connection.execute(_HELD).fetchall()
        elif not isinstance(query, bytes) or ending:
            self._looked = ending or status != TransactionStatus.IDLE
        return self.connection.execute(query, *parameters)


def test_no_query_takes_a_lock_that_the_ledger_does_not_say(scratch: Scratch) -> None:
    with (
        scratch.connect() as describing,
        scratch.connect() as reading,
        scratch.connect() as running,
    ):
        catalogue = Catalogue(describing)
        trees, taken = TreeReader(reading), LocksTaken(describing, catalogue)
        watched = Watched(running)
        people = TwoPeople(watched, catalogue)  # type: ignore[arg-type]
        queries = list(all_queries(modules))
        statements = [
            query.full if query.full in set(query.variants()) else query.variant()
            for query in queries
        ]
        seen: dict[str, set[str]] = {}
        unsaid: list[tuple[str, str, str]] = []
        for statement, answer in dict(describe_all(describing, statements)).items():
            assert isinstance(answer, Description), statement.name
            # A hundred months of turns take seconds; those of the audit log go the same way.
            tree = trees.tree(statement.text)
            if tree is None or statement.name.startswith("partitions.create_turn"):
                continue
            used = dependencies(tree)
            said = taken.by(used)
            watched.held = []
            kinds = dict(zip(statement.parameters, answer.parameters, strict=True))
            people.meet(
                statement,
                kinds,
                used,
                asked_for=SECOND,
                role="clonedb_app" if "user_id" in statement.parameters else "clonedb_worker",
                context=SECOND,
            )
            for oid, name in watched.held:
                table, mode = catalogue.whole(oid), mode_of(name)
                if table is None:  # made by the statement itself
                    continue
                seen.setdefault(mode, set()).add(statement.name)
                if table.name not in said or strength(mode) > strength(said[table.name]):
                    unsaid.append((statement.name, table.name, mode))
    assert unsaid == []
    # It was looked at all: most queries have done something.
    assert seen.keys() >= set(MODES[:3])
    assert len(set().union(*seen.values())) > len(queries) // 2


def test_a_text_gives_back_the_locks_it_was_written_from() -> None:
    locks = {"users": "ROW EXCLUSIVE", "audit_logs": "ROW EXCLUSIVE", "face_models": "ACCESS SHARE"}
    text = "\n".join(["a.b", *lock_lines(locks), "", "plan", "    Result"])
    assert read_locks(text) == locks
    assert read_locks("a.b\n\nplan\n    locks  users\n") == {}
    assert list(lock_lines({})) == []


def test_which_locks_keep_which_waiting(scratch: Scratch) -> None:
    """Asked of PostgreSQL: each pair of modes on one table."""
    with scratch.connect() as one, scratch.connect() as other:
        for held in MODES:
            for wanted in MODES:
                one.execute("BEGIN")
                other.execute("BEGIN")
                table = "LOCK TABLE clonedb.session_transitions IN {} MODE NOWAIT"
                one.execute(table.format(held).encode())
                try:
                    other.execute(table.format(wanted).encode())
                    waits = False
                except psycopg.errors.LockNotAvailable:
                    waits = True
                one.execute("ROLLBACK")
                other.execute("ROLLBACK")
                assert waits is keeps_waiting(held, wanted), (held, wanted)
