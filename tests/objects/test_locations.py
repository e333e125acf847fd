"""Where a store may lie, and that nobody sees by what right."""

from __future__ import annotations

import shutil
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from storing import files, tomorrow

from clonedb import (
    Database,
    InvalidInput,
    ObjectStore,
    ObjectStoreUnavailable,
    UserScope,
    WorkedOff,
)

SECRET = "secret-of-the-bucket"


async def test_a_folder_is_named_in_several_ways(
    as_ada: UserScope, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "a folder"
    await ObjectStore(folder).of(as_ada).put("document", "a", b"a")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CLONEDB_OBJECT_STORE", str(folder))
    for location in (str(folder), folder.as_uri(), "a folder", None):
        store = ObjectStore(location)
        assert await store.of(as_ada).read("document", "a") == b"a"
        assert repr(store) == f"<ObjectStore {folder}>"


def test_without_any_setting_it_is_a_folder_of_the_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CLONEDB_OBJECT_STORE", raising=False)
    monkeypatch.setattr("clonedb.embedded.default_data_directory", lambda: tmp_path / "clonedb")
    assert repr(ObjectStore()) == f"<ObjectStore {tmp_path / 'clonedb-objects'}>"


async def test_a_folder_that_is_there_keeps_its_permissions(
    tmp_path: Path, as_ada: UserScope
) -> None:
    folder = tmp_path / "shared with a group"
    folder.mkdir(mode=0o770)
    before = folder.stat().st_mode
    await ObjectStore(folder).of(as_ada).put("document", "a", b"a")
    assert folder.stat().st_mode == before


async def test_a_folder_that_has_vanished_is_made_again_closed_to_others(
    tmp_path: Path, as_ada: UserScope
) -> None:
    folder = tmp_path / "objects"
    objects = ObjectStore(folder).of(as_ada)
    for _ in range(2):
        await objects.put("document", "a", b"a")
        assert folder.stat().st_mode & 0o777 == 0o700
        shutil.rmtree(folder)


async def test_in_a_folder_that_is_not_there_nothing_counts_as_gone(
    tmp_path: Path, as_ada: UserScope, worker: Database
) -> None:
    """Who erases someone with a mistyped name must not be told that their files are deleted."""
    right, mistyped = tmp_path / "objects", tmp_path / "obejcts"
    store, wrong = ObjectStore(right), ObjectStore(mistyped)
    assert not right.exists()
    await store.of(as_ada).put("document", "a", b"a")
    assert right.stat().st_mode & 0o777 == 0o700
    with pytest.raises(ObjectStoreUnavailable, match="there is no folder"):
        await wrong.of(as_ada).read("document", "a")
    assert await store.of(as_ada).delete("document", "a")
    assert await wrong.work_off(worker, now=tomorrow()) == WorkedOff(1, 0, 1)
    assert not mistyped.exists()
    assert len(files(right)) == 1
    later = tomorrow() + timedelta(hours=1)
    assert await store.work_off(worker, now=later) == WorkedOff(1, 1, 0)
    assert files(right) == {}


@pytest.mark.parametrize(
    "location",
    [
        "",
        "http://example.com/x",
        "memory://",
        "az://container/x",
        "s3://",
        "gs:///path",
        "file://",
        "file:///",
        "file://elsewhere/srv",
        f"s3://key:{SECRET}@bucket/x",
        f"s3://bucket/x?secret={SECRET}",
        f"s3://[{SECRET}",
        5,
        b"/srv",
    ],
)
def test_a_location_that_is_none_is_refused_without_quoting_it(location: Any) -> None:
    with pytest.raises(InvalidInput) as refused:
        ObjectStore(location)
    assert SECRET not in str(refused.value)


@pytest.mark.parametrize(
    ("location", "options"),
    [
        ("s3://bucket/x", {"no_such_option": SECRET}),
        ("s3://bucket/x", {"secret_access_key": SECRET, "client_options": {"timeout": SECRET}}),
        ("gs://bucket/x", {"service_account_key": SECRET}),
        ("/tmp/x", {"secret_access_key": SECRET}),  # noqa: S108 - nothing is made there
    ],
)
def test_an_option_that_is_none_is_refused_without_its_value(
    location: str, options: dict[str, Any]
) -> None:
    with pytest.raises(InvalidInput) as refused:
        ObjectStore(location, **options)
    shown = str(refused.value) + repr(refused.value.__cause__)
    assert SECRET not in shown


def test_options_are_never_shown() -> None:
    store = ObjectStore("s3://bucket/x", access_key_id="somebody", secret_access_key=SECRET)
    assert repr(store) == "<ObjectStore s3://bucket/x>"


WITHOUT = """
import sys
sys.modules["obstore"] = None
import clonedb
try:
    clonedb.ObjectStore(sys.argv[1])
except clonedb.ObjectStoreUnavailable as error:
    print(error)
"""


def test_without_the_extra_the_error_names_it(tmp_path: Path) -> None:
    finished = subprocess.run(
        [sys.executable, "-c", WITHOUT, tmp_path / "x"], capture_output=True, text=True, timeout=60
    )
    assert finished.stderr == ""
    assert "pip install 'clonedb[objects]'" in finished.stdout
    assert not (tmp_path / "x").exists()


def test_importing_clonedb_does_not_import_obstore() -> None:
    program = "import sys, clonedb; print([m for m in sys.modules if m.startswith('obstore')])"
    finished = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60
    )
    assert finished.stdout == "[]\n"
    assert ObjectStoreUnavailable.__mro__[1].__name__ == "Unavailable"
