"""Callers of one process who want tokens of the same buckets: one call takes for all of them."""

from __future__ import annotations

import asyncio
import copy
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from clonedb.repositories.rate_limit_calls import MOST_REQUESTS
from clonedb.repositories.rate_limit_decisions import RateLimitDecision, TokenRequest

Take = Callable[[Sequence[TokenRequest]], Awaitable[list[RateLimitDecision]]]


class _Waiting(NamedTuple):
    request: TokenRequest
    answer: asyncio.Future[RateLimitDecision]


class TakeQueue:
    """The requests of one subject to one endpoint, with at most one call under way.

    Who comes meanwhile waits for the next call, which takes for all who wait, in their order and
    up to 1,000: nobody is passed by one who came later to this process.
    """

    __slots__ = ("_loop", "_on_idle", "_take", "_waiting", "task")

    def __init__(self, take: Take, on_idle: Callable[[], None]) -> None:
        self._take = take
        self._on_idle = on_idle
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[_Waiting] = deque()
        self.task: asyncio.Task[None] | None = None

    def join(self, request: TokenRequest) -> asyncio.Future[RateLimitDecision]:
        """The decision to come; whoever gives up before the request is sent takes nothing."""
        answer: asyncio.Future[RateLimitDecision] = self._loop.create_future()
        self._waiting.append(_Waiting(request, answer))
        if self.task is None:
            # It starts at the end of this tick, with all who have joined by then.
            self.task = self._loop.create_task(self._run())
        return answer

    async def _run(self) -> None:
        try:
            while self._waiting:
                members = self._next()
                if members:
                    await self._answer(members)
                    # Whoever asks again at once shall be in the next call.
                    await asyncio.sleep(0)
        finally:
            # Some are left where the loop is being shut down.
            for member in self._waiting:
                member.answer.cancel()
            self.task = None
            self._on_idle()

    def _next(self) -> list[_Waiting]:
        count = min(len(self._waiting), MOST_REQUESTS)
        members = [self._waiting.popleft() for _ in range(count)]
        return [member for member in members if not member.answer.done()]

    async def _answer(self, members: list[_Waiting]) -> None:
        try:
            decisions = await self._take([member.request for member in members])
        except Exception as error:
            for member in members:
                if not member.answer.done():
                    # One of their own, since raising an error writes into it.
                    member.answer.set_exception(copy.copy(error))
            return
        except BaseException:
            for member in members:
                member.answer.cancel()
            raise
        for member, decision in zip(members, decisions, strict=True):
            # What was granted to a caller who has given up stays taken, as without the queue.
            if not member.answer.done():
                member.answer.set_result(decision)
