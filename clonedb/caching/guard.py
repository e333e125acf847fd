"""What keeps a failing database from failing, or slowing down, those who only ask a cache."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from clonedb.errors import ClonedbError, InvalidInput

T = TypeVar("T")

logger: Final = logging.getLogger("clonedb.caching")

# Seconds in which nobody asks after a failure: what one caller has waited for, a hundred need not.
PAUSE_SECONDS: Final = 1.0


class Guard:
    """Calls to the database on behalf of the caches, each for so many seconds at most."""

    __slots__ = ("_clock", "_patience", "_paused_until", "_told")

    def __init__(self, patience: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._patience = patience
        self._clock = clock
        self._paused_until = float("-inf")
        self._told = False

    async def attempt(
        self, call: Callable[[], Awaitable[T]], failed: Callable[[], None]
    ) -> T | None:
        """What the call gives, or None after `failed` where it raised or took too long.

        Raises InvalidInput alone, which is the caller's.
        """
        if self._clock() < self._paused_until:
            failed()
            return None
        try:
            async with asyncio.timeout(self._patience):
                result = await call()
        except InvalidInput:
            raise
        except (ClonedbError, TimeoutError, OSError) as error:
            failed()
            self._paused_until = self._clock() + PAUSE_SECONDS
            if not self._told:
                self._told = True
                logger.warning("a cache in the database is not used: %s", error or "too slow")
            return None
        if self._told:
            self._told = False
            logger.warning("the caches in the database are used again")
        return result
