"""The export: one moment, constant memory, whole or not at all."""

from __future__ import annotations

import asyncio
import os
import resource
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from ground import as_superuser
from storing import names, pieces

from clonedb import (
    Database,
    InvalidInput,
    NewTurn,
    NotFound,
    ObjectStore,
    PermissionDenied,
    User,
    UserScope,
    new_id,
)
from clonedb.privacy import ExportProgress, export_user
from clonedb.testing import IsolatedDatabase

MIB = 1024 * 1024


def lines(archive: Path, name: str) -> list[dict[str, object]]:
    with zipfile.ZipFile(archive) as opened:
        return [msgspec.json.decode(line) for line in opened.read(name).splitlines()]


async def test_it_is_of_one_moment(
    worker: Database, as_ada: UserScope, ada: User, tmp_path: Path
) -> None:
    """What is stored while it is written is not in it: neither a turn nor the session's count."""
    session = await as_ada.conversation_sessions.start()
    turn = NewTurn(user_transcript="first", llm_response="yes")
    await as_ada.conversation_sessions.record_turn(session.id, turn)
    loop = asyncio.get_running_loop()
    storing: list[asyncio.Task[object]] = []

    def store_more(progress: ExportProgress) -> None:
        later = NewTurn(user_transcript="later", llm_response="no")
        storing.append(
            loop.create_task(as_ada.conversation_sessions.record_turn(session.id, later))
        )

    done = await export_user(worker, ada.id, tmp_path / "a.zip", progress=store_more)
    assert storing
    await asyncio.gather(*storing)
    (stored,) = lines(tmp_path / "a.zip", "conversation_sessions.jsonl")
    assert stored["total_turns"] == done.rows["conversation_turns"] == 1
    (told,) = lines(tmp_path / "a.zip", "conversation_turns.jsonl")
    assert told["user_transcript"] == "first"


async def test_it_is_on_record_and_holds_the_record(
    worker: Database, ada: User, grace: User, tmp_path: Path
) -> None:
    await export_user(worker, ada.id, tmp_path / "a.zip")
    entries = (await worker.as_user(ada.id).audit_logs.find_many()).items
    assert entries[0].action == "user.export"
    assert entries[0].actor_ref is None
    await export_user(worker, ada.id, tmp_path / "a.zip")
    told = lines(tmp_path / "a.zip", "audit_logs.jsonl")
    assert "user.export" in {entry["action"] for entry in told}
    assert len({entry["subject_ref"] for entry in told}) == 1


async def test_a_deleted_user_is_exported_too(
    worker: Database, as_ada: UserScope, ada: User, tmp_path: Path
) -> None:
    store = ObjectStore(tmp_path / "objects")
    await store.of(as_ada).put("document", "a.txt", b"mine")
    await worker.users.delete(ada.id)
    done = await export_user(worker, ada.id, tmp_path / "a.zip", object_store=store)
    assert (done.rows["users"], done.objects, done.damaged) == (1, 1, [])
    with zipfile.ZipFile(tmp_path / "a.zip") as opened:
        assert opened.read("objects/document/a.txt") == b"mine"


async def test_what_cannot_be_exported_leaves_no_file(
    app: Database, worker: Database, as_ada: UserScope, ada: User, tmp_path: Path
) -> None:
    folder = tmp_path / "exports"
    folder.mkdir()
    with pytest.raises(NotFound, match="does not exist"):
        await export_user(worker, new_id(), folder / "a.zip")
    with pytest.raises((NotFound, PermissionDenied)):
        await export_user(app, ada.id, folder / "a.zip")
    with pytest.raises(FileNotFoundError):
        await export_user(worker, ada.id, folder / "nowhere" / "a.zip")
    await ObjectStore(tmp_path / "objects").of(as_ada).put("document", "a.txt", b"mine")
    with pytest.raises(InvalidInput, match="1 objects in the object store"):
        await export_user(worker, ada.id, folder / "a.zip")
    assert names(folder) == []


