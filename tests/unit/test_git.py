"""Archives of git become files below one folder, and nothing else."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from clonedb import InvalidInput
from clonedb.git import extract


def archive(*members: tuple[str, bytes], link: str | None = None) -> bytes:
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w") as tar:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
        if link is not None:
            member = tarfile.TarInfo(link)
            member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
            tar.addfile(member)
    return written.getvalue()


def test_files_are_put_below_the_folder_and_links_are_left_out(tmp_path: Path) -> None:
    extract(archive(("sql/users.sql", b"SELECT 1"), ("empty", b""), link="sql/link"), tmp_path)
    found = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert found == {"sql/users.sql", "empty"}
    assert (tmp_path / "sql/users.sql").read_bytes() == b"SELECT 1"


@pytest.mark.parametrize("name", ["../outside", "sql/../../outside", "/outside"])
def test_a_file_that_would_lie_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    inner = tmp_path / "inner"
    with pytest.raises(InvalidInput, match="outside of it"):
        extract(archive((name, b"")), inner)
    assert [*tmp_path.rglob("*")] == []
