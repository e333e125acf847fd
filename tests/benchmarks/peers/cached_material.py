"""What the caches' contests read and write: the same bytes under the same digests for everybody."""

from __future__ import annotations

import random
import struct
from typing import Final, NamedTuple
from uuid import UUID

from clonedb.caching.keys import EmbeddingKey, LlmResponseKey
from clonedb.caching.values import Embedding, LlmResponse
from tests.benchmarks.ground import Ground
from tests.benchmarks.peers.material import EMBEDDING_MODEL, VECTOR

TTL_SECONDS: Final = 3_600
PROVIDER: Final = "claude-3-opus"

# 1 KB, as answers have that are read aloud for a minute.
_ANSWER: Final = (
    "It was slower than I remembered. The strings carried it, and when the oboe came in I had to "
    "look away from the stage for a moment. " * 8
)
# What is asked before an answer: the instructions, some passages, the question.
_PROMPT: Final = "You are a pianist of 71 years, and answer as she would. " * 12


class Entry(NamedTuple):
    """One of a user's entries."""

    user_id: UUID
    number: int

    def embedding_key(self) -> EmbeddingKey:
        return EmbeddingKey(f"And what did you think of movement {self.number}?", EMBEDDING_MODEL)

    def answer_key(self) -> LlmResponseKey:
        return LlmResponseKey(provider=PROVIDER, prompt=f"{_PROMPT}Movement {self.number}?")

    def embedding(self) -> Embedding:
        return Embedding(vector(self.number))

    def answer(self) -> LlmResponse:
        return LlmResponse(f"{self.number}: {_ANSWER}")


def vector(number: int) -> bytes:
    """1,536 numbers, of which the first is another for each of a million."""
    return struct.pack("<f", number % 1_000_000) + VECTOR[4:]


def entries_of(ground: Ground) -> list[Entry]:
    """Every user's entries, in an order of their own that all processes share."""
    entries = [Entry(user, number) for user in ground.users for number in range(ground.rows)]
    random.Random(7).shuffle(entries)
    return entries


def redis_key(entry: Entry, digest: bytes) -> str:
    """As a service would call it that keeps users apart."""
    return f"{entry.user_id}:{digest.hex()}"


def redis_values(ground: Ground, what: str) -> list[tuple[str, bytes]]:
    """The keys and values of all entries, for servers that only know bytes."""
    if what == "embedding":
        return [
            (redis_key(each, each.embedding_key().digest()), each.embedding().packed)
            for each in entries_of(ground)
        ]
    return [
        (redis_key(each, each.answer_key().digest()), each.answer().response.encode())
        for each in entries_of(ground)
    ]
