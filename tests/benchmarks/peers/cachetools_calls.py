"""cachetools by itself: the read that a hit in memory cannot be faster than."""

from __future__ import annotations

import time
from typing import Any, Final

import cachetools

from tests.benchmarks.contestant import Contestant, check
from tests.benchmarks.peers.cached_material import TTL_SECONDS, entries_of

_LARGEST: Final = 10_000


class _InMemory(Contestant):
    """Whose entry and its key find the value, as in clonedb's own memory."""

    async def open(self) -> None:
        self.cache = self.make()
        self.places: list[Any] = []
        for entry in entries_of(self.ground):
            self.cache[str(entry.user_id), entry.embedding_key()] = entry.embedding()
            # As a service makes it that is asked again: equal, and another object.
            self.places.append((str(entry.user_id), entry.embedding_key()))
        self.batch = len(self.places)

    def make(self) -> cachetools.Cache[Any, Any]:
        raise NotImplementedError

    async def call(self, caller: int) -> None:
        cache = self.cache
        for place in self.places:
            check(cache[place] is not None)

    async def close(self) -> None:
        self.cache.clear()


class LeastRecentlyUsed(_InMemory):
    """Bounded, and nothing grows old."""

    def make(self) -> cachetools.Cache[Any, Any]:
        return cachetools.LRUCache(_LARGEST)


class TimeToLive(_InMemory):
    """One time to live for all."""

    def make(self) -> cachetools.Cache[Any, Any]:
        return cachetools.TTLCache(_LARGEST, TTL_SECONDS)


class TimeToUse(_InMemory):
    """For each entry a time of its own, as clonedb's have."""

    def make(self) -> cachetools.Cache[Any, Any]:
        return cachetools.TLRUCache(
            _LARGEST, lambda key, value, now: now + TTL_SECONDS, timer=time.monotonic
        )


CONTESTANTS: Final[dict[str, dict[str, type[Contestant]]]] = {
    "memory_hit": {"lru": LeastRecentlyUsed, "ttl": TimeToLive, "tlru": TimeToUse},
}
