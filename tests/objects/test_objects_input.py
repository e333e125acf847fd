"""Bad input: a typed error that names the argument, nothing stored and nothing uploaded."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from ground import nothing_stored
from storing import files

from clonedb import InvalidInput, ObjectStore, StoredObjectFilter, StoredObjects, UserScope
from clonedb.testing import IsolatedDatabase

NOT_KINDS = ("photo", "", "VOICE_MODEL", "voice_model ", 5, None, b"document")
NOT_NAMES = (
    "",
    ".",
    "..",
    "../secret",
    "a/b",
    "/etc/passwd",
    "a\\b",
    "nul\0here",
    "line\nbreak",
    "at the end\n",
    "tab\t",
    "\x7f",
    "lone \ud800 surrogate",
    "x" * 201,
    5,
    None,
    b"bytes",
)
NOT_CONTENT_TYPES = (
    "",
    "text",
    "text/",
    "/plain",
    "text/pl\nain",
    "text/plain\r\nX: y",
    "text/plain\n",
    "ü/x",
    5,
)
NOT_METADATA = ([], "text", 5, {1: 2}, {"a": float("nan")}, {"a": b"bytes"}, {"a": "x" * 70_000})
NOT_LIMITS = (-1, 0, 501, 1.5, True, "10", None)


async def wrong_pieces() -> AsyncIterator[Any]:
    yield b"bytes"
    yield "text"


NOT_SOURCES = ("a path as text", 5, None, [b"list"], io.StringIO("text"), wrong_pieces)


@pytest.mark.parametrize("name", NOT_NAMES, ids=repr)
async def test_a_name_that_is_none_is_refused(
    objects: StoredObjects, folder: Path, tmp_path: Path, migrated: IsolatedDatabase, name: Any
) -> None:
    upload = await objects.upload(b"a")
    with nothing_stored(migrated):
        for refused in (
            objects.put("document", name, b"a"),
            objects.keep("document", name, upload),
            objects.find("document", name),
            objects.exists("document", name),
            objects.read("document", name),
            objects.download("document", name, tmp_path / "copy"),
            objects.delete("document", name),
        ):
            with pytest.raises(InvalidInput, match="name"):
                await refused
    assert files(folder).keys() == {upload.object_key}
    # It is not lost: under a good name it is kept.
    assert (await objects.keep("document", "good", upload)).size_bytes == 1


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("kind", value) for value in NOT_KINDS),
        *(("content_type", value) for value in NOT_CONTENT_TYPES),
        *(("metadata", value) for value in NOT_METADATA),
        *(("source", value) for value in NOT_SOURCES),
    ],
    ids=lambda value: repr(value)[:20],
)
async def test_what_is_refused_is_not_stored(
    objects: StoredObjects, folder: Path, migrated: IsolatedDatabase, field: str, value: Any
) -> None:
    given = {"kind": "document", "name": "a", "source": b"new", field: value}
    if value is wrong_pieces:
        given["source"] = wrong_pieces()
    await objects.put("document", "a", b"before")
    before = files(folder)
    with pytest.raises(InvalidInput) as refused:
        await objects.put(**given)
    if field != "source":
        assert field in str(refused.value)
    assert await objects.read("document", "a") == b"before"
    assert await objects.count() == 1
    # What was sent before it was found to be wrong is undone.
    assert files(folder) == before


@pytest.mark.parametrize("limit", NOT_LIMITS)
async def test_a_limit_that_is_none_is_refused(objects: StoredObjects, limit: Any) -> None:
    with pytest.raises(InvalidInput):
        await objects.find_many(limit=limit)


async def test_other_arguments_that_are_refused(
    objects: StoredObjects, store: ObjectStore, as_ada: UserScope, folder: Path
) -> None:
    await objects.put("document", "a", b"12345")
    for refused in (
        objects.find_many(order="best"),
        objects.find_many(cursor="???"),
        objects.find_many(StoredObjectFilter(kind="photo")),  # type: ignore[arg-type]
        objects.read("document", "a", maximum_bytes=-1),
        objects.read("document", "a", maximum_bytes=4),
        objects.keep("document", "b", "a key"),  # type: ignore[arg-type]
    ):
        with pytest.raises(InvalidInput):
            await refused
    assert await objects.read("document", "a", maximum_bytes=5) == b"12345"
    async with as_ada.transaction() as tx:
        with pytest.raises(InvalidInput, match="transaction"):
            await store.of(tx).put("document", "b", b"b")
    assert len(files(folder)) == 1
