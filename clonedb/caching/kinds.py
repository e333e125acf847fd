"""What tells the four caches apart: their queries, and how a value is stored."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, Final, Generic, TypeVar

import msgspec

from clonedb import queries
from clonedb.adapters import ByteStrings
from clonedb.caching.keys import (
    AudioChunkKey,
    CacheKey,
    EmbeddingKey,
    LlmResponseKey,
    VectorSearchKey,
)
from clonedb.caching.values import AudioChunk, Embedding, LlmResponse, VectorSearch
from clonedb.errors import InvalidInput
from clonedb.repositories.audio_chunk_cache import AUDIO_CHUNK_TTL, check_audio
from clonedb.repositories.caches import CacheName
from clonedb.repositories.embedding_cache import EMBEDDING_TTL
from clonedb.repositories.llm_response_cache import LLM_RESPONSE_TTL
from clonedb.repositories.vector_search_cache import VECTOR_SEARCH_TTL, encode_results
from clonedb.validation import Count, Text, convert

K = TypeVar("K", bound=CacheKey)
V = TypeVar("V", bound=msgspec.Struct)


class Kind(msgspec.Struct, Generic[K, V], frozen=True):
    """One of the four caches.

    `columns` gives what is stored of a key and a value, with None for a value that is known not to
    be; `value` makes the value of what a look has found; `weight` is a value's size in bytes. So
    many are read together that they do not hold up others for long, as large as they usually are.
    Where a value is the same for all, nobody's own is to be preferred to the shared one.
    """

    name: CacheName
    key: type[K]
    values: type[V]
    ttl: timedelta
    columns: Callable[[K, V | None], dict[str, Any]]
    value: Callable[..., V]
    weight: Callable[[V], int]
    read_together: int
    is_the_same_for_all: bool = False
    # The arrays by which its query `put_each` takes the columns of several values; empty for none.
    put_each: Mapping[str, tuple[str, type[list[Any]]]] = {}

    @property
    def table(self) -> str:
        return f"{self.name}_cache"

    @property
    def initial(self) -> str:
        """What notifications call it."""
        return self.name[0]

    @property
    def queries(self) -> Any:
        return getattr(queries, self.table)

    def check_key(self, key: object) -> None:
        if not isinstance(key, self.key):
            raise InvalidInput(
                f"the {self.name} cache is asked by a {self.key.__name__}, not by "
                f"{type(key).__name__}"
            )

    def check_value(self, value: object) -> None:
        if not isinstance(value, self.values):
            raise InvalidInput(
                f"the {self.name} cache holds {self.values.__name__}, not {type(value).__name__}"
            )


def _embedding_columns(key: EmbeddingKey, value: Embedding | None) -> dict[str, Any]:
    packed = None if value is None else Embedding.of(value.packed).packed
    return {
        "embedding": packed,
        "model": key.model,
        "dimensions": None if packed is None else len(packed) // 4,
    }


def _search_columns(key: VectorSearchKey, value: VectorSearch | None) -> dict[str, Any]:
    if value is None:
        return {"results": None, "document_ids": []}
    return {
        "results": encode_results(value.results),
        "document_ids": list(value.document_ids),
    }


def _response_columns(key: LlmResponseKey, value: LlmResponse | None) -> dict[str, Any]:
    return {
        "response": None if value is None else convert(value.response, Text, "response"),
        "provider": key.provider,
        "document_ids": [] if value is None else list(value.document_ids),
    }


def _audio_columns(key: AudioChunkKey, value: AudioChunk | None) -> dict[str, Any]:
    if value is None:
        return {"audio": None, "format": None, "duration_ms": None, "sample_rate": None}
    return {
        "audio": check_audio(value.audio),
        "format": key.format,
        "duration_ms": convert(value.duration_ms, Count, "duration_ms"),
        "sample_rate": key.sample_rate,
    }


EMBEDDING: Final = Kind(
    name="embedding",
    key=EmbeddingKey,
    values=Embedding,
    ttl=EMBEDDING_TTL,
    columns=_embedding_columns,
    value=Embedding,
    weight=lambda value: len(value.packed),
    read_together=32,
    is_the_same_for_all=True,
    # What is cached by the hundred, when documents are taken in.
    put_each={"embedding": ("embeddings", ByteStrings), "model": ("models", list)},
)
VECTOR_SEARCH: Final = Kind(
    name="vector_search",
    key=VectorSearchKey,
    values=VectorSearch,
    ttl=VECTOR_SEARCH_TTL,
    columns=_search_columns,
    value=VectorSearch.stored,
    weight=lambda value: len(value.encoded) + 16 * len(tuple(value.document_ids)),
    read_together=8,
)
LLM_RESPONSE: Final = Kind(
    name="llm_response",
    key=LlmResponseKey,
    values=LlmResponse,
    ttl=LLM_RESPONSE_TTL,
    columns=_response_columns,
    value=LlmResponse,
    weight=lambda value: len(value.response.encode()) + 16 * len(tuple(value.document_ids)),
    read_together=8,
)
AUDIO_CHUNK: Final = Kind(
    name="audio_chunk",
    key=AudioChunkKey,
    values=AudioChunk,
    ttl=AUDIO_CHUNK_TTL,
    columns=_audio_columns,
    value=AudioChunk,
    weight=lambda value: len(value.audio),
    read_together=4,  # a chunk may be of 10 MiB
)
KINDS: Final = (EMBEDDING, VECTOR_SEARCH, LLM_RESPONSE, AUDIO_CHUNK)
