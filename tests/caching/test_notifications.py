"""Every process hears of what was dropped; one that may have missed something trusts nothing."""

from __future__ import annotations

import asyncio
import gc
import re
import time
from typing import Any

import psycopg
from channels import until
from ground import as_superuser
from tiers import (
    LATE,
    SAMPLES,
    Clock,
    Making,
    Process,
    a_process,
    answer,
    at_once,
    drops,
    heard,
    listening,
    question,
    rows,
)
from tiers_proxy import silent_proxy

from clonedb import NewDocument, User, queries
from clonedb.testing import IsolatedDatabase

# A short bound, so that the tests can wait for it.
STALENESS = 0.3


async def a_change(process: Process, user: User) -> None:
    """Of the documents, so that answers are old."""
    await process.database.as_user(user.id).knowledge_documents.create(
        NewDocument(filename="a", content_type="text/plain", size_bytes=1, text_content="a")
    )


async def remembered(process: Process, user: User, prompt: str = "what?") -> bool:
    """Whether the next look for an answer does not ask the database."""
    before = process.figures().memory_hits
    await process.caches.of(user.id).llm_response.get(question(prompt))
    return bool(process.figures().memory_hits > before)


def listener(database: IsolatedDatabase) -> list[Any]:
    return rows(
        database,
        "SELECT pid FROM pg_stat_activity WHERE datname = current_database() "
        "AND usename = 'clonedb_app' AND query = 'SELECT'",
    )


async def test_other_processes_forget_what_was_dropped_within_the_bound(
    here: Process, there: Process, ada: User, grace: User
) -> None:
    for user in (ada, grace):
        await here.caches.of(user.id).llm_response.put(question(), answer())
        await there.caches.of(user.id).llm_response.get(question())
        assert await remembered(there, user)
    await a_change(here, ada)
    changed = time.monotonic()
    # The process that has changed them is told like any other.
    for process in (here, there):
        cache = process.caches.of(ada.id).llm_response
        while await cache.get(question()) is not None:
            assert time.monotonic() < changed + process.database.settings.notification_staleness
            await asyncio.sleep(0)
    assert await remembered(there, grace)


async def test_what_is_dropped_by_hand_is_dropped_in_every_process(
    here: Process, there: Process, backstage: Process, ada: User
) -> None:
    ours, theirs = here.caches.of(ada.id).llm_response, there.caches.of(ada.id).llm_response
    invalidations: Any = [
        lambda: ours.invalidate(question()),
        lambda: ours.invalidate(tag="a"),
        lambda: ours.invalidate(),
        lambda: here.caches.of(ada.id).invalidate(tag="a"),
        lambda: backstage.caches.shared.llm_response.invalidate(tag="a"),
        lambda: backstage.caches.shared.invalidate(),
        lambda: here.database.as_user(ada.id).caches.outdate(["llm_response"]),
    ]
    for invalidate in invalidations:
        await ours.put(question(), answer(), tags=["a"])
        assert await theirs.get(question()) == answer()
        assert await remembered(there, ada)
        before = drops(there, ada.id)
        await invalidate()
        await at_once(lambda: drops(there, ada.id) > before)  # noqa: B023
        assert await theirs.get(question()) is None
        # What another has dropped, its own listener tells it, perhaps a moment later.
        until = time.monotonic() + here.database.settings.notification_staleness
        while await ours.get(question()) is not None:
            assert time.monotonic() < until
            await asyncio.sleep(0)


async def test_what_is_dropped_through_the_repository_is_dropped_in_every_process_too(
    here: Process, there: Process, ada: User
) -> None:
    await here.caches.of(ada.id).llm_response.put(question(), answer())
    assert await there.caches.of(ada.id).llm_response.get(question()) == answer()
    before = drops(there, ada.id)
    await here.database.as_user(ada.id).caches.llm_response.invalidate_all()
    await at_once(lambda: drops(there, ada.id) > before)
    assert await there.caches.of(ada.id).llm_response.get(question()) is None


async def test_a_process_that_was_cut_off_in_silence_uses_its_memory_no_longer_than_the_bound(
    migrated: IsolatedDatabase, here: Process, ada: User
) -> None:
    dsn = migrated.dsn("clonedb_app")
    async with (
        silent_proxy(dsn) as proxy,
        a_process(
            dsn, notification_dsn=proxy.through(dsn), notification_staleness=STALENESS
        ) as deaf,
    ):
        await here.caches.of(ada.id).llm_response.put(question(), answer())
        cache = deaf.caches.of(ada.id).llm_response
        await cache.get(question())
        assert await remembered(deaf, ada)
        proxy.cut()
        await a_change(here, ada)
        changed = time.monotonic()
        while await cache.get(question()) is not None:
            assert time.monotonic() < changed + STALENESS
            await asyncio.sleep(0.001)
        assert not deaf.trusted


