"""Closing a Database lets its calls finish, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import gc
import os
from pathlib import Path

import pytest
from channels import ONE_OF_EACH, PATIENT, ask, ask_one, channels_of, connected, reading, writing
from ground import as_superuser, someone_waits_for_a_lock

from clonedb import Database, DatabaseClosed, NewUser, User, UserPatch
from clonedb.testing import IsolatedDatabase

ECHO = reading("SELECT $1::bigint", "number")


async def test_calls_in_flight_and_waiting_finish_while_it_closes(
    migrated: IsolatedDatabase, ada: User
) -> None:
    sleep = reading("SELECT pg_sleep(0.3)::text")
    async with connected(migrated.dsn("clonedb_worker"), **PATIENT, **ONE_OF_EACH) as database:
        scope = database.as_user(ada.id)
        calls = [
            asyncio.create_task(ask_one(database, sleep)),
            *(asyncio.create_task(ask_one(scope, ECHO, number)) for number in range(300)),
        ]
        writes = [
            asyncio.create_task(own.users.update(ada.id, UserPatch(name=str(number))))
            for number in range(50)
            for own in (scope, scope.group_commit())
        ]
        await asyncio.sleep(0)
        await database.close()
        assert (await asyncio.gather(*calls))[1:] == list(range(300))
        assert len(await asyncio.gather(*writes)) == 100
        with pytest.raises(DatabaseClosed):
            await database.users.count()
        # A scope that was made before knows it too.
        with pytest.raises(DatabaseClosed):
            await scope.users.count()
        with pytest.raises(DatabaseClosed):
            await scope.group_commit().users.update(ada.id, UserPatch(name="never"))
        assert database.channel_statistics() == []


async def test_a_write_that_waits_for_a_lock_is_stored_or_told_so_when_it_closes(
    migrated: IsolatedDatabase, ada: User
) -> None:
    async with connected(migrated.dsn("clonedb_worker"), **ONE_OF_EACH) as database:
        with as_superuser(migrated) as locker, locker.transaction():
            locker.execute("SELECT FROM clonedb.users FOR UPDATE")
            write = asyncio.create_task(database.users.update(ada.id, UserPatch(name="late")))
            await someone_waits_for_a_lock(migrated)
            closing = asyncio.create_task(database.close())
            await asyncio.sleep(0.1)
        await closing
        try:
            stored = (await write).name
        except DatabaseClosed:
            stored = "Ada"
    with as_superuser(migrated) as connection:
        assert connection.execute("SELECT u.name FROM clonedb.users AS u").fetchone() == (stored,)


async def test_closing_gives_up_in_time_what_does_not_end(
    migrated: IsolatedDatabase, ada: User
) -> None:
    sleep = writing("SELECT pg_sleep(30)::text")
    async with connected(
        migrated.dsn("clonedb_worker"),
        channel_statement_timeout=60,
        pool_timeout=0.3,
        **ONE_OF_EACH,
    ) as database:
        endless = asyncio.create_task(ask(database, sleep))
        await asyncio.sleep(0)
        await database.close()
        with pytest.raises(Exception, match="closed") as caught:
            await endless
        assert type(caught.value).__name__ == "OutcomeUnknown"


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts descriptors in /proc")
async def test_nothing_is_left_behind_however_its_life_was(
    migrated: IsolatedDatabase, ada: User
) -> None:
    def descriptors() -> int:
        gc.collect()
        return len(os.listdir("/proc/self/fd"))  # noqa: PTH208

    before, tasks = descriptors(), asyncio.all_tasks()
    for life in ("unused", "used", "killed", "closed while it connects", "cancelled calls"):
        async with Database(migrated.dsn("clonedb_worker"), application_name="mortal") as database:
            if life == "unused":
                continue
            await asyncio.gather(
                *(database.users.get_by_id(ada.id) for _ in range(20)),
                *(database.users.update(ada.id, UserPatch(name="Ada")) for _ in range(20)),
                database.group_commit().users.create(NewUser(email=f"{life[:4]}@example.com")),
            )
            if life == "closed while it connects":
                for channel in channels_of(database):
                    channel._lose(OSError("made up"))
                await asyncio.sleep(0)
            if life == "killed":
                with as_superuser(migrated) as connection:
                    connection.execute(
                        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
                        "WHERE application_name = 'mortal'"
                    )
                await database.users.get_by_id(ada.id)
            if life == "cancelled calls":
                calls = [asyncio.create_task(ask(database, ECHO, n)) for n in range(200)]
                await asyncio.sleep(0)
                for call in calls:
                    call.cancel()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert descriptors() == before, life
        assert asyncio.all_tasks() <= tasks, life


async def test_it_opens_and_closes_again_and_again(migrated: IsolatedDatabase, ada: User) -> None:
    database = Database(migrated.dsn("clonedb_worker"))
    for _ in range(5):
        async with database:
            found = await asyncio.gather(*(database.users.get_by_id(ada.id) for _ in range(20)))
            assert found == [ada] * 20
