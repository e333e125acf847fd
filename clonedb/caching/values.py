"""What the caches hold, as it is handed in and out: small Structs that nobody can change."""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from typing import Any, Self
from uuid import UUID

import msgspec
from msgspec.structs import force_setattr

from clonedb.repositories.audio_chunk_cache import check_audio
from clonedb.repositories.cache_table import check_documents
from clonedb.repositories.vector_search_cache import SearchResults, encode_results
from clonedb.vectors import Vector, pack_vector, unpack_vector, view_vector


class Embedding(msgspec.Struct, frozen=True):
    """A vector; `packed` is float32, little-endian. `Embedding.of(numbers)` makes one."""

    packed: bytes

    def __post_init__(self) -> None:
        if type(self.packed) is not bytes:  # nobody else may change what is remembered
            force_setattr(self, "packed", bytes(self.packed))

    @classmethod
    def of(cls, vector: Vector) -> Self:
        """InvalidInput for a vector that `pack_vector` refuses."""
        return cls(pack_vector(vector))

    @property
    def dimensions(self) -> int:
        return len(self.packed) // 4

    def vector(self) -> array[float]:
        """The numbers, as a copy of one's own."""
        return unpack_vector(self.packed)

    def view(self) -> memoryview[float]:
        """The numbers without a copy, to read; `numpy.asarray(embedding.view())` is float32."""
        return view_vector(self.packed)


class VectorSearch(msgspec.Struct, frozen=True):
    """What a search found; `VectorSearch.of(results, document_ids)` makes one.

    `encoded` is the results' JSON, with the keys of objects in order, so that it is the same before
    and after it was stored; `results` decodes it for each caller, so that none changes what another
    sees.
    """

    encoded: str
    document_ids: Iterable[UUID] = ()

    def __post_init__(self) -> None:
        force_setattr(self, "document_ids", tuple(check_documents(self.document_ids)))

    @classmethod
    def of(cls, results: SearchResults, document_ids: Iterable[UUID] = ()) -> Self:
        """InvalidInput for results that JSON does not have, or of more than 2 MiB."""
        encode_results(results)
        return cls(_in_order(results), document_ids)

    @classmethod
    def stored(cls, results: str, document_ids: Iterable[UUID]) -> Self:
        """What the table holds: jsonb has an order of keys of its own."""
        return cls(_in_order(msgspec.json.decode(results)), document_ids)

    @property
    def results(self) -> SearchResults:
        decoded: list[dict[str, Any]] = msgspec.json.decode(self.encoded)
        return decoded


class LlmResponse(msgspec.Struct, frozen=True):
    """An answer, and the documents that it was made from, in the order of their ids."""

    response: str
    document_ids: Iterable[UUID] = ()

    def __post_init__(self) -> None:
        force_setattr(self, "document_ids", tuple(check_documents(self.document_ids)))


class AudioChunk(msgspec.Struct, frozen=True):
    """A piece of speech, in the format and at the sample rate of its key."""

    audio: bytes
    duration_ms: int

    def __post_init__(self) -> None:
        if type(self.audio) is not bytes:
            force_setattr(self, "audio", bytes(check_audio(self.audio)))


def _in_order(results: Any) -> str:
    return msgspec.json.encode(results, order="deterministic").decode()
