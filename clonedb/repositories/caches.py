"""The caches of the second tier: embeddings, vector searches, LLM responses, audio chunks."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, UnsetType

from clonedb import queries
from clonedb.errors import InvalidInput
from clonedb.ids import check_id
from clonedb.pages import filter_arguments
from clonedb.repositories.audio_chunk_cache import AudioChunkCache
from clonedb.repositories.cache_table import (
    PURGE_BATCH,
    SHARED_USER,
    BatchSize,
    CacheTable,
    check_tag,
    check_ttl,
)
from clonedb.repositories.embedding_cache import EmbeddingCache
from clonedb.repositories.llm_response_cache import LlmResponseCache
from clonedb.repositories.vector_search_cache import VectorSearchCache
from clonedb.repositories.writing import found
from clonedb.validation import Moment, convert

if TYPE_CHECKING:
    from clonedb.scope import Scope

# What three people have said for themselves gives none of them away, and no single login can have
# put it there for others to find.
COMMON_HOLDERS: Final = 3
COMMON_TTL: Final = timedelta(days=7)

Holders = Annotated[int, Meta(ge=2, le=1_000_000)]

CacheName = Literal["embedding", "vector_search", "llm_response", "audio_chunk"]
TrimSize = Annotated[int, Meta(ge=1, le=10_000)]
Budget = Annotated[int, Meta(ge=0, le=1_000_000_000)]


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


class CacheUsage(msgspec.Struct, frozen=True):
    """How one cache was used in an hour, over all processes; see `CacheFigures` for the figures."""

    hour: datetime
    cache: CacheName
    memory_hits: int
    database_hits: int
    stale_hits: int
    misses: int
    fills: int
    failures: int


class CacheUsagePeriod(msgspec.Struct, frozen=True, kw_only=True):
    """Which hours; UNSET fields do not narrow, `hour_before` is exclusive."""

    hour_from: Moment | UnsetType = UNSET
    hour_before: Moment | UnsetType = UNSET


class CacheBudget(msgspec.Struct, frozen=True):
    """How many entries of everybody a cache may hold."""

    cache: CacheName
    maximum_entries: int


class TrimmedCache(msgspec.Struct, frozen=True):
    """How many entries of a cache had expired, and how many made room, when it was trimmed."""

    cache: CacheName
    expired: int
    evicted: int


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

    async def outdate(self, caches: Iterable[CacheName]) -> None:
        """Make every entry of these caches old, with the commit of what it is called in.

        For what the database does not know of: that documents or voices change is seen by their own
        statements. Nothing that was made before is read again, and every process is told.
        """
        if isinstance(caches, str):
            raise InvalidInput("caches: a list of names is asked for, not one text")
        names: list[CacheName] = convert(list(caches), list[CacheName], "caches")
        if not names:
            raise InvalidInput("no cache is named")
        await self._scope.value(
            queries.cache_changes.record, user_id=SHARED_USER, caches=sorted(set(names))
        )

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


class SystemCacheRepository(CacheRepository):
    """The shared entries, and the upkeep of everybody's."""

    __slots__ = ()

    async def trim(self, *, limit: int = PURGE_BATCH) -> list[TrimmedCache]:
        """Remove up to `limit` expired entries of each cache, whoever they belong to.

        Then up to as many of those soonest to expire, where a cache is beyond its budget.
        """
        return await self._scope.all(
            queries.caches.trim, TrimmedCache, limit=convert(limit, TrimSize, "limit")
        )

    async def budgets(self) -> list[CacheBudget]:
        """How many entries of everybody each cache may hold."""
        return await self._scope.all(queries.caches.find_budgets, CacheBudget)

    async def put_budget(self, cache: CacheName, maximum_entries: int) -> CacheBudget:
        """Set how many entries of everybody a cache may hold, under the worker login."""
        stored = await self._scope.one(
            queries.caches.put_budget,
            CacheBudget,
            cache=convert(cache, CacheName, "cache"),
            maximum_entries=convert(maximum_entries, Budget, "maximum_entries"),
        )
        return found(stored, "budget", cache)

    async def usage(self, period: CacheUsagePeriod | None = None) -> list[CacheUsage]:
        """How the caches were used by hour, over all users and processes."""
        return await self._scope.all(queries.caches.usage, CacheUsage, **filter_arguments(period))

    async def share_common_embeddings(
        self,
        *,
        holders: int = COMMON_HOLDERS,
        ttl: timedelta = COMMON_TTL,
        limit: int = PURGE_BATCH,
    ) -> int:
        """Let everybody read the embeddings that so many users hold, under the worker login.

        Returns how many were shared, at most `limit`. Entries count until they are purged, also
        after they expired. Only what is the same to the last bit for all these users is shared.
        """
        return await self._scope.count(
            queries.embedding_cache.share_common,
            holders=convert(holders, Holders, "holders"),
            ttl=check_ttl(ttl),
            limit=convert(limit, BatchSize, "limit"),
        )


async def _purge(cache: CacheTable[Any], limit: int) -> int:
    return sum([dropped async for dropped in cache.purge_batches(limit=limit)])
