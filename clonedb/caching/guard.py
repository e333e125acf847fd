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

# Seconds in which nobody asks the same again after a failure: what one caller has waited for in
# vain, a hundred need not.
PAUSE_SECONDS: Final = 1.0

_NEVER: Final = float("-inf")


class Guard:
    """Calls to the database on behalf of the caches, each for so many seconds at most.

    What fails is not asked for a while, by the name of what is asked: where a table is locked
    against writers, its readers go on.
    """

    __slots__ = ("_clock", "_failing", "_patience")

    def __init__(self, patience: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._patience = Patience(patience)
        self._clock = clock
        self._failing: dict[str, float] = {}  # what failed last, and until when it is not asked

    async def attempt(
        self, call: Callable[[], Awaitable[T]], failed: Callable[[], None], name: str = ""
    ) -> T | None:
        """What the call gives, or None after `failed` where it raised or took too long.

        Raises InvalidInput alone, which is the caller's.
        """
        if self._failing and self._clock() < self._failing.get(name, _NEVER):
            failed()
            return None
        try:
            result = await self._patience.wait(call)
        except InvalidInput:
            raise
        except (Unavailable, Timeout, TimeoutError, OSError) as error:
            failed()
            if not self._failing:
                logger.warning("a cache in the database is not used: %s", str(error) or "too slow")
            self._failing[name] = self._clock() + PAUSE_SECONDS
            return None
        except ClonedbError:
            # This one's own: a user who was deleted, say.
            failed()
            return None
        if self._failing and self._failing.pop(name, None) is not None and not self._failing:
            logger.warning("the caches in the database are used again")
        return result
