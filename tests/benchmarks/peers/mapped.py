"""The tables as SQLAlchemy maps them: typed declarative classes, as its documentation has them."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import (
    Computed,
    DateTime,
    FetchedValue,
    ForeignKeyConstraint,
    Numeric,
    Text,
    and_,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, foreign, mapped_column, relationship

_SCHEMA = {"schema": "clonedb"}


class Base(DeclarativeBase):
    """Columns without a type of their own get these."""

    type_annotation_map = {
        str: Text,
        datetime: DateTime(timezone=True),
        Decimal: Numeric(14, 6),
        dict[str, Any]: JSONB,
        list[str]: ARRAY(Text),
    }


class User(Base):
    """A user, with the columns that clonedb reads."""

    __tablename__ = "users"
    __table_args__ = _SCHEMA

    id: Mapped[UUID] = mapped_column(primary_key=True)
    email: Mapped[str]
    name: Mapped[str | None]
    personality_traits: Mapped[list[str]]
    speaking_style: Mapped[str | None]
    preferred_llm_provider: Mapped[str]
    preferred_tts_provider: Mapped[str]
    subscription_tier: Mapped[str]
    conversation_minutes_used: Mapped[Decimal] = mapped_column(server_default=FetchedValue())
    settings: Mapped[dict[str, Any]]
    created_at: Mapped[datetime] = mapped_column(server_default=FetchedValue())
    updated_at: Mapped[datetime] = mapped_column(server_default=FetchedValue())
    deleted_at: Mapped[datetime | None]


class ConversationSession(Base):
    """A session and its turns, newest last."""

    __tablename__ = "conversation_sessions"
    __table_args__ = _SCHEMA

    user_id: Mapped[UUID] = mapped_column(primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True)
    started_at: Mapped[datetime] = mapped_column(server_default=FetchedValue())
    ended_at: Mapped[datetime | None]
    state: Mapped[str] = mapped_column(server_default=FetchedValue())
    llm_provider: Mapped[str]
    tts_provider: Mapped[str]
    voice_model_id: Mapped[UUID | None]
    face_model_id: Mapped[UUID | None]
    total_turns: Mapped[int] = mapped_column(server_default=FetchedValue())
    total_latency_ms: Mapped[int] = mapped_column(server_default=FetchedValue())
    average_latency_ms: Mapped[float | None] = mapped_column(Computed("total_latency_ms"))
    total_cost: Mapped[Decimal] = mapped_column(server_default=FetchedValue())
    turn_window_start: Mapped[UUID] = mapped_column(Computed("id"), deferred=True)
    turn_window_end: Mapped[UUID] = mapped_column(Computed("id"), deferred=True)
    created_at: Mapped[datetime] = mapped_column(server_default=FetchedValue())
    updated_at: Mapped[datetime] = mapped_column(server_default=FetchedValue())
    deleted_at: Mapped[datetime | None]

    # With the window of the session, so that the other months are pruned for this peer as well.
    turns: Mapped[list[ConversationTurn]] = relationship(
        primaryjoin=lambda: and_(
            ConversationSession.user_id == foreign(ConversationTurn.user_id),
            ConversationSession.id == foreign(ConversationTurn.session_id),
            ConversationTurn.id >= ConversationSession.turn_window_start,
            ConversationTurn.id < ConversationSession.turn_window_end,
        ),
        order_by=lambda: ConversationTurn.turn_number,
        viewonly=True,
    )


class ConversationTurn(Base):
    """A turn."""

    __tablename__ = "conversation_turns"
    __table_args__ = (
        ForeignKeyConstraint(
            ["user_id", "session_id"],
            ["clonedb.conversation_sessions.user_id", "clonedb.conversation_sessions.id"],
        ),
        _SCHEMA,
    )

    user_id: Mapped[UUID] = mapped_column(primary_key=True)
    session_id: Mapped[UUID] = mapped_column(primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True)
    session_started_at: Mapped[datetime] = mapped_column(deferred=True)
    turn_number: Mapped[int]
    user_transcript: Mapped[str]
    transcript_confidence: Mapped[float | None]
    user_audio_duration_ms: Mapped[int | None]
    retrieved_chunks: Mapped[list[str]]
    llm_response: Mapped[str]
    response_audio_duration_ms: Mapped[int | None]
    asr_latency_ms: Mapped[int | None]
    rag_latency_ms: Mapped[int | None]
    llm_latency_ms: Mapped[int | None]
    tts_latency_ms: Mapped[int | None]
    total_latency_ms: Mapped[int]
    asr_cost: Mapped[Decimal]
    llm_cost: Mapped[Decimal]
    tts_cost: Mapped[Decimal]
    total_cost: Mapped[Decimal] = mapped_column(Computed("asr_cost + llm_cost + tts_cost"))
    created_at: Mapped[datetime] = mapped_column(server_default=FetchedValue())
