"""The four caches: what is put is found, until it expires or is dropped."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any
from uuid import UUID

import pytest
from cached import KINDS, Kind, expire, key_of, rows_of
from ground import as_superuser

from clonedb import Database, DroppedEntries, User, UserScope, new_id, pack_vector
from clonedb.testing import IsolatedDatabase

NIL = UUID(int=0)
A, B = key_of("a"), key_of("b")

every_kind = pytest.mark.parametrize("kind", KINDS, ids=[kind.name for kind in KINDS])


@every_kind
async def test_what_is_put_is_found_and_nothing_else(as_ada: UserScope, kind: Kind) -> None:
    assert await kind.of(as_ada).get(A) is None
    assert await kind.put(as_ada, A, 1, tags=["two", "one", "two"]) is True
    entry = await kind.of(as_ada).get(A)
    assert kind.number(entry) == 1
    assert (entry.key, entry.tags, entry.hit_count, entry.shared) == (A, ["one", "two"], 0, False)
    assert await kind.of(as_ada).get(B) is None


async def test_every_column_of_a_value_comes_back(as_ada: UserScope) -> None:
    caches = as_ada.caches
    documents = [new_id(), new_id()]
    await caches.embedding.put(A, embedding=[1.5, -2.25, 0.0], model="small")
    embedding = await caches.embedding.get(A)
    assert embedding is not None
    assert (list(embedding.vector()), embedding.model, embedding.dimensions) == (
        [1.5, -2.25, 0.0],
        "small",
        3,
    )
    results: list[dict[str, Any]] = [{"id": "x", "score": 0.25, "text": "Grüße"}, {}]
    await caches.vector_search.put(A, results=results, document_ids=[*documents, documents[0]])
    search = await caches.vector_search.get(A)
    assert search is not None
    assert (search.results, search.document_ids) == (results, documents)
    await caches.llm_response.put(
        A, response="Grüße", provider="claude-3-opus", document_ids=documents[:1]
    )
    response = await caches.llm_response.get(A)
    assert response is not None
    assert (response.response, response.provider, response.document_ids) == (
        "Grüße",
        "claude-3-opus",
        documents[:1],
    )
    sound = bytes(range(256))
    await caches.audio_chunk.put(
        A, audio=memoryview(sound), format="wav", duration_ms=20, sample_rate=24_000
    )
    audio = await caches.audio_chunk.get(A)
    assert audio is not None
    assert (audio.audio, audio.format, audio.duration_ms, audio.sample_rate) == (
        sound,
        "wav",
        20,
        24_000,
    )


@pytest.mark.parametrize(
    ("name", "ttl"),
    [
        ("embedding", timedelta(hours=1)),
        ("vector_search", timedelta(minutes=30)),
        ("llm_response", timedelta(hours=1)),
        ("audio_chunk", timedelta(minutes=5)),
    ],
)
async def test_entries_live_as_long_as_the_architecture_says(
    as_ada: UserScope, migrated: IsolatedDatabase, name: str, ttl: timedelta
) -> None:
    kind = next(kind for kind in KINDS if kind.name == name)
    await kind.put(as_ada, A, 1)
    [(lives,)] = rows_of(migrated, kind, "expires_at - updated_at")
    # Both are of the same statement, but updated_at of its transaction.
    assert abs(lives - ttl) < timedelta(seconds=1)
    await kind.put(as_ada, B, 1, ttl=timedelta(days=2))
    assert timedelta(days=2) in [
        timedelta(seconds=round(lives.total_seconds()))
        for (lives,) in rows_of(migrated, kind, "expires_at - updated_at")
    ]


@every_kind
async def test_the_same_value_again_writes_nothing_until_half_its_time_is_over(
    as_ada: UserScope, migrated: IsolatedDatabase, kind: Kind
) -> None:
    hour = timedelta(hours=1)
    await kind.put(as_ada, A, 1, ttl=hour)
    before = rows_of(migrated, kind, "xmin, xmax, ctid, updated_at")
    assert await kind.put(as_ada, A, 1, ttl=hour) is False
    assert rows_of(migrated, kind, "xmin, xmax, ctid, updated_at") == before
    expire(migrated, kind, seconds=-1_860)
    assert await kind.put(as_ada, A, 1, ttl=hour) is False
    expire(migrated, kind, seconds=-1_800)
    assert await kind.put(as_ada, A, 1, ttl=hour) is True
    [(expires_at,)] = rows_of(migrated, kind, "expires_at")
    assert expires_at - datetime.now(UTC) > timedelta(minutes=59)


@every_kind
async def test_another_value_or_other_tags_replace_what_is_stored(
    as_ada: UserScope, migrated: IsolatedDatabase, kind: Kind
) -> None:
    await kind.put(as_ada, A, 1)
    assert await kind.put(as_ada, A, 2) is True
    assert kind.number(await kind.of(as_ada).get(A)) == 2
    assert await kind.put(as_ada, A, 2, tags=["new"]) is True
    assert (await kind.of(as_ada).get(A)).tags == ["new"]
    assert len(rows_of(migrated, kind)) == 1


@every_kind
async def test_an_expired_entry_is_a_miss_that_readers_leave_alone(
    as_ada: UserScope, migrated: IsolatedDatabase, kind: Kind
) -> None:
    await kind.put(as_ada, A, 1)
    expire(migrated, kind, seconds=0)
    before = rows_of(migrated, kind, "xmin, xmax, ctid, expires_at")
    cache = kind.of(as_ada)
    assert await cache.get(A) is None
    if hasattr(cache, "get_many"):
        assert await cache.get_many([A]) == {}
    assert await cache.record_hits({A: 1}) == 0
    assert rows_of(migrated, kind, "xmin, xmax, ctid, expires_at") == before
    assert await kind.put(as_ada, A, 1) is True
    assert kind.number(await cache.get(A)) == 1


@every_kind
async def test_shared_entries_are_the_workers_and_everybody_reads_them(
    app: Database, worker: Database, ada: User, migrated: IsolatedDatabase, kind: Kind
) -> None:
    await kind.put(worker, A, 7)
    for scope in (worker, app, worker.as_user(ada.id), app.as_user(ada.id)):
        entry = await kind.of(scope).get(A)
        assert (kind.number(entry), entry.shared) == (7, True)
    # One's own goes first.
    await kind.put(app.as_user(ada.id), A, 8)
    entry = await kind.of(app.as_user(ada.id)).get(A)
    assert (kind.number(entry), entry.shared) == (8, False)
    assert kind.number(await kind.of(worker).get(A)) == 7
    assert await kind.of(app.as_user(ada.id)).delete(A) is True
    assert kind.number(await kind.of(app.as_user(ada.id)).get(A)) == 7
    assert await kind.of(worker).delete(A) is True
    assert rows_of(migrated, kind) == []


@pytest.mark.parametrize("kind", [KINDS[0], KINDS[3]], ids=["embedding", "audio_chunk"])
async def test_many_keys_are_found_at_once_own_entries_first(
    worker: Database, as_ada: UserScope, kind: Kind
) -> None:
    keys = [key_of(str(number)) for number in range(1_000)]
    await kind.put(worker, keys[0], 100)
    await kind.put(worker, keys[1], 101)
    await kind.put(as_ada, keys[1], 1)
    await kind.put(as_ada, keys[2], 2)
    found = await kind.of(as_ada).get_many(keys)
    assert {key: kind.number(entry) for key, entry in found.items()} == {
        keys[0]: 100,
        keys[1]: 1,
        keys[2]: 2,
    }
    assert await kind.of(as_ada).get_many([]) == {}


async def test_many_embeddings_are_stored_at_once_and_the_known_ones_left(
    as_ada: UserScope, migrated: IsolatedDatabase
) -> None:
    cache = as_ada.caches.embedding
    vectors = {key_of(str(number)): [float(number), 1.0] for number in range(100)}
    assert await cache.put_many(vectors, model="small", tags=["batch"]) == 100
    found = await cache.get_many(vectors)
    assert {key: list(entry.vector()) for key, entry in found.items()} == vectors
    assert {(entry.dimensions, entry.model, *entry.tags) for entry in found.values()} == {
        (2, "small", "batch")
    }
    vectors[A] = [0.0, 0.0]
    assert await cache.put_many(vectors, model="small", tags=["batch"]) == 1
    assert await cache.put_many(vectors, model="large", tags=["batch"]) == 101
    assert await cache.put_many({}, model="small") == 0


async def test_vectors_that_agree_in_ten_numbers_do_not_meet(as_ada: UserScope) -> None:
    """The original hashed 10 numbers of a vector: other queries got the same key."""
    searches = as_ada.caches.vector_search
    vectors = [[0.1] * 10 + [float(number)] * 1_526 for number in range(20)]
    for number, vector in enumerate(vectors):
        await searches.put(sha256(pack_vector(vector)).digest(), results=[{"number": number}])
    for number, vector in enumerate(vectors):
        entry = await searches.get(sha256(pack_vector(vector)).digest())
        assert entry is not None
        assert entry.results == [{"number": number}]


@every_kind
async def test_hits_are_added_to_the_entries_they_were_counted_for(
    as_ada: UserScope, as_grace: UserScope, kind: Kind
) -> None:
    for scope in (as_ada, as_grace):
        await kind.put(scope, A, 1)
        await kind.put(scope, B, 1)
    cache = kind.of(as_ada)
    assert await cache.record_hits({A: 3, B: 1, key_of("missing"): 5}) == 2
    assert await cache.record_hits({A: 2}) == 1
    assert await cache.record_hits({}) == 0
    assert [(await cache.get(key)).hit_count for key in (A, B)] == [5, 1]
    assert [(await kind.of(as_grace).get(key)).hit_count for key in (A, B)] == [0, 0]


@every_kind
async def test_entries_are_dropped_by_key_tag_and_user(
    as_ada: UserScope, as_grace: UserScope, migrated: IsolatedDatabase, kind: Kind
) -> None:
    for scope in (as_ada, as_grace):
        await kind.put(scope, A, 1, tags=["blue", "red"])
        await kind.put(scope, B, 2, tags=["red"])
    cache = kind.of(as_ada)
    assert await cache.delete(key_of("missing")) is False
    assert await cache.invalidate_by_tag("blue") == 1
    assert await cache.invalidate_by_tag("blue") == 0
    assert await cache.get(A) is None
    assert await cache.delete(B) is True
    assert len(rows_of(migrated, kind)) == 2
    await kind.put(as_ada, A, 1)
    assert await cache.invalidate_all() == 1
    assert len(rows_of(migrated, kind)) == 2


async def test_a_changed_document_drops_what_it_is_part_of(
    worker: Database, as_ada: UserScope, as_grace: UserScope
) -> None:
    changed, other = new_id(), new_id()
    for scope in (as_ada, as_grace):
        for number, documents in enumerate(([changed], [other, changed], [other], [])):
            key = key_of(str(number))
            await scope.caches.vector_search.put(key, results=[], document_ids=documents)
            await scope.caches.llm_response.put(
                key, response="Hi", provider="llama-3-70b", document_ids=documents
            )
    assert await as_ada.caches.vector_search.invalidate_by_document(changed) == 2
    assert await as_ada.caches.llm_response.invalidate_by_document(changed) == 2
    assert await as_ada.caches.llm_response.get(key_of("2")) is not None
    assert await as_ada.caches.invalidate_by_document(other) == DroppedEntries(0, 1, 1, 0)
    assert await worker.caches.invalidate_by_document(changed) == DroppedEntries(0, 2, 2, 0)


async def test_the_four_caches_are_dropped_together(
    worker: Database, as_ada: UserScope, as_grace: UserScope
) -> None:
    for kind in KINDS:
        for scope in (worker, as_ada, as_grace):
            await kind.put(scope, A, 1, tags=["red"])
            await kind.put(scope, B, 1)
    assert await as_ada.caches.invalidate_by_tag("red") == DroppedEntries(1, 1, 1, 1)
    assert await as_ada.caches.invalidate_all() == DroppedEntries(1, 1, 1, 1)
    dropped = await worker.caches.invalidate_by_tag("red")
    assert (dropped, dropped.total) == (DroppedEntries(2, 2, 2, 2), 8)
    assert await worker.caches.invalidate_all() == DroppedEntries(2, 2, 2, 2)


async def test_the_purge_takes_what_has_expired_in_batches_and_leaves_the_rest(
    worker: Database, as_ada: UserScope, migrated: IsolatedDatabase
) -> None:
    for kind in KINDS:
        for number in range(25):
            await kind.put(as_ada, key_of(str(number)), 1)
        expire(migrated, kind)
        await kind.put(as_ada, A, 1)
        await kind.put(worker, A, 1)
    embedding = KINDS[0].of(worker)
    assert await embedding.purge_expired(limit=10) == 10
    assert len(rows_of(migrated, KINDS[0])) == 17
    assert await worker.caches.purge_expired(limit=10) == DroppedEntries(15, 25, 25, 25)
    assert await worker.caches.purge_expired() == DroppedEntries(0, 0, 0, 0)
    for kind in KINDS:
        assert [key for _, key in rows_of(migrated, kind)] == [A, A]


async def test_a_purge_goes_on_where_its_last_batch_has_ended(
    worker: Database, as_ada: UserScope, migrated: IsolatedDatabase
) -> None:
    for kind in KINDS:
        for number in range(25):
            await kind.put(as_ada, key_of(str(number)), 1)
        expire(migrated, kind)
        await kind.put(as_ada, A, 1)
        cache = kind.of(worker)
        # All have expired at the same moment, which no batch passes by.
        assert [dropped async for dropped in cache.purge_batches(limit=10)] == [10, 10, 5]
        assert [dropped async for dropped in cache.purge_batches()] == [0]
        assert len(rows_of(migrated, kind)) == 1


async def test_a_user_purges_only_what_is_theirs(
    as_ada: UserScope, as_grace: UserScope, migrated: IsolatedDatabase
) -> None:
    for kind in KINDS:
        for scope in (as_ada, as_grace):
            await kind.put(scope, A, 1)
        expire(migrated, kind)
    assert await as_ada.caches.purge_expired() == DroppedEntries(1, 1, 1, 1)
    assert await as_grace.caches.purge_expired() == DroppedEntries(1, 1, 1, 1)


async def test_statistics_count_entries_bytes_hits_and_ages(
    worker: Database, as_ada: UserScope, as_grace: UserScope, migrated: IsolatedDatabase
) -> None:
    cache = as_ada.caches.embedding
    await cache.put(A, embedding=[1.0] * 1_536, model="small")
    expire(migrated, KINDS[0])
    await cache.put(B, embedding=[1.0] * 100, model="small")
    await cache.record_hits({B: 7})
    await as_grace.caches.embedding.put(A, embedding=[1.0], model="small")
    with as_superuser(migrated) as connection:
        connection.execute(
            "UPDATE clonedb.embedding_cache SET updated_at = now() - interval '10 minutes' "
            "WHERE key = %s AND hit_count = 0",
            [A],
        )
    own = {row.cache: row for row in await as_ada.caches.statistics()}
    assert list(own) == ["embedding", "vector_search", "llm_response", "audio_chunk"]
    embedding = own["embedding"]
    assert (embedding.entries, embedding.expired_entries, embedding.hits) == (2, 1, 7)
    assert 4 * 1_636 <= embedding.value_bytes <= 4 * 1_636 + 16
    assert embedding.oldest_at is not None
    empty = own["audio_chunk"]
    assert (empty.entries, empty.value_bytes, empty.hits, empty.oldest_at) == (0, 0, 0, None)
    everybody = {row.cache: row for row in await worker.caches.statistics()}
    assert (everybody["embedding"].entries, everybody["embedding"].hits) == (3, 7)

    ages = await as_ada.caches.statistics_by_age()
    assert [
        (age.cache, age.from_seconds, age.before_seconds, age.entries, age.expired_entries)
        for age in ages
    ] == [("embedding", 0, 60, 1, 0), ("embedding", 300, 1800, 1, 1)]
    assert [age.hits for age in ages] == [7, 0]
    assert sum(age.value_bytes for age in ages) == embedding.value_bytes


async def test_a_rolled_back_put_is_not_cached(as_ada: UserScope) -> None:
    class Stop(Exception):
        pass

    with pytest.raises(Stop):
        async with as_ada.transaction() as transaction:
            for kind in KINDS:
                await kind.put(transaction, A, 1)
            raise Stop
    assert [await kind.of(as_ada).get(A) for kind in KINDS] == [None] * 4


async def test_deleting_a_user_drops_their_entries_of_every_cache(
    worker: Database, as_ada: UserScope, as_grace: UserScope, ada: User, grace: User
) -> None:
    for kind in KINDS:
        for scope in (as_ada, as_grace):
            await kind.put(scope, A, 1)
    await worker.users.delete(ada.id)
    await worker.users.hard_delete(grace.id)
    assert [row.entries for row in await worker.caches.statistics()] == [0] * 4