async def test_a_silent_connection_is_given_up_at_once_and_everything_forgotten(
    migrated: IsolatedDatabase, ada: User
) -> None:
    """Neither is the next one made later than it has to be, nor does closing take long."""
    dsn = migrated.dsn("clonedb_app")
    async with silent_proxy(dsn) as proxy:
        async with a_process(
            dsn, notification_dsn=proxy.through(dsn), notification_staleness=STALENESS
        ) as deaf:
            await deaf.caches.of(ada.id).llm_response.put(question(), answer())
            assert await remembered(deaf, ada)
            proxy.cut()
            await until(lambda: not deaf.trusted)
            async with asyncio.timeout(2):
                await until(lambda: deaf.trusted)
            assert deaf.figures().memory_entries == 0
            proxy.silent = True
            proxy.cut()
            await until(lambda: not deaf.trusted)
            closing = time.monotonic()
        assert time.monotonic() - closing < 2


async def test_closing_while_the_server_is_asked_leaves_no_failure_behind(
    migrated: IsolatedDatabase, ada: User
) -> None:
    dsn, complaints = migrated.dsn("clonedb_app"), list[dict[str, Any]]()
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: complaints.append(context))
    async with silent_proxy(dsn) as proxy:
        for _ in range(5):
            async with a_process(
                dsn, notification_dsn=proxy.through(dsn), notification_staleness=STALENESS
            ) as deaf:
                await until(lambda: deaf.trusted)
                proxy.cut()
                await asyncio.sleep(STALENESS / 2)  # a question is under way by then
            gc.collect()
            await asyncio.sleep(0)
    loop.set_exception_handler(None)
    assert complaints == []


async def test_what_was_remembered_while_nobody_listened_is_not_used_afterwards(
    migrated: IsolatedDatabase, here: Process, ada: User
) -> None:
    dsn = migrated.dsn("clonedb_app")
    async with (
        silent_proxy(dsn) as proxy,
        a_process(dsn, notification_dsn=proxy.through(dsn)) as deaf,
    ):
        cache = deaf.caches.of(ada.id).llm_response
        made = deaf.database.notifications.connections_made
        with as_superuser(migrated) as connection:
            proxy.refusing = True
            connection.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
                "WHERE datname = current_database() AND query = 'SELECT'"
            )
        await until(lambda: not deaf.trusted)
        await cache.put(question(), answer())
        assert deaf.figures().memory_entries == 1
        before = drops(here, ada.id)
        await a_change(here, ada)
        await until(lambda: drops(here, ada.id) > before)
        proxy.refusing = False
        await until(lambda: deaf.database.notifications.connections_made > made and deaf.trusted)
        assert await cache.get(question()) is None


async def test_a_listener_that_was_terminated_forgets_everything_and_listens_again(
    migrated: IsolatedDatabase, here: Process, there: Process, ada: User
) -> None:
    await here.caches.of(ada.id).llm_response.put(question(), answer())
    assert await remembered(here, ada)
    with as_superuser(migrated) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
            "WHERE datname = current_database() AND usename = 'clonedb_app' AND query = 'SELECT'"
        )
    await at_once(lambda: not here.trusted)
    assert here.figures().memory_entries == 0
    health = await here.database.health()
    assert any("notifications are not received" in problem for problem in health.problems)
    await at_once(lambda: here.trusted and there.trusted)
    assert (await here.database.health()).problems == []
    await here.caches.of(ada.id).llm_response.get(question())
    assert await remembered(here, ada)
    before = drops(here, ada.id)
    await a_change(there, ada)
    await at_once(lambda: drops(here, ada.id) > before)


async def test_what_was_asked_before_the_connection_was_lost_is_not_remembered_after(
    migrated: IsolatedDatabase, here: Process, ada: User
) -> None:
    making = Making(held=True)
    cache = here.caches.of(ada.id).llm_response
    filling = asyncio.create_task(cache.get_or_compute(question(), making))
    await making.begun.wait()
    made = here.database.notifications.connections_made
    with as_superuser(migrated) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
            "WHERE datname = current_database() AND usename = 'clonedb_app' AND query = 'SELECT'"
        )
    await until(lambda: here.database.notifications.connections_made > made and here.trusted)
    making.go_on.set()
    await filling
    assert not await remembered(here, ada)
    assert await remembered(here, ada)


async def test_behind_pgbouncer_memory_is_used_with_a_dsn_for_notifications_alone(
    migrated: IsolatedDatabase, ada: User
) -> None:
    dsn = migrated.dsn("clonedb_app")
    async with a_process(dsn, pgbouncer=True, trusted=False) as deaf:
        cache = deaf.caches.of(ada.id).llm_response
        assert await cache.get_or_compute(question(), Making()) == answer()
        assert await cache.get(question()) == answer()
        assert not await remembered(deaf, ada)
        (problem,) = (await deaf.database.health()).problems
        assert "pgbouncer" in problem
        assert "notification_dsn" in problem
    async with a_process(dsn, pgbouncer=True, notification_dsn=dsn) as hearing:
        await hearing.caches.of(ada.id).llm_response.get(question())
        assert await remembered(hearing, ada)
        assert (await hearing.database.health()).problems == []


