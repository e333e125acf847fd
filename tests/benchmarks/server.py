"""The benchmark's own server: databases to work in, durability, and the CPU that it used."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, LiteralString

import psutil
import psycopg
from psycopg import sql

from clonedb import migrate
from clonedb.embedded import EmbeddedServer
from clonedb.postgres.cluster import SUPERUSER

_TEMPLATE: Final = "clonedb"

# A checkpoint in the middle of one contestant's burst would be charged to that contestant. Buffers
# are a quarter of the memory, as PostgreSQL's manual advises for a server.
_SETTINGS: Final = {
    "max_wal_size": "8GB",
    "checkpoint_timeout": "1h",
    "autovacuum": "off",
    "shared_buffers": f"{psutil.virtual_memory().total // 4 // 2**20}MB",
}


class BenchmarkServer:
    """A migrated server, for as long as `running_server` lasts."""

    def __init__(self, server: EmbeddedServer) -> None:
        self._server = server
        pid_file = server.data_directory / "cluster" / "postmaster.pid"
        self._postmaster = psutil.Process(int(pid_file.read_text().splitlines()[0]))
        self._used: dict[int, float] = {}
        self._durable = True

    @property
    def version(self) -> str:
        """PostgreSQL's version, such as 18.4."""
        return ".".join(map(str, self._server.version))

    def dsn(self, login: str, database: str) -> str:
        """The connection string of a login: app, worker or superuser."""
        return self._server.dsn(f"clonedb_{login}", database)

    def create_database(self, name: str) -> None:
        """Make a migrated, empty database."""
        self._server.create_database(name, template=_TEMPLATE)

    def connect(self, database: str) -> psycopg.Connection[tuple[object, ...]]:
        """A superuser's connection in autocommit mode."""
        return psycopg.connect(self._server.dsn(SUPERUSER, database), autocommit=True)

    def checkpoint(self) -> None:
        """Write out what is in memory, before something is measured."""
        self._run("CHECKPOINT")

    def make_durable(self, durable: bool) -> None:
        """Turn fsync on or off, for everybody from now on."""
        if durable == self._durable:
            return
        self._durable = durable
        self._run(
            "ALTER SYSTEM SET fsync = on" if durable else "ALTER SYSTEM SET fsync = off",
            "SELECT pg_reload_conf()",
        )

    def fsync_milliseconds(self) -> float:
        """How long the disk takes to make 8 KiB durable: the median of some tries."""
        return _fsync_milliseconds(self._server.data_directory)

    def cpu_seconds(self) -> float:
        """The CPU that all processes of the server have used so far."""
        for process in (self._postmaster, *self._postmaster.children()):
            try:
                self._used[process.pid] = cpu_seconds_of(process)
            except (psutil.NoSuchProcess, FileNotFoundError, ProcessLookupError):
                continue  # what it had used stays counted
        return sum(self._used.values())

    def _run(self, *statements: LiteralString) -> None:
        with self.connect("postgres") as connection:
            for statement in statements:
                connection.execute(statement)


@contextmanager
def running_server(directory: Path | None) -> Iterator[BenchmarkServer]:
    """A durable server in a temporary folder of `directory`, gone afterwards."""
    with (
        tempfile.TemporaryDirectory(prefix="clonedb-bench-", dir=directory) as folder,
        EmbeddedServer(Path(folder)) as server,
    ):
        _configure(server)
        migrate.apply(server.dsn("clonedb_migrator"))
        yield BenchmarkServer(server)


def _configure(server: EmbeddedServer) -> None:
    with psycopg.connect(server.dsn(SUPERUSER, "postgres"), autocommit=True) as connection:
        for name, value in _SETTINGS.items():
            connection.execute(
                sql.SQL("ALTER SYSTEM SET {} = {}").format(sql.Identifier(name), value)
            )
    server.stop()
    server.start()


def cpu_seconds_of(process: psutil.Process) -> float:
    """The CPU that a process has used so far."""
    # Linux tells nanoseconds here; cpu_times counts in hundredths of a second.
    statistics = Path(f"/proc/{process.pid}/schedstat")
    if statistics.exists():
        return int(statistics.read_text().split()[0]) / 1e9
    times = process.cpu_times()
    return float(times.user + times.system)


def _fsync_milliseconds(directory: Path) -> float:
    durations = []
    with tempfile.TemporaryFile(dir=directory, buffering=0) as file:
        for _ in range(21):
            file.write(bytes(8192))
            started = time.perf_counter()
            os.fsync(file.fileno())
            durations.append(time.perf_counter() - started)
    return sorted(durations)[10] * 1000
