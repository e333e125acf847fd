"""What the tests of migrations work with: folders, a probe, deployers as processes, stock yoyo."""

from __future__ import annotations

import os
import socket
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
from psycopg.conninfo import conninfo_to_dict

import clonedb

# Long enough for a loaded machine; reached only by a test that fails.
PATIENCE = 60

# A key that nothing else uses: migrations of these tests wait for it, and go on when told to.
GATE = 4242

# Ends what a test left running, and makes the database what CREATE DATABASE would.
EVERYTHING_GOES = """
DO $$
DECLARE
    v_schema name;
BEGIN
    PERFORM pg_terminate_backend(a.pid, 10000)
    FROM pg_stat_activity AS a
    WHERE a.datname = current_database() AND a.pid <> pg_backend_pid();
    FOR v_schema IN
        SELECT n.nspname FROM pg_namespace AS n
        WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
    LOOP
        EXECUTE format('DROP SCHEMA %I CASCADE', v_schema);
    END LOOP;
    CREATE SCHEMA public AUTHORIZATION pg_database_owner;
    GRANT USAGE ON SCHEMA public TO PUBLIC;
    EXECUTE format('ALTER ROLE clonedb_migrator IN DATABASE %I RESET ALL', current_database());
END
$$
"""

_DEPLOYER = """
import sys
from pathlib import Path
from clonedb import migrate
from clonedb.errors import ClonedbError

def say(progress):
    print(progress.event, progress.detail, flush=True)
    if progress.event == sys.argv[3]:
        sys.stdin.readline()

try:
    print("done", *migrate.apply(sys.argv[1], directory=Path(sys.argv[2]), progress=say))
except ClonedbError as error:
    print("refused", type(error).__name__, error)
"""


class Folder:
    """A migrations folder that a test fills."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir()

    def add(self, identifier: str, up: str, down: str | None = None) -> Path:
        path = self.path / f"{identifier}.sql"
        path.write_text(up)
        if down is not None:
            (self.path / f"{identifier}.rollback.sql").write_text(down)
        return path

    def add_table(self, number: int) -> str:
        """A migration that makes the table t<number>, and fails where it exists."""
        identifier = f"{number:04}_create_t{number}"
        self.add(
            identifier,
            f"CREATE TABLE public.t{number} (id integer PRIMARY KEY);\n",
            f"DROP TABLE public.t{number};\n",
        )
        return identifier


class Probe:
    """What a test looks at behind the migrations' back, as the superuser."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self.connection = connection

    def rows(self, query: str, *parameters: object) -> list[Any]:
        return self.connection.execute(query.encode(), parameters).fetchall()

    def value(self, query: str, *parameters: object) -> Any:
        return self.rows(query, *parameters)[0][0]

    def tables(self) -> list[str]:
        """The tables made by `Folder.add_table`."""
        return [
            name
            for (name,) in self.rows(
                "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
                " AND tablename ~ '^t[0-9]+$' ORDER BY tablename COLLATE \"C\""
            )
        ]

    def marks(self) -> list[str]:
        return [
            name
            for (name,) in self.rows(
                "SELECT migration_id FROM public._yoyo_migration ORDER BY migration_id"
            )
        ]

    def wait_until(self, query: str, *parameters: object) -> None:
        """Return once the query's value is true."""
        deadline = time.monotonic() + PATIENCE
        while not self.value(query, *parameters):
            assert time.monotonic() < deadline, f"never became true: {query}"
            time.sleep(0.01)

    def close_gate(self) -> None:
        self.connection.execute("SELECT pg_advisory_lock(%s)", (GATE,))

    def open_gate(self) -> None:
        self.connection.execute("SELECT pg_advisory_unlock(%s)", (GATE,))

    def wait_until_somebody_is_at_the_gate(self) -> int:
        """The server process that waits there."""
        waiting = "FROM pg_locks WHERE locktype = 'advisory' AND objid = %s AND NOT granted"
        self.wait_until(f"SELECT count(*) > 0 {waiting}", GATE)
        return int(self.value(f"SELECT pid {waiting}", GATE))


class Deployer:
    """A process that runs `migrate.apply` and stops for input after an event, if told to."""

    def __init__(self, dsn: str, folder: Folder, *, stop_after: str = "") -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", _DEPLOYER, dsn, str(folder.path), stop_after],
            env={**os.environ, "PYTHONPATH": str(Path(clonedb.__file__).parents[1])},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def last_line(self) -> str:
        output, _ = self.process.communicate(timeout=PATIENCE)
        return output.splitlines()[-1]

    def kill(self) -> None:
        """kill -9, and gone when it returns."""
        self.process.kill()
        self.process.communicate()


class StockYoyo:
    """`yoyo` as it is installed, without clonedb."""

    def __init__(self, dsn: str, folder: Folder) -> None:
        fields = conninfo_to_dict(dsn)
        address = f"host={quote(str(fields['host']), safe='')}&port={fields.get('port', 5432)}"
        self._url = f"postgresql+psycopg://{fields['user']}@/{fields['dbname']}?{address}"
        self._folder = folder

    def __call__(self, command: str, *options: str) -> str:
        arguments = [command, "--batch", "--no-config-file", *options, "--database", self._url]
        done = subprocess.run(
            [sys.executable, "-m", "yoyo", *arguments, str(self._folder.path)],
            capture_output=True,
            text=True,
            check=True,
            timeout=PATIENCE,
            cwd=self._folder.path,
        )
        return done.stdout


class OldServer(threading.Thread):
    """A listener that says in PostgreSQL's protocol that it is 14.20, and waits for the goodbye."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self._listener = socket.create_server(("127.0.0.1", 0))
        port = self._listener.getsockname()[1]
        self.dsn = f"host=127.0.0.1 port={port} user=x dbname=x sslmode=disable gssencmode=disable"

    def run(self) -> None:
        connection, _ = self._listener.accept()
        with self._listener, connection:
            connection.recv(8192)
            greeting = [(b"R", struct.pack("!i", 0))]
            for name, value in ((b"server_version", b"14.20"), (b"client_encoding", b"UTF8")):
                greeting.append((b"S", name + b"\0" + value + b"\0"))
            greeting += [(b"K", struct.pack("!ii", 1, 1)), (b"Z", b"I")]
            for kind, body in greeting:
                connection.sendall(kind + struct.pack("!i", len(body) + 4) + body)
            connection.recv(8192)


def wait_until_refused(dsn: str) -> None:
    """Return once the server, told to reload its rules, lets nobody in without a password."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            psycopg.connect(dsn).close()
        except psycopg.OperationalError:
            return
        assert time.monotonic() < deadline, "the server never asked for a password"
        time.sleep(0.01)
