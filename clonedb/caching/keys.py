"""What a cached value is found by: all that determines it, and the digest of that.

The digest is the SHA-256 of a MessagePack array: the version of this encoding, the cache, and the
key's fields in order. MessagePack writes the type and the length before each value, so no two
different keys have the same encoding. Whose value it is stands beside the digest in every tier.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import Annotated, Any, ClassVar, Final
from uuid import UUID

import msgspec
from msgspec import Meta
from msgspec.structs import astuple, force_setattr

from clonedb.errors import InvalidInput
from clonedb.ids import check_id
from clonedb.repositories.audio_chunk_cache import AudioFormat, SampleRate
from clonedb.repositories.caches import CacheName
from clonedb.repositories.vocabulary import LlmProvider, TtsProvider
from clonedb.validation import LONGEST_LABEL, MAXIMUM_TEXT_BYTES, Label, Text, convert
from clonedb.vectors import MAXIMUM_DIMENSIONS, Vector

# Raised when the encoding changes: what another release has stored is then not found.
ENCODING_VERSION: Final = 1

_SearchLimit = Annotated[int, Meta(ge=1, le=1_000_000)]

_encoder: Final = msgspec.msgpack.Encoder(order="deterministic")


class CacheKey(msgspec.Struct, frozen=True):
    """All that determines a value of one cache, but whose it is."""

    cache: ClassVar[CacheName]

    def digest(self) -> bytes:
        """The SHA-256 that the value is stored by; InvalidInput for a field that is none."""
        self._check()
        try:
            encoded = _encoder.encode((ENCODING_VERSION, self.cache, *self._fields()))
            return sha256(encoded).digest()
        except (TypeError, ValueError, OverflowError) as error:
            raise InvalidInput(f"{type(self).__name__}: {error}") from None

    def _check(self) -> None:
        raise NotImplementedError

    def _fields(self) -> Iterable[object]:
        # MessagePack knows no subclass of bytes.
        return [bytes(one) if isinstance(one, bytes) else one for one in astuple(self)]


class EmbeddingKey(CacheKey, frozen=True):
    """The text as it is given to the model, and the model with its version."""

    cache = "embedding"

    text: str
    model: str

    def _check(self) -> None:
        # The plain case first: this is asked before every read of the table.
        if type(self.text) is not str or len(self.text) > MAXIMUM_TEXT_BYTES // 4:
            convert(self.text, Text, "text")
        model = self.model
        if type(model) is not str or not 1 <= len(model) <= LONGEST_LABEL or "\0" in model:
            convert(model, Label, "model")

    def _fields(self) -> Iterable[object]:
        return (self.text, self.model)


class VectorSearchKey(CacheKey, frozen=True, kw_only=True):
    """The whole query vector, and what is asked of which index.

    Every number counts, in the precision that it is given in. `filters` is anything that JSON has;
    mappings with the same items are the same, in whatever order.
    """

    cache = "vector_search"

    vector: Vector
    index: str
    limit: int
    filters: Mapping[str, Any] | bytes | None = None

    def __post_init__(self) -> None:
        force_setattr(self, "vector", _packed(self.vector))
        force_setattr(self, "filters", _canonical(self.filters, "filters"))

    def _check(self) -> None:
        convert(self.index, Label, "index")
        convert(self.limit, _SearchLimit, "limit")


class LlmResponseKey(CacheKey, frozen=True, kw_only=True):
    """The model that is asked, its settings, and the whole prompt.

    A prompt is a text, or messages as the provider takes them. All that the answer rests on has to
    be in it: the instructions, the history, the passages of documents.
    """

    cache = "llm_response"

    provider: LlmProvider
    prompt: str | list[Any] | Mapping[str, Any] | bytes
    settings: Mapping[str, Any] | bytes | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.prompt, str):
            force_setattr(self, "prompt", _canonical(self.prompt, "prompt"))
        force_setattr(self, "settings", _canonical(self.settings, "settings"))

    def _check(self) -> None:
        convert(self.provider, LlmProvider, "provider")
        if self.prompt is None:
            raise InvalidInput("prompt: the whole prompt is asked for, not None")


class AudioChunkKey(CacheKey, frozen=True, kw_only=True):
    """The words, and all that decides how they sound."""

    cache = "audio_chunk"

    text: str
    provider: TtsProvider
    voice_model_id: UUID | str | None
    format: AudioFormat
    sample_rate: int
    settings: Mapping[str, Any] | bytes | None = None

    def __post_init__(self) -> None:
        if self.voice_model_id is not None:
            identifier = check_id(self.voice_model_id, "voice_model_id")
            force_setattr(self, "voice_model_id", str(identifier))
        force_setattr(self, "settings", _canonical(self.settings, "settings"))

    def _check(self) -> None:
        convert(self.text, Text, "text")
        convert(self.provider, TtsProvider, "provider")
        convert(self.format, AudioFormat, "format")
        convert(self.sample_rate, SampleRate, "sample_rate")


def _canonical(value: object, name: str) -> bytes | None:
    """The one encoding of a value, so that a key can be compared and hashed."""
    if value is None or isinstance(value, _Packed):
        return value
    try:
        return _Packed(_encoder.encode(value))
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise InvalidInput(f"{name}: {error}") from None


class _Packed(bytes):
    """What is encoded already: a key that is copied gets it back."""


def _packed(vector: Vector) -> bytes:
    """The format of the numbers, then all of them, little-endian."""
    if isinstance(vector, _Packed):
        return vector
    if isinstance(vector, str):
        raise InvalidInput("vector: numbers are asked for, not text")
    try:
        view = memoryview(vector)  # type: ignore[arg-type]
        numbers: array[float]
        if view.format in ("f", "d") and view.ndim == 1:
            numbers = array(view.format, view.tobytes())
        elif isinstance(vector, bytes | bytearray | memoryview):
            numbers = array("f", bytes(vector))  # as they are stored
        else:
            numbers = array("d", view.tolist())
    except TypeError:
        try:
            numbers = array("d", vector)
        except (TypeError, OverflowError) as error:
            raise InvalidInput(f"vector: no sequence of numbers: {error}") from None
    except (NotImplementedError, ValueError) as error:
        raise InvalidInput(f"vector: no sequence of numbers: {error}") from None
    if not 1 <= len(numbers) <= MAXIMUM_DIMENSIONS:
        raise InvalidInput(
            f"vector: {len(numbers):,} dimensions; 1 to {MAXIMUM_DIMENSIONS:,} are searched for"
        )
    if sys.byteorder == "big":
        numbers.byteswap()
    return _Packed(numbers.typecode.encode() + numbers.tobytes())
