"""Nobody reaches another's cached entries or audit entries, by any method.

Ada is the victim, Grace asks. Two walls stand between them, row-level security and the explicit
user in every statement; each has to hold alone.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import msgspec
import pytest
import pytest_asyncio
from cached import KINDS, Kind, expire, key_of, rows_of
from ground import as_superuser, nothing_stored

from clonedb import (
    AlreadyExists,
    AudioChunkCache,
    AuditFilter,
    AuditLogRepository,
    CacheRepository,
    ClonedbError,
    Database,
    DroppedEntries,
    EmbeddingCache,
    LlmResponseCache,
    NewAuditEntry,
    NotFound,
    PermissionDenied,
    User,
    UserScope,
    VectorSearchCache,
    new_id,
)
from clonedb.repositories.cache_table import CacheTable
from clonedb.testing import IsolatedDatabase

A = key_of("a")
DOCUMENT = new_id()
SECRET = "secret of Ada"

every_kind = pytest.mark.parametrize("kind", KINDS, ids=[kind.name for kind in KINDS])


@pytest_asyncio.fixture(params=["app", "app without row-level security", "worker"])
async def as_attacker(
    request: pytest.FixtureRequest,
    app: Database,
    worker: Database,
    grace: User,
    migrated: IsolatedDatabase,
) -> AsyncIterator[UserScope]:
    if request.param == "app without row-level security":
        with as_superuser(migrated) as connection:
            tables = connection.execute(
                "SELECT c.oid::regclass::text FROM pg_class AS c "
                "WHERE c.relnamespace = 'clonedb'::regnamespace AND c.relrowsecurity"
            ).fetchall()
            for (table,) in tables:
                connection.execute(f"ALTER TABLE {table} DISABLE ROW LEVEL SECURITY".encode())
    yield (worker if request.param == "worker" else app).as_user(grace.id)


def public_methods(repository: type) -> set[str]:
    return {name for name in vars(repository) if not name.startswith("_")}


Call = Callable[[Any], Awaitable[Any]]

TABLE_CALLS: dict[str, tuple[Call, object]] = {
    "get": (lambda cache: cache.get(A), None),
    "get_many": (lambda cache: cache.get_many([A]), {}),
    "delete": (lambda cache: cache.delete(A), False),
    "record_hits": (lambda cache: cache.record_hits({A: 5}), 0),
    "invalidate_by_tag": (lambda cache: cache.invalidate_by_tag("red"), 0),
    "invalidate_by_document": (lambda cache: cache.invalidate_by_document(DOCUMENT), 0),
    "invalidate_all": (lambda cache: cache.invalidate_all(), 0),
    "purge_expired": (lambda cache: cache.purge_expired(), 0),
    "purge_batches": (lambda cache: anext(cache.purge_batches()), 0),
}

NOTHING = DroppedEntries(0, 0, 0, 0)
REPOSITORY_CALLS: dict[str, tuple[Call, object]] = {
    "invalidate_all": (lambda caches: caches.invalidate_all(), NOTHING),
    "invalidate_by_document": (lambda caches: caches.invalidate_by_document(DOCUMENT), NOTHING),
    "invalidate_by_tag": (lambda caches: caches.invalidate_by_tag("red"), NOTHING),
    "purge_expired": (lambda caches: caches.purge_expired(), NOTHING),
    "statistics_by_age": (lambda caches: caches.statistics_by_age(), []),
}


def test_every_method_of_the_caches_has_a_case() -> None:
    caches = (EmbeddingCache, VectorSearchCache, LlmResponseCache, AudioChunkCache)
    methods = set().union(*(public_methods(cache) for cache in (CacheTable, *caches)))
    # What is put is one's own, which is tried by itself.
    assert methods - {"put", "put_many"} == TABLE_CALLS.keys()
    assert public_methods(CacheRepository) == (
        REPOSITORY_CALLS.keys() | {"outdate", "statistics"} | {kind.name for kind in KINDS}
    )


@every_kind
async def test_no_method_of_a_cache_finds_or_changes_anothers_entries(
    worker: Database, as_attacker: UserScope, ada: User, migrated: IsolatedDatabase, kind: Kind
) -> None:
    documents = {} if kind.name in ("embedding", "audio_chunk") else {"document_ids": [DOCUMENT]}
    await kind.put(worker.as_user(ada.id), A, 1, tags=["red"], **documents)
    await kind.put(worker.as_user(ada.id), key_of("b"), 1)
    with as_superuser(migrated) as connection:
        connection.execute(
            f"UPDATE clonedb.{kind.name}_cache SET expires_at = now() - interval '1 s' "
            "WHERE key = %s".encode(),
            [key_of("b")],
        )
    cache = kind.of(as_attacker)
    with nothing_stored(migrated):
        for name, (call, answer) in TABLE_CALLS.items():
            if hasattr(cache, name):
                assert await call(cache) == answer, name
        for name, (call, answer) in REPOSITORY_CALLS.items():
            assert await call(as_attacker.caches) == answer, name
        assert [row.entries for row in await as_attacker.caches.statistics()] == [0] * 4
    # The same key is free in one's own: it says nothing about hers.
    with nothing_stored(migrated, but_for=as_attacker.user_id):
        assert await kind.put(as_attacker, A, 2) is True
        assert kind.number(await cache.get(A)) == 2
    assert kind.number(await kind.of(worker.as_user(ada.id)).get(A)) == 1


@every_kind
async def test_no_user_changes_a_shared_entry(
    worker: Database, as_attacker: UserScope, migrated: IsolatedDatabase, kind: Kind
) -> None:
    """Who could would poison everybody's answers."""
    await kind.put(worker, A, 1, tags=["red"])
    with nothing_stored(migrated):
        for name in ("delete", "record_hits", "invalidate_by_tag", "invalidate_all"):
            call, answer = TABLE_CALLS[name]
            assert await call(kind.of(as_attacker)) == answer, name
    await kind.put(as_attacker, A, 2)
    assert kind.number(await kind.of(worker).get(A)) == 1
    expire(migrated, kind)
    assert await kind.of(as_attacker).purge_expired() == 1
    assert len(rows_of(migrated, kind)) == 1


