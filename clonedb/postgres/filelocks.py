"""Locks on files, which the kernel releases when their holder dies, however it dies."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from clonedb.errors import EmbeddedError

_POLL_SECONDS = 0.02


class FileLock:
    """One opening of a lock file (`flock`); a context manager that closes it.

    The lock belongs to the opening: a program that inherits `descriptor` keeps it held after
    `close`, for as long as it lives. `release` ends it for every holder of the descriptor.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.descriptor = open_private(path)

    def try_exclusive(self) -> bool:
        """Take the lock alone, or turn a shared hold into it; False if others hold it."""
        return self._try(fcntl.LOCK_EX)

    def try_shared(self) -> bool:
        """Take the lock together with others; False if somebody has it alone."""
        return self._try(fcntl.LOCK_SH)

    def wait_exclusive(self, *, timeout: float, holder: str) -> None:
        """Take the lock alone, or raise EmbeddedError, naming the holder, after `timeout` s."""
        deadline = time.monotonic() + timeout
        while not self.try_exclusive():
            if time.monotonic() > deadline:
                raise EmbeddedError(
                    f"{holder} has held {self.path} for {timeout:g} s",
                    remedy=f"see who: fuser -v {self.path}",
                )
            time.sleep(_POLL_SECONDS)

    def release(self) -> None:
        """Give the lock up, also for whoever inherited it, and close the file."""
        fcntl.flock(self.descriptor, fcntl.LOCK_UN)
        self.close()

    def close(self) -> None:
        """Close the file; closing twice does nothing."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1

    def _try(self, operation: int) -> bool:
        try:
            fcntl.flock(self.descriptor, operation | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def open_private(path: Path) -> int:
    """Open for appending, made if missing for the folder's owner alone; never through a link."""
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    descriptor = os.open(path, flags, 0o600)
    if os.geteuid() == 0:
        # Root beside an ordinary user's server must leave nothing that the user cannot open.
        owner = path.parent.stat()
        os.fchown(descriptor, owner.st_uid, owner.st_gid)
    return descriptor
