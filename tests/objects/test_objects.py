"""Objects are stored, replaced, read, listed and deleted, whatever they come from."""

from __future__ import annotations

import io
import stat
from collections.abc import AsyncIterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from storing import LARGE, MIB, files, keys, names, piece, pieces, rows, tomorrow, whole

from clonedb import (
    Database,
    NotFound,
    ObjectStore,
    StoredObjectFilter,
    StoredObjects,
    User,
    UserScope,
    WorkedOff,
    new_id,
)
from clonedb.testing import IsolatedDatabase

# Around the limits of a piece and of what is stored in one request.
SIZES = [0, 1, MIB - 1, MIB, MIB + 1, 8 * MIB, 8 * MIB + 1, 17 * MIB + 5]


def content(size: int) -> bytes:
    return whole(size + MIB)[:size]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("source", ["bytes", "memoryview", "path", "file", "iterator"])
async def test_what_is_stored_is_read_back(
    objects: StoredObjects, tmp_path: Path, size: int, source: str
) -> None:
    stored_bytes = content(size)
    path = tmp_path / "source"
    path.write_bytes(stored_bytes)

    async def iterator() -> AsyncIterator[bytes]:
        for at in range(0, size, 700_001):
            yield stored_bytes[at : at + 700_001]

    given: dict[str, Any] = {
        "bytes": stored_bytes,
        "memoryview": memoryview(bytearray(stored_bytes)),
        "path": path,
        "file": io.BytesIO(stored_bytes),
        "iterator": iterator(),
    }
    stored = await objects.put(
        "document", "a b.txt", given[source], content_type="text/plain", metadata={"pages": 3}
    )
    assert (stored.size_bytes, stored.sha256) == (size, sha256(stored_bytes).digest())
    assert await objects.find("document", "a b.txt") == stored
    assert await objects.read("document", "a b.txt") == stored_bytes
    assert (stored.content_type, stored.metadata) == ("text/plain", {"pages": 3})
    target = tmp_path / "copy"
    target.write_bytes(b"of before")
    assert await objects.download("document", "a b.txt", target) == stored
    assert target.read_bytes() == stored_bytes
    assert names(tmp_path) == ["copy", "objects", "source"]


@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(parts=st.lists(st.binary(max_size=300_000), max_size=8))
async def test_any_pieces_are_one_object(objects: StoredObjects, parts: list[bytes]) -> None:
    async def source() -> AsyncIterator[bytes]:
        for part in parts:
            yield part

    await objects.put("face_model", "any", source())
    assert await objects.read("face_model", "any") == b"".join(parts)


async def test_replacing_keeps_the_id_and_puts_the_former_key_into_the_outbox(
    objects: StoredObjects,
    store: ObjectStore,
    worker: Database,
    folder: Path,
    migrated: IsolatedDatabase,
) -> None:
    first = await objects.put("voice_model", "v", b"first", metadata={"a": 1})
    second = await objects.put("voice_model", "v", b"second")
    assert (second.id, second.created_at) == (first.id, first.created_at)
    assert second.updated_at > first.updated_at
    assert second.metadata == {}
    assert keys(migrated, "object_deletions") == [first.object_key]
    assert files(folder).keys() == {first.object_key, second.object_key}
    assert await store.work_off(worker) == WorkedOff(1, 1, 0)
    assert files(folder).keys() == {second.object_key}
    assert await objects.read("voice_model", "v") == b"second"


async def test_kinds_and_names_tell_objects_apart(objects: StoredObjects) -> None:
    name = new_id()
    await objects.put("voice_model", name, b"voice")
    await objects.put("face_model", name, b"face")
    await objects.put("face_model", "other", b"other")
    assert await objects.read("voice_model", str(name)) == b"voice"
    assert await objects.read("face_model", name) == b"face"
    assert await objects.exists("face_model", "other") is True
    assert await objects.exists("voice_model", "other") is False
    assert await objects.count() == 3
    faces = StoredObjectFilter(kind="face_model")
    assert await objects.count(faces) == 2
    page = await objects.find_many(faces, with_total=True, limit=1)
    assert (page.total, [each.name for each in page.items]) == (2, ["other"])
    page = await objects.find_many(faces, cursor=page.next)
    assert [each.name for each in page.items] == [str(name)]
    oldest = await objects.find_many(order="oldest")
    assert [each.kind for each in oldest.items] == ["voice_model", "face_model", "face_model"]


async def test_what_does_not_exist_is_said_to(objects: StoredObjects, tmp_path: Path) -> None:
    assert await objects.find("document", "none") is None
    assert await objects.exists("document", "none") is False
    assert await objects.delete("document", "none") is False
    for call in (
        objects.get("document", "none"),
        objects.read("document", "none"),
        objects.download("document", "none", tmp_path / "none"),
    ):
        with pytest.raises(NotFound, match="none"):
            await call
    assert names(tmp_path) == []


async def test_deleting_hides_at_once_and_empties_the_store_afterwards(
    objects: StoredObjects, store: ObjectStore, worker: Database, folder: Path
) -> None:
    stored = await objects.put("document", "a", b"a")
    assert await objects.delete("document", "a") is True
    assert await objects.find("document", "a") is None
    assert files(folder) == {stored.object_key: 1}
    assert await store.work_off(worker) == WorkedOff(1, 1, 0)
    assert files(folder) == {}


