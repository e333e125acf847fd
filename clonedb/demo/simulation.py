"""Plausible measurements of a turn, drawn from its text: equal texts give equal figures.

Conversations in a file say what was said, not what it took. Prices and times here are of the
order of what such services took in 2024; nothing was measured.
"""

from __future__ import annotations

import hashlib
from decimal import Decimal
from typing import Final, NamedTuple, get_args

from clonedb.loading.conversations import Exchange
from clonedb.repositories.vocabulary import LlmProvider, TtsProvider


class _Model(NamedTuple):
    first_words_ms: int
    dollars_per_million_words_read: int
    dollars_per_million_words_written: int


class _Voice(NamedTuple):
    first_sound_ms: int
    dollars_per_million_characters: int


_MODELS: Final[dict[LlmProvider, _Model]] = {
    "gpt-4-turbo": _Model(620, 13, 40),
    "gpt-3.5-turbo": _Model(280, 1, 2),
    "claude-3-opus": _Model(780, 20, 100),
    "claude-3-sonnet": _Model(450, 4, 20),
    "llama-3-70b": _Model(340, 1, 1),
}
_VOICES: Final[dict[TtsProvider, _Voice]] = {
    "xtts-v2": _Voice(240, 2),
    "google-cloud-tts": _Voice(170, 16),
    "openai-tts": _Voice(310, 15),
}
_PAIRS: Final[tuple[tuple[LlmProvider, TtsProvider], ...]] = tuple(
    (model, voice) for model in get_args(LlmProvider) for voice in get_args(TtsProvider)
)

# Unhurried speech has about 15 characters a second.
_SPOKEN_MS_PER_CHARACTER: Final = 65
_RECOGNITION_DOLLARS_PER_HOUR: Final = Decimal("0.36")

# What the model reads besides the question: instructions, and the retrieved chunks.
_PROMPT_WORDS: Final = 600

_MICRO: Final = Decimal("0.000001")
_MILLION: Final = 1_000_000
_HOUR_MS: Final = 3_600_000


class Measurements(NamedTuple):
    """The fields of a NewTurn that are measured; the person waits `total_latency_ms`."""

    transcript_confidence: float
    user_audio_duration_ms: int
    response_audio_duration_ms: int
    asr_latency_ms: int
    rag_latency_ms: int
    llm_latency_ms: int
    tts_latency_ms: int
    total_latency_ms: int
    asr_cost: Decimal
    llm_cost: Decimal
    tts_cost: Decimal


def providers_for(name: str) -> tuple[LlmProvider, TtsProvider]:
    """A pair of providers for whoever has this name, always the same one."""
    return _PAIRS[draw(name)[0] % len(_PAIRS)]


def draw(*texts: str) -> bytes:
    """32 bytes that depend on the texts alone."""
    return hashlib.sha256("\0".join(texts).encode()).digest()


def measure(turn: Exchange, llm_provider: LlmProvider, tts_provider: TtsProvider) -> Measurements:
    """What the turn would have taken and cost with these providers."""
    chance = draw(turn.user, turn.system)
    model, voice = _MODELS[llm_provider], _VOICES[tts_provider]
    heard_ms = _SPOKEN_MS_PER_CHARACTER * len(turn.user)
    asr_ms = 90 + chance[0] // 4 + min(heard_ms // 100, 400)
    rag_ms = 25 + chance[1] // 3
    llm_ms = model.first_words_ms * (200 + chance[2]) // 320
    tts_ms = voice.first_sound_ms * (200 + chance[3]) // 320
    read = _PROMPT_WORDS + len(turn.user) // 6
    written = len(turn.system) // 6
    return Measurements(
        transcript_confidence=round(0.86 + chance[4] / 2000, 4),
        user_audio_duration_ms=heard_ms,
        response_audio_duration_ms=_SPOKEN_MS_PER_CHARACTER * len(turn.system),
        asr_latency_ms=asr_ms,
        rag_latency_ms=rag_ms,
        llm_latency_ms=llm_ms,
        tts_latency_ms=tts_ms,
        # Speech begins with the first sentence: half of the synthesis runs beside the model.
        total_latency_ms=asr_ms + rag_ms + llm_ms + tts_ms // 2,
        asr_cost=(_RECOGNITION_DOLLARS_PER_HOUR * heard_ms / _HOUR_MS).quantize(_MICRO),
        llm_cost=(
            Decimal(
                model.dollars_per_million_words_read * read
                + model.dollars_per_million_words_written * written
            )
            / _MILLION
        ).quantize(_MICRO),
        tts_cost=(
            Decimal(voice.dollars_per_million_characters * len(turn.system)) / _MILLION
        ).quantize(_MICRO),
    )
