"""Every right that the design gives, written by hand, apart from the migrations.

What the catalogue has and nobody has declared here fails tests/security/test_matrix.py, and so does
a right that is there and should not be, or the other way round.
"""

from __future__ import annotations

from typing import Final

# What a login may do with a table: SELECT, INSERT, UPDATE, DELETE; in lower case with some of its
# columns. `owns` is everything. Who is not named may do nothing.
Rights = dict[str, str]

ROLES: Final = ("app", "worker", "readonly", "backup", "dba", "migrator", "stranger")
# A member of the owner, which is how it migrates.
MIGRATOR: Final = {"migrator": "owns"}

# What belongs to people, and services work with.
OF_PEOPLE: Final = {"app": "SIUD", "worker": "SIUD", "readonly": "s", "backup": "S", "dba": "SIUD"}
# What the app may see of itself, and functions change.
COUNTED: Final = {"app": "S", "worker": "SIUD", "readonly": "S", "backup": "S", "dba": "SIUD"}
# What an operator sets, and everybody reads.
RULES: Final = COUNTED
LISTED: Final = {"app": "S", "worker": "S", "readonly": "S", "backup": "S"}

TABLES: Final[dict[str, Rights]] = {
    **dict.fromkeys(
        (
            *("embedding_cache", "vector_search_cache", "llm_response_cache", "audio_chunk_cache"),
            *("cache_fill_leases", "face_models", "voice_models", "knowledge_documents"),
            "stored_objects",
        ),
        OF_PEOPLE,
    ),
    "users": OF_PEOPLE | {"app": "SuD"},
    "conversation_sessions": OF_PEOPLE | {"readonly": "S"},
    "conversation_turns": OF_PEOPLE | {"app": "SIu", "worker": "SIu"},
    "cache_changes": OF_PEOPLE | {"readonly": "S"},
    "daily_usage": COUNTED,
    "daily_reservations": COUNTED | {"worker": "SD"},
    "rate_limits": COUNTED,
    "rate_limit_buckets": COUNTED | {"worker": "SD", "readonly": "s"},
    "rate_limit_receipts": {"worker": "SD", "backup": "S", "dba": "SIUD"},
    "object_uploads": OF_PEOPLE | {"app": "SID"},
    "object_deletions": OF_PEOPLE | {"app": "i"},
    "cache_budgets": RULES,
    "cache_use": RULES | {"app": "SIU"},
    "daily_quotas": RULES,
    "rate_limit_rules": RULES,
    # Set by a function, which puts it on record.
    "retention_policies": LISTED | {"dba": "S"},
    "session_transitions": LISTED | {"dba": "SIUD"},
    "audit_logs": {"app": "Si", "worker": "Si", "readonly": "S", "backup": "S", "dba": "S"},
    "audit_subjects": {"app": "SID", "worker": "SID", "backup": "S", "dba": "SD"},
    "erasures": {"worker": "S", "backup": "S", "dba": "S"},
    "audit_seals": {"worker": "S", "readonly": "S", "backup": "S", "dba": "S"},
    "public._yoyo_migration": LISTED | {"dba": "S"},
    "public._yoyo_log": {"backup": "S"},
    "public._yoyo_version": {"backup": "S"},
    "public.yoyo_lock": {"backup": "S"},
    "public.clonedb_migration_checksums": {"backup": "S"},
}
# Whoever reads a table by its months passes by the policies of the parent, so nobody does.
OF_A_MONTH: Final[Rights] = {"backup": "S"}

# No policy asks here who reads: the rows belong to nobody, or no user's login reaches them.
WITHOUT_POLICIES: Final = {
    *("audit_seals", "cache_budgets", "cache_use", "daily_quotas", "erasures", "object_deletions"),
    *("rate_limit_rules", "retention_policies", "session_transitions"),
    *(name for name in TABLES if name.startswith("public.")),
}

_EVERYBODY: Final = ("app", "worker", "readonly", "backup", "dba")
_BOTH: Final = ("app", "worker")
FUNCTIONS: Final[dict[str, tuple[str, ...]]] = {
    **dict.fromkeys(
        (
            *("is_uuid_v7", "uuid_v7", "uuid_v7_floor", "uuid_v7_time"),
            *("session_window_start", "session_window_end"),
        ),
        _EVERYBODY,
    ),
    **dict.fromkeys(
        (
            *("acting_ref", "count_denials", "find_login", "refund_tokens", "reserve_conversation"),
            *("search_documents", "settle_conversation", "sign_up", "take_tokens"),
            "use_conversation",
        ),
        _BOTH,
    ),
    **dict.fromkeys(
        (
            *("cache_initials", "cache_notice", "current_user_id", "current_user_ids"),
            "document_language",
            *("document_languages", "embedding_to_real", "living_subject_ref", "living_user_id"),
            *("erase_user", "trim_caches"),
        ),
        (*_BOTH, "dba"),
    ),
    **dict.fromkeys(("audit_months_ahead", "turn_months_ahead"), (*_BOTH, "readonly", "dba")),
    **dict.fromkeys(
        (
            *("create_audit_partitions", "create_turn_partitions", "rate_limit_subject"),
            *("close_erasures", "count_person_rows", "fetch_person_rows", "import_erasures"),
            *("open_person_rows", "person_digest", "person_tables", "tokens_at"),
            *("expired_months", "retention_cutoff", "set_retention"),
        ),
        ("worker", "dba"),
    ),
    **dict.fromkeys(
        (
            *("create_month_partitions", "mark_expired_month", "months_ahead", "partition_floors"),
            *("protect_user_table", "leave_unsampled", "open_transactions", "receipt_digest"),
            "remove_person_rows",
        ),
        (),
    ),
    "document_search": (*_BOTH, "backup", "dba"),
    "log_rate_limits": ("dba",),
    "seal_audit_logs": ("worker",),
}
