"""Ending calls that take too long, with one timer for all that are under way.

`asyncio.timeout` sets and drops a timer for each call, which costs it 3 microseconds; this 1.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

T = TypeVar("T")

# The timer looks so often while a call may take its time: a call has that part more, at most.
_LOOKS: Final = 8


class Patience:
    """How many seconds each call may take, on one event loop."""

    __slots__ = ("_excused", "_look_at", "_seconds", "_timer", "_waiting")

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        # Since when by the loop's time, the longest first; None once the task was told to stop.
        self._waiting: dict[asyncio.Task[object], float | None] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._look_at = 0.0
        self._excused = False

    async def wait(self, call: Callable[[], Awaitable[T]]) -> T:
        """What the call gives; TimeoutError where it takes too long."""
        loop = asyncio.get_running_loop()
        task, waiting = asyncio.current_task(loop), self._waiting
        if task is None or task in waiting:
            return await call()  # within another call, which has its own end
        cancelling = task.cancelling()
        waiting[task] = loop.time()
        if self._timer is None:
            self._set_timer(loop)
        try:
            return await call()
        except asyncio.CancelledError:
            # Whoever else cancels the task means it, also at the same time.
            if waiting[task] is None and task.cancelling() - 1 <= cancelling:
                raise TimeoutError from None
            raise
        finally:
            if waiting.pop(task) is None:
                task.uncancel()

    def _set_timer(self, loop: asyncio.AbstractEventLoop) -> None:
        step = self._seconds / _LOOKS
        self._look_at = loop.time() + step
        self._timer = loop.call_later(step, self._look, loop)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        # Where this process stood still, the answers may be there and nobody has read them yet.
        self._excused = not self._excused and now - self._look_at > self._seconds / _LOOKS
        if not self._excused:
            self._end_those_before(now - self._seconds)
        self._timer = None
        if self._waiting:
            self._set_timer(loop)

    def _end_those_before(self, latest: float) -> None:
        for task, since in self._waiting.items():
            if since is None:
                continue
            if since > latest:
                break
            self._waiting[task] = None
            task.cancel()
