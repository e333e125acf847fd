"""Data directories for the tests of the embedded server, and processes that use them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from clonedb.embedded import EmbeddedServer
from clonedb.postgres.cluster import Cluster

# Reads method names and answers each with one line, so that no test has to wait for a time.
# Another account is taken on only after the imports, which may be closed to it.
_PROGRAM = """
import os
import sys
from pathlib import Path
from clonedb.postgres.cluster import SUPERUSER
from clonedb.embedded import EmbeddedServer
from clonedb.errors import EmbeddedError
if len(sys.argv) > 2:
    os.setgroups([])
    os.setgid(int(sys.argv[2]))
    os.setuid(int(sys.argv[2]))
server = EmbeddedServer(Path(sys.argv[1]), durable=False)
for line in sys.stdin:
    try:
        getattr(server, line.strip())()
        answer = server.dsn(SUPERUSER) if line.strip() == "start" else "done"
    except EmbeddedError as error:
        answer = f"EmbeddedError: {error}"
    print(answer.replace("\\n", " "), flush=True)
"""


class UserProcess:
    """Another Python process that starts and stops a server when told to."""

    def __init__(self, directory: Path, *account: int, **environment: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", _PROGRAM, str(directory), *map(str, account)],
            cwd="/",
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def tell(self, method: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{method}\n")
        self._process.stdin.flush()

    def ask(self, method: str) -> str:
        self.tell(method)
        return self.answer()

    def answer(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the process died; its traceback is in the captured output"
        return line.rstrip("\n")

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def leave(self) -> None:
        """End as a program does that never called stop."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=60)

    def close(self) -> None:
        self.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            with suppress(BrokenPipeError):
                pipe.close()


@pytest.fixture
def user_process() -> Iterator[Callable[..., UserProcess]]:
    """Make user processes, which end with the test."""
    processes: list[UserProcess] = []

    def make(directory: Path, *account: int, **environment: str) -> UserProcess:
        process = UserProcess(directory, *account, **environment)
        processes.append(process)
        return process

    yield make
    for process in processes:
        process.close()


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that the server's account can reach, which pytest's own is not for root."""
    place = Path(tempfile.mkdtemp(prefix="clonedb-tests-", dir="/tmp"))
    place.chmod(0o711)
    yield place
    for lock in place.rglob("server.lock"):
        Cluster(lock.parent).stop()
    shutil.rmtree(place)


@pytest.fixture(scope="session")
def _made_once() -> Iterator[Path]:
    place = Path(tempfile.mkdtemp(prefix="clonedb-tests-", dir="/tmp"))
    place.chmod(0o711)
    with EmbeddedServer(place / "server", durable=False):
        pass
    yield place / "server"
    shutil.rmtree(place)


@pytest.fixture
def made(_made_once: Path) -> Iterator[Path]:
    """A data directory that a server has run on and was stopped.

    Shared, since to write 40 MB takes longer than most tests: a test leaves it fit to start.
    """
    yield _made_once
    Cluster(_made_once).stop()
