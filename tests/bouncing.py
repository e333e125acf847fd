"""A real pgbouncer in transaction mode."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import psycopg

from clonedb.postgres.accounts import account_for
from clonedb.testing import IsolatedDatabase

IS_INSTALLED: Final = shutil.which("pgbouncer") is not None

CONFIGURATION: Final = """
[databases]
{name} = host={host} port={port}
[pgbouncer]
pool_mode = transaction
auth_type = trust
auth_file = {folder}/users
unix_socket_dir = {folder}
listen_addr =
listen_port = 6432
default_pool_size = {connections}
ignore_startup_parameters = extra_float_digits
logfile = {folder}/log
"""


@contextmanager
def running_pgbouncer(database: IsolatedDatabase, connections: int = 2) -> Iterator[str]:
    """The folder of a pgbouncer's socket, with so many server connections for everybody."""
    fields = psycopg.conninfo.conninfo_to_dict(database.dsn())
    with tempfile.TemporaryDirectory(prefix="clonedb-bouncer-") as name:
        folder = Path(name)
        account = account_for(folder)
        (folder / "pgbouncer.ini").write_text(
            CONFIGURATION.format(
                name=database.name,
                host=fields["host"],
                port=fields["port"],
                folder=folder,
                connections=connections,
            )
        )
        (folder / "users").write_text('"clonedb_app" ""\n"clonedb_worker" ""\n')
        for path in (folder, folder / "pgbouncer.ini", folder / "users"):
            if os.geteuid() == 0:
                os.chown(path, account.uid, account.gid)
        process = subprocess.Popen(
            ["pgbouncer", "-q", str(folder / "pgbouncer.ini")],
            user=account.uid if os.geteuid() == 0 else None,
            group=account.gid if os.geteuid() == 0 else None,
            stderr=subprocess.DEVNULL,
        )
        try:
            for _ in range(200):
                if (folder / ".s.PGSQL.6432").exists():
                    break
                assert process.poll() is None, (folder / "log").read_text()
                _wait_a_moment(process)
            yield str(folder)
        finally:
            process.terminate()
            process.wait()


def _wait_a_moment(process: subprocess.Popen[bytes]) -> None:
    """A moment, or less if the process ends."""
    with suppress(subprocess.TimeoutExpired):
        process.wait(timeout=0.05)


def through(folder: str, database: IsolatedDatabase, role: str) -> str:
    """The way to the database through a pgbouncer's socket."""
    return f"host={folder} port=6432 dbname={database.name} user={role}"
