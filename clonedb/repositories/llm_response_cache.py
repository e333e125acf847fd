"""The cache of LLM responses: what language models have answered."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Final
from uuid import UUID

from clonedb import queries
from clonedb.ids import check_id
from clonedb.repositories.cache_table import CachedEntry, CacheTable, check_documents
from clonedb.repositories.vocabulary import LlmProvider
from clonedb.validation import Text, convert

LLM_RESPONSE_TTL: Final = timedelta(hours=1)


class CachedResponse(CachedEntry, frozen=True):
    """An answer, and the documents that it was made from."""

    response: str
    provider: LlmProvider
    document_ids: list[UUID]


class LlmResponseCache(CacheTable[CachedResponse]):
    """Answers, by the digest of provider, settings and the whole prompt."""

    __slots__ = ()

    _queries = queries.llm_response_cache
    _entry = CachedResponse

    async def put(
        self,
        key: bytes,
        *,
        response: str,
        provider: LlmProvider,
        document_ids: Iterable[UUID | str] = (),
        tags: Iterable[str] = (),
        ttl: timedelta = LLM_RESPONSE_TTL,
    ) -> bool:
        """Store or renew an entry; False where the same is stored with half its time left."""
        return await self._put(
            key,
            tags,
            ttl,
            response=convert(response, Text, "response"),
            provider=convert(provider, LlmProvider, "provider"),
            document_ids=check_documents(document_ids),
        )

    async def invalidate_by_document(self, document_id: UUID | str) -> int:
        """Drop the answers that were made from a document; returns how many there were."""
        return await self._scope.count(
            queries.llm_response_cache.invalidate_by_document,
            document_id=check_id(document_id, "document_id"),
        )
