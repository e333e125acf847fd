"""The backend that `clonedb migrate` runs, watched: what it applies and rolls back is observed."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import psycopg
from psycopg import sql
from psycopg.pq import TransactionStatus

from clonedb.check.migrations.observation import Observation
from clonedb.check.migrations.rehearsal import Work, together
from clonedb.errors import MigrationError
from clonedb.migration.backend import MigrationBackend
from clonedb.migration.connection import connect
from clonedb.migration.files import Statement, first_line
from clonedb.settings import parse_dsn

_ACTIVE_SQL_TRANSACTION: Final = "25001"
_LOOK_SECONDS: Final = 0.005


class ObservedBackend(MigrationBackend):
    """As its parent, and `work` is what the last file did.

    A statement of a file that is not transactional is run in a transaction of its own where it can
    be, which is the same and can be looked into. The others, such as CREATE INDEX CONCURRENTLY,
    meet a `gate`: another session holds SHARE UPDATE EXCLUSIVE on every table, so that the first
    lock that has to be claimed is waited for, seen, and then let through.
    """

    def __init__(self, dsn: str, gate: str) -> None:
        super().__init__(parse_dsn(dsn), attempts=1)
        self._gate = gate
        self.work = Work()

    def _execute_all(self, path: Path, statements: tuple[Statement, ...]) -> None:
        if self.connection.info.transaction_status == TransactionStatus.IDLE:
            self.work = together([self._execute_alone(path, each) for each in statements])
            return
        observation = Observation(self.connection)
        for statement in statements:
            super()._execute_all(path, (statement,))
            observation.look(first_line(statement))
        self.work = observation.work()

    def _execute_alone(self, path: Path, statement: Statement) -> Work:
        line = first_line(statement)
        try:
            with self.transaction():
                observation = Observation(self.connection)
                super()._execute_all(path, (statement,))
                observation.look(line)
                return observation.work()
        except MigrationError as error:
            if error.sqlstate != _ACTIVE_SQL_TRANSACTION:
                raise
        observation = Observation(self.connection)
        with self._gate_before(observation, line):
            super()._execute_all(path, (statement,))
        # By now the session may have told its counts to the statistics, and begun again.
        return observation.work(counted=False)

    @contextmanager
    def _gate_before(self, observation: Observation, line: int) -> Iterator[None]:
        process = self.connection.info.backend_pid
        ended = threading.Event()
        seen: list[tuple[int, str]] = []
        with connect(parse_dsn(self._gate)) as closed, connect(parse_dsn(self._gate)) as looking:
            closed.execute("BEGIN")
            for table in _names(closed, observation.tables):
                closed.execute(
                    sql.SQL("LOCK TABLE ONLY {} IN SHARE UPDATE EXCLUSIVE MODE").format(table)
                )

            def watch() -> None:
                while not ended.wait(_LOOK_SECONDS):
                    if looking.execute(
                        "SELECT cardinality(pg_blocking_pids(%s)) > 0", [process]
                    ).fetchone() == (True,):
                        seen.extend(observation.locks_of(process, looking))
                        break
                closed.execute("ROLLBACK")

            watcher = threading.Thread(target=watch)
            watcher.start()
            try:
                yield
            finally:
                ended.set()
                watcher.join()
        observation.look(line, seen)


def _names(connection: psycopg.Connection[Any], tables: list[int]) -> list[sql.Identifier]:
    rows = connection.execute(
        "SELECT n.nspname, c.relname FROM pg_catalog.pg_class AS c "
        "INNER JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace "
        "WHERE c.oid = ANY(%s::bigint[]::oid[])",
        [tables],
    )
    return [sql.Identifier(*row) for row in rows]
