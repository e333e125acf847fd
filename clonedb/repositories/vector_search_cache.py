"""The cache of vector searches: what the vector index has found."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

import msgspec

from clonedb import queries
from clonedb.errors import InvalidInput
from clonedb.ids import check_id
from clonedb.repositories.cache_table import CachedEntry, CacheTable, check_documents
from clonedb.validation import convert

VECTOR_SEARCH_TTL: Final = timedelta(minutes=30)

# As JSON text. The column's own bound is on what it stores, which for many short numbers is more.
MAXIMUM_RESULTS_BYTES: Final = 2 * 1024 * 1024

SearchResults = list[dict[str, Any]]


class CachedVectorSearch(CachedEntry, frozen=True):
    """What a search found, and the documents that were in it."""

    results: SearchResults
    document_ids: list[UUID]


class VectorSearchCache(CacheTable[CachedVectorSearch]):
    """Results of searches, by the digest of the whole query vector, filter and index."""

    __slots__ = ()

    _queries = queries.vector_search_cache
    _entry = CachedVectorSearch

    async def put(
        self,
        key: bytes,
        *,
        results: SearchResults,
        document_ids: Iterable[UUID | str] = (),
        tags: Iterable[str] = (),
        ttl: timedelta = VECTOR_SEARCH_TTL,
    ) -> bool:
        """Store or renew an entry; False where the same is stored with half its time left.

        Raises InvalidInput for results of more than 2 MiB of JSON.
        """
        return await self._put(
            key,
            tags,
            ttl,
            results=encode_results(results),
            document_ids=check_documents(document_ids),
        )

    async def invalidate_by_document(self, document_id: UUID | str) -> int:
        """Drop the searches that found a document; returns how many there were."""
        return await self._scope.count(
            queries.vector_search_cache.invalidate_by_document,
            document_id=check_id(document_id, "document_id"),
        )


def encode_results(results: SearchResults) -> str:
    """The results as JSON; InvalidInput for what JSON or the column does not take."""
    checked = convert(results, SearchResults, "results")
    encoded = msgspec.json.encode(checked)
    if len(encoded) > MAXIMUM_RESULTS_BYTES:
        raise InvalidInput(
            f"results: {len(encoded):,} bytes of JSON, of at most {MAXIMUM_RESULTS_BYTES:,}",
            remedy="cache the ids and scores, and read the texts by their ids",
        )
    return encoded.decode()
