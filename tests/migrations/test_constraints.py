"""PostgreSQL has the last word: what must not be stored is refused by a constraint with a name."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from people import copy_of, store_person
from psycopg.errors import CheckViolation, ForeignKeyViolation, UniqueViolation

from clonedb import new_id
from clonedb.embedded import EmbeddedServer
from clonedb.ids import id_at

ADA, GRACE = new_id(), new_id()
Connection = psycopg.Connection[Any]


@pytest.fixture(scope="module")
def stored(server: EmbeddedServer, clonedb_template: Any) -> Iterator[str]:
    """The connection string of a database with two people who own a row in every table."""
    with copy_of(server, clonedb_template, "constraints") as database:
        with psycopg.connect(database.dsn("clonedb_superuser")) as connection:
            store_person(connection, ADA)
            store_person(connection, GRACE)
        yield database.dsn("clonedb_superuser")


@pytest.fixture
def connection(stored: str) -> Iterator[Connection]:
    """A superuser's connection, rolled back after the test."""
    with psycopg.connect(stored) as connection:
        yield connection
        connection.rollback()


def value(connection: Connection, query: str, *parameters: object) -> Any:
    row = connection.execute(query.encode(), parameters).fetchone()
    assert row is not None
    return row[0]


@pytest.mark.parametrize(
    ("table", "change", "constraint"),
    [
        ("users", "email = 'nobody'", "email_is_plausible"),
        ("users", "name = ''", "name_is_short"),
        ("users", "name = repeat('x', 201)", "name_is_short"),
        (
            "users",
            "personality_traits = array_fill('x'::text, '{101}')",
            "personality_traits_are_few",
        ),
        ("users", "personality_traits = ARRAY['kind', NULL]", "personality_traits_are_given"),
        ("users", "speaking_style = repeat('x', 2001)", "speaking_style_is_short"),
        ("users", "preferred_llm_provider = 'gpt-9'", "preferred_llm_provider_is_known"),
        ("users", "preferred_tts_provider = 'parrot'", "preferred_tts_provider_is_known"),
        ("users", "subscription_tier = 'royal'", "subscription_tier_is_known"),
        (
            "users",
            "conversation_minutes_used = -0.001",
            "conversation_minutes_used_is_not_negative",
        ),
        (
            "users",
            "conversation_minutes_used = 'NaN'",
            "conversation_minutes_used_is_not_negative",
        ),
        ("users", "settings = '[]'", "settings_is_an_object"),
        ("users", "settings = jsonb_build_object('x', repeat('x', 70000))", "settings_is_small"),
        ("voice_models", "provider = 'parrot'", "provider_is_known"),
        ("voice_models", "model_path = ''", "model_path_is_short"),
        ("voice_models", "sample_rate = 0", "sample_rate_is_plausible"),
        ("voice_models", "quality_score = 1.01", "quality_score_is_a_share"),
        ("voice_models", "quality_score = 'NaN'", "quality_score_is_a_share"),
        ("voice_models", "quality_score = '-Infinity'", "quality_score_is_a_share"),
        ("voice_models", "status = 'trained'", "status_is_known"),
        ("face_models", "quality_score = -0.1", "quality_score_is_a_share"),
        ("face_models", "resolution = '{}'", "resolution_is_plausible"),
        ("face_models", "resolution = '[640, 480]'", "resolution_is_plausible"),
        ("face_models", "resolution = '{\"width\": 640}'", "resolution_is_plausible"),
        (
            "face_models",
            'resolution = \'{"width": "640", "height": 480}\'',
            "resolution_is_plausible",
        ),
        (
            "face_models",
            'resolution = \'{"width": 640.5, "height": 480}\'',
            "resolution_is_plausible",
        ),
        (
            "face_models",
            'resolution = \'{"width": 0, "height": 480}\'',
            "resolution_is_plausible",
        ),
        (
            "face_models",
            'resolution = \'{"width": 640, "height": 480, "depth": 1}\'',
            "resolution_is_plausible",
        ),
        ("conversation_sessions", "state = 'ended'", "state_is_known"),
        ("conversation_sessions", "state = 'listening', ended_at = 'tomorrow'", "ended_is_idle"),
        (
            "conversation_sessions",
            "ended_at = started_at - interval '1 s'",
            "ended_at_is_after_start",
        ),
        ("conversation_sessions", "ended_at = 'infinity'", "ended_at_is_after_start"),
        ("conversation_sessions", "total_turns = -1", "total_turns_is_not_negative"),
        ("conversation_sessions", "total_latency_ms = -1", "total_latency_ms_is_not_negative"),
        ("conversation_sessions", "total_cost = 'NaN'", "total_cost_is_not_negative"),
        ("conversation_turns", "turn_number = 0", "turn_number_is_positive"),
        ("conversation_turns", "asr_cost = -1", "asr_cost_is_not_negative"),
        ("conversation_turns", "llm_cost = 'NaN'", "llm_cost_is_not_negative"),
        ("conversation_turns", "tts_latency_ms = -1", "tts_latency_ms_is_not_negative"),
        (
            "conversation_turns",
            "transcript_confidence = 'NaN'",
            "transcript_confidence_is_a_share",
        ),
        (
            "conversation_turns",
            "user_transcript = repeat('ä', 524289)",
            "user_transcript_is_small",
        ),
        ("conversation_turns", "llm_response = repeat('x', 1048577)", "llm_response_is_small"),
        (
            "conversation_turns",
            "retrieved_chunks = array_fill('x'::text, '{1001}')",
            "retrieved_chunks_are_few",
        ),
        ("knowledge_documents", "status = 'done'", "status_is_known"),
        ("knowledge_documents", "size_bytes = -1", "size_bytes_is_not_negative"),
        ("knowledge_documents", "tags = array_fill('x'::text, '{101}')", "tags_are_few"),
        ("knowledge_documents", "language = 'klingon'", "language_is_known"),
        (
            "knowledge_documents",
            "text_content = repeat('x', 10485761)",
            "text_content_is_small",
        ),
        (
            "knowledge_documents",
            "status = 'completed', processed_at = now(), error_message = 'too long'",
            "error_message_is_of_a_failure",
        ),
        ("knowledge_documents", "status = 'completed'", "processed_at_is_of_the_processed"),
        ("knowledge_documents", "processed_at = now()", "processed_at_is_of_the_processed"),
        ("knowledge_documents", "claimed_at = now()", "claim_is_whole"),
        ("embedding_cache", "key = '\\x00'", "key_is_a_digest"),
        ("embedding_cache", "dimensions = 2", "embedding_is_whole"),
        ("embedding_cache", "embedding = '', dimensions = 0", "dimensions_are_plausible"),
        ("audio_chunk_cache", "format = 'vinyl'", "format_is_known"),
        ("llm_response_cache", "provider = 'gpt-9'", "provider_is_known"),
        (
            "vector_search_cache",
            "results = to_jsonb(repeat('x', 5000000))",
            "results_are_small",
        ),
        ("daily_usage", "conversation_seconds = 'NaN'", "conversation_seconds_is_not_negative"),
        ("audit_logs", "result = 'maybe'", "result_is_known"),
    ],
)
def test_a_value_that_makes_no_sense_is_refused(
    connection: Connection, table: str, change: str, constraint: str
) -> None:
    where = {
        "users": "id = %(user)s",
        "audit_logs": "subject_ref = (SELECT subject_ref FROM clonedb.users WHERE id = %(user)s)",
    }.get(table, "user_id = %(user)s")
    with pytest.raises(CheckViolation) as refusal:
        connection.execute(
            f"UPDATE clonedb.{table} SET {change} WHERE {where}".encode(), {"user": ADA}
        )
    assert refusal.value.diag.constraint_name == f"{table}_{constraint}"


