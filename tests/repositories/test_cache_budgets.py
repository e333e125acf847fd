"""How much the caches may hold, and what drops an entry for every process."""

from __future__ import annotations

from datetime import date

import pytest
from ground import as_superuser

from clonedb import Database, LlmResponse, LlmResponseKey, PermissionDenied, User
from clonedb.caching.caches import Caches
from clonedb.testing import IsolatedDatabase


async def test_a_budget_that_is_put_is_the_one_that_is_found(
    worker: Database, app: Database
) -> None:
    before = {budget.cache: budget.maximum_entries for budget in await worker.caches.budgets()}
    stored = await worker.caches.put_budget("llm_response", 1_234)
    assert (stored.cache, stored.maximum_entries) == ("llm_response", 1_234)
    after = {budget.cache: budget.maximum_entries for budget in await worker.caches.budgets()}
    assert after == {**before, "llm_response": 1_234}
    await worker.caches.put_budget("llm_response", before["llm_response"])
    with pytest.raises(PermissionDenied):
        await app.caches.put_budget("llm_response", 5)


async def test_what_is_invalidated_is_told_and_found_no_more(
    worker: Database, ada: User, migrated: IsolatedDatabase
) -> None:
    key = LlmResponseKey(provider="gpt-4-turbo", prompt="Hi")
    with as_superuser(migrated) as listener:
        listener.execute("LISTEN clonedb_caches")
        async with Caches(worker) as caches:
            mine = caches.of(ada.id).llm_response
            await mine.put(key, LlmResponse("Hello"))
            assert await mine.invalidate(key) == 1
            assert await mine.get(key) is None
            await caches.shared.llm_response.invalidate()
        told = [notice.payload for notice in listener.notifies(timeout=2, stop_after=2)]
    assert [payload[0] for payload in told] == ["l", "l"]
    assert len(told[1]) == 1  # everybody


async def test_restoring_a_user_makes_old_what_was_cached_meanwhile(
    worker: Database, ada: User
) -> None:
    hidden = worker.as_user(ada.id)
    assert await worker.users.delete(ada.id)
    key = b"\0" * 32
    await hidden.caches.vector_search.put(key, results=[], document_ids=[])
    await worker.users.restore(ada.id)
    assert await hidden.caches.vector_search.get(key) is None


async def test_months_of_the_audit_log_are_made_once(worker: Database, app: Database) -> None:
    assert await worker.create_audit_months(date(2003, 5, 9), months=2) == 2
    assert await worker.create_audit_months(date(2003, 5, 1), months=2) == 0
    with pytest.raises(PermissionDenied):
        await app.create_audit_months(date(2003, 7, 1))
