"""What is declared in TOML is read whole or refused, with the place of what is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from clonedb.check.declarations import (
    CACHES,
    SIZES,
    CacheSources,
    DeclaredSizes,
    read_declared,
)
from clonedb.errors import InvalidInput
from clonedb.resources import sql_directory


def test_the_files_of_the_repository_are_read() -> None:
    folder = sql_directory() / "check"
    assert read_declared(folder / SIZES, DeclaredSizes).rows["users"] > 0
    assert read_declared(folder / CACHES, CacheSources)["voice_models"].caches == ["audio_chunk"]


@pytest.mark.parametrize(
    ("content", "kind", "complaint"),
    [
        (b"[rows]\nusers = many\n", DeclaredSizes, r"line 2"),
        (b"[rows]\nusers = -1\n", DeclaredSizes, r"rows"),
        (b"rows = 5\n", DeclaredSizes, r"rows"),
        (b"[row]\nusers = 5\n", DeclaredSizes, r"`row`"),
        (b"[nulls]\nname = 1.5\n", DeclaredSizes, r"nulls"),
        (b"[distinct]\nname = 0\n", DeclaredSizes, r"distinct"),
        (b"[values]\nname = 0.5\n", DeclaredSizes, r"values"),
        (b"# Zo\xeb\n", DeclaredSizes, r"utf-8"),
        (b"x = " + b"[" * 5_000, DeclaredSizes, r"nested"),
        (b"[users]\ncolumns = ['name']\n", CacheSources, r"caches"),
        (b"[users]\ncolumns = 'name'\ncaches = []\n", CacheSources, r"columns"),
    ],
)
def test_a_file_that_is_wrong_is_refused_by_name(
    tmp_path: Path, content: bytes, kind: Any, complaint: str
) -> None:
    file = tmp_path / "declared.toml"
    file.write_bytes(content)
    with pytest.raises(InvalidInput, match=rf"declared\.toml: .*{complaint}"):
        read_declared(file, kind)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"none\.toml: No such file"):
        read_declared(tmp_path / "none.toml", DeclaredSizes)
