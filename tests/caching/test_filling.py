"""One caller makes a value; the others of the process, and of others, get what it made."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
import pytest_asyncio
from channels import until
from tiers import (
    A_MOMENT,
    FORGETFUL,
    SAMPLES,
    Making,
    Nothing,
    Process,
    Sample,
    a_process,
    answer,
    at_once,
    given_way,
    leases,
    ms,
    question,
    rows,
    stored,
)

from clonedb import InvalidInput, User
from clonedb.caching.table import Table
from clonedb.testing import IsolatedDatabase

every_cache = pytest.mark.parametrize("sample", SAMPLES, ids=[each.name for each in SAMPLES])


class Oops(Exception):
    pass


@pytest_asyncio.fixture
async def hasty(migrated: IsolatedDatabase) -> AsyncIterator[Process]:
    """A process that waits for others no longer than a moment, under a short lease."""
    policy = {"wait": ms(100), "lease": ms(300), **FORGETFUL}
    async with a_process(migrated.dsn("clonedb_app"), policy=policy) as process:
        yield process


@every_cache
async def test_what_is_made_is_found_in_this_process_and_in_others(
    here: Process, there: Process, ada: User, sample: Sample
) -> None:
    making = Making(sample.value(7))
    for process in (here, here, there, there):
        cache = sample.of(process.caches.of(ada.id))
        assert await cache.get_or_compute(sample.key(1), making) == sample.value(7)
        assert await cache.get(sample.key(1)) == sample.value(7)
        assert await cache.get(sample.key(2)) is None
    assert making.runs == 1
    assert here.figures(sample.name).memory_hits == 3
    assert (there.figures(sample.name).database_hits, there.figures(sample.name).memory_hits) == (
        1,
        3,
    )


async def test_callers_of_a_process_share_what_one_of_them_makes(
    here: Process, ada: User, migrated: IsolatedDatabase
) -> None:
    making = Making(held=True)
    cache = here.caches.of(ada.id).llm_response
    calls = [asyncio.create_task(cache.get_or_compute(question(), making)) for _ in range(20)]
    await making.begun.wait()
    making.go_on.set()
    assert await asyncio.gather(*calls) == [answer()] * 20
    assert making.runs == 1
    assert here.figures().fills == 1
    await at_once(lambda: leases(migrated) == 0)


async def test_what_compute_raises_reaches_every_waiter_and_is_not_cached(
    here: Process, ada: User, migrated: IsolatedDatabase
) -> None:
    failing = Making(held=True, fails=Oops("no"))
    cache = here.caches.of(ada.id).llm_response
    calls = [asyncio.create_task(cache.get_or_compute(question(), failing)) for _ in range(20)]
    await failing.begun.wait()
    failing.go_on.set()
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert all(isinstance(outcome, Oops) for outcome in outcomes)
    assert failing.runs == 1
    assert stored(migrated) == 0
    assert await cache.get(question()) is None
    assert await cache.get_or_compute(question(), Making()) == answer()


async def test_after_a_failure_another_process_has_its_turn_at_once(
    here: Process, there: Process, ada: User
) -> None:
    failing = Making(held=True, fails=Oops("no"))
    first = asyncio.create_task(
        here.caches.of(ada.id).llm_response.get_or_compute(question(), failing)
    )
    await failing.begun.wait()
    making = Making()
    second = asyncio.create_task(
        there.caches.of(ada.id).llm_response.get_or_compute(question(), making)
    )
    failing.go_on.set()
    async with asyncio.timeout(2):  # and not after the lease of 5 s
        assert await second == answer()
    with pytest.raises(Oops):
        await first


async def test_a_compute_that_was_cancelled_from_inside_is_not_run_again(
    here: Process, ada: User
) -> None:
    failing = Making(fails=asyncio.CancelledError())
    with pytest.raises(asyncio.CancelledError):
        await here.caches.of(ada.id).llm_response.get_or_compute(question(), failing)
    assert failing.runs == 1


async def test_the_first_caller_is_cancelled_and_the_others_get_the_value(
    here: Process, ada: User
) -> None:
    making = Making(held=True)
    cache = here.caches.of(ada.id).llm_response
    first = asyncio.create_task(cache.get_or_compute(question(), making))
    await making.begun.wait()
    others = [asyncio.create_task(cache.get_or_compute(question(), making)) for _ in range(3)]
    await until(lambda: here.figures().waits == 3)
    first.cancel()
    await asyncio.wait([first])
    making.go_on.set()
    assert await asyncio.gather(*others) == [answer()] * 3
    assert making.runs == 1
    assert making.cancelled == 0


async def test_all_callers_are_cancelled_and_another_process_has_its_turn_at_once(
    here: Process, there: Process, ada: User, migrated: IsolatedDatabase
) -> None:
    abandoned = Making(held=True)
    cache = here.caches.of(ada.id).llm_response
    calls = [asyncio.create_task(cache.get_or_compute(question(), abandoned)) for _ in range(3)]
    await abandoned.begun.wait()
    making = Making()
    other = asyncio.create_task(
        there.caches.of(ada.id).llm_response.get_or_compute(question(), making)
    )
    for call in calls:
        call.cancel()
    async with asyncio.timeout(2):  # and not after the lease of 5 s
        assert await other == answer()
    assert abandoned.cancelled == 1
    await at_once(lambda: leases(migrated) == 0)


async def test_after_all_callers_were_cancelled_this_process_begins_anew(
    here: Process, ada: User
) -> None:
    abandoned = Making(held=True)
    cache = here.caches.of(ada.id).llm_response
    call = asyncio.create_task(cache.get_or_compute(question(), abandoned))
    await abandoned.begun.wait()
    call.cancel()
    await asyncio.wait([call])
    making = Making()
    async with asyncio.timeout(2):
        assert await cache.get_or_compute(question(), making) == answer()
    assert making.runs == 1


async def test_a_caller_that_is_cancelled_before_it_computes_leaves_no_lease(
    here: Process, ada: User, migrated: IsolatedDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    look, looks, looking = Table.look, 0, asyncio.Event()

    async def slow_look(self: Table[Any, Any], *arguments: Any) -> Any:
        nonlocal looks
        looks += 1
        if looks == 2:  # the one under the lease
            looking.set()
            await asyncio.Event().wait()
        return await look(self, *arguments)

    monkeypatch.setattr(Table, "look", slow_look)
    cache = here.caches.of(ada.id).llm_response
    call = asyncio.create_task(cache.get_or_compute(question(), Making()))
    await looking.wait()
    assert leases(migrated) == 1
    call.cancel()
    await asyncio.wait([call])
    await at_once(lambda: leases(migrated) == 0)


async def test_a_fill_that_nobody_waits_for_any_more_is_given_up(hasty: Process, ada: User) -> None:
    """Else whoever asks later waits for it in vain, again and again."""
    hung = Making(held=True)
    cache = hasty.caches.of(ada.id).llm_response
    first = asyncio.create_task(cache.get_or_compute(question(), hung))
    await hung.begun.wait()
    second = asyncio.create_task(cache.get_or_compute(question(), Making()))
    await until(lambda: hasty.figures().waits == 1)
    first.cancel()
    assert await second == answer()
    await given_way()
    assert hung.cancelled == 1


async def test_none_is_returned_and_not_cached_where_it_was_not_asked_for(
    here: Process, ada: User, migrated: IsolatedDatabase
) -> None:
    nothing = Nothing()
    cache = here.caches.of(ada.id).llm_response
    assert await cache.get_or_compute(question(), nothing) is None
    assert await cache.get_or_compute(question(), nothing) is None
    assert nothing.runs == 2
    assert stored(migrated) == 0
    assert here.figures().memory_entries == 0
    await at_once(lambda: leases(migrated) == 0)


@every_cache
async def test_none_is_a_value_where_it_was_asked_for_in_every_tier(
    here: Process, there: Process, ada: User, sample: Sample
) -> None:
    nothing = Nothing()
    for process in (here, here, there, there):
        cache = sample.of(process.caches.of(ada.id))
        assert await cache.get_or_compute(sample.key(1), nothing, cache_none=True) is None
        assert await cache.get(sample.key(1)) is None
    assert nothing.runs == 1
    assert here.figures(sample.name).memory_hits == 3
    assert there.figures(sample.name).database_hits == 1
    assert (
        await sample.of(there.database.as_user(ada.id).caches).get(sample.key(1).digest()) is None
    )  # type: ignore[arg-type]


async def test_a_value_takes_the_place_of_none_and_none_of_a_value(
    here: Process, there: Process, ada: User
) -> None:
    cache = here.caches.of(ada.id).llm_response
    assert await cache.get_or_compute(question(), Nothing(), cache_none=True) is None
    assert await cache.put(question(), answer("1"))
    assert await there.caches.of(ada.id).llm_response.get(question()) == answer("1")
    await cache.invalidate(question())
    assert await cache.get_or_compute(question(), Nothing(), cache_none=True) is None
    await until(lambda: there.figures().memory_entries == 0)
    assert await there.caches.of(ada.id).llm_response.get(question()) is None
    assert there.figures().database_hits == 2


async def test_a_value_that_is_computed_from_itself_is_an_error_and_no_deadlock(
    here: Process, ada: User
) -> None:
    cache = here.caches.of(ada.id).llm_response

    async def recursive() -> Any:
        return await cache.get_or_compute(question(), recursive)

    with pytest.raises(InvalidInput, match="itself"):
        await cache.get_or_compute(question(), recursive)


async def test_a_value_may_be_computed_from_others(here: Process, ada: User) -> None:
    cache = here.caches.of(ada.id).llm_response

    async def counted(number: int) -> Any:
        if number == 0:
            return answer("0")
        before = await cache.get_or_compute(question(str(number - 1)), lambda: counted(number - 1))
        assert before is not None
        return answer(int(before.response) + 1)

    assert await cache.get_or_compute(question("5"), lambda: counted(5)) == answer("5")


async def test_a_fill_that_takes_longer_than_its_lease_keeps_it(
    hasty: Process, here: Process, ada: User, migrated: IsolatedDatabase
) -> None:
    slow = Making(answer("slow"), held=True)
    filling = asyncio.create_task(
        hasty.caches.of(ada.id).llm_response.get_or_compute(question(), slow)
    )
    await slow.begun.wait()
    other = Making(answer("other"))
    waiting = asyncio.create_task(
        here.caches.of(ada.id).llm_response.get_or_compute(question(), other)
    )
    (first,) = rows(migrated, "SELECT expires_at FROM clonedb.cache_fill_leases")
    await until(
        lambda: (
            rows(migrated, "SELECT FROM clonedb.cache_fill_leases WHERE expires_at > %s", first[0])
            != []
        )
    )
    slow.go_on.set()
    assert await filling == answer("slow")
    assert await waiting == answer("slow")
    assert other.runs == 0


async def test_who_has_waited_long_enough_computes_and_what_was_slow_is_stored(
    hasty: Process, here: Process, ada: User, there: Process
) -> None:
    slow = Making(answer("slow"), held=True)
    filling = asyncio.create_task(
        here.caches.of(ada.id).llm_response.get_or_compute(question(), slow)
    )
    await slow.begun.wait()
    own = Making(answer("own"))
    cache = hasty.caches.of(ada.id).llm_response
    # The first waits for the other process, the second for the first.
    assert (
        await asyncio.gather(*(cache.get_or_compute(question(), own) for _ in range(2)))
        == [answer("own")] * 2
    )
    slow.go_on.set()
    assert await filling == answer("slow")
    assert await there.caches.of(ada.id).llm_response.get(question()) == answer("slow")


async def test_a_value_that_the_cache_does_not_take_is_returned_and_counted(
    here: Process, ada: User, migrated: IsolatedDatabase
) -> None:
    cache = here.caches.of(ada.id).llm_response
    for number, value in enumerate(("a" * (1 << 20) + "a", "\u00e4" * (1 << 20), "a\0b", "\ud800")):
        assert await cache.get_or_compute(question(), Making(answer(value))) == answer(value)
        assert here.figures().refused == number + 1
    assert stored(migrated) == 0


async def test_a_value_that_the_table_alone_refuses_is_returned_too(
    here: Process, ada: User
) -> None:
    """JSON of less than 2 MiB, which takes more as it is stored."""
    sample = next(each for each in SAMPLES if each.name == "vector_search")
    value = type(sample.value(1)).of([{"numbers": [0.1] * 200_000}])
    cache = here.caches.of(ada.id).vector_search
    assert await cache.get_or_compute(sample.key(1), Making(value)) == value  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "options",
    [{"ttl": timedelta(0)}, {"ttl": 5}, {"tags": "a"}, {"tags": [""]}, {"tags": ["a"] * 101}],
    ids=str,
)
async def test_bad_options_are_refused_before_anything_is_computed(
    here: Process, ada: User, options: dict[str, Any]
) -> None:
    making = Making()
    cache = here.caches.of(ada.id).llm_response
    with pytest.raises(InvalidInput):
        await cache.get_or_compute(question(), making, **options)
    assert making.runs == 0


async def test_a_key_or_a_value_of_another_cache_is_refused(here: Process, ada: User) -> None:
    caches = here.caches.of(ada.id)
    other: Any = SAMPLES[0]
    for wrong in (other.key(1), "what?", None, b"x" * 32):
        with pytest.raises(InvalidInput):
            await caches.llm_response.get(wrong)
        with pytest.raises(InvalidInput):
            await caches.llm_response.get_or_compute(wrong, Making())
    with pytest.raises(InvalidInput):
        await caches.llm_response.put(question(), other.value(1))
    with pytest.raises(InvalidInput):
        await caches.llm_response.get_or_compute(question(), Making(other.value(1)))


async def test_a_key_that_cannot_be_hashed_is_refused(here: Process, ada: User) -> None:
    wrong: Any = ["a"]
    with pytest.raises(InvalidInput):
        await here.caches.of(ada.id).embedding.get(type(SAMPLES[0].key(1))(wrong, "m"))  # type: ignore[call-arg,arg-type]


async def test_nobody_waits_while_the_value_is_there(here: Process, ada: User) -> None:
    """A flight for one key holds up no other."""
    cache = here.caches.of(ada.id).llm_response
    held = Making(held=True)
    slow = asyncio.create_task(cache.get_or_compute(question("slow"), held))
    await held.begun.wait()
    async with asyncio.timeout(2):
        assert await cache.get_or_compute(question("quick"), Making()) == answer()
    held.go_on.set()
    await slow
    await asyncio.sleep(A_MOMENT)
