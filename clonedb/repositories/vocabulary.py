"""The closed sets that several entities share; the same values are CHECKs in the database."""

from __future__ import annotations

from typing import Literal

LlmProvider = Literal[
    "gpt-4-turbo", "gpt-3.5-turbo", "claude-3-opus", "claude-3-sonnet", "llama-3-70b"
]
TtsProvider = Literal["xtts-v2", "google-cloud-tts", "openai-tts"]
SubscriptionTier = Literal["free", "pro", "enterprise"]
SessionState = Literal["idle", "listening", "processing", "speaking", "interrupted", "error"]
TrainingStatus = Literal["pending", "training", "completed", "failed"]
DocumentStatus = Literal["pending", "processing", "completed", "failed"]
ObjectKind = Literal["voice_model", "face_model", "document"]
# PostgreSQL's text search configurations, as version 15 and later have them.
DocumentLanguage = Literal[
    "simple", "arabic", "armenian", "basque", "catalan", "danish", "dutch", "english", "finnish",
    "french", "german", "greek", "hindi", "hungarian", "indonesian", "irish", "italian",
    "lithuanian", "nepali", "norwegian", "portuguese", "romanian", "russian", "serbian", "spanish",
    "swedish", "tamil", "turkish", "yiddish",
]  # fmt: skip
