"""Bytes that are not what was stored are never taken for it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from storing import MIB, files, names, pieces, whole

from clonedb import ObjectDamaged, ObjectStore, StoredObjects, UserScope

SIZE = 20 * MIB


def flipped(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(SIZE // 2)
        (byte,) = file.read(1)
        file.seek(SIZE // 2)
        file.write(bytes([byte ^ 1]))


def truncated(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(SIZE // 2)


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def lengthened(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"!")


def another(path: Path) -> None:
    path.write_bytes(whole(SIZE, first=1))


def missing(path: Path) -> None:
    path.unlink()


@pytest.mark.parametrize(
    "damage", [flipped, truncated, emptied, lengthened, another, missing], ids=lambda f: f.__name__
)
async def test_a_damaged_object_is_refused_and_never_whole(
    objects: StoredObjects, folder: Path, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    stored = await objects.put("voice_model", "v", pieces(SIZE))
    damage(folder / stored.object_key)
    target = tmp_path / "target"
    target.write_bytes(b"of before")
    with pytest.raises(ObjectDamaged, match=str(stored.id)) as refused:
        await objects.read("voice_model", "v")
    assert stored.object_key in str(refused.value)
    with pytest.raises(ObjectDamaged):
        await objects.download("voice_model", "v", target)
    assert target.read_bytes() == b"of before"
    assert names(tmp_path) == ["objects", "target"]

    received = 0
    with pytest.raises(ObjectDamaged):
        async with objects.open("voice_model", "v") as reader:
            async for piece in reader:
                received += len(piece)
    # Whoever counts can't take it for whole either: the last piece is held back.
    assert received < SIZE
    # It can be stored again.
    await objects.put("voice_model", "v", pieces(SIZE))
    assert await objects.read("voice_model", "v") == whole(SIZE)


async def test_an_object_that_is_not_the_rows_is_refused(
    objects: StoredObjects, folder: Path
) -> None:
    one = await objects.put("document", "one", b"same length")
    other = await objects.put("document", "other", b"other bytes")
    (folder / one.object_key).write_bytes((folder / other.object_key).read_bytes())
    with pytest.raises(ObjectDamaged):
        await objects.read("document", "one")


async def test_another_stores_folder_has_nothing_of_it(
    objects: StoredObjects, as_ada: UserScope, tmp_path: Path
) -> None:
    await objects.put("document", "a", b"a")
    (tmp_path / "elsewhere").mkdir()
    elsewhere = ObjectStore(tmp_path / "elsewhere").of(as_ada)
    with pytest.raises(ObjectDamaged, match="missing"):
        await elsewhere.read("document", "a")
    assert len(files(tmp_path / "objects")) == 1
