"""The ledger: after a backup from before an erasure was restored, it is applied again."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
from canaries import stored, where
from ground import as_superuser
from storing import names

from clonedb import Database, InvalidInput, NewUser, User
from clonedb.privacy import erase_user, reapply, write_ledger
from clonedb.testing import IsolatedDatabase


@pytest.fixture
async def restored(
    migrated: IsolatedDatabase, ada: User, grace: User
) -> AsyncIterator[IsolatedDatabase]:
    """What a dump that was made now is restored to: a database of its own."""
    await asyncio.to_thread(_dump, migrated)
    other = IsolatedDatabase(migrated.server, "clonedb_restored")
    migrated.server.create_database(other.name)
    await asyncio.to_thread(_restore, migrated, other)
    yield other
    migrated.server.drop_database(other.name)


def _dump(database: IsolatedDatabase) -> None:
    """As docs/operations.md makes a backup."""
    program = database.server.binaries / "pg_dump"
    dump = Path(database.server.data_directory).parent / "before.dump"
    subprocess.run(
        [program, "-Fc", "--enable-row-security", "-f", dump, database.dsn("clonedb_backup")],
        check=True,
        timeout=60,
    )


def _restore(database: IsolatedDatabase, other: IsolatedDatabase) -> None:
    program = database.server.binaries / "pg_restore"
    dump = Path(database.server.data_directory).parent / "before.dump"
    subprocess.run(
        [program, "--exit-on-error", f"--dbname={other.dsn('clonedb_superuser')}", dump],
        check=True,
        timeout=60,
    )


async def test_whoever_came_back_with_a_backup_is_erased_again(
    worker: Database,
    restored: IsolatedDatabase,
    migrated: IsolatedDatabase,
    ada: User,
    grace: User,
    tmp_path: Path,
) -> None:
    receipt = await erase_user(worker, ada.id)
    copy = tmp_path / "ledger.jsonl"
    assert await write_ledger(worker, copy) == 1
    # Nothing in the copy is anybody's.
    text = copy.read_text()
    assert str(ada.id) not in text
    assert ada.id.hex not in text
    assert "ada@" not in text  # three letters alone may be hexadecimal
    async with Database(restored.dsn("clonedb_worker")) as back:
        assert await back.users.find_by_id(ada.id) is not None
        assert await reapply(back) == await reapply(back, dry_run=True)
        done = await reapply(back, copy)
        assert (done.imported, done.present, done.erased) == (1, 1, 1)
        assert await back.users.find_by_id(ada.id) is None
        assert await back.users.find_by_id(grace.id) is not None
        again = await erase_user(back, ada.id)
        assert again.outcome == "already_erased"
        assert (again.id, again.digest) == (receipt.id, receipt.digest)
        assert again.reapplied_at is not None
        assert again.closed_at is not None
        with as_superuser(restored) as connection:
            assert where(connection, str(ada.id), "ada@example.com") == []
        done = await reapply(back, copy)
        assert (done.imported, done.present, done.erased) == (0, 0, 0)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda line: line.replace('"users":1', '"users":2'), "not as it was written"),
        (lambda line: line[:-10], "line 2"),
        (lambda line: '{"id": 1}', "line 2"),
        (lambda line: line.replace('"user_digest":"', '"user_digest":"z'), "line 2"),
    ],
)
async def test_a_copy_that_was_changed_is_refused_and_changes_nothing(
    worker: Database, migrated: IsolatedDatabase, tmp_path: Path, change: object, says: str
) -> None:
    for name in ("a", "b"):
        user = await worker.users.create(NewUser(email=f"{name}@example.com"))
        await erase_user(worker, user.id)
    copy = tmp_path / "ledger.jsonl"
    await write_ledger(worker, copy)
    first, second = copy.read_text().splitlines()
    copy.write_text(f"{first}\n{change(second)}\n")  # type: ignore[operator]
    with as_superuser(migrated) as connection:
        connection.execute("DELETE FROM clonedb.erasures")
    before = stored(migrated)
    with pytest.raises(InvalidInput, match=says):
        await reapply(worker, copy)
    assert stored(migrated) == before


async def test_a_copy_is_whole_in_the_place_of_the_one_before(
    worker: Database, ada: User, tmp_path: Path
) -> None:
    copy = tmp_path / "ledger.jsonl"
    assert await write_ledger(worker, copy) == 0
    assert copy.read_bytes() == b""
    receipt = await erase_user(worker, ada.id)
    assert await write_ledger(worker, copy) == 1
    entry = msgspec.json.decode(copy.read_bytes())
    assert entry["id"] == str(receipt.id)
    assert entry["digest"] == receipt.digest.hex()
    assert names(tmp_path) == ["ledger.jsonl"]