@pytest.mark.parametrize(
    ("table", "change", "constraint"),
    [
        ("rate_limit_buckets", "tokens = 'NaN'", "rate_limit_tokens_is_not_negative"),
        ("rate_limit_buckets", "tokens = -0.1", "rate_limit_tokens_is_not_negative"),
        ("rate_limit_buckets", "scope = 'planet'", "rate_limit_scope_is_known"),
        ("rate_limit_buckets", "endpoint = ''", "rate_limit_endpoint_is_short"),
        ("rate_limits", "denied_count = -1", "rate_limit_count_is_not_negative"),
    ],
)
def test_a_value_that_its_domain_does_not_have_is_refused(
    connection: Connection, table: str, change: str, constraint: str
) -> None:
    with pytest.raises(CheckViolation) as refusal:
        connection.execute(
            f"UPDATE clonedb.{table} SET {change} WHERE user_id = %s".encode(), (ADA,)
        )
    assert refusal.value.diag.constraint_name == constraint


def session_of(connection: Connection, user: UUID) -> tuple[UUID, datetime]:
    row: tuple[UUID, datetime] | None = connection.execute(
        "SELECT id, started_at FROM clonedb.conversation_sessions WHERE user_id = %s", (user,)
    ).fetchone()
    assert row is not None
    return row


