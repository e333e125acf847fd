"""The tables as Tortoise maps them. It knows no key of two columns, so the id alone is the key."""

from __future__ import annotations

from typing import Any

import msgspec
from tortoise import fields
from tortoise.contrib.postgres.fields import ArrayField
from tortoise.models import Model


def _encode(value: Any) -> str:
    return msgspec.json.encode(value).decode()


class User(Model):
    """A user, with the columns that clonedb reads."""

    id = fields.UUIDField(primary_key=True)
    email = fields.TextField()
    name = fields.TextField(null=True)
    personality_traits = ArrayField(element_type="text")
    speaking_style = fields.TextField(null=True)
    preferred_llm_provider = fields.TextField()
    preferred_tts_provider = fields.TextField()
    subscription_tier = fields.TextField()
    conversation_minutes_used = fields.DecimalField(max_digits=12, decimal_places=3)
    settings: Any = fields.JSONField(encoder=_encode, decoder=msgspec.json.decode)
    created_at = fields.DatetimeField()
    updated_at = fields.DatetimeField()
    deleted_at = fields.DatetimeField(null=True)

    class Meta:
        schema = "clonedb"
        table = "users"


class ConversationSession(Model):
    """A session; `turns` are its turns."""

    id = fields.UUIDField(primary_key=True)
    user_id = fields.UUIDField()
    started_at = fields.DatetimeField()
    ended_at = fields.DatetimeField(null=True)
    state = fields.TextField()
    llm_provider = fields.TextField()
    tts_provider = fields.TextField()
    voice_model_id = fields.UUIDField(null=True)
    face_model_id = fields.UUIDField(null=True)
    total_turns = fields.IntField()
    total_latency_ms = fields.BigIntField()
    average_latency_ms = fields.FloatField(null=True)
    total_cost = fields.DecimalField(max_digits=14, decimal_places=6)
    turn_window_start = fields.UUIDField()
    turn_window_end = fields.UUIDField()
    created_at = fields.DatetimeField()
    updated_at = fields.DatetimeField()
    deleted_at = fields.DatetimeField(null=True)

    class Meta:
        schema = "clonedb"
        table = "conversation_sessions"


class ConversationTurn(Model):
    """A turn."""

    id = fields.UUIDField(primary_key=True)
    user_id = fields.UUIDField()
    session: Any = fields.ForeignKeyField("models.ConversationSession", related_name="turns")
    session_started_at = fields.DatetimeField()
    turn_number = fields.IntField()
    user_transcript = fields.TextField()
    transcript_confidence = fields.FloatField(null=True)
    user_audio_duration_ms = fields.IntField(null=True)
    retrieved_chunks = ArrayField(element_type="text")
    llm_response = fields.TextField()
    response_audio_duration_ms = fields.IntField(null=True)
    asr_latency_ms = fields.IntField(null=True)
    rag_latency_ms = fields.IntField(null=True)
    llm_latency_ms = fields.IntField(null=True)
    tts_latency_ms = fields.IntField(null=True)
    total_latency_ms = fields.IntField()
    asr_cost = fields.DecimalField(max_digits=12, decimal_places=6)
    llm_cost = fields.DecimalField(max_digits=12, decimal_places=6)
    tts_cost = fields.DecimalField(max_digits=12, decimal_places=6)
    total_cost = fields.DecimalField(max_digits=14, decimal_places=6, generated=True)
    created_at = fields.DatetimeField(generated=True)

    class Meta:
        schema = "clonedb"
        table = "conversation_turns"
