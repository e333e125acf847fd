"""Nobody gets what was made for another, nor can change what others get."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tiers import (
    SAMPLES,
    Making,
    Nothing,
    Process,
    Sample,
    answer,
    at_once,
    drops,
    leases,
    question,
    stored,
)

from clonedb import User
from clonedb.caching.values import AudioChunk, Embedding, LlmResponse, VectorSearch
from clonedb.testing import IsolatedDatabase

every_cache = pytest.mark.parametrize("sample", SAMPLES, ids=[each.name for each in SAMPLES])


@every_cache
async def test_two_users_with_equal_questions_never_share_a_personal_answer(
    here: Process, there: Process, ada: User, grace: User, sample: Sample
) -> None:
    key = sample.key(1)
    for process in (here, here, there):
        for user, number in ((ada, 1), (grace, 2)):
            cache = sample.of(process.caches.of(user.id))
            found = await cache.get_or_compute(key, Making(sample.value(number)))
            assert found == sample.value(number)
            assert await cache.get(key) == sample.value(number)
    assert here.figures(sample.name).fills == 2
    assert there.figures(sample.name).fills == 0


async def test_two_users_who_ask_at_once_do_not_wait_for_each_other(
    here: Process, ada: User, grace: User
) -> None:
    hers = Making(answer("ada's"), held=True)
    first = asyncio.create_task(
        here.caches.of(ada.id).llm_response.get_or_compute(question(), hers)
    )
    await hers.begun.wait()
    cache = here.caches.of(grace.id).llm_response
    assert await cache.get_or_compute(question(), Making(answer("grace's"))) == answer("grace's")
    hers.go_on.set()
    assert await first == answer("ada's")


@every_cache
async def test_what_is_shared_is_read_by_all_and_one_s_own_before_it(
    here: Process, backstage: Process, ada: User, grace: User, sample: Sample
) -> None:
    key = sample.key(1)
    assert await sample.of(backstage.caches.shared).put(key, sample.value(1))
    making = Making(sample.value(9))
    for user in (ada, grace):
        found = await sample.of(here.caches.of(user.id)).get_or_compute(key, making)
        assert found == sample.value(1)
    assert making.runs == 0
    assert await sample.of(here.caches.of(ada.id)).put(key, sample.value(2))
    assert await sample.of(here.caches.of(ada.id)).get(key) == sample.value(2)
    assert await sample.of(here.caches.of(grace.id)).get(key) == sample.value(1)
    before = drops(here, grace.id)
    await sample.of(backstage.caches.shared).invalidate(key)
    await at_once(
        lambda: here.figures(sample.name).memory_entries == 0 or drops(here, grace.id) > before
    )
    assert await sample.of(here.caches.of(grace.id)).get(key) is None
    assert await sample.of(here.caches.of(ada.id)).get(key) == sample.value(2)


async def test_a_cached_none_of_one_s_own_hides_what_is_shared(
    here: Process, backstage: Process, ada: User
) -> None:
    cache = here.caches.of(ada.id).llm_response
    await cache.get_or_compute(question(), Nothing(), cache_none=True)
    await backstage.caches.shared.llm_response.put(question(), answer("shared"))
    here.caches._states["llm_response"].memory.drop()
    assert await cache.get(question()) is None


async def test_the_app_login_can_neither_write_nor_drop_what_is_shared(
    here: Process, backstage: Process, ada: User, migrated: IsolatedDatabase
) -> None:
    shared = here.caches.shared.llm_response
    assert await shared.put(question(), answer("poison")) is False
    assert stored(migrated) == 0
    assert await backstage.caches.shared.llm_response.put(question(), answer("good"))
    await shared.invalidate()
    await shared.invalidate(tag="a")
    await shared.invalidate(question())
    assert stored(migrated) == 1


async def test_what_the_app_login_computes_for_all_is_for_the_caller_alone(
    here: Process, ada: User, migrated: IsolatedDatabase
) -> None:
    poison = answer("poison")
    shared = here.caches.shared.llm_response
    assert await shared.get_or_compute(question(), Making(poison)) == poison
    assert stored(migrated) == 0
    assert leases(migrated) == 0
    assert await here.caches.of(ada.id).llm_response.get(question()) is None


async def test_a_deleted_user_s_caches_are_empty_and_take_nothing(
    here: Process, backstage: Process, ada: User, migrated: IsolatedDatabase
) -> None:
    cache = here.caches.of(ada.id).llm_response
    await cache.put(question(), answer())
    await backstage.database.users.delete(ada.id)
    await at_once(lambda: here.figures().memory_entries == 0)
    assert await cache.get(question()) is None
    assert await cache.put(question(), answer()) is False
    assert stored(migrated) == 0


@every_cache
async def test_nobody_changes_what_others_get_from_memory(
    here: Process, ada: User, sample: Sample
) -> None:
    made = sample.value(1)
    cache = sample.of(here.caches.of(ada.id))
    got = await cache.get_or_compute(sample.key(1), Making(made))
    for value in (made, got):
        for field in value.__struct_fields__:
            with pytest.raises(AttributeError):
                setattr(value, field, None)
    if isinstance(got, VectorSearch):
        got.results[0]["number"] = "poison"
        got.results.clear()
    if isinstance(got, Embedding):
        got.vector()[0] = 99
        with pytest.raises(TypeError):
            got.view()[0] = 99
    assert here.figures(sample.name).memory_entries == 1
    assert await cache.get(sample.key(1)) == sample.value(1)


MUTABLE: dict[str, Any] = {
    "audio": ("audio_chunk", lambda: bytearray(b"abc"), lambda it: AudioChunk(it, 20)),
    "embedding": ("embedding", lambda: bytearray(8), lambda it: Embedding(it)),
    "documents": ("llm_response", list, lambda it: LlmResponse("42", it)),
}


@pytest.mark.parametrize(("name", "part", "value"), MUTABLE.values(), ids=MUTABLE)
async def test_who_made_a_value_of_something_mutable_cannot_change_it_for_others(
    here: Process, ada: User, name: str, part: Any, value: Any
) -> None:
    (sample,) = (each for each in SAMPLES if each.name == name)
    cache = sample.of(here.caches.of(ada.id))
    for number, store in enumerate(
        (
            lambda key, made: cache.get_or_compute(key, Making(made)),
            lambda key, made: cache.put(key, made),
        )
    ):
        handed = part()
        await store(sample.key(number), value(handed))
        handed.extend(b"poison")
        found = await cache.get(sample.key(number))
        # As it was handed in, which is what the table has.
        here.caches._states[sample.name].memory.drop()
        assert await cache.get(sample.key(number)) == found
