"""The outbox: what lost its row is deleted, once and for all, whoever is killed or fails."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from ground import as_superuser, someone_waits_for_a_lock
from storing import MIB, ended, files, keys, killed, names, pieces, rows, started, tomorrow

from clonedb import (
    Database,
    InvalidInput,
    NotFound,
    ObjectStore,
    PermissionDenied,
    StoredObjects,
    User,
    UserScope,
    WorkedOff,
)
from clonedb.testing import IsolatedDatabase

WRITERS = 8


async def all_worked_off(store: ObjectStore, worker: Database) -> None:
    while (await store.work_off(worker, now=tomorrow())).claimed:
        pass


@pytest.mark.parametrize("name", ["new", "there before"])
async def test_of_eight_that_replace_at_once_one_stays_and_the_others_are_in_the_outbox(
    objects: StoredObjects,
    store: ObjectStore,
    worker: Database,
    folder: Path,
    migrated: IsolatedDatabase,
    name: str,
) -> None:
    if name == "there before":
        await objects.put("voice_model", name, b"before")
    for number in range(5):
        contents = [f"{number} {writer}".encode() for writer in range(WRITERS)]
        await asyncio.gather(*(objects.put("voice_model", name, each) for each in contents))
        assert await objects.read("voice_model", name) in contents
        stored = await objects.get("voice_model", name)
        assert await objects.count() == 1
        # Every object in the store is either the one, or waits in the outbox, and once.
        waiting = keys(migrated, "object_deletions")
        assert len(waiting) == len(set(waiting))
        assert sorted([*waiting, stored.object_key]) == sorted(files(folder))
    await all_worked_off(store, worker)
    assert files(folder).keys() == {stored.object_key}


@pytest.mark.parametrize("name", ["new", "there before"])
async def test_those_who_wait_for_the_one_that_replaces_hand_on_each_others_keys(
    objects: StoredObjects,
    store: ObjectStore,
    as_ada: UserScope,
    folder: Path,
    migrated: IsolatedDatabase,
    name: str,
) -> None:
    if name == "there before":
        await objects.put("voice_model", name, b"before")
    first, *others = [await objects.upload(bytes([each])) for each in range(WRITERS)]
    async with as_ada.transaction() as tx:
        await store.of(tx).keep("voice_model", name, first)
        keeping = [
            asyncio.create_task(objects.keep("voice_model", name, upload)) for upload in others
        ]
        await someone_waits_for_a_lock(migrated, len(others))
    await asyncio.gather(*keeping)
    stored = await objects.get("voice_model", name)
    waiting = keys(migrated, "object_deletions")
    assert sorted([*waiting, stored.object_key]) == sorted(files(folder))


async def test_readers_find_a_whole_object_however_often_it_is_replaced_and_deleted(
    objects: StoredObjects, store: ObjectStore, worker: Database
) -> None:
    await objects.put("voice_model", "v", b"0" * 100_000)
    ended = asyncio.Event()

    async def reading() -> int:
        count = 0
        while not ended.is_set():
            content = await objects.read("voice_model", "v")
            assert len(content) == 100_000
            assert len(set(content)) == 1
            count += 1
        return count

    readers = [asyncio.create_task(reading()) for _ in range(4)]
    for number in range(100):
        await objects.put("voice_model", "v", str(number % 10).encode() * 100_000)
        await store.work_off(worker)
    ended.set()
    assert all(count > 10 for count in await asyncio.gather(*readers))


async def test_a_users_hard_deletion_leaves_their_keys_and_nothing_else(
    objects: StoredObjects,
    store: ObjectStore,
    worker: Database,
    ada: User,
    as_grace: UserScope,
    folder: Path,
    migrated: IsolatedDatabase,
) -> None:
    theirs = [await objects.put("document", str(number), b"a") for number in range(3)]
    replaced = await objects.put("document", "0", b"b")
    given_up = await objects.upload(b"never kept")
    others = await store.of(as_grace).put("document", "0", b"grace")
    assert await worker.users.hard_delete(ada.id) is True
    assert keys(migrated, "object_deletions") == sorted(
        [*(each.object_key for each in theirs), replaced.object_key, given_up.object_key]
    )
    assert keys(migrated, "stored_objects") == [others.object_key]
    assert keys(migrated, "object_uploads") == []
    text = str(rows(migrated, "SELECT d.*::text FROM clonedb.object_deletions AS d"))
    assert str(ada.id) not in text
    assert ada.id.hex not in text
    # The upload might be under way still: its key is due when it can't be any more.
    assert (await store.work_off(worker)).deleted == 4
    assert files(folder).keys() == {others.object_key, given_up.object_key}
    await all_worked_off(store, worker)
    assert files(folder).keys() == {others.object_key}
    assert keys(migrated, "object_deletions") == []


async def test_the_app_login_deletes_its_user_with_their_objects(
    objects: StoredObjects, as_ada: UserScope, ada: User, migrated: IsolatedDatabase
) -> None:
    stored = await objects.put("document", "a", b"a")
    assert await as_ada.users.hard_delete(ada.id) is True
    assert keys(migrated, "object_deletions") == [stored.object_key]


async def test_whoever_deletes_a_user_past_the_library_can_not_lose_their_keys(
    objects: StoredObjects, ada: User, migrated: IsolatedDatabase
) -> None:
    import psycopg

    await objects.put("document", "a", b"a")
    with as_superuser(migrated) as connection, pytest.raises(psycopg.errors.IntegrityError) as no:
        connection.execute("DELETE FROM clonedb.users WHERE id = %s", [ada.id])
    assert no.value.diag.constraint_name == "stored_objects_owner_exists"


@pytest.mark.parametrize("first", ["kept", "deleted"])
async def test_an_upload_kept_while_its_user_is_deleted_is_not_lost(
    objects: StoredObjects,
    store: ObjectStore,
    worker: Database,
    as_ada: UserScope,
    ada: User,
    folder: Path,
    migrated: IsolatedDatabase,
    first: str,
) -> None:
    upload = await objects.upload(b"a")
    if first == "kept":
        async with as_ada.transaction() as tx:
            await store.of(tx).keep("document", "a", upload)
            deleting = asyncio.create_task(worker.users.hard_delete(ada.id))
            await someone_waits_for_a_lock(migrated)
        # It waited for the key to the user, and looked for objects afterwards.
        assert await deleting is True
    else:
        async with worker.transaction() as tx:
            assert await tx.users.hard_delete(ada.id) is True
            keeping = asyncio.create_task(objects.keep("document", "a", upload))
            await someone_waits_for_a_lock(migrated)
        with pytest.raises((NotFound, PermissionDenied)):
            await keeping
    assert keys(migrated, "stored_objects") == []
    await all_worked_off(store, worker)
    assert files(folder) == {}


@pytest.mark.parametrize("login", ["app", "worker"])
async def test_an_upload_whose_user_is_deleted_meanwhile_is_deleted_too(
    store: ObjectStore,
    app: Database,
    worker: Database,
    ada: User,
    folder: Path,
    migrated: IsolatedDatabase,
    login: str,
) -> None:
    async def source() -> AsyncIterator[bytes]:
        yield b"a"
        await worker.users.delete(ada.id)

    objects = store.of((worker if login == "worker" else app).as_user(ada.id))
    with pytest.raises(NotFound, match="upload"):
        await objects.put("document", "a", source())
    assert keys(migrated, "stored_objects") == []
    if login == "worker":
        assert keys(migrated, "object_uploads") == []
    # The app login sees nothing of a deleted user: their upload ends by itself.
    await all_worked_off(store, worker)
    assert files(folder) == {}


class Between:
    """A scope in which something else happens behind its first answer."""

    def __init__(self, scope: UserScope, happens: Callable[[], Awaitable[Any]]) -> None:
        self._scope = scope
        self._happens: Callable[[], Awaitable[Any]] | None = happens

    async def one(self, *arguments: Any, **named: Any) -> Any:
        answer = await self._scope.one(*arguments, **named)
        happens, self._happens = self._happens, None
        if happens is not None:
            await happens()
        return answer


async def test_an_object_replaced_between_finding_and_opening_it_is_found_again(
    objects: StoredObjects, store: ObjectStore, worker: Database, as_ada: UserScope
) -> None:
    await objects.put("voice_model", "v", b"before")

    async def replaced() -> None:
        await objects.put("voice_model", "v", b"after")
        assert (await store.work_off(worker)).deleted == 1

    async def deleted() -> None:
        await objects.delete("voice_model", "v")
        assert (await store.work_off(worker)).deleted == 1

    between: Any = Between(as_ada, replaced)
    assert await store.of(between).read("voice_model", "v") == b"after"
    between = Between(as_ada, deleted)
    with pytest.raises(NotFound):
        await store.of(between).read("voice_model", "v")


async def waiting(objects: StoredObjects, number: int) -> list[str]:
    """The keys of so many objects that wait to be deleted."""
    stored = [await objects.put("document", str(each), b"a") for each in range(number)]
    for each in stored:
        await objects.delete("document", each.name)
    return sorted(each.object_key for each in stored)


async def test_a_killed_worker_leaves_its_claims_to_others(
    objects: StoredObjects,
    store: ObjectStore,
    worker: Database,
    folder: Path,
    migrated: IsolatedDatabase,
) -> None:
    expected = await waiting(objects, 10)
    process = await started(
        "storing_process.py", "work_off", migrated.dsn("clonedb_worker"), folder, "claims"
    )
    # Nobody else takes what it has; a kill leaves the entries, their objects gone or not.
    assert await store.work_off(worker) == WorkedOff(0, 0, 0)
    await killed(process)
    for key in expected[:5]:
        (folder / key).unlink()
    assert keys(migrated, "object_deletions") == expected
    later = datetime.now(UTC) + timedelta(minutes=11)
    assert await store.work_off(worker, now=later) == WorkedOff(10, 10, 0)
    assert (files(folder), keys(migrated, "object_deletions")) == ({}, [])


async def test_a_worker_killed_anywhere_deletes_nothing_that_is_in_use_and_forgets_nothing(
    objects: StoredObjects,
    store: ObjectStore,
    worker: Database,
    folder: Path,
    migrated: IsolatedDatabase,
) -> None:
    await waiting(objects, 60)
    kept = await objects.put("document", "kept", b"kept")
    for milliseconds in (0, 2, 5, 10, 20):
        process = await started(
            "storing_process.py", "work_off", migrated.dsn("clonedb_worker"), folder, "all"
        )
        await asyncio.sleep(milliseconds / 1000)
        process.kill()
        await process.wait()
        # What still lies there has its entry still.
        assert files(folder).keys() <= {*keys(migrated, "object_deletions"), kept.object_key}
    await all_worked_off(store, worker)
    assert files(folder).keys() == {kept.object_key}
    assert keys(migrated, "object_deletions") == []


async def test_two_processes_at_once_delete_everything_once(
    objects: StoredObjects,
    store: ObjectStore,
    worker: Database,
    folder: Path,
    migrated: IsolatedDatabase,
) -> None:
    await waiting(objects, 40)
    counts = await asyncio.gather(*(store.work_off(worker, limit=10) for _ in range(6)))
    assert sum(each.claimed for each in counts) == sum(each.deleted for each in counts) == 40
    assert (files(folder), keys(migrated, "object_deletions")) == ({}, [])
    await waiting(objects, 40)
    processes = await asyncio.gather(
        *(
            started("storing_process.py", "work_off", migrated.dsn("clonedb_worker"), folder, "all")
            for _ in range(2)
        )
    )
    await asyncio.gather(*map(ended, processes))
    assert (files(folder), keys(migrated, "object_deletions")) == ({}, [])


async def test_a_failure_is_counted_and_put_off_further_each_time(
    objects: StoredObjects,
    store: ObjectStore,
    worker: Database,
    folder: Path,
    migrated: IsolatedDatabase,
) -> None:
    (key,) = await waiting(objects, 1)
    # A folder in the place of the object is what root can't unlink either.
    (folder / key).unlink()
    (folder / key / "below").mkdir(parents=True)
    now = datetime.now(UTC)
    minutes = 1
    for attempt in range(1, 12):
        assert await store.work_off(worker, now=now) == WorkedOff(1, 0, 1)
        ((attempts, error, due),) = rows(
            migrated, "SELECT attempts, last_error, due_at FROM clonedb.object_deletions"
        )
        assert attempts == attempt
        assert str(folder) in error
        assert due - now == timedelta(minutes=min(minutes, 360))
        assert await store.work_off(worker, now=due - timedelta(seconds=1)) == WorkedOff(0, 0, 0)
        now, minutes = due, minutes * 2
    statistics = await store.outbox_statistics(worker, now=now)
    assert (statistics.pending, statistics.due, statistics.failing) == (1, 1, 1)
    assert statistics.oldest_at is not None
    shutil.rmtree(folder / key)
    assert await store.work_off(worker, now=now) == WorkedOff(1, 1, 0)
    assert keys(migrated, "object_deletions") == []


async def test_one_that_fails_holds_up_no_other(
    objects: StoredObjects, store: ObjectStore, worker: Database, folder: Path
) -> None:
    first, *_ = await waiting(objects, 5)
    (folder / first).unlink()
    (folder / first / "below").mkdir(parents=True)
    assert await store.work_off(worker) == WorkedOff(5, 4, 1)
    assert await store.work_off(worker) == WorkedOff(0, 0, 0)


async def test_an_object_with_a_row_outlives_an_entry_that_names_it(
    objects: StoredObjects,
    store: ObjectStore,
    worker: Database,
    folder: Path,
    migrated: IsolatedDatabase,
) -> None:
    """The app may add to the outbox: what it adds must not be a way to delete another's."""
    stored = await objects.put("document", "a", b"a")
    upload = await objects.upload(b"b")
    with as_superuser(migrated) as connection:
        for key in (stored.object_key, upload.object_key):
            connection.execute(
                "INSERT INTO clonedb.object_deletions (object_key) VALUES (%s)", [key]
            )
    assert await store.work_off(worker) == WorkedOff(2, 2, 0)
    assert files(folder).keys() == {stored.object_key, upload.object_key}
    await objects.keep("document", "a", upload)
    assert await objects.read("document", "a") == b"b"


async def test_what_is_gone_already_counts_as_deleted(
    objects: StoredObjects, store: ObjectStore, worker: Database, folder: Path
) -> None:
    await waiting(objects, 3)
    for name in names(folder):
        shutil.rmtree(folder / name)
    assert await store.work_off(worker) == WorkedOff(3, 3, 0)


async def test_the_outbox_is_the_workers_alone(
    objects: StoredObjects, store: ObjectStore, app: Database, worker: Database, ada: User
) -> None:
    await objects.put("document", "a", pieces(MIB))
    await objects.delete("document", "a")
    for refused in (store.work_off(app), store.outbox_statistics(app)):
        with pytest.raises(PermissionDenied):
            await refused
    for refused in (
        store.work_off(worker.as_user(ada.id)),  # type: ignore[arg-type]
        store.work_off(worker, limit=-1),
        store.work_off(worker, limit=0),
        store.work_off(worker, limit=10**9),
        store.work_off(worker, now=datetime(2026, 1, 1)),
    ):
        with pytest.raises(InvalidInput):
            await refused
    assert (await store.outbox_statistics(worker)).due == 1
