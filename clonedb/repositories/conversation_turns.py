"""The Structs of conversation turns; ConversationSessionRepository stores and reads them."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Annotated
from uuid import UUID

import msgspec
from msgspec import Meta

from clonedb.validation import Count, Fraction, Text

Chunks = Annotated[list[Text], Meta(max_length=1_000)]


class ConversationTurn(msgspec.Struct, frozen=True):
    """A stored turn: what was said, its latencies in milliseconds, its costs in US dollars."""

    session_id: UUID
    id: UUID
    turn_number: int
    user_transcript: str
    transcript_confidence: float | None
    user_audio_duration_ms: int | None
    retrieved_chunks: list[str]
    llm_response: str
    response_audio_duration_ms: int | None
    asr_latency_ms: int | None
    rag_latency_ms: int | None
    llm_latency_ms: int | None
    tts_latency_ms: int | None
    total_latency_ms: int
    asr_cost: Decimal
    llm_cost: Decimal
    tts_cost: Decimal
    total_cost: Decimal
    created_at: datetime


class NewTurn(msgspec.Struct, frozen=True, kw_only=True):
    """A turn to record; without an id the database makes one.

    `total_latency_ms` is what the person waited; the stages may overlap. Without it, it is their
    sum. Costs are in US dollars, to six decimals.
    """

    user_transcript: Text
    llm_response: Text
    id: UUID | None = None
    transcript_confidence: Fraction | None = None
    user_audio_duration_ms: Count | None = None
    retrieved_chunks: Chunks = []
    response_audio_duration_ms: Count | None = None
    asr_latency_ms: Count | None = None
    rag_latency_ms: Count | None = None
    llm_latency_ms: Count | None = None
    tts_latency_ms: Count | None = None
    total_latency_ms: Count | None = None
    asr_cost: Decimal = Decimal(0)
    llm_cost: Decimal = Decimal(0)
    tts_cost: Decimal = Decimal(0)


class SessionTurn(NewTurn, frozen=True, kw_only=True):
    """A turn and the session it belongs to, for recording many at once."""

    session_id: UUID
