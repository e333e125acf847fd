"""Telling whoever waits how far it is."""

from __future__ import annotations

import sys
import time

_started = time.monotonic()


def say(line: str) -> None:
    """Print a line with the minutes and seconds since the start."""
    minutes, seconds = divmod(round(time.monotonic() - _started), 60)
    sys.stderr.write(f"{minutes:3}:{seconds:02}  {line}\n")
    sys.stderr.flush()


def elapsed() -> float:
    """Seconds since the start."""
    return time.monotonic() - _started