async def test_without_notifications_everything_works_and_nothing_is_used_from_memory(
    migrated: IsolatedDatabase, ada: User
) -> None:
    dsn = migrated.dsn("clonedb_app")
    nowhere = psycopg.conninfo.make_conninfo(dsn, host="/nonexistent")
    async with a_process(dsn, notification_dsn=nowhere, trusted=False) as deaf:
        making = Making()
        cache = deaf.caches.of(ada.id).llm_response
        for _ in range(3):
            assert await cache.get_or_compute(question(), making) == answer()
        assert making.runs == 1
        assert deaf.figures().memory_hits == 0
        await at_once(lambda: deaf.database.notifications.failure is not None)
        assert len((await deaf.database.health()).problems) == 1


async def test_a_notification_says_nothing_of_a_person(
    migrated: IsolatedDatabase, here: Process, backstage: Process, ada: User
) -> None:
    async with listening(migrated) as connection:
        await a_change(here, ada)
        cache = here.caches.of(ada.id).llm_response
        await cache.put(question("secret"), answer("secret"), tags=["secret"])
        await cache.invalidate(question("secret"))
        await cache.invalidate(tag="secret")
        await here.caches.of(ada.id).invalidate()
        await backstage.caches.shared.invalidate()
        await backstage.database.users.hard_delete(ada.id)
        payloads = await heard(connection)
    assert len(payloads) >= 8
    for payload in payloads:
        # The initials of caches, and a number that about one user in 65,536 has.
        assert re.fullmatch("[evla]{1,4}(:[0-9a-f]{4})?", payload)
    assert not any(str(ada.id).replace("-", "")[:8] in payload for payload in payloads)


async def test_of_1000_quick_invalidations_none_is_lost(here: Process, there: Process, ada: User):
    scope = there.database.as_user(ada.id)
    before = drops(here, ada.id)
    tell = queries.cache_changes.tell
    for _ in range(10):
        await asyncio.gather(*(scope.value(tell, caches=["llm_response"]) for _ in range(100)))
    await until(lambda: drops(here, ada.id) >= before + 1_000)
    assert drops(here, ada.id) == before + 1_000


async def test_what_others_notify_does_no_harm(
    migrated: IsolatedDatabase, here: Process, ada: User
) -> None:
    await here.caches.of(ada.id).llm_response.put(question(), answer())
    with as_superuser(migrated) as connection:
        for payload in ("", ":", "x", "x:y:z", "\u00e4", "x" * 7_999):
            connection.execute("SELECT pg_notify('clonedb_caches', %s)", [payload])
        connection.execute("SELECT pg_notify('clonedb_caches', 'l')")
    await at_once(lambda: here.figures().memory_entries == 0)
    assert here.trusted
    await a_change(here, ada)
    assert await here.caches.of(ada.id).llm_response.get(question()) is None


async def test_memory_lets_go_what_has_lived_long_enough_by_a_clock_that_is_given(
    migrated: IsolatedDatabase, ada: User
) -> None:
    clock = Clock()
    async with a_process(
        migrated.dsn("clonedb_app"), clock=clock, policy=LATE, notification_staleness=3_600
    ) as process:
        for sample in SAMPLES:
            cache = sample.of(process.caches.of(ada.id))
            await cache.put(sample.key(1), sample.value(1))
            for seconds, hits in ((0, 1), (59, 2), (2, 2)):  # memory_ttl is a minute
                clock.ahead += seconds
                assert await cache.get(sample.key(1)) == sample.value(1)
                assert process.figures(sample.name).memory_hits == hits
            assert await cache.get(sample.key(1)) == sample.value(1)
            assert process.figures(sample.name).memory_hits == 3


async def test_a_clock_that_is_given_need_not_be_near_the_machines(
    migrated: IsolatedDatabase, ada: User
) -> None:
    for now in (0.0, 1e9):
        async with a_process(migrated.dsn("clonedb_app"), clock=lambda: now) as process:  # noqa: B023
            await process.caches.of(ada.id).llm_response.put(question(), answer())
            assert await remembered(process, ada)
            process.database.notifications.trusted_until = float("-inf")
            assert not await remembered(process, ada)


async def test_caches_that_are_closed_are_not_used_from_memory(
    migrated: IsolatedDatabase, here: Process, ada: User
) -> None:
    """Nobody tells them any more what was dropped."""
    async with a_process(migrated.dsn("clonedb_app")) as process:
        cache = process.caches.of(ada.id).llm_response
        await process.caches.close()
        await cache.put(question(), answer())
        await a_change(here, ada)
        await at_once(lambda: drops(here, ada.id) > 0)
        assert await cache.get(question()) is None
