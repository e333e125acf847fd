"""The whole turn by hand: psycopg's pipeline around what can go together."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

from psycopg import AsyncConnection
from psycopg.types.json import Jsonb

from clonedb import (
    CachedEmbedding,
    CachedResponse,
    CachedVectorSearch,
    ConversationSession,
    ConversationTurn,
    RateLimitDecision,
    TokenRequest,
    queries,
)
from clonedb.repositories.rate_limit_decisions import TokenLook, decisions_of, runs_of
from tests.benchmarks.contestant import check
from tests.benchmarks.peers import statements
from tests.benchmarks.peers.material import (
    EMBEDDING_MODEL,
    RESULTS,
    TURN,
    VECTOR,
    first_number,
    turn_key,
)
from tests.benchmarks.peers.psycopg_connections import Pinned, one


class WholeTurn(Pinned):
    """The statements of clonedb's whole turn, those that can go together in one pipeline.

    A connection belongs to one conversation, so that it names its user once and for all.
    """

    async def open(self) -> None:
        await super().open()
        self._numbers = first_number()

    async def release(self) -> None:
        """Nothing: it has no neighbours, and planning its statements anew takes seconds."""

    async def made(self, connection: AsyncConnection[Any], caller: int) -> None:
        user_id, _ = self.ground.conversations[caller]
        await connection.execute("SELECT set_config('clonedb.user_id', $1, false)", (str(user_id),))

    async def call(self, caller: int) -> None:
        user_id, session_id = self.ground.conversations[caller]
        connection, number = self.connections[caller], next(self._numbers)
        embedding_key = turn_key(user_id, number, b"embedding")
        search_key = turn_key(user_id, number, b"search")
        answer_key = turn_key(user_id, number, b"answer")

        async with connection.pipeline():
            taking = await connection.execute(_TAKE, ("chat", [1.0], [1], None, None))
            moving = await connection.execute(_TRANSITION, (user_id, session_id, "processing"))
            getting = await connection.execute(_GET_EMBEDDING, (user_id, embedding_key))
        decision = _decision(await taking.fetchone())
        session = _session(await moving.fetchone())
        embedding = _entry(CachedEmbedding, await getting.fetchone())
        check(decision.allowed and session.state == "processing" and embedding is None)
        getting = await connection.execute(_GET_SEARCH, (user_id, search_key))
        check(_entry(CachedVectorSearch, await getting.fetchone()) is None)
        getting = await connection.execute(_GET_ANSWER, (user_id, answer_key))
        check(_entry(CachedResponse, await getting.fetchone()) is None)
        async with connection.pipeline():
            recording = await connection.execute(
                statements.RECORD_TURN,
                statements.record_values(user_id, session_id, TURN, "speaking"),
            )
            await connection.execute(
                _PUT_EMBEDDING,
                (user_id, embedding_key, VECTOR, EMBEDDING_MODEL, len(VECTOR) // 4, [], _HOUR),
            )
            await connection.execute(
                _PUT_SEARCH, (user_id, search_key, Jsonb(RESULTS), [], [], _HOUR / 2)
            )
            await connection.execute(
                _PUT_ANSWER,
                (user_id, answer_key, TURN.llm_response, "claude-3-opus", [], [], _HOUR),
            )
        outcome, _, *columns = await one(recording)
        check(outcome == "recorded" and ConversationTurn(*columns).session_id == session_id)
        moving = await connection.execute(_TRANSITION, (user_id, session_id, "listening"))
        check(_session(await moving.fetchone()).state == "listening")


_HOUR: Final = timedelta(hours=1)
_CACHED: Final = {"user_id": None, "key": None, "tags": None, "ttl": None}
_TAKE: Final = statements.text_of(
    queries.rate_limits.take, endpoint=None, costs=None, counts=None, receipts=None, address=None
)
_ONE: Final = runs_of([TokenRequest(1.0)])
_TRANSITION: Final = statements.text_of(
    queries.conversation_sessions.transition, user_id=None, id=None, to_state=None
)
_GET_EMBEDDING: Final = statements.text_of(queries.embedding_cache.get, user_id=None, key=None)
_GET_SEARCH: Final = statements.text_of(queries.vector_search_cache.get, user_id=None, key=None)
_GET_ANSWER: Final = statements.text_of(queries.llm_response_cache.get, user_id=None, key=None)
_PUT_EMBEDDING: Final = statements.text_of(
    queries.embedding_cache.put, **_CACHED, embedding=None, model=None, dimensions=None
)
_PUT_SEARCH: Final = statements.text_of(
    queries.vector_search_cache.put, **_CACHED, results=None, document_ids=None
)
_PUT_ANSWER: Final = statements.text_of(
    queries.llm_response_cache.put, **_CACHED, response=None, provider=None, document_ids=None
)


def _decision(row: Any) -> RateLimitDecision:
    look = TokenLook(*row)
    check(look.looked_at is not None)
    return decisions_of(look, look.looked_at, _ONE)[0]  # type: ignore[arg-type]


def _session(row: Any) -> ConversationSession:
    return ConversationSession(*row[1:])


def _entry(kind: Any, row: Any) -> Any:
    return None if row is None else kind(*row)
