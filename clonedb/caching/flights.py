"""A value that is being looked for or made: what callers in one process wait for together."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, Generic, TypeVar

from clonedb.caching.memory import Remembered
from clonedb.errors import InvalidInput

V = TypeVar("V")


class Flight(Generic[V]):
    """One fill in a task of its own, so that it outlives the caller who began it.

    It goes on for as long as somebody waits. `drops` is how often its user's entries had been
    dropped when it began; `found` is the entry where nothing had to be made.
    """

    __slots__ = ("_task", "_waiting", "drops", "found", "was_cancelled_inside")

    def __init__(self, drops: int) -> None:
        self.drops = drops
        self.found: Remembered | None = None
        # What is computed may end in a cancellation of its own, which is then its result.
        self.was_cancelled_inside = False
        self._task: asyncio.Task[V | None]
        self._waiting = 0

    def depart(self, work: Coroutine[Any, Any, V | None]) -> asyncio.Task[V | None]:
        self._task = asyncio.get_running_loop().create_task(work)
        return self._task

    @property
    def joinable(self) -> bool:
        """Whether it is under way, and nobody has given it up."""
        return not self._task.done() and not self._task.cancelling()

    async def arrived(self, seconds: float | None) -> bool:
        """Wait for the end, so long at most; False where there is no result.

        When nobody waits any more, the fill is given up, and another process can have it.
        """
        if asyncio.current_task() is self._task:
            raise InvalidInput("the value is computed from itself: compute asks for its own key")
        self._waiting += 1
        try:
            await asyncio.wait({self._task}, timeout=seconds)
        finally:
            self._waiting -= 1
            if not self._waiting:
                self._task.cancel()  # without effect where it has ended
        return self._task.done() and (not self._task.cancelled() or self.was_cancelled_inside)

    def result(self) -> V | None:
        """The value; raises what computing it has raised."""
        return self._task.result()
