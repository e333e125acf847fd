"""Running a program on asyncio's event loop, or on uvloop's where it is asked for."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Coroutine
from typing import Any, TypeVar

from clonedb.errors import InvalidInput

R = TypeVar("R")


def run(main: Coroutine[Any, Any, R], *, uvloop: bool | None = None) -> R:
    """What `asyncio.run` does, on uvloop if `uvloop` or else CLONEDB_UVLOOP=1 asks for it.

    uvloop takes a quarter less of a client's time for small calls. Raises InvalidInput where it is
    asked for and not installed. A program that runs a loop of its own needs none of this.
    """
    if uvloop is None:
        uvloop = os.environ.get("CLONEDB_UVLOOP", "") not in ("", "0")
    if not uvloop:
        return asyncio.run(main)
    try:
        import uvloop as installed
    except ImportError:
        main.close()
        raise InvalidInput(
            "uvloop is asked for and not installed",
            remedy="pip install 'clonedb[uvloop]', or unset CLONEDB_UVLOOP",
        ) from None
    return installed.run(main)
