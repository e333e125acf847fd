"""People who own a row in every table, for the tests that try to reach another's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import psycopg
from psycopg import sql

from clonedb import new_id
from clonedb.embedded import EmbeddedServer
from clonedb.testing import IsolatedDatabase

NOBODY = UUID(int=0)

# One row of one person in each table that belongs to people, in an order that the keys allow.
# A table that is missing here fails test_isolation.py.
ROWS = {
    "users": "INSERT INTO clonedb.users (id, email) VALUES (%(user)s, %(email)s)",
    "voice_models": """
        INSERT INTO clonedb.voice_models (user_id, id, provider, model_path, sample_rate)
        VALUES (%(user)s, %(voice)s, 'xtts-v2', 'voices/1', 24000)
    """,
    "face_models": """
        INSERT INTO clonedb.face_models (user_id, id, model_path, resolution)
        VALUES (%(user)s, %(face)s, 'faces/1', '{"width": 640, "height": 480}')
    """,
    "conversation_sessions": """
        INSERT INTO clonedb.conversation_sessions
            (user_id, id, started_at, llm_provider, tts_provider, voice_model_id, face_model_id)
        VALUES (%(user)s, %(session)s, now(), 'gpt-4-turbo', 'xtts-v2', %(voice)s, %(face)s)
    """,
    "conversation_turns": """
        INSERT INTO clonedb.conversation_turns (
            user_id, session_id, session_started_at, turn_number, user_transcript, llm_response,
            total_latency_ms
        )
        SELECT s.user_id, s.id, s.started_at, 1, 'a secret of ' || %(email)s, 'I see', 900
        FROM clonedb.conversation_sessions AS s
        WHERE s.id = %(session)s
    """,
    "knowledge_documents": """
        INSERT INTO clonedb.knowledge_documents (user_id, filename, content_type, size_bytes)
        VALUES (%(user)s, 'diary.txt', 'text/plain', 12)
    """,
    "embedding_cache": """
        INSERT INTO clonedb.embedding_cache
            (user_id, key, embedding, model, dimensions, expires_at)
        VALUES (%(user)s, sha256('1'), '\\x0000803f', 'small', 1, now() + interval '1 hour')
    """,
    "vector_search_cache": """
        INSERT INTO clonedb.vector_search_cache (user_id, key, results, expires_at)
        VALUES (%(user)s, sha256('1'), '[]', now() + interval '1 hour')
    """,
    "llm_response_cache": """
        INSERT INTO clonedb.llm_response_cache (user_id, key, response, provider, expires_at)
        VALUES (%(user)s, sha256('1'), 'I see', 'gpt-4-turbo', now() + interval '1 hour')
    """,
    "audio_chunk_cache": """
        INSERT INTO clonedb.audio_chunk_cache
            (user_id, key, audio, format, duration_ms, sample_rate, expires_at)
        VALUES (%(user)s, sha256('1'), '\\x00', 'pcm', 1, 24000, now() + interval '1 hour')
    """,
    "cache_changes": """
        INSERT INTO clonedb.cache_changes (user_id, caches) VALUES (%(user)s, '{embedding}')
    """,
    "cache_fill_leases": """
        INSERT INTO clonedb.cache_fill_leases (user_id, cache, key, holder, expires_at)
        VALUES (%(user)s, 'embedding', sha256('2'), gen_random_uuid(), now())
    """,
    "rate_limit_buckets": """
        INSERT INTO clonedb.rate_limit_buckets (user_id, scope, subject, endpoint, tokens)
        VALUES (%(user)s, 'user', '', '*', 3.5)
    """,
    "rate_limit_receipts": """
        INSERT INTO clonedb.rate_limit_receipts
            (user_id, id, subject, cost, scopes, buckets, taken_at)
        VALUES (%(user)s, gen_random_uuid(), '', 1, '{user}', '{*}', now())
    """,
    "rate_limits": """
        INSERT INTO clonedb.rate_limits (user_id, endpoint, window_start)
        VALUES (%(user)s, 'talk', now())
    """,
    "daily_usage": """
        INSERT INTO clonedb.daily_usage (user_id, day, conversation_seconds)
        VALUES (%(user)s, '2026-01-01', 12.5)
    """,
    "daily_reservations": """
        INSERT INTO clonedb.daily_reservations (user_id, id, day, reserved_seconds)
        VALUES (%(user)s, clonedb.uuid_v7(), '2026-01-01', 12.5)
    """,
    "audit_logs": """
        INSERT INTO clonedb.audit_logs (actor_ref, subject_ref, action, resource, result)
        SELECT u.subject_ref, u.subject_ref, 'login', 'users', 'success'
        FROM clonedb.users AS u
        WHERE u.id = %(user)s
    """,
    "audit_subjects": """
        INSERT INTO clonedb.audit_subjects (user_id, id, ip_address)
        VALUES (%(user)s, clonedb.uuid_v7(), '192.0.2.1')
    """,
    "stored_objects": """
        INSERT INTO clonedb.stored_objects
            (user_id, kind, name, object_key, size_bytes, sha256, content_type)
        VALUES (
            %(user)s, 'document', 'diary.txt', '00/' || md5(random()::text), 1, sha256('1'),
            'text/plain'
        )
    """,
    "object_uploads": """
        INSERT INTO clonedb.object_uploads (user_id, object_key, expires_at)
        VALUES (%(user)s, '00/' || md5(random()::text), now() + interval '1 day')
    """,
}

# Shared rows belong to nobody: everybody reads them.
SHARING = (
    "embedding_cache",
    "vector_search_cache",
    "llm_response_cache",
    "audio_chunk_cache",
    "stored_objects",
)

_OWN = {
    "users": "id = {user}",
    "audit_logs": "subject_ref = (SELECT subject_ref FROM clonedb.users WHERE id = {user})",
}


@contextmanager
def copy_of(server: EmbeddedServer, template: Any, name: str) -> Iterator[IsolatedDatabase]:
    """A migrated database for as long as the block lasts."""
    name = f"{template.dbname}_{name}"
    server.create_database(name, template=template.template_dbname)
    yield IsolatedDatabase(server, name)
    server.drop_database(name)


def store_person(connection: psycopg.Connection[Any], user: UUID) -> None:
    """Store a user with a row in every table; the connection is a superuser's."""
    given = {
        "user": user,
        "email": f"{user}@example.com",
        "voice": new_id(),
        "face": new_id(),
        "session": new_id(),
    }
    for statement in ROWS.values():
        connection.execute(statement.encode(), given)


def share_rows(connection: psycopg.Connection[Any]) -> None:
    """Store a row of nobody in every table that may hold some."""
    for table in SHARING:
        connection.execute(ROWS[table].encode(), {"user": NOBODY})


def owned_by(table: str, user: UUID) -> sql.Composed:
    """The predicate for a person's rows. For audit_logs only whoever sees that user can ask it."""
    return sql.SQL(_OWN.get(table, "user_id = {user}")).format(user=sql.Literal(user))


def act_for(connection: psycopg.Connection[Any], user: UUID | None) -> None:
    """Set the context of the connection's transaction, or have none."""
    connection.execute(
        "SELECT set_config('clonedb.user_id', %s, true)", ("" if user is None else str(user),)
    )
