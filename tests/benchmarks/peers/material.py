"""What is written: one turn, a conversation's cached values, rows for bulk work."""

from __future__ import annotations

import hashlib
import itertools
import time
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from clonedb import NewTurn, new_id, pack_vector

TURN: Final = NewTurn(
    user_transcript="And what did you think of the second movement, the one in the minor key?",
    transcript_confidence=0.93,
    user_audio_duration_ms=3_400,
    retrieved_chunks=["notes on the concert of 1871, page 4", "letter to a friend"],
    llm_response="It was slower than I remembered. The strings carried it, and when the oboe came "
    "in I had to look away from the stage for a moment.",
    response_audio_duration_ms=8_200,
    asr_latency_ms=180,
    rag_latency_ms=90,
    llm_latency_ms=640,
    tts_latency_ms=300,
    total_latency_ms=1_210,
    asr_cost=Decimal("0.0004"),
    llm_cost=Decimal("0.0051"),
    tts_cost=Decimal("0.0007"),
)

# 1,536 numbers, as common embedding models give them: 6 KiB.
VECTOR: Final = pack_vector([number / 1_536 for number in range(1_536)])
EMBEDDING_MODEL: Final = "text-embedding-3-small"
RESULTS: Final[list[dict[str, Any]]] = [
    {"id": f"chunk-{number}", "score": 0.9 - number / 100, "text": "The strings carried it. " * 8}
    for number in range(5)
]
BULK_GROUP: Final = "bulk"

_DOMAIN = "example.com"


def bulk_users(count: int) -> list[dict[str, Any]]:
    """New users as a service has them before any library is involved."""
    return [
        {
            "id": new_id(),
            "email": f"{BULK_GROUP}-{number}@{_DOMAIN}",
            "name": f"Person {number}",
            "personality_traits": ["curious", "patient", "dry"],
            "speaking_style": "Short sentences. Asks back before answering.",
            "preferred_llm_provider": "claude-3-opus",
            "preferred_tts_provider": "xtts-v2",
            "subscription_tier": "pro",
            "settings": {"theme": "dark", "language": "en-GB", "volume": 0.8, "captions": True},
        }
        for number in range(count)
    ]


def bulk_sessions(count: int) -> list[dict[str, Any]]:
    """New sessions of one user."""
    return [
        {"id": new_id(), "llm_provider": "claude-3-opus", "tts_provider": "xtts-v2"}
        for _ in range(count)
    ]


def first_number() -> itertools.count[int]:
    """Numbers of turns that no other process has given."""
    return itertools.count(time.time_ns())


def turn_key(user_id: UUID, number: int, what: bytes) -> bytes:
    """A cache key that no turn had before."""
    return hashlib.sha256(user_id.bytes + number.to_bytes(8, "big") + what).digest()
