"""valkey-glide on the unix socket of a redis-server: one connection that all callers share."""

from __future__ import annotations

import itertools
from typing import Final

from glide import (
    Batch,
    ExpirySet,
    ExpiryType,
    GlideClient,
    GlideClientConfiguration,
    NodeAddress,
)

from tests.benchmarks.contestant import Contestant, check
from tests.benchmarks.peers.cached_material import TTL_SECONDS, redis_values, vector

_HITS: Final = "hits"
_EXPIRY: Final = ExpirySet(ExpiryType.SEC, TTL_SECONDS)
# It gives up after 250 ms by default, which a busy machine may take.
_TIMEOUT_MS: Final = 10_000


class _OnGlide(Contestant):
    """One client, and the entries in the server."""

    what = ""

    async def open(self) -> None:
        self.client = await GlideClient.create(
            GlideClientConfiguration(
                [NodeAddress(unix_socket_path=self.ground.redis)], request_timeout=_TIMEOUT_MS
            )
        )
        values = redis_values(self.ground, self.what)
        for key, value in values:
            await self.client.set(key, value, expiry=_EXPIRY)
        self._values = itertools.cycle(values)

    async def close(self) -> None:
        await self.client.close()


class GetEmbedding(_OnGlide):
    what = "embedding"

    async def call(self, caller: int) -> None:
        key, value = next(self._values)
        found = await self.client.get(key)
        check(found is not None and len(found) == len(value))


class GetAnswer(_OnGlide):
    """GET and HINCRBY in one batch: one round trip."""

    what = "answer"

    async def call(self, caller: int) -> None:
        key, value = next(self._values)
        batch = Batch(is_atomic=False)
        batch.get(key)
        batch.hincrby(_HITS, key, 1)
        found, hits = await self.client.exec(batch, raise_on_error=True)
        check(len(found) == len(value) and hits > 0)


class PutEmbedding(_OnGlide):
    what = "embedding"

    async def call(self, caller: int) -> None:
        key, value = next(self._values)
        check(await self.client.set(key, value, expiry=_EXPIRY) == "OK")


class OverwriteEmbedding(_OnGlide):
    what = "embedding"

    async def open(self) -> None:
        await super().open()
        self._numbers = itertools.count()

    async def call(self, caller: int) -> None:
        key, _ = next(self._values)
        value = vector(next(self._numbers))
        check(await self.client.set(key, value, expiry=_EXPIRY) == "OK")


CONTESTANTS: Final[dict[str, dict[str, type[Contestant]]]] = {
    "embedding_get": {"get": GetEmbedding},
    "answer_get": {"batch": GetAnswer},
    "cache_latency": {"get": GetEmbedding},
    "embedding_put": {"set": PutEmbedding},
    "embedding_overwrite": {"set": OverwriteEmbedding},
}
