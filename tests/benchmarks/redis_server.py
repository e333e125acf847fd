"""A redis-server of the benchmark's own, where that program is installed."""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import psutil

from tests.benchmarks.server import cpu_seconds_of

# What needs it, and cannot be measured without.
CLIENTS: Final = frozenset({"redis", "glide", "limits"})
INSTALL: Final = "apt-get install redis-server"

_START_SECONDS: Final = 10.0


class RedisServer:
    """A running server; `socket` is the path of its unix socket, the same way as to PostgreSQL."""

    def __init__(self, process: subprocess.Popen[bytes], path: Path, version: str) -> None:
        self._process = psutil.Process(process.pid)
        self.socket = str(path)
        self.version = version

    def cpu_seconds(self) -> float:
        """The CPU that it has used so far."""
        return cpu_seconds_of(self._process)


@contextmanager
def running_redis(directory: Path | None) -> Iterator[RedisServer | None]:
    """A server that keeps nothing on disk, gone afterwards; None where it is not installed."""
    program = shutil.which("redis-server")
    if program is None:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="clonedb-bench-redis-", dir=directory) as folder:
        path = Path(folder) / "redis.sock"
        process = subprocess.Popen(
            [
                *(program, "--port", "0", "--unixsocket", path, "--dir", folder),
                *("--save", "", "--appendonly", "no", "--daemonize", "no"),
            ],
            stdout=subprocess.DEVNULL,
        )
        try:
            _wait(process, path)
            yield RedisServer(process, path, _version(program))
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()


def _wait(process: subprocess.Popen[bytes], path: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with socket.socket(socket.AF_UNIX) as connection:
            try:
                connection.connect(str(path))
                connection.sendall(b"PING\r\n")
                if connection.recv(64).startswith(b"+PONG"):
                    return
            except OSError:
                pass
        time.sleep(0.02)
    raise RuntimeError(f"redis-server does not answer (its exit status: {process.poll()})")


def _version(program: str) -> str:
    words = subprocess.run(
        [program, "--version"], capture_output=True, text=True, check=True
    ).stdout.split()
    return next((word[2:] for word in words if word.startswith("v=")), "unknown")
