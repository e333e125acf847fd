"""A question asked several times: which tier answers, until one of its sources changes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final, Literal

import msgspec

from clonedb.caching.caches import Caches, UserCaches
from clonedb.caching.keys import LlmResponseKey
from clonedb.caching.values import LlmResponse
from clonedb.database import Database
from clonedb.demo.papers import papers_of
from clonedb.demo.service import Held
from clonedb.repositories.caches import CacheStatistics
from clonedb.repositories.conversation_turns import ConversationTurn
from clonedb.scopes import DatabaseScope

_MILLISECONDS: Final = 1000

# As long as a language model takes to begin with a short answer.
_MODEL_SECONDS: Final = 0.25

_PROCESSES_SECONDS: Final = 5.0

Tier = Literal["computed", "memory", "database"]


class Asked(msgspec.Struct, frozen=True):
    """Who asked, where the answer came from, and how long the call took."""

    who: str
    tier: Tier
    milliseconds: float
    right: bool


class CacheFigures(msgspec.Struct, frozen=True):
    """What became of an answer.

    Twenty callers ask for it in one process, and it is computed once; it is asked for again there,
    in a second process, and by the reader, whose answer is another one. Then a document that it was
    made from is indexed anew, and nobody reads the old answer any more.
    """

    owner: str
    reader: str
    question: str
    callers: int
    computed: int
    first: Asked
    again: Asked
    elsewhere: Asked
    reader_asks: Asked
    changed_document: str
    after_change: Asked
    caches: list[CacheStatistics]


async def ask_again(
    app: Database, worker: DatabaseScope, owner: Held, reader: Held, turn: ConversationTurn
) -> CacheFigures:
    """Ask what the owner has asked in the turn, through the caches of two processes."""
    sources = [one for one in papers_of(owner.user) if one.filename in turn.retrieved_chunks]
    key = LlmResponseKey(
        provider=owner.session.llm_provider,
        # The whole prompt: what was said before in this conversation is part of it.
        prompt=[str(owner.session.id), turn.turn_number, turn.user_transcript],
    )
    right = LlmResponse(turn.llm_response, tuple(paper.id for paper in sources))
    computed = 0

    async def respond() -> LlmResponse:
        nonlocal computed
        computed += 1
        await asyncio.sleep(_MODEL_SECONDS)
        return right

    async def respond_to_the_reader() -> LlmResponse:
        return LlmResponse("That is not in my documents.")

    async with Caches(app) as caches, Database(app.settings.dsn) as other, Caches(other) as theirs:
        mine = caches.of(owner.user.id)
        callers = 20
        answers = await asyncio.gather(
            *(_ask("first", mine, key, respond, right) for _ in range(callers))
        )
        first_computed = computed
        again = await _ask("again", mine, key, respond, right)
        elsewhere = await _ask("elsewhere", theirs.of(owner.user.id), key, respond, right)
        not_theirs = await _ask(
            "the reader", caches.of(reader.user.id), key, respond_to_the_reader, right
        )
        await asyncio.gather(caches.record(), theirs.record())
        statistics = await worker.caches.statistics()
        changed = sources[0]
        vector_ids = [f"{changed.id}/anew/{number}" for number, _ in enumerate(changed.pieces, 1)]
        documents = app.as_user(owner.user.id).knowledge_documents
        await documents.set_vectors(changed.id, vector_ids)
        await _forgotten(theirs.of(owner.user.id), key)
        after_change = await _ask("after", theirs.of(owner.user.id), key, respond, right)
    return CacheFigures(
        owner=owner.user.name or "",
        reader=reader.user.name or "",
        question=turn.user_transcript,
        callers=callers,
        computed=first_computed,
        first=answers[0],
        again=again,
        elsewhere=elsewhere,
        reader_asks=not_theirs,
        changed_document=changed.filename,
        after_change=after_change,
        caches=statistics,
    )


async def _ask(
    who: str,
    caches: UserCaches,
    key: LlmResponseKey,
    compute: Callable[[], Awaitable[LlmResponse]],
    right: LlmResponse,
) -> Asked:
    cache = caches.llm_response
    before = cache.statistics()
    started = time.perf_counter()
    value = await cache.get_or_compute(key, compute)
    milliseconds = (time.perf_counter() - started) * _MILLISECONDS
    after = cache.statistics()
    tier: Tier = "computed"
    if after.memory_hits > before.memory_hits:
        tier = "memory"
    elif after.database_hits > before.database_hits:
        tier = "database"
    return Asked(who, tier, milliseconds, value == right)


async def _forgotten(caches: UserCaches, key: LlmResponseKey) -> None:
    """Wait until the notification has arrived: some milliseconds."""
    async with asyncio.timeout(_PROCESSES_SECONDS):
        while await caches.llm_response.get(key) is not None:  # noqa: ASYNC110 - the server's
            await asyncio.sleep(0.001)