def store_turn(
    connection: Connection, user: UUID, session: UUID, started_at: datetime, id: UUID
) -> None:
    connection.execute(
        """
        INSERT INTO clonedb.conversation_turns (
            user_id, session_id, id, session_started_at, turn_number, user_transcript,
            llm_response, total_latency_ms
        )
        VALUES (%s, %s, %s, %s, 2, 'Hello', 'Hello to you', 800)
        """,
        (user, session, id, started_at),
    )


@pytest.mark.parametrize(
    ("offset", "fits"),
    [
        (timedelta(minutes=-5), True),
        (timedelta(minutes=-5, milliseconds=-1), False),
        (timedelta(days=7, milliseconds=-1), True),
        (timedelta(days=7), False),
        (timedelta(days=3650), False),
    ],
    ids=str,
)
def test_a_turns_id_is_within_its_sessions_window(
    connection: Connection, offset: timedelta, fits: bool
) -> None:
    started_at = datetime(2024, 5, 1, 12, tzinfo=UTC)
    session = new_id()
    connection.execute(
        """
        INSERT INTO clonedb.conversation_sessions
            (user_id, id, started_at, llm_provider, tts_provider)
        VALUES (%s, %s, %s, 'gpt-4-turbo', 'xtts-v2')
        """,
        (ADA, session, started_at),
    )
    value(connection, "SELECT clonedb.create_turn_partitions('2024-05-01', 1)")
    value(connection, "SELECT clonedb.create_turn_partitions(%s, 1)", (started_at + offset).date())
    id = id_at(started_at + offset, 0)
    if fits:
        store_turn(connection, ADA, session, started_at, id)
        assert (
            value(connection, "SELECT count(*) FROM clonedb.conversation_turns WHERE id = %s", id)
            == 1
        )
    else:
        with pytest.raises(CheckViolation) as refusal:
            store_turn(connection, ADA, session, started_at, id)
        assert refusal.value.diag.constraint_name == "conversation_turns_id_is_in_session_window"


def test_a_turn_cannot_bring_a_window_of_its_own(connection: Connection) -> None:
    session, started_at = session_of(connection, ADA)
    earlier = started_at - timedelta(hours=1)
    with pytest.raises(ForeignKeyViolation) as refusal:
        store_turn(connection, ADA, session, earlier, id_at(earlier, 0))
    assert refusal.value.diag.constraint_name == "conversation_turns_session_exists"


def test_a_turn_cannot_be_put_into_anothers_session(connection: Connection) -> None:
    session, started_at = session_of(connection, GRACE)
    with pytest.raises(ForeignKeyViolation) as refusal:
        store_turn(connection, ADA, session, started_at, new_id())
    assert refusal.value.diag.constraint_name == "conversation_turns_session_exists"


@pytest.mark.parametrize("kind", ["voice", "face"])
def test_a_session_cannot_use_anothers_model(connection: Connection, kind: str) -> None:
    with pytest.raises(ForeignKeyViolation) as refusal:
        connection.execute(
            f"""
            UPDATE clonedb.conversation_sessions AS s
            SET {kind}_model_id = m.id
            FROM clonedb.{kind}_models AS m
            WHERE s.user_id = %s AND m.user_id = %s
            """.encode(),
            (ADA, GRACE),
        )
    assert refusal.value.diag.constraint_name == f"conversation_sessions_{kind}_model_exists"


