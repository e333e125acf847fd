"""What the catalogue cannot know: which tables are an exception to a rule, and why.

A migration that adds a table to one of these lists says so here, and nowhere else.
"""

from __future__ import annotations

from typing import Final

# They belong to nobody, so row-level security has nothing to ask; the app may use them.
SHARED_TABLES: Final = (
    "cache_budgets",
    "cache_use",
    "daily_quotas",
    "object_deletions",
    "rate_limit_rules",
    "retention_policies",
    "session_transitions",
)

# They may be empty after a crash: what is in them is computed or counted again.
UNLOGGED_TABLES: Final = (
    "audio_chunk_cache",
    "cache_changes",
    "cache_fill_leases",
    "embedding_cache",
    "llm_response_cache",
    "rate_limit_buckets",
    "rate_limit_receipts",
    "rate_limits",
    "vector_search_cache",
)

# Erased with a user though no foreign key cascades to them: by clonedb.erase_user(), which finds
# them by their user_id, and not by a bare DELETE of the user.
ERASED_BY_NAME: Final = (
    "audio_chunk_cache",
    "audit_subjects",
    "cache_changes",
    "cache_fill_leases",
    "embedding_cache",
    "llm_response_cache",
    "object_uploads",
    "rate_limit_buckets",
    "rate_limit_receipts",
    "stored_objects",
    "vector_search_cache",
)

# They outlive their user: the log holds references to a person that name nobody once the user is
# gone.
KEPT_AFTER_ERASURE: Final = ("audit_logs",)

# Rows are added and never changed by any login; of the second kind they may also be erased.
APPEND_ONLY_TABLES: Final = ("audit_logs", "audit_seals")
ERASABLE_TABLES: Final = ("audit_subjects",)

# Their keys do not begin with the user: the users themselves, and the log, which knows no user.
KEYED_WITHOUT_USER: Final = ("audit_logs", "users")

# What clonedb_readonly may not see though it is but an identifier: by it the audit log, which
# readonly may read, would have names.
HIDDEN_COLUMNS: Final = ("users.subject_ref",)
