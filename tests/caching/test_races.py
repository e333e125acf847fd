"""Fills that meet a change of their data, step by step in every order.

A fill looks, takes the lease, reads the data and stores what it made of them. Whatever happens in
between: when all is over, nobody finds what was made of older data than the present ones.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Literal
from uuid import UUID

import pytest
from channels import until
from tiers import (
    Making,
    Process,
    SteppedTable,
    Steps,
    answer,
    drops,
    every_order,
    given_way,
    question,
    rows,
    stepped,
)

from clonedb import DocumentPatch, NewDocument, User
from clonedb.caching.gathering import GatheredReads
from clonedb.scope import Scope
from clonedb.testing import IsolatedDatabase

FILL = ("look", "lease", "read", "fill")


class RolledBack(Exception):
    pass


async def a_document(user: User, *processes: Process) -> UUID:
    """One that each process has heard of."""
    new = NewDocument(
        filename="a.txt", content_type="text/plain", size_bytes=1, text_content="a", title="0"
    )
    before = [drops(each, user.id) for each in processes]
    document = await processes[0].database.as_user(user.id).knowledge_documents.create(new)
    for each, count in zip(processes, before, strict=True):
        await told(each, user, count)
    return document.id


async def title_of(process: Process, user: User, document: UUID) -> str:
    found = await process.database.as_user(user.id).knowledge_documents.find_summary(document)
    assert found is not None
    return str(found.title)


async def told(process: Process, user: User, before: int) -> None:
    """Returns once the process has forgotten the user's answers again."""
    await until(lambda: drops(process, user.id) > before)


@pytest.mark.parametrize("ending", ["commit", "rollback"])
@pytest.mark.parametrize("isolation", ["read committed", "repeatable read"])
async def test_a_fill_meets_a_writer_of_its_document_in_every_order(
    here: Process,
    there: Process,
    ada: User,
    migrated: IsolatedDatabase,
    isolation: Literal["read committed", "repeatable read"],
    ending: str,
) -> None:
    document = await a_document(ada, here, there)
    ours, theirs = here.caches.of(ada.id).llm_response, there.caches.of(ada.id).llm_response

    async def fill(steps: Steps, key: Any) -> str:
        async def compute() -> Any:
            async with steps.step("read"):
                return answer(await title_of(here, ada, document), document)

        return str((await ours.get_or_compute(key, compute)).response)  # type: ignore[union-attr]

    async def write(steps: Steps, title: str) -> None:
        scope = there.database.as_user(ada.id)
        try:
            async with scope.transaction(isolation=isolation) as transaction:
                async with steps.step("begin"):
                    await transaction.knowledge_documents.find_summary(document)
                async with steps.step("change"):
                    await transaction.knowledge_documents.update(
                        document, DocumentPatch(title=title)
                    )
                await steps.wait("end")
                if ending == "rollback":
                    raise RolledBack
        except RolledBack:
            pass
        steps.done("end")

    for number, order in enumerate(every_order(FILL, ("begin", "change", "end"))):
        steps, key = Steps(), question(f"{number}")
        stepped(here, steps)
        before = drops(here, ada.id), drops(there, ada.id)
        calls = [
            asyncio.create_task(fill(steps, key)),
            asyncio.create_task(write(steps, f"{number + 1}")),
        ]
        for step in order:
            await steps.take(step, migrated)
        await asyncio.gather(*calls)
        if ending == "commit":
            await told(here, ada, before[0])
            await told(there, ada, before[1])
        present = await title_of(there, ada, document)
        assert present == ("0" if ending == "rollback" else f"{number + 1}")
        for cache in (ours, theirs, theirs, ours):
            found = await cache.get(key)
            if ending == "rollback":
                assert found is not None, order
            assert found is None or found.response == present, order


Invalidate = Callable[[Any, Any, UUID], Awaitable[int]]
BY_HAND: dict[str, Invalidate] = {
    "key": lambda cache, key, document: cache.invalidate(key),
    "tag": lambda cache, key, document: cache.invalidate(tag="a"),
    "document": lambda cache, key, document: cache.invalidate(document_id=document),
    "all": lambda cache, key, document: cache.invalidate(),
}


