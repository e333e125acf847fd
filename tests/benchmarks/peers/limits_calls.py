"""The `limits` library on redis-server: windows, which say how many requests and not how fast."""

from __future__ import annotations

from typing import Any, Final

from limits import RateLimitItemPerHour
from limits.aio.storage import RedisStorage
from limits.aio.strategies import FixedWindowRateLimiter, MovingWindowRateLimiter

from tests.benchmarks.contestant import Contestant, check

_ENDPOINT: Final = "talk"
_MANY: Final = 1_000_000


class _Window(Contestant):
    limiter: type[Any]
    allowed = True

    async def open(self) -> None:
        storage = RedisStorage(
            f"async+redis+unix://{self.ground.redis}",
            implementation="redispy",
            wrap_exceptions=True,
        )
        self._storage = storage
        self._limiter = self.limiter(storage)
        # A name of its own for each strategy, whose keys hold other types.
        self._item = RateLimitItemPerHour(
            _MANY if self.allowed else 1, namespace=self.limiter.__name__
        )
        for user in self.ground.users[:1]:
            await self._limiter.hit(self._item, str(user), _ENDPOINT)

    async def call(self, caller: int) -> None:
        allowed = await self._limiter.hit(self._item, str(self.next_user()), _ENDPOINT)
        check(allowed == self.allowed)

    async def close(self) -> None:
        await self._storage.reset()


class FixedWindow(_Window):
    limiter = FixedWindowRateLimiter


class DeniedByFixedWindow(FixedWindow):
    allowed = False


class MovingWindow(_Window):
    limiter = MovingWindowRateLimiter


class DeniedByMovingWindow(MovingWindow):
    allowed = False


CONTESTANTS: Final[dict[str, dict[str, type[Contestant]]]] = {
    "limit_denied": {"fixed": DeniedByFixedWindow, "moving": DeniedByMovingWindow},
    "limit_many": {"fixed": FixedWindow, "moving": MovingWindow},
}
