"""A PostgreSQL server for development, tests and demonstrations, without an installation.

The server listens on a Unix socket only, in a folder that nobody but its owner (and root) can
enter; that folder is the whole protection, and `pg_hba.conf` trusts whoever reaches it. Linux is
what it is tested on; macOS should work; Windows has neither the sockets nor the locks.

Who uses a server is written in locks, which the kernel gives up for a killed process:
`start.lock` is held while a process starts or stops the server, `users.lock` is shared by all who
use it, and whoever can have it alone is the last one and stops the server.
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

import psycopg
from psycopg import sql

from clonedb.errors import EmbeddedError
from clonedb.postgres.binaries import find_binaries
from clonedb.postgres.cluster import Cluster
from clonedb.postgres.filelocks import FileLock
from clonedb.resources import sql_directory

# Longer than a start that replays the log, plus a stop that has to be forced.
_LOCK_SECONDS = 120


def default_data_directory() -> Path:
    """$XDG_DATA_HOME/clonedb, or ~/.local/share/clonedb; /var/lib/clonedb for root.

    Root's home is closed to the account that the server has to run under, so it is not used.
    """
    if os.geteuid() == 0:
        return Path("/var/lib/clonedb")
    return Path(os.environ.get("XDG_DATA_HOME") or "~/.local/share").expanduser() / "clonedb"


class EmbeddedServer:
    """One process's use of a server on a data directory; a context manager.

    Entering (or `start`) starts the server, or joins it where another process has; leaving (or
    `stop`, or the interpreter's end) stops it if nobody else uses it. A killed process counts as
    gone. The data directory must be missing, empty or one of these; it is closed to others.
    `durable=False` gives up surviving a crash of the machine, for tests.
    """

    def __init__(
        self,
        data_directory: Path | None = None,
        *,
        binaries: Path | None = None,
        durable: bool = True,
    ) -> None:
        self.data_directory = Path(data_directory or default_data_directory())
        self.data_directory = self.data_directory.expanduser().resolve()
        self._binaries = binaries
        self._durable = durable
        self._cluster: Cluster | None = None
        self._usage: FileLock | None = None
        self._version = (0, 0)
        self._process = 0

    def start(self) -> Self:
        """Start or join the server, with its roles and the database `clonedb`, not migrated.

        Does nothing if this object has started it already. EmbeddedError otherwise says why not.
        """
        if self._cluster is not None:
            return self
        try:
            cluster = _claim(self.data_directory)
            with self._starting():
                self._join(cluster)
        except OSError as error:
            raise self._unusable(error) from error
        self._process = os.getpid()
        atexit.register(self.stop)
        return self

    def stop(self) -> None:
        """Stop using the server, and shut it down if nobody else uses it; twice does nothing."""
        atexit.unregister(self.stop)
        cluster, usage = self._cluster, self._usage
        self._cluster = self._usage = None
        if cluster is None or usage is None:
            return
        if self._process != os.getpid():
            usage.close()  # a fork's copy: the use is the parent's to end
            return
        try:
            with self._starting():
                if usage.try_exclusive():
                    cluster.stop()
        except OSError as error:
            raise self._unusable(error) from error
        finally:
            usage.release()

    def dsn(self, role: str = "clonedb_app", database: str = "clonedb") -> str:
        """The connection string of a role, for psycopg and everything else on libpq."""
        return self._running().conninfo(role, database)

    @property
    def version(self) -> tuple[int, int]:
        """The running server's version, such as (18, 4)."""
        self._running()
        return self._version

    @property
    def binaries(self) -> Path:
        """The folder of PostgreSQL's programs, such as pg_dump."""
        return find_binaries(self._binaries, major=self.version[0]).directory

    def create_database(self, name: str, template: str | None = None) -> None:
        """Make a database owned by clonedb_owner, a copy of `template` where one is given.

        Nobody may be connected to the template.
        """
        with self._running().connect() as connection:
            connection.execute(_create_database(name, template or "template1"))

    def drop_database(self, name: str) -> None:
        """Drop a database and whoever is connected to it; one that is missing is no error."""
        statement = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
        with self._running().connect() as connection:
            connection.execute(statement)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def _join(self, cluster: Cluster) -> None:
        usage = FileLock(self.data_directory / "users.lock")
        try:
            usage.try_shared()  # held alone only under start.lock, so this cannot fail
            started = cluster.ensure_running(binaries=self._binaries, durable=self._durable)
            try:
                self._prepare(cluster, started=started)
            except BaseException:
                if usage.try_exclusive():
                    cluster.stop()
                raise
        except BaseException:
            usage.release()
            raise
        self._cluster, self._usage = cluster, usage

    def _prepare(self, cluster: Cluster, *, started: bool) -> None:
        with cluster.connect() as connection:
            number = connection.info.server_version
            self._version = (number // 10_000, number % 10_000)
            (fsync,) = connection.execute("SHOW fsync").fetchone() or ("",)
            if self._durable and fsync == "off":
                raise EmbeddedError(
                    f"the server on {self.data_directory} runs without durability",
                    remedy="ask for durable=False, or stop its other users first",
                )
            found = connection.execute(
                "SELECT 1 FROM pg_catalog.pg_database WHERE datname = 'clonedb'"
            ).fetchone()
            if started or not found:
                self._make_roles(connection)
            if not found:
                connection.execute(_create_database("clonedb", "template1"))

    def _make_roles(self, connection: psycopg.Connection[tuple[object, ...]]) -> None:
        logins = sql_directory() / "setup" / "logins.sql"
        try:
            connection.execute(logins.read_bytes())
        except psycopg.Error as error:
            raise EmbeddedError(f"{logins}: {error}") from error

    @contextmanager
    def _starting(self) -> Iterator[None]:
        with FileLock(self.data_directory / "start.lock") as lock:
            lock.wait_exclusive(timeout=_LOCK_SECONDS, holder="another process")
            yield

    def _unusable(self, error: OSError) -> EmbeddedError:
        return EmbeddedError(
            f"cannot use {self.data_directory}: {error}", remedy="choose another data directory"
        )

    def _running(self) -> Cluster:
        if self._cluster is None:
            raise EmbeddedError("the embedded server is not started", remedy="call start()")
        return self._cluster


def _create_database(name: str, template: str) -> sql.Composed:
    return sql.SQL("CREATE DATABASE {} OWNER clonedb_owner TEMPLATE {}").format(
        sql.Identifier(name), sql.Identifier(template)
    )


def _claim(directory: Path) -> Cluster:
    """Make the folder ours, or recognise it as such; refuse any other.

    For root the folder itself stays root's, and its group may pass through it: the server's
    account can reach what it owns below, and cannot replace what root opens.
    """
    missing = [each for each in (directory, *directory.parents) if not each.exists()]
    content = () if missing else tuple(directory.iterdir())
    if content and not (directory / "start.lock").exists():
        raise EmbeddedError(
            f"{directory} is not empty, and was not made by clonedb",
            remedy="choose a folder that is empty or does not exist",
        )
    for each in reversed(missing):
        each.mkdir(0o700, exist_ok=True)
    cluster = Cluster(directory)
    if not content:
        for each in missing or [directory]:
            if each.stat().st_uid == 0 and not cluster.account.is_ours:
                cluster.account.give(each, group_only=True)
                each.chmod(0o710)
            else:
                each.chmod(0o700)
    closed = None if cluster.account.is_ours else cluster.account.first_closed([directory])
    if closed is not None:
        raise EmbeddedError(
            f"{closed} is closed to {cluster.account.name}, whom the server has to run as",
            remedy="choose a data directory outside of it, such as one in /var/lib or /tmp, or "
            "none for /var/lib/clonedb",
        )
    return cluster