async def test_a_reader_has_the_version_that_it_opened_though_it_is_replaced_and_deleted(
    objects: StoredObjects, store: ObjectStore, worker: Database
) -> None:
    await objects.put("voice_model", "v", pieces(20 * MIB))
    async with objects.open("voice_model", "v") as reader:
        await objects.put("voice_model", "v", b"new")
        assert (await store.work_off(worker)).deleted == 1
        assert reader.stored.size_bytes == 20 * MIB
        assert b"".join([each async for each in reader]) == whole(20 * MIB)
    assert await objects.read("voice_model", "v") == b"new"


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="Linux tells which are open")
async def test_a_reader_that_stops_early_holds_nothing_open(objects: StoredObjects) -> None:
    await objects.put("voice_model", "v", pieces(20 * MIB))
    open_before = open_files()
    async with objects.open("voice_model", "v") as reader:
        async for first in reader:
            assert first == piece(0)
            break
    assert open_files() <= open_before


async def test_a_file_is_read_from_where_it_is_and_stays_open(objects: StoredObjects) -> None:
    file = io.BytesIO(b"headbody")
    file.seek(4)
    await objects.put("document", "body", file)
    assert await objects.read("document", "body") == b"body"
    assert not file.closed


async def test_what_everybody_may_read_is_written_by_the_worker_alone(
    shared: StoredObjects, store: ObjectStore, app: Database, as_ada: UserScope
) -> None:
    await shared.put("voice_model", "base", b"base")
    assert await store.of(app).read("voice_model", "base") == b"base"
    assert await shared.count() == 1
    # A user's scope has that user's own alone.
    assert await store.of(as_ada).find("voice_model", "base") is None


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


async def test_keys_say_nothing_and_the_folder_is_closed_to_others(
    objects: StoredObjects, ada: User, folder: Path
) -> None:
    stored = await objects.put("document", "Ada's diary.txt", b"secret")
    (name,) = files(folder)
    assert name == stored.object_key
    assert not {str(ada.id), ada.id.hex} & set(name.split("/"))
    assert "Ada" not in name
    assert mode(folder) == 0o700


async def test_an_upload_is_kept_with_the_transaction_or_not_at_all(
    objects: StoredObjects,
    store: ObjectStore,
    worker: Database,
    as_ada: UserScope,
    folder: Path,
    migrated: IsolatedDatabase,
) -> None:
    first = await objects.put("voice_model", "v", b"first")
    upload = await objects.upload(b"second")
    with pytest.raises(ZeroDivisionError):
        async with as_ada.transaction() as tx:
            await store.of(tx).keep("voice_model", "v", upload)
            assert await store.of(tx).read("voice_model", "v") == b"second"
            raise ZeroDivisionError
    assert await objects.read("voice_model", "v") == b"first"
    assert keys(migrated, "object_deletions") == []
    assert keys(migrated, "object_uploads") == [upload.object_key]

    async with as_ada.transaction() as tx:
        kept = await store.of(tx).keep("voice_model", "v", upload)
    assert kept.object_key == upload.object_key
    assert await objects.read("voice_model", "v") == b"second"
    assert keys(migrated, "object_deletions") == [first.object_key]
    assert keys(migrated, "object_uploads") == []
    assert (await store.work_off(worker, now=tomorrow())).deleted == 1
    assert files(folder).keys() == {upload.object_key}


async def test_a_deletion_that_is_rolled_back_deletes_nothing(
    objects: StoredObjects, store: ObjectStore, worker: Database, as_ada: UserScope
) -> None:
    await objects.put("document", "a", b"a")
    with pytest.raises(ZeroDivisionError):
        async with as_ada.transaction() as tx:
            assert await store.of(tx).delete("document", "a") is True
            raise ZeroDivisionError
    assert (await store.work_off(worker, now=tomorrow())).claimed == 0
    assert await objects.read("document", "a") == b"a"


async def test_an_upload_is_kept_once(objects: StoredObjects, migrated: IsolatedDatabase) -> None:
    upload = await objects.upload(b"once")
    await objects.keep("document", "a", upload)
    with pytest.raises(NotFound, match="upload"):
        await objects.keep("document", "b", upload)
    assert await objects.read("document", "a") == b"once"
    assert keys(migrated, "object_deletions") == []


async def test_a_large_object_is_what_it_was(objects: StoredObjects, tmp_path: Path) -> None:
    await objects.put("voice_model", "large", pieces(LARGE))
    await objects.download("voice_model", "large", tmp_path / "large")
    number = 0
    with (tmp_path / "large").open("rb") as file:
        while read := file.read(MIB):
            assert read == piece(number)
            number += 1
    assert number == LARGE // MIB


async def test_a_deleted_users_objects_are_hidden_until_they_are_restored(
    store: ObjectStore, worker: Database, app: Database, ada: User, migrated: IsolatedDatabase
) -> None:
    for database in (app, worker):
        await store.of(database.as_user(ada.id)).put("document", "a", b"a")
    await worker.users.delete(ada.id)
    before = rows(migrated, "SELECT * FROM clonedb.stored_objects")
    for database in (app, worker):
        hidden = store.of(database.as_user(ada.id))
        assert await hidden.find("document", "a") is None
        assert await hidden.exists("document", "a") is False
        assert await hidden.count() == 0
        assert (await hidden.find_many(with_total=True)).items == []
        for refused in (hidden.read("document", "a"), hidden.put("document", "b", b"b")):
            with pytest.raises(NotFound):
                await refused
    assert rows(migrated, "SELECT * FROM clonedb.stored_objects") == before
    assert keys(migrated, "object_uploads") == []
    await worker.users.restore(ada.id)
    assert await store.of(app.as_user(ada.id)).read("document", "a") == b"a"
