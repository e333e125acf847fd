"""A question asked twice: the answer comes from the cache until one of its sources changes."""

from __future__ import annotations

import hashlib
import time
from typing import Final
from uuid import UUID

import msgspec

from clonedb.demo.papers import papers_of
from clonedb.demo.service import Held
from clonedb.repositories.caches import CacheStatistics
from clonedb.repositories.conversation_turns import ConversationTurn
from clonedb.repositories.llm_response_cache import CachedResponse, LlmResponseCache
from clonedb.scopes import DatabaseScope

_MILLISECONDS: Final = 1000


class Lookup(msgspec.Struct, frozen=True):
    """One look into the cache, and how long the call took."""

    hit: bool
    milliseconds: float


class CacheFigures(msgspec.Struct, frozen=True):
    """What became of an answer.

    It was not there, was put, and was there; not for the reader, whose cache is another one. Then
    a document that it was made from was indexed anew, and what depended on it was dropped.
    """

    owner: str
    reader: str
    question: str
    first: Lookup
    stored: bool
    second: Lookup
    reader_lookup: Lookup
    same_answer: bool
    changed_document: str
    dropped: int
    after_change: Lookup
    caches: list[CacheStatistics]


async def ask_twice(
    app: DatabaseScope, worker: DatabaseScope, owner: Held, reader: Held, turn: ConversationTurn
) -> CacheFigures:
    """Ask what the owner has asked in the turn, through the cache of LLM responses."""
    scope = app.as_user(owner.user.id)
    cache = scope.caches.llm_response
    key = _key(owner.session.id, turn)
    sources = [one for one in papers_of(owner.user) if one.filename in turn.retrieved_chunks]
    first, _ = await _look(cache, key)
    stored = await cache.put(
        key,
        response=turn.llm_response,
        provider=owner.session.llm_provider,
        document_ids=[paper.id for paper in sources],
    )
    second, entry = await _look(cache, key)
    await cache.record_hits({key: 1})
    reader_lookup, _ = await _look(app.as_user(reader.user.id).caches.llm_response, key)
    statistics = await worker.caches.statistics()
    changed = sources[0]
    vector_ids = [f"{changed.id}/anew/{number}" for number, _ in enumerate(changed.pieces, 1)]
    await scope.knowledge_documents.set_vectors(changed.id, vector_ids)
    dropped = await scope.caches.invalidate_by_document(changed.id)
    after_change, _ = await _look(cache, key)
    return CacheFigures(
        owner=owner.user.name or "",
        reader=reader.user.name or "",
        question=turn.user_transcript,
        first=first,
        stored=stored,
        second=second,
        reader_lookup=reader_lookup,
        same_answer=entry is not None and entry.response == turn.llm_response,
        changed_document=changed.filename,
        dropped=dropped.total,
        after_change=after_change,
        caches=statistics,
    )


async def _look(cache: LlmResponseCache, key: bytes) -> tuple[Lookup, CachedResponse | None]:
    started = time.perf_counter()
    entry = await cache.get(key)
    milliseconds = (time.perf_counter() - started) * _MILLISECONDS
    return Lookup(entry is not None, milliseconds), entry


def _key(session_id: UUID, turn: ConversationTurn) -> bytes:
    # The whole prompt: what was said before in this conversation is part of it.
    return hashlib.sha256(f"{session_id}\0{turn.id}\0{turn.user_transcript}".encode()).digest()
