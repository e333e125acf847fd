"""Attempts by the other logins, and what they may by design."""

from __future__ import annotations

import psycopg
from declared_rights import TABLES
from matrix import STRANGER, relations
from psycopg import sql

from attempts.scene import Scene

# Where what people said, wrote, look or sound like is kept, and what they are called.
WORDS = {
    "users": ("email", "email_key", "name", "personality_traits", "speaking_style", "settings"),
    "conversation_turns": ("user_transcript", "llm_response", "retrieved_chunks"),
    "knowledge_documents": ("filename", "title", "author", "text_content", "search", "tags"),
    "voice_models": ("model_path", "metadata"),
    "face_models": ("model_path", "metadata"),
    "embedding_cache": ("key", "embedding"),
    "vector_search_cache": ("key", "results"),
    "llm_response_cache": ("key", "response", "tags"),
    "audio_chunk_cache": ("key", "audio"),
    "audit_subjects": ("ip_address", "user_agent", "metadata"),
    "rate_limit_buckets": ("subject",),
    "stored_objects": ("name", "object_key"),
}


def readonly_reads_words(scene: Scene) -> bool:
    return scene.allows_any(
        *(
            f"SELECT {column} FROM clonedb.{table}"
            for table, columns in WORDS.items()
            for column in columns
        ),
        "SELECT u::text FROM clonedb.users AS u",
        "SELECT clonedb.search_documents('diary', NULL, 10)",
        "SELECT clonedb.find_login('ada@example.com')",
        role="clonedb_readonly",
    )


def _writes(scene: Scene, role: str) -> bool:
    found = []
    for relation in relations(scene.database):
        with scene.session(role=role) as connection:
            for statement in (
                "DELETE FROM {table}",
                "UPDATE {table} SET {column} = DEFAULT",
                "INSERT INTO {table} DEFAULT VALUES",
                "TRUNCATE {table}",
            ):
                try:
                    connection.execute(
                        sql.SQL(statement).format(
                            table=relation.identifier, column=sql.Identifier(relation.writable[0])
                        )
                    )
                    found.append(relation.label)
                except psycopg.errors.InsufficientPrivilege:
                    connection.rollback()
    return bool(found)


def readonly_writes(scene: Scene) -> bool:
    return _writes(scene, "clonedb_readonly")


def backup_writes(scene: Scene) -> bool:
    return _writes(scene, "clonedb_backup")


def worker_rewrites_audit(scene: Scene) -> bool:
    return any(
        scene.allows_any(
            "UPDATE clonedb.audit_logs SET result = 'success'",
            "DELETE FROM clonedb.audit_logs",
            "TRUNCATE clonedb.audit_logs",
            "UPDATE clonedb.audit_seals SET digest = ''",
            "DELETE FROM clonedb.audit_seals",
            "INSERT INTO clonedb.audit_seals DEFAULT VALUES",
            "UPDATE clonedb.audit_subjects SET ip_address = NULL",
            role=role,
        )
        for role in ("clonedb_worker", "clonedb_dba")
    )


def stranger_reads(scene: Scene) -> bool:
    return scene.allows_any(
        *(f"SELECT FROM {name if '.' in name else f'clonedb.{name}'}" for name in TABLES),
        "SELECT clonedb.find_login('ada@example.com')",
        "SELECT clonedb.living_user_id()",
        "CREATE TABLE public.mine (id uuid)",
        "CREATE TEMPORARY TABLE mine (id uuid)",
        role=STRANGER,
    )


def worker_reads(scene: Scene) -> bool:
    with scene.session(role="clonedb_worker") as worker:
        return scene.is_hers(worker.execute("SELECT u::text FROM clonedb.users AS u").fetchall())


def readonly_counts(scene: Scene) -> bool:
    with scene.session(role="clonedb_readonly") as readonly:
        found = readonly.execute(
            "SELECT t.user_id, t.created_at, t.total_cost FROM clonedb.conversation_turns AS t"
        ).fetchall()
    return scene.is_hers(found)


def superuser_reads(scene: Scene) -> bool:
    with scene.session(role="clonedb_superuser") as superuser:
        return scene.is_hers(superuser.execute("SELECT u::text FROM clonedb.users AS u").fetchall())
