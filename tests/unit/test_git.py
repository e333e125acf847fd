"""The files of a tree of git are put below one folder, as they are stored, and nothing else."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from clonedb import InvalidInput
from clonedb.git import extract


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "repository"
    folder.mkdir()
    said(folder, "init", "-q")
    return folder


def said(folder: Path, *arguments: str, to: bytes = b"") -> str:
    done = subprocess.run(
        ["git", "-C", str(folder), *arguments], input=to, capture_output=True, check=True
    )
    return done.stdout.decode().strip()


def tree(folder: Path, files: dict[str, bytes]) -> str:
    """A tree of files in the working tree and the index."""
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    said(folder, "add", "-A")
    return said(folder, "write-tree")


def files(folder: Path) -> dict[str, bytes]:
    found = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


def test_files_are_as_they_are_stored_whatever_the_attributes_say(
    repository: Path, tmp_path: Path
) -> None:
    stored = {
        "sql/users.sql": b"SELECT 1\n\nSELECT 2\n",
        "sql/left_out.sql": b"SELECT 3",
        "sql/named.sql": b"-- $Format:%H$\n",
        "sql/empty": b"",
        "sql/two\nlines é": b"\x00\xff",
        ".gitattributes": b"left_out.sql export-ignore\nnamed.sql export-subst\n*.sql eol=crlf\n",
    }
    there = tree(repository, stored)
    assert extract(repository, there, tmp_path / "all")
    assert files(tmp_path / "all") == stored
    assert extract(repository, there, tmp_path / "one", "sql/empty", "sql/named.sql")
    assert files(tmp_path / "one") == {
        name: stored[name] for name in ("sql/empty", "sql/named.sql")
    }


def test_links_and_submodules_are_left_out(repository: Path, tmp_path: Path) -> None:
    (repository / "link").symlink_to("/etc/passwd")
    (repository / "folder").symlink_to("/etc")
    there = tree(repository, {"file": b"1"})
    entries = said(repository, "ls-tree", there) + f"\n160000 commit {'1' * 40}\tmodule\n"
    there = said(repository, "mktree", "--missing", to=entries.encode())
    assert extract(repository, there, tmp_path / "all")
    assert files(tmp_path / "all") == {"file": b"1"}


def test_where_there_is_nothing_it_says_so(repository: Path, tmp_path: Path) -> None:
    there = tree(repository, {"file": b"1"})
    assert not extract(repository, there, tmp_path / "none", "sql")
    assert not (tmp_path / "none").exists()
    with pytest.raises(InvalidInput, match="Not a valid object name"):
        extract(repository, "gone", tmp_path / "none")


def test_a_file_that_would_lie_elsewhere_is_refused(repository: Path, tmp_path: Path) -> None:
    inner = tree(repository, {"outside": b"1"})
    crafted = said(repository, "mktree", to=f"040000 tree {inner}\t..\n".encode())
    with pytest.raises(InvalidInput, match="outside of it"):
        extract(repository, crafted, tmp_path / "one" / "two")
    assert not (tmp_path / "one").exists()


def test_a_file_with_the_name_of_a_folder_is_refused(repository: Path, tmp_path: Path) -> None:
    inner = tree(repository, {"inside": b"1"})
    blob = said(repository, "rev-parse", f"{inner}:inside")
    entries = f"100644 blob {blob}\tsame\n040000 tree {inner}\tsame\n"
    crafted = said(repository, "mktree", to=entries.encode())
    with pytest.raises(InvalidInput, match="cannot be written"):
        extract(repository, crafted, tmp_path / "all")


def test_a_file_that_is_damaged_is_refused(repository: Path, tmp_path: Path) -> None:
    there = tree(repository, {"file": b"1", "other": b"2"})
    digest = said(repository, "rev-parse", f"{there}:file")
    (repository / ".git" / "objects" / digest[:2] / digest[2:]).unlink()
    with pytest.raises(InvalidInput, match="cannot read file"):
        extract(repository, there, tmp_path / "all")
