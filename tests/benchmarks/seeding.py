"""Filling a database on the server itself: users, sessions, turns."""

from __future__ import annotations

from typing import Any, Final, LiteralString
from uuid import UUID

import psycopg

Connection = psycopg.Connection[Any]

# Ids of a known time, so that a turn lies in the window of its session.
_ID_AT: Final[LiteralString] = """
CREATE OR REPLACE FUNCTION pg_temp.id_at(p_time timestamptz, p_counter bigint) RETURNS uuid
LANGUAGE sql VOLATILE
RETURN encode(
    int8send(
        (floor(extract(EPOCH FROM p_time) * 1000)::bigint << 16) | 28672 | (p_counter % 4096)
    ) || substring(uuid_send(gen_random_uuid()) FROM 9),
    'hex'
)::uuid
"""

_USERS: Final[LiteralString] = """
INSERT INTO clonedb.users (
    id, email, name, personality_traits, speaking_style, subscription_tier,
    conversation_minutes_used, settings
)
SELECT
    pg_temp.id_at(now() - interval '20 days' + n * interval '1 millisecond', n),
    format('%%s-%%s@example.com', %(group)s::text, n),
    format('Person %%s', n),
    ARRAY['curious', 'patient', 'dry'],
    'Short sentences. Asks back before answering, and laughs at her own jokes.',
    'pro',
    n %% 1000 + 0.125,
    jsonb_build_object(
        'theme', 'dark', 'language', 'en-GB', 'volume', 0.8, 'captions', true,
        'notifications', jsonb_build_object('email', true, 'push', false)
    )
FROM generate_series(1, %(count)s) AS n
RETURNING id
"""

_SESSIONS: Final[LiteralString] = """
INSERT INTO clonedb.conversation_sessions (
    user_id, id, started_at, state, llm_provider, tts_provider,
    total_turns, total_latency_ms, total_cost
)
SELECT
    owner.id,
    pg_temp.id_at(started.at, n),
    started.at,
    'listening',
    'claude-3-opus',
    'xtts-v2',
    %(turns)s,
    %(turns)s * 1210,
    %(turns)s * 0.0062
FROM unnest(%(users)s::uuid[]) AS owner (id)
CROSS JOIN generate_series(1, %(sessions)s) AS n
CROSS JOIN LATERAL (SELECT now() - interval '6 days' + n * interval '1 minute' AS at) AS started
RETURNING user_id, id
"""

_TURNS: Final[LiteralString] = """
INSERT INTO clonedb.conversation_turns (
    user_id, session_id, id, session_started_at, turn_number, user_transcript,
    transcript_confidence, user_audio_duration_ms, retrieved_chunks, llm_response,
    response_audio_duration_ms, asr_latency_ms, rag_latency_ms, llm_latency_ms, tts_latency_ms,
    total_latency_ms, asr_cost, llm_cost, tts_cost
)
SELECT
    s.user_id,
    s.id,
    pg_temp.id_at(s.started_at + n * interval '10 seconds', n),
    s.started_at,
    n,
    'And what did you think of the second movement, the one in the minor key?',
    0.93,
    3400,
    ARRAY['notes on the concert of 1871, page 4', 'letter to a friend'],
    'It was slower than I remembered. The strings carried it, and when the oboe came in I had to '
    'look away from the stage for a moment.',
    8200, 180, 90, 640, 300, 1210, 0.0004, 0.0051, 0.0007
FROM unnest(%(owners)s::uuid[], %(sessions)s::uuid[])
WITH ORDINALITY AS wanted (user_id, id, position)
INNER JOIN clonedb.conversation_sessions AS s ON s.user_id = wanted.user_id AND s.id = wanted.id
CROSS JOIN generate_series(1, %(turns)s) AS n
-- As if 16 conversations went on at a time: on the pages the turns of a session lie apart.
ORDER BY wanted.position / 16, n, wanted.position
"""

# So many at a time, so that progress can be told and memory stays small.
_SESSIONS_AT_A_TIME: Final = 2_000


def prepare(connection: Connection) -> None:
    """Make a superuser's connection ready to seed; what it stores is consistent by itself."""
    connection.execute(_ID_AT)
    # Foreign keys are checked by triggers, one row after the other.
    connection.execute("SET session_replication_role = replica")


def add_users(connection: Connection, group: str, count: int) -> list[UUID]:
    """Users without anything."""
    rows = connection.execute(_USERS, {"group": group, "count": count}).fetchall()
    return [identifier for (identifier,) in rows]


