"""A disk that is full, or a file that may not grow: a typed error, and nothing is left."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from storing import LARGE, MIB, files, keys, pieces, tomorrow, whole

from clonedb import (
    Database,
    ObjectStore,
    ObjectStoreFull,
    ObjectStoreUnavailable,
    Unavailable,
    User,
    UserScope,
)
from clonedb.testing import IsolatedDatabase

DISK = 32 * MIB


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 32 MiB."""
    mounted = tmp_path / "disk"
    mounted.mkdir()
    mounting = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", mounted], capture_output=True
    )
    if mounting.returncode:
        pytest.skip("nothing can be mounted here; the test with a limit on files shows the same")
    yield mounted
    subprocess.run(["umount", mounted], check=True)


@pytest.mark.parametrize("source", ["pieces", "bytes"])
async def test_a_full_disk_is_said_and_nothing_is_left(
    disk: Path,
    as_ada: UserScope,
    worker: Database,
    migrated: IsolatedDatabase,
    source: str,
) -> None:
    store = ObjectStore(disk / "objects")
    objects = store.of(as_ada)
    stored = await objects.put("voice_model", "v", pieces(20 * MIB))
    while os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize > 6 * MIB:
        with (disk / "filler").open("ab") as filler:
            filler.write(bytes(MIB))
    free = os.statvfs(disk).f_bavail
    with pytest.raises(ObjectStoreFull, match="no space left") as full:
        await objects.put(
            "voice_model", "v", pieces(LARGE) if source == "pieces" else whole(8 * MIB)
        )
    assert isinstance(full.value, Unavailable)
    assert await objects.read("voice_model", "v") == whole(20 * MIB)
    assert files(disk / "objects") == {stored.object_key: 20 * MIB}
    assert os.statvfs(disk).f_bavail == free
    assert keys(migrated, "object_uploads") == []
    # And when there is room again, it works.
    (disk / "filler").unlink()
    await objects.put("voice_model", "v", whole(8 * MIB))
    while (await store.work_off(worker, now=tomorrow())).claimed:
        pass
    assert list(files(disk / "objects").values()) == [8 * MIB]


async def test_a_disk_that_is_full_for_a_download_leaves_no_file(
    disk: Path, as_ada: UserScope, tmp_path: Path
) -> None:
    objects = ObjectStore(tmp_path / "objects").of(as_ada)
    await objects.put("voice_model", "v", pieces(LARGE))
    with pytest.raises(OSError, match="No space left"):
        await objects.download("voice_model", "v", disk / "copy")
    assert files(disk) == {}


LIMITED = """
import asyncio, resource, signal, sys
from uuid import UUID
from clonedb import Database, ObjectStore, ObjectStoreFull

async def main(dsn, folder, user_id):
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    async with Database(dsn) as database:
        objects = ObjectStore(folder).of(database.as_user(UUID(user_id)))
        await objects.put("voice_model", "v", b"before")
        resource.setrlimit(resource.RLIMIT_FSIZE, (16 << 20, 16 << 20))
        try:
            await objects.put("voice_model", "v", source())
        except ObjectStoreFull as error:
            print(await objects.read("voice_model", "v"), error)

async def source():
    for _ in range(100):
        yield bytes(1 << 20)

asyncio.run(main(*sys.argv[1:]))
"""


async def test_a_limit_on_the_size_of_files_is_said_and_nothing_is_left(
    ada: User, folder: Path, migrated: IsolatedDatabase
) -> None:
    finished = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", LIMITED, migrated.dsn("clonedb_app"), folder, str(ada.id)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert finished.stderr == ""
    assert finished.stdout.startswith("b'before' ")
    assert "File too large" in finished.stdout
    assert list(files(folder).values()) == [6]
    assert keys(migrated, "object_uploads") == []


async def test_a_folder_that_cannot_be_written_is_said(
    as_ada: UserScope, tmp_path: Path, migrated: IsolatedDatabase
) -> None:
    objects = ObjectStore(tmp_path / "objects").of(as_ada)
    # A file where the store would make folders: refused to root, too.
    (tmp_path / "objects").write_text("")
    with pytest.raises(ObjectStoreUnavailable, match="objects"):
        await objects.put("document", "a", b"a")
    assert await objects.find("document", "a") is None
    below = ObjectStore(tmp_path / "objects" / "below").of(as_ada)
    with pytest.raises(ObjectStoreUnavailable, match="objects"):
        await below.put("document", "a", b"a")
