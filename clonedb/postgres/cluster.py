"""A PostgreSQL data directory of our own, and the server process on it.

The folder given by the user holds, all of it closed to others:

    cluster/     PostgreSQL's data directory
    run/         the socket (a folder in /tmp instead where the path would be too long)
    server.log   what initdb and the server say
    server.lock  held by every process of the server, who inherit it: while it is held the server
                 lives, whatever postmaster.pid says
    start.lock, users.lock    see `clonedb.embedded`
    binaries/    a copy of PostgreSQL, only where the original is closed to the server's account
"""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg
from psycopg.conninfo import make_conninfo

from clonedb.errors import EmbeddedError
from clonedb.postgres.accounts import StrPath, account_for
from clonedb.postgres.binaries import find_binaries
from clonedb.postgres.filelocks import FileLock, open_private
from clonedb.postgres.pidfile import PidFile

SUPERUSER = "clonedb_superuser"
# What libpq and the server accept of a socket's path: 107 bytes on Linux, 103 on macOS.
_LONGEST_SOCKET_PATH = 103
_PORT = 5432
_SOCKET_NAME = f".s.PGSQL.{_PORT}"
_INITDB_SECONDS = 120
# Generous, since a start may have to replay the log after a crash.
_START_SECONDS = 60
_STOP_SECONDS = 30
_FORCED_STOP_SECONDS = 10
_POLL_SECONDS = 0.02
_LOG_BYTES_KEPT = 5_000_000
_LOG_LINES_SHOWN = 20

_SETTINGS = {
    "listen_addresses": "",
    "port": str(_PORT),
    "unix_socket_permissions": "0700",
    "max_connections": "200",
}
_SETTINGS_WITHOUT_DURABILITY = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
}


