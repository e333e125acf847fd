"""The cache of audio chunks: pieces of speech that were synthesised."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Annotated, Final, Literal

from msgspec import Meta

from clonedb import queries
from clonedb.errors import InvalidInput
from clonedb.repositories.cache_table import CachedEntry, CacheTable
from clonedb.validation import Count, convert

AUDIO_CHUNK_TTL: Final = timedelta(minutes=5)

# The column's bound: a minute of uncompressed stereo at 48 kHz is 11 MiB.
MAXIMUM_AUDIO_BYTES: Final = 10 * 1024 * 1024

AudioFormat = Literal["pcm", "wav", "flac", "mp3", "aac", "ogg", "opus", "webm"]
SampleRate = Annotated[int, Meta(ge=8_000, le=384_000)]


class CachedAudio(CachedEntry, frozen=True):
    """A piece of speech; `sample_rate` is in Hz."""

    audio: bytes
    format: AudioFormat
    duration_ms: int
    sample_rate: int


class AudioChunkCache(CacheTable[CachedAudio]):
    """Pieces of speech, by the digest of text, voice and format."""

    __slots__ = ()

    _queries = queries.audio_chunk_cache
    _entry = CachedAudio

    async def get_many(self, keys: Iterable[bytes]) -> dict[bytes, CachedAudio]:
        """The fresh entries among up to 1,000 keys, by their keys."""
        return await self._get_many(keys)

    async def put(
        self,
        key: bytes,
        *,
        audio: bytes | bytearray | memoryview,
        format: AudioFormat,
        duration_ms: int,
        sample_rate: int,
        tags: Iterable[str] = (),
        ttl: timedelta = AUDIO_CHUNK_TTL,
    ) -> bool:
        """Store or renew an entry; False where the same is stored with half its time left.

        The sound has 1 byte to 10 MiB and is stored as it is; nothing looks inside it.
        """
        return await self._put(
            key,
            tags,
            ttl,
            audio=check_audio(audio),
            format=convert(format, AudioFormat, "format"),
            duration_ms=convert(duration_ms, Count, "duration_ms"),
            sample_rate=convert(sample_rate, SampleRate, "sample_rate"),
        )


def check_audio(audio: bytes | bytearray | memoryview) -> bytes:
    if not isinstance(audio, bytes | bytearray | memoryview):
        raise InvalidInput(f"audio: bytes are asked for, not {type(audio).__name__}")
    size = audio.nbytes if isinstance(audio, memoryview) else len(audio)
    if not 1 <= size <= MAXIMUM_AUDIO_BYTES:
        raise InvalidInput(f"audio: {size:,} bytes; 1 to {MAXIMUM_AUDIO_BYTES:,} are cached")
    return bytes(audio)
