"""What a database remembers of its migrations: yoyo's own tables, and a checksum of each file."""

from __future__ import annotations

import getpass
import logging
import socket
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

import psycopg
from psycopg.errors import Diagnostic
from psycopg.pq import TransactionStatus
from yoyo import internalmigrations
from yoyo.backends.core.postgresql import PostgresqlPsycopgBackend
from yoyo.migrations import default_migration_table

from clonedb.migration.connection import Parameters, connect, explain
from clonedb.migration.files import MigrationFile

_PLACE: Final = "the bookkeeping tables in schema public"

_logger = logging.getLogger("clonedb.migrate")


class Applied(NamedTuple):
    """A migration that the database says is applied; `checksum` is None where stock yoyo did it."""

    id: str
    applied_at: datetime
    checksum: str | None


class LedgerBackend(PostgresqlPsycopgBackend):  # type: ignore[misc]
    """yoyo's backend on one connection, a context manager that closes it.

    It reads and writes the tables that stock yoyo does, in schema public, without its two failing
    statements for each command and without needing an entry for the OS user.
    """

    checksum_table = "clonedb_migration_checksums"
    _internal_schema_updated = False

    def __init__(self, parameters: Parameters) -> None:
        self._parameters = parameters
        super().__init__(None, default_migration_table)

    def connect(self, dburi: None) -> psycopg.Connection[Any]:
        """Connect by libpq's parameters: yoyo's own URL has no place for some of them."""
        connection = connect(self._parameters)
        # A retried file repeats its statements, and a prepared DDL statement gains nothing.
        connection.prepare_threshold = None
        connection.add_notice_handler(self.notice)
        return connection

    def notice(self, diagnostic: Diagnostic) -> None:
        """What a migration says through RAISE, or PostgreSQL by itself."""
        warning = diagnostic.severity_nonlocalized == "WARNING"
        level = logging.WARNING if warning else logging.INFO
        _logger.log(level, "%s: %s", diagnostic.severity, diagnostic.message_primary)

    def init_connection(self, connection: psycopg.Connection[Any]) -> None:
        """What every migration starts from, whatever the login's settings or the last file's."""
        # "$user" is left out of the path: a login named like a schema would have yoyo's tables
        # looked for there. A login's timeouts are meant for requests, not for deployments.
        connection.execute(
            """
            RESET SESSION AUTHORIZATION;
            RESET ROLE;
            RESET ALL;
            SET search_path = public;
            SET lock_timeout = 0;
            SET statement_timeout = 0;
            SET idle_in_transaction_session_timeout = 0
            """
        )

    def commit(self) -> None:
        try:
            super().commit()
        finally:
            # A COMMIT that a deferred constraint refuses has ended the transaction as well.
            self._in_transaction = False

    def rollback(self) -> None:
        self._in_transaction = False
        # Over a lost connection ROLLBACK would fail and hide the error that lost it.
        if self.alive:
            super().rollback()

    @property
    def alive(self) -> bool:
        return bool(self.connection.info.transaction_status != TransactionStatus.UNKNOWN)

    def list_tables(self, **kwargs: Any) -> list[str]:
        # information_schema, which yoyo asks, hides the tables of another deployer's role.
        rows = self.execute(
            "SELECT tablename FROM pg_catalog.pg_tables WHERE schemaname = 'public'"
        ).fetchall()
        return [row[0] for row in rows]

    def prepare(self) -> None:
        """Make the tables that are missing: yoyo's, as yoyo does, and the checksums'."""
        with self.explained(_PLACE):
            self.ensure_internal_schema_updated()
            tables = self.list_tables()
            if self.lock_table not in tables:
                self.execute(self.format_sql(self.create_lock_table_sql))
            if self.checksum_table not in tables:
                # applied_at_utc ties a checksum to one marking: stock yoyo may roll back and
                # apply again without knowing of this table.
                self.execute(
                    """
                    CREATE TABLE public.clonedb_migration_checksums (
                        migration_id varchar(255) PRIMARY KEY,
                        checksum text NOT NULL,
                        applied_at_utc timestamp NOT NULL
                    )
                    """
                )

    def ensure_internal_schema_updated(self) -> None:
        # As yoyo's, but for its lock and its remembering only that it had something to do.
        if not self._internal_schema_updated and internalmigrations.needs_upgrading(self):
            internalmigrations.upgrade(self)
        self._internal_schema_updated = True

    def applied(self) -> list[Applied]:
        """What is marked as applied, oldest first; nothing where yoyo's table does not exist."""
        with self.explained(_PLACE):
            tables = self.list_tables()
            if self.migration_table not in tables:
                return []
            marks = self.execute(
                """
                SELECT migration_id, applied_at_utc
                FROM public._yoyo_migration
                ORDER BY applied_at_utc, migration_id
                """
            ).fetchall()
            checksums: dict[tuple[str, datetime], str] = {}
            if self.checksum_table in tables:
                for name, moment, checksum in self.execute(
                    """
                    SELECT migration_id, applied_at_utc, checksum
                    FROM public.clonedb_migration_checksums
                    """
                ):
                    checksums[name, moment] = checksum
        return [
            Applied(name, moment.replace(tzinfo=UTC), checksums.get((name, moment)))
            for name, moment in marks
        ]

    def record_checksum(self, migration: MigrationFile) -> None:
        """Remember what a marked migration looked like when it was applied, or first seen."""
        self.execute(
            """
            INSERT INTO public.clonedb_migration_checksums (migration_id, checksum, applied_at_utc)
            SELECT migration_id, :checksum, applied_at_utc
            FROM public._yoyo_migration
            WHERE migration_hash = :hash
            ON CONFLICT (migration_id) DO UPDATE
            SET checksum = excluded.checksum, applied_at_utc = excluded.applied_at_utc
            """,
            {"checksum": migration.checksum, "hash": migration.hash},
        )

    def forget_checksum(self, migration: MigrationFile) -> None:
        self.execute(
            "DELETE FROM public.clonedb_migration_checksums WHERE migration_id = :id",
            {"id": migration.id},
        )

    def is_marked(self, migration: MigrationFile) -> bool:
        return migration.hash in self.get_applied_migration_hashes()

    def share(self) -> None:
        """Let every member of clonedb_owner migrate from now on, and clonedb_backup read.

        The first deployer, an administrator perhaps, made the tables before those roles existed.
        """
        tables = [
            self.migration_table,
            self.log_table,
            self.version_table,
            self.lock_table,
            self.checksum_table,
        ]
        with self.explained(_PLACE):
            grants = self.execute(
                """
                SELECT concat(
                    'GRANT ', n.privilege, ' ON ', c.oid::regclass, ' TO ', quote_ident(r.rolname)
                )
                FROM pg_catalog.pg_class AS c
                CROSS JOIN (
                    VALUES
                    ('clonedb_owner', 'SELECT'),
                    ('clonedb_owner', 'INSERT'),
                    ('clonedb_owner', 'UPDATE'),
                    ('clonedb_owner', 'DELETE'),
                    ('clonedb_backup', 'SELECT')
                ) AS n (role, privilege)
                INNER JOIN pg_catalog.pg_roles AS r ON r.rolname = n.role
                WHERE c.relnamespace = 'public'::regnamespace
                    AND c.relname = ANY(:tables)
                    AND pg_has_role(c.relowner, 'USAGE')
                    AND NOT has_table_privilege(r.oid, c.oid, n.privilege)
                """,
                {"tables": tables},
            ).fetchall()
            for (grant,) in grants:
                self.execute(grant)

    def get_log_data(
        self, migration: MigrationFile | None = None, operation: str = "apply"
    ) -> dict[str, Any]:
        """A row of yoyo's log, as yoyo writes it."""
        try:
            username = getpass.getuser()
        except (ImportError, KeyError, OSError):
            # A container's uid need not have an entry in /etc/passwd.
            username = "unknown"
        return {
            "id": str(uuid.uuid4()),
            "migration_id": migration.id if migration else None,
            "migration_hash": migration.hash if migration else None,
            "username": username[:255],
            # Not getfqdn(), as yoyo does: it may wait for a name server.
            "hostname": socket.gethostname()[:255],
            "created_at_utc": datetime.now(UTC).replace(tzinfo=None),
            "operation": operation,
        }

    @contextmanager
    def explained(self, place: str) -> Iterator[None]:
        try:
            yield
        except psycopg.Error as error:
            raise explain(error, place) from error