def add_sessions(
    connection: Connection, users: list[UUID], *, sessions: int, turns: int = 0
) -> list[tuple[UUID, UUID]]:
    """So many listening sessions for each user, each with so many turns."""
    pairs: list[tuple[UUID, UUID]] = connection.execute(
        _SESSIONS, {"users": users, "sessions": sessions, "turns": turns}
    ).fetchall()
    if turns:
        for first in range(0, len(pairs), _SESSIONS_AT_A_TIME):
            some = pairs[first : first + _SESSIONS_AT_A_TIME]
            connection.execute(
                _TURNS,
                {
                    "owners": [user for user, _ in some],
                    "sessions": [session for _, session in some],
                    "turns": turns,
                },
            )
    return pairs


def add_cached_values(
    connection: Connection, rows: list[tuple[UUID, bytes, bytes, bytes, str]], model: str
) -> None:
    """An embedding and an answer of each: user, the two keys, the two values; fresh for a day."""
    with connection.cursor() as cursor:
        # As of users who have changed documents before: an entry is compared with their changes.
        cursor.execute(
            "INSERT INTO clonedb.cache_changes (user_id, caches) "
            "SELECT DISTINCT unnest(%s::uuid[]), ARRAY['embedding', 'llm_response']",
            ([user for user, *_ in rows],),
        )
        cursor.executemany(
            "INSERT INTO clonedb.embedding_cache "
            "(user_id, key, embedding, model, dimensions, expires_at) "
            "VALUES (%s, %s, %s, %s, %s, now() + interval '1 day')",
            [(user, key, value, model, len(value) // 4) for user, key, _, value, _ in rows],
        )
        cursor.executemany(
            "INSERT INTO clonedb.llm_response_cache (user_id, key, response, provider, expires_at) "
            "VALUES (%s, %s, %s, 'claude-3-opus', now() + interval '1 day')",
            [(user, key, value) for user, _, key, _, value in rows],
        )


def add_expired_answers(connection: Connection, users: list[UUID], count: int) -> None:
    """Answers of 100 characters, stored over some hours, that lived for an hour with its jitter."""
    connection.execute(
        """
        INSERT INTO clonedb.llm_response_cache (
            user_id, key, response, provider, expires_at, created_at, updated_at
        )
        SELECT
            (%(users)s::uuid[])[1 + n %% %(owners)s],
            sha256(int8send(n)),
            repeat('It was slower. ', 7),
            'claude-3-opus',
            stored.at + interval '1 hour' * (1 - 0.1 * random()),
            stored.at,
            stored.at
        FROM generate_series(1, %(count)s::bigint) AS n
        CROSS JOIN LATERAL (
            SELECT now() - interval '12 hours' + n * interval '10 hours' / %(count)s::bigint AS at
        ) AS stored
        """,
        {"users": users, "owners": len(users), "count": count},
    )


def add_limited_calls(
    connection: Connection, users: list[UUID], endpoint: str, minutes: int
) -> None:
    """A bucket of each user that is not full, and a call in each of the minutes from now on."""
    given = {"users": users, "endpoint": endpoint, "minutes": minutes}
    connection.execute(
        "INSERT INTO clonedb.rate_limit_buckets (user_id, scope, subject, endpoint, tokens) "
        "SELECT unnest(%(users)s::uuid[]), 'user', '', %(endpoint)s, 1000",
        given,
    )
    connection.execute(
        "INSERT INTO clonedb.rate_limits (user_id, endpoint, window_start, request_count) "
        "SELECT u.id, %(endpoint)s, "
        "date_trunc('minute', now(), 'UTC') + n * interval '1 minute', 1 "
        "FROM unnest(%(users)s::uuid[]) AS u (id) "
        "CROSS JOIN generate_series(0, %(minutes)s::integer - 1) AS n",
        given,
    )


def sample_turns(connection: Connection, count: int) -> list[tuple[UUID, UUID, UUID]]:
    """Some turns, from everywhere in the table."""
    return connection.execute(
        "SELECT t.user_id, t.session_id, t.id FROM clonedb.conversation_turns AS t "
        "ORDER BY hashtextextended(t.id::text, 7) LIMIT %s",
        (count,),
    ).fetchall()


def settle(connection: Connection) -> None:
    """Leave the tables as they are once autovacuum has passed."""
    connection.execute("VACUUM (ANALYZE)")
