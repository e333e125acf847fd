"""The cache of embeddings: the vectors that models have made of texts."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Final

from clonedb import queries
from clonedb.adapters import ByteStrings
from clonedb.repositories.cache_table import (
    CachedEntry,
    CacheTable,
    check_keys,
    check_tags,
    check_ttl,
)
from clonedb.validation import Label, convert
from clonedb.vectors import Vector, pack_vector, unpack_vector, view_vector

EMBEDDING_TTL: Final = timedelta(hours=1)


class CachedEmbedding(CachedEntry, frozen=True):
    """A cached vector; `embedding` is float32, little-endian."""

    embedding: bytes
    model: str
    dimensions: int

    def vector(self) -> array[float]:
        """The numbers, as a copy of one's own."""
        return unpack_vector(self.embedding)

    def view(self) -> memoryview[float]:
        """The numbers without a copy, to read; `numpy.asarray(entry.view())` is float32."""
        return view_vector(self.embedding)


class EmbeddingCache(CacheTable[CachedEmbedding]):
    """Embeddings, by the digest of model and text."""

    __slots__ = ()

    _queries = queries.embedding_cache
    _entry = CachedEmbedding

    async def get_many(self, keys: Iterable[bytes]) -> dict[bytes, CachedEmbedding]:
        """The fresh entries among up to 1,000 keys, by their keys."""
        return await self._get_many(keys)

    async def put(
        self,
        key: bytes,
        *,
        embedding: Vector,
        model: str,
        tags: Iterable[str] = (),
        ttl: timedelta = EMBEDDING_TTL,
    ) -> bool:
        """Store or renew an entry; False where the same is stored with half its time left.

        Raises InvalidInput for a vector that `pack_vector` refuses.
        """
        packed = pack_vector(embedding)
        return await self._put(
            key,
            tags,
            ttl,
            embedding=packed,
            model=convert(model, Label, "model"),
            dimensions=len(packed) // 4,
        )

    async def put_many(
        self,
        embeddings: Mapping[bytes, Vector],
        *,
        model: str,
        tags: Iterable[str] = (),
        ttl: timedelta = EMBEDDING_TTL,
    ) -> int:
        """`put` for up to 1,000 vectors of one model, all or none; returns how many it wrote."""
        if not embeddings:
            return 0
        return await self._scope.count(
            queries.embedding_cache.put_many,
            **self._owner(),
            keys=check_keys(embeddings),
            embeddings=ByteStrings(map(pack_vector, embeddings.values())),
            model=convert(model, Label, "model"),
            tags=check_tags(tags),
            ttl=check_ttl(ttl),
        )
