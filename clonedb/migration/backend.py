"""yoyo's PostgreSQL backend, hardened for deployers that run at once and may be killed.

It keeps yoyo's own tables, so that stock `yoyo apply` works on the same database before and
after. What it adds: one deployer at a time, by an advisory lock that dies with its connection;
a migration and its mark in one transaction; checksums of what was applied; a bounded wait for
table locks.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import psycopg
from psycopg.errors import Diagnostic
from psycopg.pq import TransactionStatus

from clonedb.errors import ClonedbError, MigrationError, MigrationLocked
from clonedb.migration.connection import Parameters, explain
from clonedb.migration.files import MigrationFile, Statement, display
from clonedb.migration.ledger import LedgerBackend
from clonedb.migration.lock import DeployerLock

# Seconds. A migration that waits for a table lock makes every later statement on that table wait
# behind it: 5 s is what a user's request may bear, then the migration steps back and tries again.
LOCK_TIMEOUT: Final = 5.0
LOCK_ATTEMPTS: Final = 5
_FIRST_BACK_OFF: Final = 0.5

# Seconds to wait for another deployer: longer than the migrations of a release usually take.
DEPLOYER_TIMEOUT: Final = 60.0
_FIRST_POLL: Final = 0.05
_LONGEST_POLL: Final = 0.25

_TRY_AGAIN: Final = frozenset(("55P03", "40P01"))  # lock_not_available, deadlock_detected

# `listener(event, detail)`: told of what takes time, and of a migration's warnings.
Listener = Callable[[str, str], None]


class MigrationBackend(LedgerBackend):
    """What applies and rolls back; everything that writes is called under `lock()`.

    `lock_timeout` is in seconds; a migration that did not get its table locks is tried `attempts`
    times altogether.
    """

    def __init__(
        self,
        parameters: Parameters,
        *,
        lock_timeout: float = LOCK_TIMEOUT,
        attempts: int = LOCK_ATTEMPTS,
        listener: Listener = lambda event, detail: None,
    ) -> None:
        self._lock_timeout = lock_timeout
        self._attempts = attempts
        self._listener = listener
        super().__init__(parameters)
        self._deployers = DeployerLock(self.connection)

    def copy(self) -> MigrationBackend:
        return MigrationBackend(
            self._parameters,
            lock_timeout=self._lock_timeout,
            attempts=self._attempts,
            listener=self._listener,
        )

    def notice(self, diagnostic: Diagnostic) -> None:
        super().notice(diagnostic)
        if diagnostic.severity_nonlocalized == "WARNING":
            self._listener("warning", diagnostic.message_primary or "")

    @contextmanager
    def lock(self, timeout: float = DEPLOYER_TIMEOUT) -> Iterator[None]:
        """Keep other deployers out, or raise MigrationLocked, which says who holds the lock."""
        deadline = time.monotonic() + timeout
        pause = _FIRST_POLL
        with self.explained("the migration lock"):
            while (refusal := self._try_lock()) is not None:
                if time.monotonic() >= deadline:
                    raise refusal
                self._listener("waiting", refusal.message)
                time.sleep(pause)
                pause = min(pause * 2, _LONGEST_POLL)
        try:
            yield
        finally:
            if self.alive:
                self._deployers.release()

    def _try_lock(self) -> MigrationLocked | None:
        """None when the lock is ours; otherwise what to raise when patience ends."""
        if not self._deployers.try_take():
            return MigrationLocked(
                f"another deployer holds the migration lock: {self._deployers.holder()}",
                remedy="let it finish, or end that server process with pg_terminate_backend",
            )
        refusal = self._stock_lock() if self.lock_table in self.list_tables() else None
        if refusal is not None:
            self._deployers.release()
        return refusal

    def _stock_lock(self) -> MigrationLocked | None:
        """What to raise if a stock yoyo is at work: it keeps others out by a row of its own."""
        row = self.execute("SELECT pid FROM public.yoyo_lock").fetchone()
        if row is None:
            return None
        return MigrationLocked(
            f"stock yoyo, OS process {row[0]}, holds its lock on this database",
            remedy="let it finish; if that process is gone, `yoyo break-lock` removes its lock",
        )

    def apply_one(self, migration: MigrationFile) -> bool:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Apply and mark; False if it was marked already.

        A transactional file is all there and marked, or nothing of it is. One that is not
        transactional is marked after its last statement.
        """

        def mark() -> None:
            self.mark_one(migration, log=False)
            self.record_checksum(migration)
            self.log_migration(migration, "apply")

        path, statements = migration.path, migration.statements
        return self._run(migration, path, statements, mark, marked_before=False)

    def rollback_one(self, migration: MigrationFile) -> bool:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Roll back and unmark; False if it was not marked."""
        if migration.rollback is None:
            raise MigrationError(
                f"{display(migration.rollback_path)} does not exist",
                remedy="write it, or undo the change by a new migration",
            )

        def unmark() -> None:
            self.unmark_one(migration, log=False)
            self.forget_checksum(migration)
            self.log_migration(migration, "rollback")

        path, statements = migration.rollback_path, migration.rollback
        return self._run(migration, path, statements, unmark, marked_before=True)

    def _run(
        self,
        migration: MigrationFile,
        path: Path,
        statements: tuple[Statement, ...],
        record: Callable[[], None],
        *,
        marked_before: bool,
    ) -> bool:
        try:
            if migration.transactional:
                return self._run_in_transaction(migration, path, statements, record, marked_before)
            with self.explained(display(path)):
                if self.is_marked(migration) is not marked_before:
                    return False
                self._execute_outside_transaction(path, statements)
                with self.transaction():
                    self._record(path, record)
            return True
        finally:
            # Whatever the file set for the session ends with it.
            if self.alive:
                self.init_connection(self.connection)

    def _run_in_transaction(
        self,
        migration: MigrationFile,
        path: Path,
        statements: tuple[Statement, ...],
        record: Callable[[], None],
        marked_before: bool,
    ) -> bool:
        pause = _FIRST_BACK_OFF
        for attempt in range(1, self._attempts + 1):
            try:
                with self.explained(display(path)), self.transaction():
                    self._keep_stock_yoyo_out()
                    if self.is_marked(migration) is not marked_before:
                        return False
                    self._execute_all(path, statements)
                    self._record(path, record)
                    return True
            except MigrationError as error:
                if error.sqlstate not in _TRY_AGAIN:
                    raise
                if attempt == self._attempts:
                    raise _given_up(error, attempt, self._lock_timeout) from error
                self._listener("retrying", error.message)
                time.sleep(pause)
                pause *= 2
        raise AssertionError("the last attempt returns or raises")

    def _keep_stock_yoyo_out(self) -> None:
        milliseconds = round(self._lock_timeout * 1000)
        self.execute("SELECT set_config('lock_timeout', :t, true)", {"t": f"{milliseconds}ms"})
        # Stock yoyo begins by inserting a row here, and so waits until this transaction ends.
        self.execute("LOCK TABLE public.yoyo_lock IN EXCLUSIVE MODE")
        refusal = self._stock_lock()
        if refusal is not None:
            raise refusal

    def _execute_outside_transaction(self, path: Path, statements: tuple[Statement, ...]) -> None:
        # No lock_timeout: CREATE INDEX CONCURRENTLY waits for locks without standing in anybody's
        # way, and giving up leaves an invalid index behind.
        try:
            self._execute_all(path, statements)
            if self.connection.info.transaction_status != TransactionStatus.IDLE:
                raise MigrationError(f"{display(path)}: leaves a transaction open")
        except ClonedbError as error:
            if self.connection.info.transaction_status != TransactionStatus.IDLE:
                self.rollback()
            error.remedy = (
                "what stands before it in the file is done and stays, since the file is not "
                "transactional: let the file begin by removing its own remains, and migrate again"
            )
            raise

    def _execute_all(self, path: Path, statements: tuple[Statement, ...]) -> None:
        for statement in statements:
            try:
                self.connection.execute(statement.text.encode())
            except psycopg.Error as error:
                raise explain(error, f"{display(path)}:{_line(statement, error)}") from error

    def _record(self, path: Path, record: Callable[[], None]) -> None:
        # The file may have changed its role and its path for the rest of the transaction.
        self.connection.execute(
            "RESET SESSION AUTHORIZATION; RESET ROLE; SET LOCAL search_path = public"
        )
        if not self._deployers.is_ours():
            raise MigrationError(
                f"{display(path)}: the migration lock was lost on the way",
                remedy="connect to PostgreSQL itself, not to a pooler in transaction mode, and "
                "release no advisory locks in a migration",
            )
        record()


def _line(statement: Statement, error: psycopg.Error) -> int:
    """The line of the file that the error points at; the statement's first one if at none."""
    position = int(error.diag.statement_position or 1)
    return statement.line + statement.text.count("\n", 0, position - 1)


def _given_up(error: MigrationError, attempts: int, lock_timeout: float) -> MigrationError:
    return MigrationError(
        f"{error.message} (given up after {attempts} attempts of {lock_timeout:g} s)",
        sqlstate=error.sqlstate,
        remedy="a transaction keeps the table: find it in pg_stat_activity (state idle in "
        "transaction, oldest xact_start), let it end, and migrate again",
    )