@every_kind
async def test_a_deleted_user_has_no_cache(
    app: Database, worker: Database, ada: User, migrated: IsolatedDatabase, kind: Kind
) -> None:
    await worker.users.delete(ada.id)
    scope = app.as_user(ada.id)
    with nothing_stored(migrated):
        with pytest.raises(PermissionDenied):
            await kind.put(scope, A, 1)
        assert await kind.of(scope).get(A) is None


ENTRY = NewAuditEntry(action="export", resource="documents", result="failure", user_agent=SECRET)

AUDIT_CALLS: dict[str, Callable[[AuditLogRepository, Any, User], Awaitable[Any]]] = {
    "find_by_id": lambda logs, entry, _: logs.find_by_id(entry),
    "find_many": lambda logs, _, ada: logs.find_many(
        AuditFilter(subject_id=ada.id), with_total=True
    ),
    "find_one": lambda logs, _, ada: logs.find_one(AuditFilter(actor_id=ada.id)),
    "count": lambda logs, _, __: logs.count(AuditFilter(action="export")),
    "top_actions": lambda logs, _, __: logs.top_actions(),
    "top_failures": lambda logs, _, __: logs.top_failures(),
}


async def test_no_method_of_the_audit_log_finds_or_changes_anothers_entries(
    worker: Database, as_attacker: UserScope, ada: User, migrated: IsolatedDatabase
) -> None:
    hers = worker.as_user(ada.id).audit_logs
    entry = await hers.append(ENTRY)
    logs = as_attacker.audit_logs
    assert AUDIT_CALLS.keys() | {"append", "get_by_id", "statistics"} == public_methods(
        AuditLogRepository
    )
    with nothing_stored(migrated):
        for name, call in AUDIT_CALLS.items():
            answer = await call(logs, entry, ada)
            assert not getattr(answer, "items", answer), name
            assert SECRET not in msgspec.json.encode(answer).decode()
        assert (await logs.statistics()).entries == 0
        refusals: list[tuple[type[ClonedbError], Awaitable[Any]]] = [
            (NotFound, logs.get_by_id(entry)),
            (AlreadyExists, logs.append(msgspec.structs.replace(ENTRY, id=entry))),
        ]
        for error, refused in refusals:
            with pytest.raises(error) as caught:
                await refused
            assert SECRET not in str(caught.value)
    # What one appends is about oneself, whatever one asks for.
    own = await logs.get_by_id(await logs.append(ENTRY))
    assert own.subject_id == as_attacker.user_id
    assert own.actor_ref == own.subject_ref != (await hers.get_by_id(entry)).subject_ref
    assert await hers.count() == 1
