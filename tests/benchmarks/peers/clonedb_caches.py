"""clonedb's caches: the front over the tiers, and the repository of the table alone."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Iterator
from datetime import timedelta
from typing import Any, ClassVar, Final

from clonedb import Database
from clonedb.caching.cache import Cache
from clonedb.caching.caches import Caches
from clonedb.caching.policy import CachePolicy
from clonedb.caching.values import Embedding
from tests.benchmarks.contestant import Contestant, NotFoundAtAll, check
from tests.benchmarks.peers.cached_material import entries_of, vector
from tests.benchmarks.peers.material import EMBEDDING_MODEL

# Seconds: what the database is too slow for is a miss, and here an error.
_PATIENCE: Final = 10

_NO_MEMORY: Final = CachePolicy(memory_entries=0)
# What is in memory is read from the table again after a minute by default: that is not measured.
_MEMORY: Final = CachePolicy(memory_ttl=timedelta(hours=1))


def _first_number() -> int:
    """Of other values each time: not those that are there, nor what another process has put."""
    return random.SystemRandom().randrange(10_000, 1_000_000)


class _OnTable(Contestant):
    """The repository, by digests."""

    async def open(self) -> None:
        self.db = await Database(self.ground.app).open()
        self._entries = itertools.cycle(
            [(each, each.embedding_key().digest()) for each in entries_of(self.ground)]
        )
        self._numbers = itertools.count(_first_number())

    async def close(self) -> None:
        await self.db.close()


class GetFromTable(_OnTable):
    async def call(self, caller: int) -> None:
        entry, digest = next(self._entries)
        found = await self.db.as_user(entry.user_id).caches.embedding.get(digest)
        check(found is not None and found.key == digest)


class PutInTable(_OnTable):
    """The value that is there already: nothing is written."""

    async def call(self, caller: int) -> None:
        entry, digest = next(self._entries)
        stored = await self.db.as_user(entry.user_id).caches.embedding.put(
            digest, embedding=vector(entry.number), model=EMBEDDING_MODEL
        )
        check(not stored)


class OverwriteInTable(_OnTable):
    """Another value each time."""

    async def call(self, caller: int) -> None:
        entry, digest = next(self._entries)
        stored = await self.db.as_user(entry.user_id).caches.embedding.put(
            digest, embedding=vector(next(self._numbers)), model=EMBEDDING_MODEL
        )
        check(stored)


class _OnFront(Contestant):
    """The front; by default it keeps nothing in memory, so that the table is what answers."""

    policy: ClassVar[CachePolicy] = _NO_MEMORY

    async def open(self) -> None:
        self.db = await Database(self.ground.app).open()
        policies = {"embedding": self.policy, "llm_response": self.policy}
        self.caches = await Caches(self.db, policies=policies, patience=_PATIENCE).open()
        self._entries = itertools.cycle(
            [
                (each, each.embedding_key(), each.answer_key(), each.embedding())
                for each in entries_of(self.ground)
            ]
        )
        self._numbers = itertools.count(_first_number())

    async def close(self) -> None:
        await self.caches.close()
        await self.db.close()


class GetEmbedding(_OnFront):
    async def call(self, caller: int) -> None:
        entry, key, _, embedding = next(self._entries)
        found = await self.caches.of(entry.user_id).embedding.get(key)
        check(found is not None and len(found.packed) == len(embedding.packed))


class GetAnswer(_OnFront):
    """Hits are counted in memory, and recorded before the clock stops."""

    async def call(self, caller: int) -> None:
        entry, _, key, _ = next(self._entries)
        found = await self.caches.of(entry.user_id).llm_response.get(key)
        check(found is not None and found.response.startswith(f"{entry.number}:"))

    async def finish(self) -> None:
        await self.caches.record()


class PutEmbedding(_OnFront):
    async def call(self, caller: int) -> None:
        entry, key, _, embedding = next(self._entries)
        check(not await self.caches.of(entry.user_id).embedding.put(key, embedding))


class OverwriteEmbedding(_OnFront):
    async def call(self, caller: int) -> None:
        entry, key, _, _ = next(self._entries)
        embedding = Embedding(vector(next(self._numbers)))
        check(await self.caches.of(entry.user_id).embedding.put(key, embedding))


class _InMemory(_OnFront):
    """The front with its memory, which holds all that is read; a conversation keeps its `Cache`."""

    policy = _MEMORY

    async def open(self) -> None:
        await super().open()
        self._wanted: list[tuple[Cache[Any, Any], Any]] = [
            (self.caches.of(each.user_id).embedding, each.embedding_key())
            for each in entries_of(self.ground)
        ]

    async def prepare(self, callers: int) -> None:
        """Until all are in memory; while this process stood still, it could not trust that."""
        found = 0
        while found < len(self._wanted):
            await asyncio.sleep(0.01)
            before = self._memory_hits()
            for cache, key in self._wanted:
                check(await cache.get(key) is not None)
            found = self._memory_hits() - before

    def _memory_hits(self) -> int:
        return sum(figures.memory_hits for figures in self.caches.statistics())


class HitMemory(_InMemory):
    """All entries one after the other in one coroutine."""

    async def open(self) -> None:
        await super().open()
        self.batch = len(self._wanted)

    async def call(self, caller: int) -> None:
        for cache, key in self._wanted:
            if await cache.get(key) is None:
                raise NotFoundAtAll


class HitMemoryOnce(_InMemory):
    """One entry, so that each call can be timed."""

    async def open(self) -> None:
        await super().open()
        self._cycle: Iterator[tuple[Cache[Any, Any], Any]] = itertools.cycle(self._wanted)

    async def call(self, caller: int) -> None:
        cache, key = next(self._cycle)
        if await cache.get(key) is None:
            raise NotFoundAtAll


CONTESTANTS: Final[dict[str, dict[str, type[Contestant]]]] = {
    "embedding_get": {"front": GetEmbedding, "table": GetFromTable},
    "answer_get": {"front": GetAnswer},
    "embedding_put": {"front": PutEmbedding, "table": PutInTable},
    "embedding_overwrite": {"front": OverwriteEmbedding, "table": OverwriteInTable},
    "memory_hit": {"front": HitMemory},
    "cache_latency": {"memory": HitMemoryOnce, "table": GetEmbedding},
}
