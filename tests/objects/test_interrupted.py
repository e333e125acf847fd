"""A transfer of 100 MB that is interrupted: nothing of it is seen, and nothing of it stays."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from ground import PATIENCE_SECONDS
from storing import LARGE, MIB, ended, files, keys, killed, piece, pieces, started, tomorrow, whole

from clonedb import Database, ObjectStore, StoredObject, StoredObjects, User, WorkedOff
from clonedb.testing import IsolatedDatabase

BEFORE = 3 * MIB


@pytest.fixture
def half_way() -> asyncio.Event:
    return asyncio.Event()


async def unchanged(objects: StoredObjects, before: StoredObject | None) -> None:
    """What was there is whole, and there is nothing else."""
    found = await objects.find_many()
    assert found.items == ([before] if before else [])
    if before:
        assert await objects.read("voice_model", "v") == whole(BEFORE)


@pytest.fixture(params=["first", "replacing"])
async def before(request: pytest.FixtureRequest, objects: StoredObjects) -> StoredObject | None:
    if request.param == "first":
        return None
    return await objects.put("voice_model", "v", pieces(BEFORE))


async def nothing_is_left(
    store: ObjectStore, worker: Database, folder: Path, before: StoredObject | None
) -> None:
    while (await store.work_off(worker, now=tomorrow())).claimed:
        pass
    assert files(folder) == ({before.object_key: BEFORE} if before else {})
    left = await store.outbox_statistics(worker)
    assert (left.pending, left.uploads) == (0, 0)


async def test_an_uploading_process_that_is_killed_is_as_if_it_had_never_been(
    objects: StoredObjects,
    before: StoredObject | None,
    store: ObjectStore,
    worker: Database,
    ada: User,
    folder: Path,
    migrated: IsolatedDatabase,
) -> None:
    process = await started(
        "storing_process.py", "put", migrated.dsn("clonedb_app"), folder, ada.id, "v"
    )

    # Half of it does come to lie there, under a name that is not the key's.
    def unfinished_files() -> list[str]:
        return [name for name, size in files(folder).items() if "#" in name and size > 40 * MIB]

    until(unfinished_files)
    await killed(process)
    (unfinished,) = unfinished_files()
    await unchanged(objects, before)
    # Not before its time: who knows that the process is not at it still.
    assert await store.work_off(worker) == WorkedOff(0, 0, 0)
    assert unfinished in files(folder)
    await nothing_is_left(store, worker, folder, before)


async def test_a_cancelled_upload_is_undone_at_once(
    objects: StoredObjects,
    before: StoredObject | None,
    store: ObjectStore,
    worker: Database,
    folder: Path,
    half_way: asyncio.Event,
    migrated: IsolatedDatabase,
) -> None:
    async def source() -> AsyncIterator[bytes]:
        async for each in pieces(LARGE // 2):
            yield each
        half_way.set()
        await asyncio.Event().wait()

    putting = asyncio.create_task(objects.put("voice_model", "v", source()))
    await half_way.wait()
    putting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await putting
    await unchanged(objects, before)
    assert files(folder) == ({before.object_key: BEFORE} if before else {})
    assert keys(migrated, "object_uploads") == []
    await nothing_is_left(store, worker, folder, before)


async def test_an_upload_whose_source_fails_raises_that_and_is_undone_at_once(
    objects: StoredObjects,
    before: StoredObject | None,
    store: ObjectStore,
    worker: Database,
    folder: Path,
    migrated: IsolatedDatabase,
) -> None:
    failure = ConnectionResetError("the camera is gone")

    async def source() -> AsyncIterator[bytes]:
        async for each in pieces(LARGE // 2):
            yield each
        raise failure

    with pytest.raises(ConnectionResetError) as raised:
        await objects.put("voice_model", "v", source())
    assert raised.value is failure
    await unchanged(objects, before)
    assert files(folder) == ({before.object_key: BEFORE} if before else {})
    assert keys(migrated, "object_uploads") == []
    await nothing_is_left(store, worker, folder, before)


@pytest.mark.parametrize("after", range(0, 12, 2))
async def test_wherever_a_small_upload_is_cancelled_nothing_is_left(
    objects: StoredObjects,
    store: ObjectStore,
    worker: Database,
    folder: Path,
    after: int,
) -> None:
    putting = asyncio.create_task(objects.put("voice_model", "v", bytes(3 * MIB)))
    await asyncio.sleep(after / 1000)
    putting.cancel()
    cancelled = False
    try:
        await putting
    except asyncio.CancelledError:
        cancelled = True
    stored = await objects.find("voice_model", "v")
    # The cancellation may come when it is stored already, and its answer is on the way.
    assert stored is not None or cancelled
    while (await store.work_off(worker, now=tomorrow())).claimed:
        pass
    assert files(folder) == ({stored.object_key: 3 * MIB} if stored else {})


@pytest.mark.parametrize("interruption", ["killed", "cancelled"])
async def test_an_interrupted_download_leaves_nothing_that_looks_whole(
    objects: StoredObjects,
    ada: User,
    folder: Path,
    tmp_path: Path,
    migrated: IsolatedDatabase,
    interruption: str,
) -> None:
    await objects.put("voice_model", "v", pieces(LARGE))
    target = tmp_path / "target" / "v.pth"
    target.parent.mkdir()
    target.write_bytes(b"of before")

    def begun() -> bool:
        parts = [path for path in target.parent.iterdir() if path != target]
        return any(path.stat().st_size > MIB for path in parts)

    if interruption == "killed":
        process = await started(
            "storing_process.py",
            "download",
            migrated.dsn("clonedb_app"),
            folder,
            ada.id,
            "v",
            target,
        )
        until(begun)
        await killed(process)
        (part,) = (path.name for path in target.parent.iterdir() if path != target)
        assert part.startswith(".")
        assert part.endswith(".part")
    else:
        downloading = asyncio.create_task(objects.download("voice_model", "v", target))
        for _ in range(10_000_000):
            await asyncio.sleep(0)
            if begun():
                break
        downloading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await downloading
        assert list(target.parent.iterdir()) == [target]
    assert target.read_bytes() == b"of before"


def until(begun: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not begun():
        assert time.monotonic() < deadline


async def test_100_mb_need_little_memory(
    ada: User, folder: Path, tmp_path: Path, migrated: IsolatedDatabase
) -> None:
    process = await started(
        "storing_process.py",
        "measure",
        migrated.dsn("clonedb_app"),
        folder,
        ada.id,
        LARGE // MIB,
        tmp_path / "copy",
    )
    grown = int(await ended(process))
    assert (tmp_path / "copy").stat().st_size == LARGE
    # Five parts of 8 MiB, and what the allocator keeps of them.
    assert grown < 80 * MIB, f"{grown / MIB:.0f} MiB"


async def test_an_upload_that_took_too_long_is_not_kept(
    objects: StoredObjects, store: ObjectStore, worker: Database, folder: Path
) -> None:
    from clonedb import NotFound

    upload = await objects.upload(b"late")
    assert (await store.work_off(worker, now=tomorrow())).deleted == 1
    with pytest.raises(NotFound, match="upload"):
        await objects.keep("document", "late", upload)
    assert await objects.find("document", "late") is None
    assert files(folder) == {}


async def test_pieces_differ() -> None:
    """Or a piece in another's place would go unnoticed."""
    assert len({piece(number) for number in range(100)}) == 100