class Cluster:
    """The files and the processes of one server; who uses it is not its concern.

    Every method that changes something expects the caller to hold `start.lock`.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.data = directory / "cluster"
        self.log = directory / "server.log"
        self.account = account_for(self.data, directory)
        self.socket_directory = self._socket_directory()
        self._pid_file = PidFile(self.data)

    def conninfo(self, role: str, database: str) -> str:
        """How libpq reaches a database of the server, through its socket."""
        return make_conninfo(
            host=str(self.socket_directory), port=_PORT, user=role, dbname=database
        )

    def connect(self, database: str = "postgres") -> psycopg.Connection[tuple[Any, ...]]:
        """An autocommitting connection of the superuser."""
        conninfo = self.conninfo(SUPERUSER, database)
        return psycopg.connect(conninfo, autocommit=True, connect_timeout=10)

    def ensure_running(self, *, binaries: Path | None, durable: bool) -> bool:
        """Start the server unless it runs; True if it was started. It answers afterwards."""
        deadline = time.monotonic() + _START_SECONDS
        log_before: int | None = None
        while log_before is None or not self._answers():
            with FileLock(self.directory / "server.lock") as lock:
                if lock.try_exclusive():
                    if log_before is not None:
                        raise self._error("PostgreSQL did not start", log_before)
                    log_before = self._launch(lock.descriptor, binaries, durable=durable)
                elif log_before is None and self._answers():
                    return False
            # Held by another's server: it recovers, or its last processes are leaving.
            if time.monotonic() > deadline:
                raise self._error(f"the server has not answered for {_START_SECONDS} s", 0)
            time.sleep(_POLL_SECONDS)
        return True

    def stop(self) -> None:
        """Disconnect every client, shut down, and return when no process of the server is left."""
        with FileLock(self.directory / "server.lock") as lock:
            # First fast, which writes out what is in memory, then at once, and recovery later.
            if not (
                self._ended_by(signal.SIGINT, lock, timeout=_STOP_SECONDS)
                or self._ended_by(signal.SIGQUIT, lock, timeout=_FORCED_STOP_SECONDS)
            ):
                raise self._error("the server does not stop", 0)
        if self.socket_directory.parent != self.directory:
            with suppress(OSError):
                self.socket_directory.rmdir()

    def _ended_by(self, method: signal.Signals, lock: FileLock, *, timeout: float) -> bool:
        deadline = time.monotonic() + timeout
        told = False
        while not lock.try_exclusive():
            if time.monotonic() > deadline:
                return False
            # Again until it is heard: a server that is just starting has no pid file yet.
            told = told or self._pid_file.signal_server(method)
            time.sleep(_POLL_SECONDS)
        return True

    def _launch(self, lock: int, binaries: Path | None, *, durable: bool) -> int:
        # Where in the log the server's own output begins.
        made_by = self._made_by()
        found = find_binaries(binaries, major=made_by)
        if made_by not in (None, found.version[0]):
            raise EmbeddedError(
                f"{self.data} was made by PostgreSQL {made_by}, and {found.directory} is "
                f"PostgreSQL {found.version[0]}",
                remedy=f"set CLONEDB_PG_BIN to the bin folder of a PostgreSQL {made_by} (and dump "
                "the databases with it to take them along), or choose another data directory",
            )
        usable = found.usable_by(self.account, self.directory / "binaries").directory
        self._trim_log()
        if made_by is None:
            self._initialise(usable / "initdb", lock, durable=durable)
        if (stranger := self._pid_file.running_server()) is not None:
            # It does not hold server.lock, so this library did not start it.
            raise EmbeddedError(
                f"process {stranger} is a server on {self.data} that clonedb did not start",
                remedy="stop it with pg_ctl, or choose another data directory",
            )
        self._pid_file.disarm()
        self._make_socket_directory()
        settings = {**_SETTINGS, "unix_socket_directories": f'"{self.socket_directory}"'}
        if not durable:
            settings |= _SETTINGS_WITHOUT_DURABILITY
        server: list[StrPath] = [usable / "postgres", "-D", self.data]
        for name, value in settings.items():
            server += ["-c", f"{name}={value}"]
        # The shell leaves at once, so that the server belongs to init and not to this process,
        # which others of its users may outlive.
        done, log_before = self._run(["/bin/sh", "-c", '"$@" &', "sh", *server], lock)
        if done.returncode:
            raise self._error("PostgreSQL cannot be started", log_before)
        return log_before

    def _made_by(self) -> int | None:
        try:
            return int((self.data / "PG_VERSION").read_text())
        except FileNotFoundError:
            if not self.data.exists():
                return None
        except ValueError:
            pass
        raise EmbeddedError(
            f"{self.data} has no valid PG_VERSION: it is not a data directory any more",
            remedy=f"restore it from a backup, or remove {self.directory} to start empty",
        )

    def _initialise(self, initdb: Path, lock: int, *, durable: bool) -> None:
        if not self.account.is_registered:
            raise EmbeddedError(
                f"{self.account.name} has no entry in the passwd database, and initdb insists "
                "on one",
                remedy="add one (useradd, or a line in /etc/passwd), or run as a user that has "
                "one: in a container, a number after --user names none. A server on a data "
                "directory that exists already needs none",
            )
        # Beside its place, so that a killed initdb leaves nothing that looks like a cluster.
        unfinished = self.directory / "cluster.unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(0o700)
        self.account.give(unfinished)
        # macOS has no C.UTF-8; with the collation C both sort by code point.
        on_macos = sys.platform == "darwin"
        done, log_before = self._run(
            [
                initdb,
                f"--pgdata={unfinished}",
                f"--username={SUPERUSER}",
                "--encoding=UTF8",
                f"--locale={'en_US.UTF-8' if on_macos else 'C.UTF-8'}",
                f"--lc-collate={'C' if on_macos else 'C.UTF-8'}",
                "--lc-messages=C",
                "--auth-local=trust",
                "--auth-host=reject",
                *(() if durable else ("--no-sync",)),
            ],
            lock,
        )
        if done.returncode:
            raise self._error("initdb failed", log_before)
        unfinished.rename(self.data)

    def _run(
        self, command: list[StrPath], lock: int
    ) -> tuple[subprocess.CompletedProcess[str], int]:
        # Beside the result, where in the log the command's output begins.
        log = open_private(self.log)
        try:
            before = os.fstat(log).st_size
            done = self.account.run(
                command, timeout=_INITDB_SECONDS, output=log, descriptors=(lock,)
            )
        finally:
            os.close(log)
        return done, before

    def _answers(self) -> bool:
        try:
            with self.connect() as connection:
                (served,) = connection.execute("SHOW data_directory").fetchone() or ("",)
        except psycopg.OperationalError:
            return False
        if not self.data.samefile(served):
            raise EmbeddedError(f"{self.socket_directory} is the socket of the server on {served}")
        return True

    def _socket_directory(self) -> Path:
        inside = self.directory / "run"
        # A comma would separate two hosts for libpq, a double quote end the server's setting.
        if len(os.fsencode(inside / _SOCKET_NAME)) <= _LONGEST_SOCKET_PATH and not (
            set(str(inside)) & set(',"')
        ):
            return inside
        digest = hashlib.sha256(os.fsencode(self.directory)).hexdigest()[:16]
        # A fixed place, since every process has to find it; whose it is is checked before use.
        return Path("/tmp", f"clonedb-{self.account.uid}-{digest}")  # noqa: S108

    def _make_socket_directory(self) -> None:
        with suppress(FileExistsError):
            self.socket_directory.mkdir(0o700)
            self.account.give(self.socket_directory)
        status = self.socket_directory.lstat()
        private = stat.S_ISDIR(status.st_mode) and not stat.S_IMODE(status.st_mode) & 0o077
        if not private or status.st_uid != self.account.uid:
            raise EmbeddedError(
                f"{self.socket_directory}, where the socket has to be, is not a private folder "
                f"of {self.account.name}",
                remedy="remove it, or choose a data directory with a shorter path",
            )
        # A killed server leaves its socket, and a lock beside it that trusts a pid too.
        for leftover in (_SOCKET_NAME, f"{_SOCKET_NAME}.lock"):
            (self.socket_directory / leftover).unlink(missing_ok=True)

    def _trim_log(self) -> None:
        with suppress(FileNotFoundError):
            if self.log.stat().st_size > _LOG_BYTES_KEPT:
                self.log.replace(self.log.with_suffix(".log.old"))

    def _error(self, happened: str, seen: int) -> EmbeddedError:
        with suppress(OSError), self.log.open("rb") as file:
            file.seek(seen)
            lines = file.read().decode(errors="replace").splitlines()[-_LOG_LINES_SHOWN:]
            happened += "".join(f"\n    {line}" for line in (f"the end of {self.log}:", *lines))
        return EmbeddedError(f"{self.directory}: {happened}")