@pytest.mark.parametrize("kind", ["voice", "face"])
def test_a_model_in_use_is_not_deleted_for_good(connection: Connection, kind: str) -> None:
    with pytest.raises(psycopg.IntegrityError) as refusal:
        connection.execute(f"DELETE FROM clonedb.{kind}_models WHERE user_id = %s".encode(), (ADA,))
    # 23503 until 17, 23001 from 18 on.
    assert refusal.value.sqlstate in ("23503", "23001")
    assert refusal.value.diag.constraint_name == f"conversation_sessions_{kind}_model_exists"


def test_a_model_is_taken_off_and_deleted_in_one_statement(connection: Connection) -> None:
    connection.execute(
        """
        WITH taken_off AS (
            UPDATE clonedb.conversation_sessions SET voice_model_id = NULL WHERE user_id = %(ada)s
        )
        DELETE FROM clonedb.voice_models WHERE user_id = %(ada)s
        """,
        {"ada": ADA},
    )
    assert (
        value(connection, "SELECT count(*) FROM clonedb.voice_models WHERE user_id = %s", ADA) == 0
    )


def test_deleting_a_user_for_good_takes_what_they_own_and_leaves_the_audit_log(
    connection: Connection,
) -> None:
    entries = "SELECT count(*) FROM clonedb.audit_logs"
    before = value(connection, entries)
    # Their objects' keys are needed to delete what lies in the store.
    connection.execute("DELETE FROM clonedb.stored_objects WHERE user_id = %s", (ADA,))
    connection.execute("DELETE FROM clonedb.users WHERE id = %s", (ADA,))
    for table in (
        "voice_models",
        "face_models",
        "conversation_sessions",
        "conversation_turns",
        "knowledge_documents",
        "rate_limits",
        "daily_usage",
    ):
        remaining = connection.execute(f"SELECT user_id FROM clonedb.{table}".encode()).fetchall()
        assert remaining == [(GRACE,)], table
    assert value(connection, entries) == before == 2


@pytest.mark.parametrize("kind", ["voice", "face"])
def test_a_user_has_one_active_living_model(connection: Connection, kind: str) -> None:
    columns = {
        "voice": "provider, model_path, sample_rate",
        "face": "model_path, resolution",
    }[kind]
    copy = f"""
        INSERT INTO clonedb.{kind}_models (user_id, {columns}, is_active, deleted_at)
        SELECT user_id, {columns}, true, %s::timestamptz
        FROM clonedb.{kind}_models
        WHERE user_id = %s
        LIMIT 1
    """.encode()
    connection.execute(copy, (datetime.now(UTC), ADA))
    connection.execute(copy, (None, ADA))
    connection.execute(copy, (None, GRACE))
    with pytest.raises(UniqueViolation) as refusal:
        connection.execute(copy, (None, ADA))
    assert refusal.value.diag.constraint_name == f"{kind}_models_one_active"


def test_the_average_follows_from_the_totals(connection: Connection) -> None:
    averages = "SELECT average_latency_ms FROM clonedb.conversation_sessions WHERE user_id = %s"
    assert value(connection, averages, ADA) is None
    connection.execute(
        "UPDATE clonedb.conversation_sessions SET total_turns = 4, total_latency_ms = 3001"
    )
    assert value(connection, averages, ADA) == 750.25


@pytest.mark.parametrize(
    ("started_at", "error"),
    [
        ("1970-06-01 00:00:00+00", CheckViolation),
        ("9999-06-01 00:00:00+00", CheckViolation),
        ("infinity", psycopg.Error),
        ("-infinity", psycopg.Error),
    ],
)
def test_a_session_starts_at_a_time_that_ids_can_express(
    connection: Connection, started_at: str, error: type[psycopg.Error]
) -> None:
    with pytest.raises(error, match=r"started_at_is_plausible|infinity"):
        connection.execute(
            """
            INSERT INTO clonedb.conversation_sessions
                (user_id, started_at, llm_provider, tts_provider)
            VALUES (%s, %s, 'gpt-4-turbo', 'xtts-v2')
            """,
            (ADA, started_at),
        )


