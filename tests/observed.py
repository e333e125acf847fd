"""The server's socket as another process sees it: each write of the client, and cancel requests.

A proxy in the client's own event loop cannot tell one write from ten: by the time it runs, they
have become one.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

_PROXY = Path(__file__).parent / "executor" / "observing_process.py"


class ObservedSocket:
    """A proxy before the server's socket, and what it has seen so far."""

    def __init__(self, folder: Path, seen: Path) -> None:
        self._folder = folder
        self._seen = seen

    def through(self, dsn: str) -> str:
        """The dsn by way of the proxy."""
        return psycopg.conninfo.make_conninfo(dsn, host=str(self._folder))

    def writes(self) -> list[int]:
        """The number of Syncs in each write of the clients; an answer is never ahead of this."""
        return [int(event["syncs"]) for event in self._events() if "syncs" in event]

    def cancel_requests(self) -> int:
        return sum("cancel" in event for event in self._events())

    def connections(self) -> int:
        return sum("startup" in event for event in self._events())

    def _events(self) -> list[dict[str, int]]:
        return [json.loads(line) for line in self._seen.read_text().splitlines()]


def server_socket(dsn: str) -> Path:
    """The unix socket of a dsn."""
    fields = psycopg.conninfo.conninfo_to_dict(dsn)
    return Path(str(fields["host"])) / f".s.PGSQL.{fields.get('port', 5432)}"


@contextmanager
def observe(server: Path, *, bytes_per_second: int = 0) -> Iterator[ObservedSocket]:
    """Before a server's socket; what the server says comes at that speed, 0 is as it is."""
    with tempfile.TemporaryDirectory(prefix="clonedb-") as name:
        seen = Path(name) / "seen"
        seen.touch()
        process = subprocess.Popen(
            [sys.executable, _PROXY, Path(name) / server.name, server, seen, str(bytes_per_second)],
            stdout=subprocess.PIPE,
        )
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            yield ObservedSocket(Path(name), seen)
        finally:
            process.kill()
            process.communicate()
