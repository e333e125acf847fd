"""pgbench, PostgreSQL's own client in C: what is left when there is no Python at all."""

from __future__ import annotations

import os
import re
import resource
import shutil
import subprocess
import tempfile
from pathlib import Path

from tests.benchmarks.bursts import Burst, Measurement
from tests.benchmarks.contestant import address_of
from tests.benchmarks.ground import Ground
from tests.benchmarks.peers.statements import FIND_USER

# It takes whole seconds.
_SHORTEST_SECONDS = 1


class Pgbench:
    """Reads one user over and over; has the methods of a library's process."""

    def __init__(self, program: str) -> None:
        self._program = program
        self._ground: Ground | None = None

    def open(self, key: str, work: str, variant: str, ground: Ground) -> None:
        """Remember where the database is."""
        self._ground = ground

    def prepare(self, key: str, burst: Burst) -> None:
        """Nothing: it connects before it begins to count."""

    def burst(self, key: str, burst: Burst) -> Measurement:
        """Run the program once."""
        if self._ground is None:
            raise RuntimeError("pgbench was not opened")
        address = address_of(self._ground.worker)
        with tempfile.TemporaryDirectory() as folder:
            script = Path(folder) / "find_user.sql"
            script.write_text(FIND_USER.replace("$1", ":id").rstrip("; \n") + ";\n")
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            done = subprocess.run(
                [
                    *(self._program, "--no-vacuum", "--protocol=prepared", "--file", script),
                    *("--client", str(burst.callers), "--jobs", str(_jobs(burst.callers))),
                    *("--time", str(max(_SHORTEST_SECONDS, round(burst.seconds)))),
                    *("--define", f"id={self._ground.users[0]}"),
                    *("--host", address["host"], "--port", str(address["port"])),
                    *("--username", address["user"], address["database"]),
                ],
                capture_output=True,
                text=True,
                check=True,
            )
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
        calls = re.search(r"transactions actually processed: (\d+)", done.stdout)
        rate = re.search(r"tps = ([\d.]+)", done.stdout)
        failed = re.search(r"failed transactions: (\d+)", done.stdout)
        if calls is None or rate is None or (failed is not None and failed[1] != "0"):
            raise RuntimeError(f"pgbench printed\n{done.stdout}{done.stderr}")
        return Measurement(
            calls=int(calls[1]),
            seconds=int(calls[1]) / float(rate[1]),
            client_cpu=after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
        )

    def close(self, key: str) -> None:
        """Nothing is open."""

    def stop(self) -> None:
        """Nothing runs."""


def find_pgbench() -> str | None:
    """Beside the server that CLONEDB_PG_BIN names, on the PATH, or nowhere."""
    named = os.environ.get("CLONEDB_PG_BIN")
    return (named and shutil.which("pgbench", path=named)) or shutil.which("pgbench")


def _jobs(callers: int) -> int:
    return min(callers, os.cpu_count() or 1)