# Search


def search_of(connection: Connection, text: str, title: str = "", language: str = "simple") -> str:
    return str(
        value(
            connection,
            """
            UPDATE clonedb.knowledge_documents
            SET title = %s, text_content = %s, language = %s
            WHERE user_id = %s
            RETURNING search
            """,
            title,
            text,
            language,
            ADA,
        )
    )


def test_documents_are_found_by_words_of_title_and_text(connection: Connection) -> None:
    assert search_of(connection, "my dogs", "Summers") == "'dogs':3 'my':2 'summers':1A"
    assert search_of(connection, "my dogs", "Summers", "english") == "'dog':3 'summer':1A"


# Each made where it is wanted: seconds for every process that collects the tests, otherwise.
RICH_TEXTS: dict[str, Callable[[], str]] = {
    "words": lambda: " ".join(f"{n:x}" for n in range(1_000_000)),
    "emoji": lambda: "\U0001f600 \U0010ffff" * 1_000_000,
    "hyphens": lambda: "-".join(f"a{n:x}" for n in range(1_000_000)),
    "addresses": lambda: " ".join(f"x{n}.example.com/a{n}" for n in range(300_000)),
    "one word": lambda: "x" * 2_000_000,
    "no spaces": lambda: "".join(chr(0x4E00 + n % 20_000) for n in range(3_000_000)),
}


@pytest.mark.parametrize("kind", RICH_TEXTS)
def test_no_text_is_too_rich_to_be_searched(connection: Connection, kind: str) -> None:
    assert search_of(connection, RICH_TEXTS[kind](), "Summers") is not None


def test_words_far_behind_are_not_searched(connection: Connection) -> None:
    assert "zebra" in search_of(connection, "a " * 49_990 + "zebra")
    assert "zebra" not in search_of(connection, "a " * 50_000 + "zebra")


# Caches


@settings(
    deadline=None, max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(vector=st.lists(st.floats(width=32), min_size=1, max_size=20))
def test_an_embedding_can_be_shown_to_people(connection: Connection, vector: list[float]) -> None:
    shown = value(
        connection,
        "SELECT clonedb.embedding_to_real(%s)",
        struct.pack(f"<{len(vector)}f", *vector),
    )
    # As text, since NaN equals nothing and zero has two signs.
    assert str(shown) == str(value(connection, "SELECT %s::real[]", vector))


@pytest.mark.parametrize("dimensions", [1536, 4096])
def test_embeddings_of_common_models_fit(connection: Connection, dimensions: int) -> None:
    embedding = struct.pack(f"<{dimensions}f", *range(dimensions))
    stored = value(
        connection,
        """
        UPDATE clonedb.embedding_cache
        SET embedding = %s, dimensions = %s
        WHERE user_id = %s
        RETURNING embedding
        """,
        embedding,
        dimensions,
        ADA,
    )
    assert stored == embedding


def test_a_common_embedding_stays_in_its_page(connection: Connection) -> None:
    toast = "SELECT pg_relation_size(reltoastrelid) FROM pg_class WHERE relname = 'embedding_cache'"
    before = value(connection, toast)
    connection.execute(
        """
        INSERT INTO clonedb.embedding_cache
            (user_id, key, embedding, model, dimensions, expires_at)
        VALUES (%s, sha256('common'), %s, 'small', 1536, now())
        """,
        (ADA, struct.pack("<1536f", *range(1536))),
    )
    assert value(connection, toast) == before


def test_a_counted_hit_stays_in_its_page(connection: Connection) -> None:
    """Nothing that a hit changes is indexed, so no index is touched."""
    indexed = connection.execute(
        """
        SELECT DISTINCT a.attname
        FROM pg_index AS i
        INNER JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey)
        WHERE i.indrelid IN (
            'clonedb.embedding_cache'::regclass, 'clonedb.vector_search_cache'::regclass,
            'clonedb.llm_response_cache'::regclass, 'clonedb.audio_chunk_cache'::regclass
        )
        """
    ).fetchall()
    assert {name for (name,) in indexed} == {"user_id", "key", "expires_at"}