async def test_one_that_is_cancelled_leaves_no_file(
    worker: Database, ada: User, tmp_path: Path
) -> None:
    (tmp_path / "a.zip").write_bytes(b"the one before")
    exporting: asyncio.Task[object]

    def cancel(progress: ExportProgress) -> None:
        exporting.cancel()

    exporting = asyncio.ensure_future(
        export_user(worker, ada.id, tmp_path / "a.zip", progress=cancel)
    )
    with pytest.raises(asyncio.CancelledError):
        await exporting
    assert names(tmp_path) == ["a.zip"]
    assert (tmp_path / "a.zip").read_bytes() == b"the one before"


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one mebibyte."""
    mounted = tmp_path / "disk"
    mounted.mkdir()
    mounting = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={MIB}", "tmpfs", mounted], capture_output=True
    )
    if mounting.returncode:
        pytest.skip("nothing can be mounted here; the test with a limit on files shows the same")
    yield mounted
    subprocess.run(["umount", mounted], check=True)


async def test_a_full_disk_leaves_no_half_of_a_file(
    worker: Database, as_ada: UserScope, ada: User, tmp_path: Path, disk: Path
) -> None:
    store = ObjectStore(tmp_path / "objects")
    await store.of(as_ada).put("document", "large", os.urandom(2 * MIB))
    with pytest.raises(OSError, match="No space left"):
        await export_user(worker, ada.id, disk / "a.zip", object_store=store)
    assert names(disk) == []


async def test_a_file_that_may_not_grow_is_said_and_leaves_nothing(
    as_ada: UserScope, ada: User, tmp_path: Path, migrated: IsolatedDatabase
) -> None:
    await ObjectStore(tmp_path / "objects").of(as_ada).put("document", "a", os.urandom(2 * MIB))
    folder = tmp_path / "exports"
    folder.mkdir()
    finished = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "clonedb", "export-user", str(ada.id), "--to", f"{folder}/a.zip"],
        env={
            "DATABASE_URL": migrated.dsn("clonedb_worker"),
            "CLONEDB_OBJECT_STORE": str(tmp_path / "objects"),
            "PATH": "",
        },
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (MIB, MIB)),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (finished.returncode, finished.stdout) == (2, "")
    assert "File too large" in finished.stderr
    assert "Traceback" not in finished.stderr
    assert names(folder) == []


# Peak of the process that exports, after a small export and after a large one.
MEASURE = """
import asyncio, re, sys
from pathlib import Path
from clonedb import Database, ObjectStore
from clonedb.privacy import export_user

async def main():
    async with Database(sys.argv[1]) as worker:
        for user_id in sys.argv[3:]:
            done = await export_user(
                worker, user_id, f"{sys.argv[2]}/{user_id}.zip",
                object_store=ObjectStore(f"{sys.argv[2]}/objects"),
            )
            # Not ru_maxrss, which begins with what the parent had.
            status = Path('/proc/self/status').read_text()
            print(int(re.search(r'VmHWM:\\s+(\\d+) kB', status)[1]) * 1024)

asyncio.run(main())
"""


async def test_memory_does_not_grow_with_what_is_exported(
    worker: Database,
    as_ada: UserScope,
    ada: User,
    grace: User,
    tmp_path: Path,
    migrated: IsolatedDatabase,
) -> None:
    store = ObjectStore(tmp_path / "objects")
    await store.of(as_ada).put("voice_model", "v", pieces(48 * MIB))
    session = await as_ada.conversation_sessions.start()
    with as_superuser(migrated) as connection:
        # 48 MiB of rows, one of them of 8 MiB.
        connection.execute(
            "INSERT INTO clonedb.conversation_turns (user_id, session_id, session_started_at, "
            "turn_number, user_transcript, llm_response, total_latency_ms) "
            "SELECT s.user_id, s.id, s.started_at, n, repeat(md5(n::text), 64), "
            "repeat('y', 2048), 1 FROM clonedb.conversation_sessions AS s, "
            "generate_series(1, 10000) AS n WHERE s.id = %s",
            [session.id],
        )
        connection.execute(
            "INSERT INTO clonedb.knowledge_documents (user_id, filename, content_type, "
            "size_bytes, text_content) VALUES (%s, 'a', 'text/plain', 1, repeat('word ', 1600000))",
            [ada.id],
        )
    dsn = migrated.dsn("clonedb_worker")
    finished = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", MEASURE, dsn, str(tmp_path), str(grace.id), str(ada.id)],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    small, large = map(int, finished.stdout.split())
    assert len(lines(tmp_path / f"{ada.id}.zip", "conversation_turns.jsonl")) == 10_000
    # A few copies of the largest row; all of it would be 100 MiB.
    assert large - small < 48 * MIB
