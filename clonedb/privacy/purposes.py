"""Why rows of people are kept, and for how long: what the catalogue cannot know.

A migration that adds a table of people says so here. A person who asks for their data is told, and
docs/privacy.md says it of every table.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

_ACCOUNT: Final = "until the person is erased"
_CACHE: Final = "until it expires: 5 minutes to an hour, unless the service says otherwise"


class Purpose(NamedTuple):
    """`why` completes "kept to …"; `how_long` completes "kept …"."""

    why: str
    how_long: str


UNKNOWN: Final = Purpose("(nobody has said)", "(nobody has said)")

PURPOSES: Final[Mapping[str, Purpose]] = {
    "audio_chunk_cache": Purpose("speak the same words again without a new synthesis", _CACHE),
    "audit_logs": Purpose(
        "prove afterwards who did what to whom",
        "as long as its month; of an erased person an entry holds random references to nobody",
    ),
    "audit_subjects": Purpose("say where an entry of the audit log came from", _ACCOUNT),
    "cache_changes": Purpose("make old what was cached of changed data", "for an hour"),
    "cache_fill_leases": Purpose("let one process at a time make a cached value", "for seconds"),
    "conversation_sessions": Purpose("hold conversations, and show them later", _ACCOUNT),
    "conversation_turns": Purpose("hold conversations, and show them later", _ACCOUNT),
    "daily_reservations": Purpose("keep within the daily quota while talking", _ACCOUNT),
    "daily_usage": Purpose("keep within the daily quota", _ACCOUNT),
    "embedding_cache": Purpose("compare the same text again without a new computation", _CACHE),
    "face_models": Purpose("show the clone's face", _ACCOUNT),
    "knowledge_documents": Purpose("answer from what the person has given to read", _ACCOUNT),
    "llm_response_cache": Purpose("answer the same question again", _CACHE),
    "object_uploads": Purpose("find uploads that were given up", "at most 24 hours"),
    "rate_limit_buckets": Purpose("limit requests", "until it has been full for a while"),
    "rate_limit_receipts": Purpose("give back what a failed request had taken", "for an hour"),
    "rate_limits": Purpose("show how many requests were admitted and denied", "31 days"),
    "stored_objects": Purpose("keep files of models and documents", _ACCOUNT),
    "users": Purpose("know who somebody is, and what they have chosen", _ACCOUNT),
    "vector_search_cache": Purpose("search for the same again", _CACHE),
    "voice_models": Purpose("speak with the clone's voice", _ACCOUNT),
}
