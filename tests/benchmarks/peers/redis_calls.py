"""redis-py with hiredis, on the unix socket of a redis-server: a connection for each caller."""

from __future__ import annotations

import itertools
from typing import Any, Final, LiteralString

import redis.asyncio

from tests.benchmarks.contestant import Contestant, check
from tests.benchmarks.peers.cached_material import TTL_SECONDS, redis_values, vector

_HITS: Final = "hits"
_ENDPOINT: Final = "talk"
_EMBEDDING_BYTES: Final = 6_144

# The same bucket as clonedb.take_tokens: the server's clock, fractions, and no write for a denial.
_BUCKET: Final[LiteralString] = """
local capacity, refill, cost = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local clock = redis.call('TIME')
local now = clock[1] + clock[2] / 1000000
local state = redis.call('HMGET', KEYS[1], 'tokens', 'at')
local tokens, at = tonumber(state[1]) or capacity, tonumber(state[2]) or now
tokens = math.min(capacity, tokens + math.max(0, now - at) * refill)
if tokens < cost then
    return {0, tostring(tokens), tostring((cost - tokens) / refill)}
end
tokens = tokens - cost
redis.call('HSET', KEYS[1], 'tokens', tostring(tokens), 'at', tostring(math.max(now, at)))
redis.call('EXPIRE', KEYS[1], math.min(86400, math.ceil(capacity / refill)))
return {1, tostring(tokens), '0'}
"""


class _OnRedis(Contestant):
    """One client with its pool, and the entries in the server."""

    what = ""

    async def open(self) -> None:
        self.client = redis.asyncio.Redis(unix_socket_path=self.ground.redis)
        values = redis_values(self.ground, self.what) if self.what else []
        for first in range(0, len(values), 100):
            async with self.client.pipeline(transaction=False) as pipeline:
                for key, value in values[first : first + 100]:
                    pipeline.set(key, value, ex=TTL_SECONDS)
                await pipeline.execute()
        self._values = itertools.cycle(values)

    async def close(self) -> None:
        await self.client.aclose()


class GetEmbedding(_OnRedis):
    what = "embedding"

    async def call(self, caller: int) -> None:
        key, _ = next(self._values)
        found = await self.client.get(key)
        check(found is not None and len(found) == _EMBEDDING_BYTES)


class GetAnswer(_OnRedis):
    """GET and HINCRBY in one pipeline: one round trip."""

    what = "answer"

    async def call(self, caller: int) -> None:
        key, value = next(self._values)
        async with self.client.pipeline(transaction=False) as pipeline:
            pipeline.get(key)
            pipeline.hincrby(_HITS, key, 1)
            found, hits = await pipeline.execute()
        check(len(found) == len(value) and hits > 0)


class GetAnswerInTwo(_OnRedis):
    """GET, then HINCRBY."""

    what = "answer"

    async def call(self, caller: int) -> None:
        key, value = next(self._values)
        found = await self.client.get(key)
        hits = await self.client.hincrby(_HITS, key, 1)
        check(found is not None and len(found) == len(value) and hits > 0)


class PutEmbedding(_OnRedis):
    """The value that is there already."""

    what = "embedding"

    async def call(self, caller: int) -> None:
        key, value = next(self._values)
        check(await self.client.set(key, value, ex=TTL_SECONDS))


class OverwriteEmbedding(_OnRedis):
    """Another value each time."""

    what = "embedding"

    async def open(self) -> None:
        await super().open()
        self._numbers = itertools.count()

    async def call(self, caller: int) -> None:
        key, _ = next(self._values)
        check(await self.client.set(key, vector(next(self._numbers)), ex=TTL_SECONDS))


class Bucket(_OnRedis):
    """The token bucket of this module in Lua, called by its digest; a decision as floats."""

    capacity, refill, allowed = 1e9, 1e6, True

    async def open(self) -> None:
        await super().open()
        self._digest = await self.client.script_load(_BUCKET)
        await self.client.delete(*(self._key(user) for user in self.ground.users))
        if not self.allowed:
            await self._take(self.ground.users[0])  # the only token

    async def call(self, caller: int) -> None:
        allowed, remaining, _ = await self._take(self.next_user())
        check(allowed == self.allowed and remaining < self.capacity)

    async def _take(self, user_id: Any) -> tuple[bool, float, float]:
        answer = await self.client.evalsha(
            self._digest, 1, self._key(user_id), self.capacity, self.refill, 1
        )
        allowed, remaining, retry_after = answer
        return allowed == 1, float(remaining), float(retry_after)

    @staticmethod
    def _key(user_id: Any) -> str:
        return f"bucket:{user_id}:{_ENDPOINT}"


class DeniedBucket(Bucket):
    capacity, refill, allowed = 1.0, 1e-9, False


CONTESTANTS: Final[dict[str, dict[str, type[Contestant]]]] = {
    "embedding_get": {"get": GetEmbedding},
    "answer_get": {"pipeline": GetAnswer, "two": GetAnswerInTwo},
    "memory_hit": {"get": GetEmbedding},
    "cache_latency": {"get": GetEmbedding},
    "embedding_put": {"set": PutEmbedding},
    "embedding_overwrite": {"set": OverwriteEmbedding},
    "limit_denied": {"lua": DeniedBucket},
    "limit_many": {"lua": Bucket},
}
