"""Bad input to the caches: a typed error that names the field, and nothing stored."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from cached import KINDS, Kind, key_of
from ground import case, nothing_stored

from clonedb import Database, InvalidInput, PermissionDenied, UserScope
from clonedb.testing import IsolatedDatabase

A = key_of("a")
NAN, INFINITY = float("nan"), float("inf")

EMBEDDING: dict[str, Any] = {"embedding": [0.5], "model": "small"}
SEARCH: dict[str, Any] = {"results": []}
RESPONSE: dict[str, Any] = {"response": "Hi", "provider": "gpt-4-turbo"}
AUDIO: dict[str, Any] = {
    "audio": b"sound",
    "format": "opus",
    "duration_ms": 20,
    "sample_rate": 48_000,
}

NOT_TEXT = ("nul\0here", "lone \ud800 surrogate", 5, None)
NOT_COUNTS = (NAN, -1, 2**31, 1.5, True, "1", None)
NOT_IDS = ("not a uuid", UUID(int=0), uuid4(), 5)

VALUES: list[tuple[str, dict[str, Any], str, tuple[Any, ...]]] = [
    (
        "embedding",
        EMBEDDING,
        "vector",
        ([NAN], [INFINITY], [], [0.5] * 10_000, b"12345", "text", None, [None], [1e39]),
    ),
    ("embedding", EMBEDDING, "model", (*NOT_TEXT, "", "x" * 201)),
    (
        "vector_search",
        SEARCH,
        "results",
        (
            [{"text": "x" * 900_000} for _ in range(6)],
            [{"text": "x" * 5_000_000}],
            [{"score": NAN}],
            [{"score": INFINITY}],
            *([{"text": text}] for text in NOT_TEXT[:2]),
            *([{text: 1}] for text in NOT_TEXT[:2]),
            [{"text": b"bytes"}],
            [{"text": {"a", "set"}}],
            [{5: 1}],
            [5],
            {"a": 1},
            "text",
            None,
        ),
    ),
    ("vector_search", SEARCH, "document_ids", (*([bad] for bad in NOT_IDS), str(uuid4()))),
    ("llm_response", RESPONSE, "response", (*NOT_TEXT, "x" * (1024 * 1024 + 1))),
    ("llm_response", RESPONSE, "provider", ("gpt-9", "", None, 5)),
    ("llm_response", RESPONSE, "document_ids", tuple([bad] for bad in NOT_IDS)),
    (
        "audio_chunk",
        AUDIO,
        "audio",
        (b"", bytes(10 * 1024 * 1024 + 1), "text", None, [1, 2], memoryview(b"")),
    ),
    ("audio_chunk", AUDIO, "format", ("vinyl", "WAV", "", None)),
    ("audio_chunk", AUDIO, "duration_ms", NOT_COUNTS),
    ("audio_chunk", AUDIO, "sample_rate", (*NOT_COUNTS, 0, 7_999, 384_001)),
    *(
        (name, value, field, wrong)
        for name, value in (
            ("embedding", EMBEDDING),
            ("vector_search", SEARCH),
            ("llm_response", RESPONSE),
            ("audio_chunk", AUDIO),
        )
        for field, wrong in (
            ("tags", (["x"] * 101, ["x" * 201], [""], [None], "text", *([t] for t in NOT_TEXT))),
            (
                "ttl",
                (timedelta(0), timedelta(seconds=-1), timedelta(days=400), 5, None, timedelta.max),
            ),
            ("key", (b"", b"short", A + b"x", A.hex(), bytearray(A), None, 5)),
        )
    ),
]


async def test_a_bad_value_is_refused_with_the_fields_name_and_nothing_is_stored(
    as_ada: UserScope, migrated: IsolatedDatabase
) -> None:
    for name, value, field, wrong in VALUES:
        cache = getattr(as_ada.caches, name)
        for bad in wrong:
            arguments = {"key": A, **value, ("embedding" if field == "vector" else field): bad}
            with case(name, field, bad), nothing_stored(migrated):
                with pytest.raises(InvalidInput, match=field) as caught:
                    await cache.put(**arguments)
                assert len(str(caught.value)) < 1_000


@pytest.mark.parametrize("kind", KINDS, ids=[kind.name for kind in KINDS])
async def test_every_call_checks_its_key_its_tag_and_its_numbers(
    as_ada: UserScope, kind: Kind
) -> None:
    cache = kind.of(as_ada)
    for key in (b"", b"short", A + b"x", A.hex(), None):
        for call in (cache.get, cache.delete):
            with pytest.raises(InvalidInput, match="key"):
                await call(key)
        with pytest.raises(InvalidInput, match="key"):
            await cache.record_hits({key: 1})
    for hits in (0, -1, 2**31, 1.5, True, "1"):
        with pytest.raises(InvalidInput, match="hits"):
            await cache.record_hits({A: hits})
    with pytest.raises(InvalidInput, match="1,001"):
        await cache.record_hits({key_of(str(number)): 1 for number in range(1_001)})
    for tag in (*NOT_TEXT, "", "x" * 201):
        with pytest.raises(InvalidInput, match="tag"):
            await cache.invalidate_by_tag(tag)
    for limit in (0, -1, 100_001, True, "1", None, NAN):
        with pytest.raises(InvalidInput, match="limit"):
            await cache.purge_expired(limit=limit)


async def test_one_bad_vector_refuses_the_whole_batch(
    as_ada: UserScope, migrated: IsolatedDatabase
) -> None:
    cache = as_ada.caches.embedding
    many: dict[bytes, Any] = {key_of(str(number)): [1.0] for number in range(1_001)}
    with nothing_stored(migrated):
        for embeddings in ({A: [1.0], key_of("b"): [NAN]}, {A: [1.0], b"short": [1.0]}, many):
            with pytest.raises(InvalidInput):
                await cache.put_many(embeddings, model="small")
        with pytest.raises(InvalidInput, match="1,001"):
            await cache.get_many(many)


async def test_results_that_the_column_stores_larger_than_their_text_are_refused(
    as_ada: UserScope, migrated: IsolatedDatabase
) -> None:
    """Short numbers take more room in jsonb than as text: the constraint has the last word."""
    results = [{"n": [1] * 900_000}]
    with nothing_stored(migrated), pytest.raises(InvalidInput) as caught:
        await as_ada.caches.vector_search.put(A, results=results)
    assert caught.value.constraint == "vector_search_cache_results_are_small"


@pytest.mark.parametrize("kind", KINDS, ids=[kind.name for kind in KINDS])
async def test_the_app_login_cannot_write_shared_entries(
    app: Database, worker: Database, migrated: IsolatedDatabase, kind: Kind
) -> None:
    await kind.put(worker, A, 1)
    with nothing_stored(migrated):
        for key, number in ((A, 2), (key_of("b"), 1)):
            with pytest.raises(PermissionDenied):
                await kind.put(app, key, number)
        assert await kind.of(app).delete(A) is False
        assert await kind.of(app).record_hits({A: 1}) == 0
        assert await kind.of(app).invalidate_all() == 0
        assert (await app.caches.invalidate_all()).total == 0
        assert (await app.caches.purge_expired()).total == 0
