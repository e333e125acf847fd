"""The advisory lock that lets one deployer at a time migrate a database."""

from __future__ import annotations

import hashlib
from typing import Any, Final

import psycopg

# Any constant of our own does: advisory locks are numbers, apart for each database.
_KEY: Final = int.from_bytes(hashlib.sha256(b"clonedb migrations").digest()[:8], "big", signed=True)

# pg_locks shows the key in two halves; objsubid 1 is an advisory lock with a key of one number.
_HOLDERS: Final = """
    SELECT l.pid, a.application_name, a.usename, a.client_addr::text
    FROM pg_catalog.pg_locks AS l
    LEFT JOIN pg_catalog.pg_stat_activity AS a ON a.pid = l.pid
    WHERE l.locktype = 'advisory'
        AND l.granted
        AND l.objsubid = 1
        AND (l.classid::bigint << 32) | l.objid::bigint = %(key)s
        AND l.database = (
            SELECT d.oid FROM pg_catalog.pg_database AS d WHERE d.datname = current_database()
        )
"""


class DeployerLock:
    """The lock as one connection sees it.

    It is taken by the very connection that migrates: when a deployer is killed in a long
    statement, the server goes on with the statement for a while, and the lock must not be free
    before. It is only ever tried: a blocking wait is an open snapshot, and CREATE INDEX
    CONCURRENTLY in the other deployer would wait for that.
    """

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection

    def try_take(self) -> bool:
        row = self._execute("SELECT pg_try_advisory_lock(%(key)s)").fetchone()
        return row is not None and bool(row[0])

    def release(self) -> None:
        self._execute("SELECT pg_advisory_unlock(%(key)s)")

    def is_ours(self) -> bool:
        """False if a migration released it, or a pooler moved us to another server connection."""
        row = self._execute(f"{_HOLDERS} AND l.pid = pg_backend_pid()").fetchone()
        return row is not None

    def holder(self) -> str:
        """Who holds it, for a message."""
        row = self._execute(_HOLDERS).fetchone()
        if row is None:
            return "it has just been released"
        pid, application, user, address = row
        # Another role's application name is hidden from a login without pg_read_all_stats.
        return (
            f"server process {pid} of {user or 'an unknown user'}, "
            f"application {application or '(hidden from this login)'}, "
            f"from {address or 'a local socket'}"
        )

    def _execute(self, statement: str) -> psycopg.Cursor[Any]:
        return self._connection.execute(statement.encode(), {"key": _KEY})
