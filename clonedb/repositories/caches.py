"""The caches of the second tier: embeddings, vector searches, LLM responses, audio chunks."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal
from uuid import UUID

import msgspec

from clonedb import queries
from clonedb.ids import check_id
from clonedb.repositories.audio_chunk_cache import AudioChunkCache
from clonedb.repositories.cache_table import PURGE_BATCH, CacheTable, check_tag
from clonedb.repositories.embedding_cache import EmbeddingCache
from clonedb.repositories.llm_response_cache import LlmResponseCache
from clonedb.repositories.vector_search_cache import VectorSearchCache

if TYPE_CHECKING:
    from clonedb.scope import Scope

CacheName = Literal["embedding", "vector_search", "llm_response", "audio_chunk"]


class DroppedEntries(msgspec.Struct, frozen=True):
    """How many entries of each cache a call has dropped."""

    embedding: int
    vector_search: int
    llm_response: int
    audio_chunk: int

    @property
    def total(self) -> int:
        return self.embedding + self.vector_search + self.llm_response + self.audio_chunk


class CacheStatistics(msgspec.Struct, frozen=True):
    """What one cache holds, expired entries included; bytes are those of values as stored.

    `oldest_at` and `newest_at` are None for an empty cache. `hits` are those recorded.
    """

    cache: CacheName
    entries: int
    expired_entries: int
    value_bytes: int
    hits: int
    oldest_at: datetime | None
    newest_at: datetime | None


class CacheAgeStatistics(msgspec.Struct, frozen=True):
    """What one cache holds of an age: seconds since an entry was last stored.

    `before_seconds` is exclusive, and None for the oldest.
    """

    cache: CacheName
    from_seconds: int
    before_seconds: int | None
    entries: int
    expired_entries: int
    value_bytes: int
    hits: int


class CacheRepository:
    """The four caches, and what concerns them together.

    In a user's scope it is about that user alone. In the scope of the worker login, `get`, `put`
    and `delete` are about the shared entries, which everybody reads; what drops or counts many
    covers everybody. Every row is UNLOGGED: a crash of the server empties the caches.
    """

    __slots__ = ("_scope",)

    def __init__(self, scope: Scope) -> None:
        self._scope = scope

    @property
    def embedding(self) -> EmbeddingCache:
        return EmbeddingCache(self._scope)

    @property
    def vector_search(self) -> VectorSearchCache:
        return VectorSearchCache(self._scope)

    @property
    def llm_response(self) -> LlmResponseCache:
        return LlmResponseCache(self._scope)

    @property
    def audio_chunk(self) -> AudioChunkCache:
        return AudioChunkCache(self._scope)

    async def invalidate_all(self) -> DroppedEntries:
        """Drop every entry of the four caches, in one statement."""
        rows = await self._scope.rows(queries.caches.invalidate_all)
        return DroppedEntries(*rows[0])

    async def invalidate_by_document(self, document_id: UUID | str) -> DroppedEntries:
        """Drop the searches and responses that a document is part of, in one statement."""
        rows = await self._scope.rows(
            queries.caches.invalidate_by_document,
            document_id=check_id(document_id, "document_id"),
        )
        return DroppedEntries(*rows[0])

    async def invalidate_by_tag(self, tag: str) -> DroppedEntries:
        """Drop the entries of the four caches that bear a tag, in one statement."""
        rows = await self._scope.rows(queries.caches.invalidate_by_tag, tag=check_tag(tag))
        return DroppedEntries(*rows[0])

    async def purge_expired(self, *, limit: int = PURGE_BATCH) -> DroppedEntries:
        """Drop what has expired, batch by batch until a batch is not full.

        Each batch is a statement, and outside a transaction a commit, of its own.
        """
        return DroppedEntries(
            embedding=await _purge(self.embedding, limit),
            vector_search=await _purge(self.vector_search, limit),
            llm_response=await _purge(self.llm_response, limit),
            audio_chunk=await _purge(self.audio_chunk, limit),
        )

    async def statistics(self) -> list[CacheStatistics]:
        """What each of the four caches holds, counted by the database."""
        return await self._scope.all(queries.caches.statistics, CacheStatistics)

    async def statistics_by_age(self) -> list[CacheAgeStatistics]:
        """The same for each age that has entries, youngest first."""
        return await self._scope.all(queries.caches.statistics_by_age, CacheAgeStatistics)


async def _purge(cache: CacheTable[Any], limit: int) -> int:
    total = 0
    while True:
        dropped = await cache.purge_expired(limit=limit)
        total += dropped
        if dropped < limit:
            return total
