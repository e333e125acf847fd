"""One active model under real concurrency: the original system left two for 26 of 30 users."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from ground import as_superuser, someone_waits_for_a_lock

from clonedb import (
    ConcurrencyConflict,
    Database,
    NewFaceModel,
    NewSession,
    NewUser,
    NewVoiceModel,
    NotFound,
    StillReferenced,
    UserScope,
)
from clonedb.testing import IsolatedDatabase

CALLERS = 16


@pytest_asyncio.fixture
async def app(migrated: IsolatedDatabase) -> AsyncIterator[Database]:
    """The app login with a connection for every caller, so that they do meet in the server."""
    async with Database(
        migrated.dsn("clonedb_app"), minimum_connections=CALLERS, maximum_connections=CALLERS
    ) as database:
        yield database


@pytest.fixture(params=["voice_models", "face_models"])
def table(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


def a_new(table: str) -> Any:
    if table == "voice_models":
        return NewVoiceModel(provider="xtts-v2", model_path="a.pt", sample_rate=24_000)
    return NewFaceModel(model_path="a.bin", resolution={"width": 64, "height": 64})


async def test_two_activations_at_once_leave_one_active_model_for_each_of_thirty_users(
    app: Database, worker: Database, table: str
) -> None:
    people = await worker.users.create_many(
        [NewUser(email=f"person{number}@example.com") for number in range(30)]
    )
    chosen: dict[Any, list[Any]] = {}
    for person in people:
        models = getattr(app.as_user(person.id), table)
        chosen[person.id] = await models.create_many([a_new(table) for _ in range(3)])
        await models.activate(chosen[person.id][2].id)
    # Every call of one round meets its rival: each pair starts together, all users at once.
    for _ in range(2):
        await asyncio.gather(
            *(
                getattr(app.as_user(person.id), table).activate(model.id)
                for person in people
                for model in chosen[person.id][:2]
            )
        )
        for person in people:
            scope = getattr(app.as_user(person.id), table)
            active = [model for model in (await scope.find_many()).items if model.is_active]
            assert len(active) == 1
            assert active[0].id in {model.id for model in chosen[person.id][:2]}


async def test_sixteen_callers_in_opposite_orders_all_succeed(
    as_ada: UserScope, table: str
) -> None:
    models = getattr(as_ada, table)
    stored = await models.create_many([a_new(table) for _ in range(5)])

    async def activate_all(caller: int) -> None:
        for model in stored if caller % 2 else reversed(stored):
            assert (await models.activate(model.id)).is_active

    await asyncio.gather(*(activate_all(caller) for caller in range(CALLERS)))
    assert sum(model.is_active for model in (await models.find_many()).items) == 1


async def waiting(call: Any, migrated: IsolatedDatabase) -> asyncio.Task[Any]:
    task = asyncio.create_task(call)
    await someone_waits_for_a_lock(migrated)
    return task


async def test_a_model_deleted_while_an_activation_waits_is_not_activated(
    as_ada: UserScope, table: str, migrated: IsolatedDatabase
) -> None:
    models = getattr(as_ada, table)
    active, deleted = await models.create_many([a_new(table) for _ in range(2)])
    await models.activate(active.id)
    async with as_ada.transaction() as holder:
        await getattr(holder, table).delete(deleted.id)
        task = await waiting(models.activate(deleted.id), migrated)
    with pytest.raises(NotFound):
        await task
    assert (await models.find_active()).id == active.id


async def test_a_model_stored_and_activated_while_another_waits_gives_way_to_it(
    as_ada: UserScope, table: str, migrated: IsolatedDatabase
) -> None:
    models = getattr(as_ada, table)
    waiter, other = await models.create_many([a_new(table) for _ in range(2)])
    async with as_ada.transaction() as holder:
        await getattr(holder, table).activate(other.id)
        task = await waiting(models.activate(waiter.id), migrated)
        newcomer = await getattr(holder, table).create(a_new(table))
        await getattr(holder, table).activate(newcomer.id)
    assert (await task).is_active
    found = (await models.find_many()).items
    assert [model.id for model in found if model.is_active] == [waiter.id]


async def test_inside_a_transaction_the_same_is_a_conflict_that_may_be_tried_again(
    as_ada: UserScope, table: str, migrated: IsolatedDatabase
) -> None:
    models = getattr(as_ada, table)
    waiter, other = await models.create_many([a_new(table) for _ in range(2)])

    async def within_a_transaction() -> None:
        async with as_ada.transaction() as own:
            await getattr(own, table).activate(waiter.id)

    async with as_ada.transaction() as holder:
        await getattr(holder, table).activate(other.id)
        task = await waiting(within_a_transaction(), migrated)
        newcomer = await getattr(holder, table).create(a_new(table))
        await getattr(holder, table).activate(newcomer.id)
    with pytest.raises(ConcurrencyConflict):
        await task
    assert (await models.find_active()).id == newcomer.id
    await within_a_transaction()
    assert (await models.find_active()).id == waiter.id


async def test_a_session_started_while_its_model_is_removed_never_refers_to_nothing(
    as_ada: UserScope, table: str, migrated: IsolatedDatabase
) -> None:
    models = getattr(as_ada, table)
    reference = table.removesuffix("s") + "_id"
    model = await models.create(a_new(table))
    async with as_ada.transaction() as holder:
        session = await holder.conversation_sessions.create(NewSession(**{reference: model.id}))
        task = await waiting(models.hard_delete(model.id), migrated)
    with pytest.raises(StillReferenced):
        await task
    assert await models.find_by_id(model.id) is not None
    assert await models.hard_delete(model.id) is True
    stored = await as_ada.conversation_sessions.get_by_id(session.id)
    assert getattr(stored, reference) is None


async def test_callers_in_several_processes_leave_one_active_model(
    as_ada: UserScope, table: str, migrated: IsolatedDatabase
) -> None:
    models = getattr(as_ada, table)
    stored = await models.create_many([a_new(table) for _ in range(4)])
    processes = [
        await asyncio.create_subprocess_exec(
            sys.executable,
            str(Path(__file__).with_name("activating_process.py")),
            migrated.dsn("clonedb_app"),
            str(as_ada.user_id),
            table,
            *(str(model.id) for model in stored),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        for _ in range(3)
    ]
    for process in processes:
        assert process.stdout is not None
        assert await process.stdout.readline() == b"ready\n"
    outcomes = await asyncio.gather(*(process.communicate(b"go\n") for process in processes))
    assert [process.returncode for process in processes] == [0, 0, 0], outcomes
    with as_superuser(migrated) as connection:
        assert connection.execute(
            f"SELECT count(*) FROM clonedb.{table} WHERE is_active"
        ).fetchone() == (1,)
