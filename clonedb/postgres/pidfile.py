"""PostgreSQL's postmaster.pid, read with the suspicion that a pid deserves.

A pid outlives its process: after a crash the file may name anybody. So a process is believed to
be the server only if it works in the data directory, and is signalled only then.
"""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

# Above every pid that Linux (2^22) or macOS (99,999) gives out.
_NO_PROCESS = 2**31 - 1


class PidFile:
    """The file in a data directory that names the server's first process, the postmaster."""

    def __init__(self, data: Path) -> None:
        self._data = data
        self._path = data / "postmaster.pid"

    def running_server(self) -> int | None:
        """The pid in the file, if that process is a server on this data directory."""
        pid = self._pid()
        return pid if pid is not None and self._works_here(pid) else None

    def signal_server(self, method: signal.Signals) -> bool:
        """Send the server a signal; False, and nothing is sent, if the file names no server."""
        pid = self.running_server()
        if pid is None:
            return False
        with suppress(ProcessLookupError):
            os.kill(pid, method)
        return True

    def disarm(self) -> None:
        """Make a stale file harmless; the caller knows that the server it named is dead.

        PostgreSQL refuses to start for as long as any process of its user has the pid that a
        killed server left. Only the pid is replaced: by the other lines PostgreSQL checks that
        the dead server's shared memory is out of use.
        """
        if self._pid() is None:
            return
        flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
        with os.fdopen(os.open(self._path, flags), "r+") as file:
            _, _, rest = file.read().partition("\n")
            file.seek(0)
            file.write(f"{_NO_PROCESS}\n{rest}")
            file.truncate()

    def _pid(self) -> int | None:
        try:
            return int(self._path.read_text().split("\n", 1)[0])
        except (FileNotFoundError, ValueError):
            return None

    def _works_here(self, pid: int) -> bool:
        with suppress(OSError):
            return self._data.samefile(f"/proc/{pid}/cwd")
        # Root may not see where another's process works in a container without ptrace, and macOS
        # has no /proc: by the command line then, which a server's children do not keep.
        try:
            words = Path(f"/proc/{pid}/cmdline").read_text(errors="replace").split("\0")
        except OSError:
            return self._works_here_by_ps(pid)
        return Path(words[0]).name == "postgres" and str(self._data) in words

    def _works_here_by_ps(self, pid: int) -> bool:
        try:
            printed = subprocess.run(
                ["ps", "-ww", "-o", "command=", "-p", str(pid)],
                capture_output=True,
                text=True,
                check=False,
            ).stdout
        except OSError:
            return False
        return "postgres" in printed and f" -D {self._data} " in printed
