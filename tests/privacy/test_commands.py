"""`clonedb export-user` and `clonedb erase-user`: what they print, and their exit codes."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import zipfile
from pathlib import Path

import msgspec
from canaries import stored
from storing import names

from clonedb import Database, ObjectStore, User, UserScope, new_id
from clonedb.testing import IsolatedDatabase


async def run(database: IsolatedDatabase, *arguments: object) -> tuple[int, str, str]:
    finished = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "clonedb", *map(str, arguments)],
        env={"DATABASE_URL": database.dsn("clonedb_worker"), "PATH": ""},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return finished.returncode, finished.stdout, finished.stderr


async def test_what_changes_nothing_says_why(
    migrated: IsolatedDatabase, ada: User, tmp_path: Path
) -> None:
    before = stored(migrated)
    unknown, unasked, counted, nobody, malformed = await asyncio.gather(
        run(migrated, "erase-user", new_id(), "--yes"),
        run(migrated, "erase-user", ada.id),
        run(migrated, "erase-user", ada.id, "--dry-run", "--json"),
        run(migrated, "export-user", new_id(), "--to", tmp_path / "a.zip"),
        run(migrated, "erase-user", "ada", "--yes"),
    )
    for (code, out, err), expected, says in (
        (unknown, 1, "does not exist, and was not erased either"),
        (unasked, 2, "pass --yes"),
        (nobody, 1, "does not exist"),
        (malformed, 2, "UUID"),
    ):
        assert (code, out) == (expected, "")
        assert says in err
        assert err.count("\n") == 1
    assert counted[0] == 0
    assert msgspec.json.decode(counted[1]) == {"would_erase": {"users": 1}}
    assert names(tmp_path) == []
    assert stored(migrated) == before


async def test_an_export_without_some_files_is_there_and_exits_with_1(
    migrated: IsolatedDatabase, ada: User, as_ada: UserScope, tmp_path: Path
) -> None:
    folder, file = tmp_path / "objects", tmp_path / "a.zip"
    objects = ObjectStore(folder).of(as_ada)
    await objects.put("document", "kept", b"kept")
    lost = await objects.put("document", "lost", b"lost")
    export = ("export-user", ada.id, "--to", file, "--object-store")
    code, out, err = await run(migrated, *export, tmp_path / "mistyped")
    assert (code, out) == (2, "")
    assert "there is no folder" in err
    assert names(tmp_path) == ["objects"]
    (folder / lost.object_key).unlink()
    code, out, err = await run(migrated, *export, folder)
    assert code == 1
    assert err == "missing or damaged in the object store: objects/document/lost\n"
    with zipfile.ZipFile(file) as written:
        assert written.read("objects/document/kept") == b"kept"
        assert "is missing" in written.read("index.html").decode()
    file.unlink()
    code, out, err = await run(migrated, *export, folder, "--json")
    assert (code, err) == (1, "")
    assert msgspec.json.decode(out)["damaged"] == ["objects/document/lost"]


async def test_a_person_is_exported_and_erased_and_that_is_remembered(
    migrated: IsolatedDatabase, worker: Database, ada: User, grace: User, tmp_path: Path
) -> None:
    code, out, err = await run(migrated, "export-user", ada.id, "--to", tmp_path / "a.zip")
    assert (code, err) == (0, "")
    assert "users                             1 rows" in out
    assert (tmp_path / "a.zip").exists()
    ledger = tmp_path / "ledger.jsonl"
    code, out, err = await run(
        migrated, "erase-user", ada.id, "--yes", "--json", "--ledger-to", ledger
    )
    assert (code, err) == (0, "")
    told = msgspec.json.decode(out)
    assert told["ledger_entries"] == 1
    assert told["receipt"]["outcome"] == "erased"
    assert told["receipt"]["closed_at"] is not None
    again, reapplied = await asyncio.gather(
        run(migrated, "erase-user", ada.id, "--yes"),
        run(migrated, "erase-user", "--reapply", ledger, "--yes"),
    )
    assert again[0] == reapplied[0] == 0
    assert "erased before" in again[1]
    assert told["receipt"]["id"] in again[1]
    assert told["receipt"]["digest"] in again[1]
    assert reapplied[1] == "0 entries imported; 0 people of the ledger were there, 0 erased\n"
    assert await worker.users.find_by_id(grace.id) is not None
