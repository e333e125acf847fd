"""A row is the same whatever way and in whatever format it came."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from clonedb import (
    AuditFilter,
    Database,
    NewAuditEntry,
    NewFaceModel,
    NewSession,
    NewTurn,
    NewUser,
    NewVoiceModel,
    User,
    UserScope,
    new_id,
)
from clonedb.testing import IsolatedDatabase, Person

# Text first, which shows the types of the columns; then in the format that is best for them.
TIMES = 4

STRANGE = "\u00e9\u4e2d\U0001f600 'quoted' \"twice\" {brace} \\back\\ \n\t$1 % "


async def reads_of(
    scope: UserScope, ids: dict[str, Any]
) -> dict[str, Callable[[], Awaitable[object]]]:
    sessions, caches = scope.conversation_sessions, scope.caches
    return {
        "user": lambda: scope.users.get_by_id(ids["user"]),
        "users": lambda: scope.users.find_many(with_total=True),
        "session": lambda: sessions.get_by_id(ids["session"]),
        "empty session": lambda: sessions.get_by_id(ids["empty"]),
        "sessions": lambda: sessions.find_many(order="oldest", with_total=True),
        "turns": lambda: sessions.find_turns(ids["session"], with_total=True),
        "with turns": lambda: sessions.with_turns(ids["session"]),
        "without turns": lambda: sessions.with_turns(ids["empty"]),
        "statistics": lambda: sessions.statistics(),
        "by provider": lambda: sessions.statistics_by_provider(),
        "voices": lambda: scope.voice_models.find_many(),
        "faces": lambda: scope.face_models.find_many(),
        "documents": lambda: scope.knowledge_documents.find_many(),
        "document": lambda: scope.knowledge_documents.get_by_id(ids["document"]),
        "embedding": lambda: caches.embedding.get(ids["key"]),
        "audio": lambda: caches.audio_chunk.get(ids["key"]),
        "search": lambda: caches.vector_search.get(ids["key"]),
        "response": lambda: caches.llm_response.get(ids["key"]),
        "cached": lambda: caches.embedding.get_many([ids["key"]]),
        "cache statistics": lambda: caches.statistics(),
        "quota": lambda: scope.daily_usage.find_many(),
        "limits": lambda: scope.rate_limits.status("conversation"),
        "audit": lambda: scope.audit_logs.find_many(AuditFilter()),
        "audit statistics": lambda: scope.audit_logs.statistics(),
        "count": lambda: sessions.count(),
        "exists": lambda: sessions.exists(),
        "nobody": lambda: scope.users.find_by_id(new_id()),
    }


async def fill(scope: UserScope, person: Person) -> dict[str, Any]:
    """Values at the ends of what their types hold."""
    sessions, caches = scope.conversation_sessions, scope.caches
    long_ago = datetime(1999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)
    empty = await sessions.create(NewSession(id=new_id(), started_at=long_ago))
    for number, cost in enumerate(["0", "0.000001", "999999.999999", "12.5"]):
        await sessions.record_turn(
            person.session.id,
            NewTurn(
                user_transcript=STRANGE * (number + 1),
                llm_response="" if number else STRANGE * 3_000,
                transcript_confidence=[None, 0.0, 1.0, 0.1 + 0.2][number],
                retrieved_chunks=[[], ["", STRANGE], ["NULL", "{}"], ["a,b"] * 50][number],
                asr_latency_ms=[None, 0, 2_147_483_647, 7][number],
                total_latency_ms=number,
                asr_cost=Decimal(cost),
            ),
        )
    await scope.voice_models.create(
        NewVoiceModel(
            provider="xtts-v2",
            model_path=STRANGE,
            sample_rate=48_000,
            quality_score=0.1 + 0.2,
            metadata={"deep": [{"a": [1, 2.5, None, True, STRANGE]}] * 3, "big": 2**63 - 1},
        )
    )
    await scope.face_models.create(
        NewFaceModel(model_path="face", resolution={"width": 1, "height": 2_160})
    )
    key = hashlib.sha256(b"key").digest()
    ttl = timedelta(days=1)
    await caches.embedding.put(
        key, embedding=[float(n) - 700.5 for n in range(1_536)], model="m", tags=["b", "a"], ttl=ttl
    )
    await caches.audio_chunk.put(
        key,
        audio=bytes(range(256)) * 40,
        format="opus",
        duration_ms=20,
        sample_rate=8_000,
        ttl=ttl,
    )
    await caches.vector_search.put(
        key, results=[{"id": STRANGE, "score": 1e-9}], document_ids=[person.document.id], ttl=ttl
    )
    await caches.llm_response.put(key, response=STRANGE, provider="claude-3-opus", ttl=ttl)
    await scope.rate_limits.take("conversation")
    await scope.daily_usage.use(1.5)
    await scope.audit_logs.append(
        NewAuditEntry(action="login", resource="users", ip_address="2001:db8::1", user_agent="a")
    )
    return {
        "user": person.user.id,
        "session": person.session.id,
        "empty": empty.id,
        "document": person.document.id,
        "key": key,
    }


@pytest.mark.parametrize("role", ["clonedb_app", "clonedb_worker"])
async def test_rows_through_channels_are_the_rows_of_the_pool(
    role: str, migrated: IsolatedDatabase, clonedb_person: Person
) -> None:
    async with (
        Database(migrated.dsn(role)) as channels,
        Database(migrated.dsn(role), read_channels=0, write_channels=0) as pool,
    ):
        of_user = channels.as_user(clonedb_person.user.id)
        ids = await fill(of_user, clonedb_person)
        expected = {
            name: await read()
            for name, read in (await reads_of(pool.as_user(clonedb_person.user.id), ids)).items()
        }
        assert expected["embedding"] is not None
        for _ in range(TIMES):
            for name, read in (await reads_of(of_user, ids)).items():
                found = await read()
                if name == "limits":  # buckets fill with time
                    assert len(found) == len(expected[name])  # type: ignore[arg-type]
                else:
                    assert found == expected[name], name
        sent = {figures.name: figures.calls for figures in channels.channel_statistics()}
        assert sent["read 1"] + sent["read 2"] > TIMES * 20


async def test_what_the_columns_hold_is_what_was_put_in(
    app: Database, ada: User, migrated: IsolatedDatabase, worker: Database
) -> None:
    """Every kind of value, written and read in whatever format, several times."""
    for number in range(TIMES):
        settings = {"text": STRANGE, "n": number, "f": 1e-15, "none": None, "list": [[], {}]}
        stored = await worker.users.create(
            NewUser(
                email=f"user{number}@example.com",
                name=STRANGE[:100],
                personality_traits=[STRANGE[:30], "a,b", "NULL", "{}"][:number],
                settings=settings,
            )
        )
        assert stored.settings == settings
        assert stored.personality_traits == [STRANGE[:30], "a,b", "NULL", "{}"][:number]
        added = await worker.users.add_minutes(stored.id, Decimal("0.01") * number)
        assert added.conversation_minutes_used == Decimal("0.01") * number
        again = await app.as_user(stored.id).users.get_by_id(stored.id)
        assert again == added