@pytest.mark.parametrize("invalidate", BY_HAND.values(), ids=BY_HAND)
async def test_a_fill_meets_an_invalidation_by_hand_in_every_order(
    here: Process,
    there: Process,
    ada: User,
    migrated: IsolatedDatabase,
    invalidate: Invalidate,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The data are elsewhere: they change first, then whoever has changed them invalidates."""
    document = await a_document(ada, here, there)
    ours, theirs = here.caches.of(ada.id).llm_response, there.caches.of(ada.id).llm_response
    elsewhere = "0"
    count, value = Scope.count, Scope.value

    def stepping(method: Any) -> Any:
        async def run(self: Scope, query: Any, /, **arguments: Any) -> Any:
            name = query.__name__.rpartition(".")[2]
            step = {"revoke": "revoke", "tell": "tell"}.get(name, "delete")
            async with steps.step(step):
                return await method(self, query, **arguments)

        return run

    async def fill(key: Any) -> None:
        async def compute() -> Any:
            async with steps.step("read"):
                return answer(elsewhere, document)

        await ours.get_or_compute(key, compute, tags=["a"])

    async def drop(key: Any, number: int) -> None:
        nonlocal elsewhere
        async with steps.step("revoke"):
            elsewhere = f"{number}"
        await invalidate(theirs, key, document)

    monkeypatch.setattr(Scope, "count", stepping(count))
    monkeypatch.setattr(Scope, "value", stepping(value))
    for number, order in enumerate(every_order(FILL, ("revoke", "delete", "tell"))):
        steps, key = Steps(), question(f"{number}")
        stepped(here, steps)
        before = drops(here, ada.id)
        calls = [asyncio.create_task(fill(key)), asyncio.create_task(drop(key, number + 1))]
        for step in order:
            await steps.take(step, migrated)
        await asyncio.gather(*calls)
        await told(here, ada, before)
        for cache in (ours, theirs, theirs, ours):
            found = await cache.get(key)
            assert found is None or found.response == elsewhere, order


async def test_who_asks_after_an_invalidation_does_not_get_what_was_begun_before(
    here: Process, ada: User
) -> None:
    cache = here.caches.of(ada.id).llm_response
    old = Making(answer("old"), held=True)
    before = asyncio.create_task(cache.get_or_compute(question(), old))
    await old.begun.wait()
    await cache.invalidate(question())
    after = asyncio.create_task(cache.get_or_compute(question(), Making(answer("new"))))
    await given_way()
    old.go_on.set()
    assert await before == answer("old")
    assert await after == answer("new")
    assert await cache.get(question()) == answer("new")


async def test_who_asks_after_a_change_was_told_does_not_get_what_was_begun_before(
    here: Process, there: Process, ada: User
) -> None:
    """The bound on staleness is that of notifications, however long a fill takes."""
    document = await a_document(ada, here, there)
    cache = here.caches.of(ada.id).llm_response
    old = Making(answer("old"), held=True)
    before = asyncio.create_task(cache.get_or_compute(question(), old))
    await old.begun.wait()
    before_that = drops(here, ada.id)
    await there.database.as_user(ada.id).knowledge_documents.delete(document)
    await told(here, ada, before_that)
    after = asyncio.create_task(cache.get_or_compute(question(), Making(answer("new"))))
    await given_way()
    old.go_on.set()
    assert await before == answer("old")
    assert await after == answer("new")


async def test_a_look_that_is_overtaken_by_a_put_does_not_undo_it_in_memory(
    here: Process, ada: User, migrated: IsolatedDatabase
) -> None:
    cache = here.caches.of(ada.id).llm_response
    await cache.put(question(), answer("old"))
    state = here.caches._states["llm_response"]
    state.memory.drop()
    answered, go_on = asyncio.Event(), asyncio.Event()

    class Late(SteppedTable):
        async def look(self, *arguments: Any) -> Any:
            found = await self._table.look(*arguments)
            answered.set()
            await go_on.wait()
            return found

    state.table = Late(state.table, Steps())  # type: ignore[assignment]
    state.reads = GatheredReads(state.table, here.database, state.background)
    reading = asyncio.create_task(cache.get(question()))
    await answered.wait()
    assert await cache.put(question(), answer("new"))
    go_on.set()
    await reading
    assert await cache.get(question()) == answer("new")


async def test_a_value_that_was_put_is_not_undone_by_a_fill_that_began_before(
    here: Process, there: Process, ada: User, migrated: IsolatedDatabase
) -> None:
    cache = here.caches.of(ada.id).llm_response
    old = Making(answer("old"), held=True)
    filling = asyncio.create_task(cache.get_or_compute(question(), old))
    await old.begun.wait()
    assert await there.caches.of(ada.id).llm_response.put(question(), answer("new"))
    old.go_on.set()
    await filling
    assert rows(migrated, "SELECT response FROM clonedb.llm_response_cache") == [("new",)]
