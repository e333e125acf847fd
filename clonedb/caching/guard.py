"""What keeps a failing database from failing, or slowing down, those who only ask a cache."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from clonedb.caching.patience import Patience
from clonedb.errors import ClonedbError, InvalidInput, Timeout, Unavailable

T = TypeVar("T")

logger: Final = logging.getLogger("clonedb.caching")

# After so many failures in a row nobody asks for so many seconds: what some callers have waited for
# in vain, the others need not.
FAILURES_IN_A_ROW: Final = 3
PAUSE_SECONDS: Final = 1.0


class Guard:
    """Calls to the database on behalf of the caches, each for so many seconds at most."""

    __slots__ = ("_clock", "_failures", "_patience", "_paused_until")

    def __init__(self, patience: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._patience = Patience(patience)
        self._clock = clock
        self._failures = 0
        self._paused_until = float("-inf")

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
            result = await self._patience.wait(call)
        except InvalidInput:
            raise
        except (Unavailable, Timeout, TimeoutError, OSError) as error:
            failed()
            self._failures += 1
            if self._failures == FAILURES_IN_A_ROW:
                logger.warning("caches are not used in the database: %s", error or "too slow")
            if self._failures >= FAILURES_IN_A_ROW:
                self._paused_until = self._clock() + PAUSE_SECONDS
            return None
        except ClonedbError:
            # This one's own: a user who was deleted, say.
            failed()
            return None
        if self._failures >= FAILURES_IN_A_ROW:
            logger.warning("caches are used in the database again")
        self._failures = 0
        return result
