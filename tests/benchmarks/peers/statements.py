"""The statements of sql/ for peers that take SQL: the same text as clonedb sends.

Parameters are in the order of their first appearance, as `$1`, `$2`, …
"""

from __future__ import annotations

from typing import Any, Final
from uuid import UUID

from clonedb import NewTurn, new_id, queries
from clonedb.queries import query_of


def text_of(query: Any, **arguments: Any) -> str:
    """The text that clonedb sends for arguments of these names."""
    statement, _ = query_of(query).bind(arguments)
    return statement.text


def _check_order(query: Any, *names: str) -> None:
    order = query_of(query).full.parameters
    if order != names:
        raise AssertionError(f"the parameters of {query_of(query)} are {order}")


FIND_USER: Final = text_of(queries.users.find_by_id, id=None)
FIND_USER_OF_CONTEXT: Final = text_of(queries.users.find_by_id, id=None, user_id=None)
FIND_TURN: Final = text_of(
    queries.conversation_turns.find_by_id, user_id=None, session_id=None, id=None
)
# Of a session that the caller has, and so its window: user, session, first id, end id, limit.
NEWEST_TURNS: Final = text_of(
    queries.conversation_turns.find_many,
    user_id=None,
    session_id=None,
    window=True,
    first_id=None,
    end_id=None,
    limit=None,
    order="newest",
)
SESSION_WITH_TURNS: Final = text_of(
    queries.conversation_sessions.find_with_turns,
    user_id=None,
    id=None,
    window=True,
    first_id=None,
    end_id=None,
    limit=None,
)
RECORD_TURN: Final = query_of(queries.conversation_turns.record).full.text
_check_order(
    queries.conversation_turns.record,
    *("user_id", "session_id", "id", "state", "user_transcript", "transcript_confidence"),
    *("user_audio_duration_ms", "retrieved_chunks", "llm_response", "response_audio_duration_ms"),
    *("asr_latency_ms", "rag_latency_ms", "llm_latency_ms", "tts_latency_ms", "total_latency_ms"),
    *("asr_cost", "llm_cost", "tts_cost"),
)


def record_values(
    user_id: UUID, session_id: UUID, turn: NewTurn, state: str | None = None
) -> tuple[Any, ...]:
    """The values of RECORD_TURN."""
    return (
        user_id,
        session_id,
        turn.id,
        state,
        turn.user_transcript,
        turn.transcript_confidence,
        turn.user_audio_duration_ms,
        turn.retrieved_chunks,
        turn.llm_response,
        turn.response_audio_duration_ms,
        turn.asr_latency_ms,
        turn.rag_latency_ms,
        turn.llm_latency_ms,
        turn.tts_latency_ms,
        turn.total_latency_ms,
        turn.asr_cost,
        turn.llm_cost,
        turn.tts_cost,
    )


# What hand-written code sends between BEGIN and COMMIT.
LOCK_SESSION: Final = """
SELECT s.started_at, s.ended_at, s.total_turns, s.total_latency_ms, s.total_cost
FROM clonedb.conversation_sessions AS s
WHERE s.user_id = $1 AND s.id = $2 AND s.deleted_at IS NULL
FOR NO KEY UPDATE
"""
INSERT_TURN: Final = """
INSERT INTO clonedb.conversation_turns AS t (
    user_id, session_id, id, session_started_at, turn_number, user_transcript,
    transcript_confidence, user_audio_duration_ms, retrieved_chunks, llm_response,
    response_audio_duration_ms, asr_latency_ms, rag_latency_ms, llm_latency_ms, tts_latency_ms,
    total_latency_ms, asr_cost, llm_cost, tts_cost
)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19)
RETURNING
    t.session_id, t.id, t.turn_number, t.user_transcript, t.transcript_confidence,
    t.user_audio_duration_ms, t.retrieved_chunks, t.llm_response, t.response_audio_duration_ms,
    t.asr_latency_ms, t.rag_latency_ms, t.llm_latency_ms, t.tts_latency_ms, t.total_latency_ms,
    t.asr_cost, t.llm_cost, t.tts_cost, t.total_cost, t.created_at
"""
ADD_TOTALS: Final = """
UPDATE clonedb.conversation_sessions AS s
SET total_turns = $3, total_latency_ms = $4, total_cost = $5, updated_at = now()
WHERE s.user_id = $1 AND s.id = $2
"""


def insert_values(
    user_id: UUID, session_id: UUID, started_at: Any, number: int, turn: NewTurn
) -> tuple[Any, ...]:
    """The values of INSERT_TURN."""
    return (
        user_id,
        session_id,
        new_id(),
        started_at,
        number,
        turn.user_transcript,
        turn.transcript_confidence,
        turn.user_audio_duration_ms,
        turn.retrieved_chunks,
        turn.llm_response,
        turn.response_audio_duration_ms,
        turn.asr_latency_ms,
        turn.rag_latency_ms,
        turn.llm_latency_ms,
        turn.tts_latency_ms,
        turn.total_latency_ms,
        turn.asr_cost,
        turn.llm_cost,
        turn.tts_cost,
    )
