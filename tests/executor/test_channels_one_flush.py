"""Calls of one tick of the event loop reach the server in one write to one socket."""

from __future__ import annotations

import asyncio

import pytest
from channels import ONE_OF_EACH, PATIENT, connected, through_channels_alone
from observed import ObservedSocket

from clonedb import NewUser, User, UserPatch
from clonedb.lanes import libpq
from clonedb.testing import IsolatedDatabase

pytestmark = pytest.mark.skipif(
    not libpq.FLUSHES_ONCE, reason="this libpq has no PQsendPipelineSync"
)


async def test_ten_gathered_reads_are_one_write(
    observed: ObservedSocket, migrated: IsolatedDatabase, ada: User
) -> None:
    async with connected(observed.through(migrated.dsn()), **PATIENT) as database:
        scope = database.as_user(ada.id)
        with through_channels_alone(database):
            for time in ("first", "second", "third"):
                before = len(observed.writes())
                found = await asyncio.gather(*(scope.users.get_by_id(ada.id) for _ in range(10)))
                assert observed.writes()[before:] == [10], time
                assert found == [ada] * 10


async def test_ten_reads_of_ten_users_by_ten_tasks_are_one_write(
    observed: ObservedSocket, migrated: IsolatedDatabase
) -> None:
    async with connected(observed.through(migrated.dsn("clonedb_worker")), **PATIENT) as database:
        users = await database.users.create_many(
            [NewUser(email=f"{number}@example.com") for number in range(10)]
        )
        before = len(observed.writes())
        async with asyncio.TaskGroup() as tasks:
            for user in users:
                own = database.as_user(user.id).users
                tasks.create_task(own.get_by_id(user.id))
                tasks.create_task(own.count())
        assert observed.writes()[before:] == [20]


async def test_ten_gathered_writes_of_one_user_are_one_write(
    observed: ObservedSocket, migrated: IsolatedDatabase, ada: User
) -> None:
    async with connected(observed.through(migrated.dsn()), **PATIENT) as database:
        scope = database.as_user(ada.id)
        with through_channels_alone(database):
            for _ in range(5):
                before = len(observed.writes())
                await asyncio.gather(
                    *(scope.users.update(ada.id, UserPatch(name=str(time))) for time in range(10))
                )
                assert observed.writes()[before:] == [10]


async def test_a_group_of_ten_writes_is_one_write_with_one_sync(
    observed: ObservedSocket, migrated: IsolatedDatabase, ada: User
) -> None:
    async with connected(observed.through(migrated.dsn()), **PATIENT, **ONE_OF_EACH) as database:
        scope = database.as_user(ada.id).group_commit()
        with through_channels_alone(database):
            before = len(observed.writes())
            await asyncio.gather(
                *(scope.users.update(ada.id, UserPatch(name=str(time))) for time in range(10))
            )
            assert observed.writes()[before:] == [1]


async def test_the_observer_can_tell_ten_writes_from_one(
    observed: ObservedSocket,
    migrated: IsolatedDatabase,
    ada: User,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # As it would be without PQsendPipelineSync.
    monkeypatch.setattr(libpq, "_send_pipeline_sync", None)
    async with connected(observed.through(migrated.dsn()), **PATIENT) as database:
        scope = database.as_user(ada.id)
        seen = []
        for _ in range(5):
            before = len(observed.writes())
            await asyncio.gather(*(scope.users.get_by_id(ada.id) for _ in range(10)))
            seen.append(observed.writes()[before:])
        assert all(sum(writes) == 10 for writes in seen)
        assert any(len(writes) > 1 for writes in seen)
