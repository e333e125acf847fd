"""What a run has found, kept for as long as nothing that it looked at has changed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from clonedb.check.finding import Finding

_KEPT: Final = 20
_Result = TypeVar("_Result", bound=msgspec.Struct)


class Remembered(msgspec.Struct, frozen=True):
    """The result of a whole run; `written` is a digest of the files that it made."""

    findings: list[Finding]
    written: str
    queries: int
    variants: int
    migrations: int = 0


def key_of(scratch: str, folders: Iterable[Path]) -> str:
    """A digest of the scratch server's own and of every .sql, .toml and .py file below folders."""
    hashed = hashlib.sha256(scratch.encode())
    for folder in folders:
        for file in sorted(folder.rglob("*")):
            if file.suffix in (".sql", ".py", ".toml") and "__pycache__" not in file.parts:
                hashed.update(str(file.relative_to(folder)).encode() + b"\0")
                hashed.update(file.read_bytes() + b"\0")
    return hashed.hexdigest()[:32]


def digest_of(files: Mapping[str, str]) -> str:
    """A digest of generated files."""
    hashed = hashlib.sha256()
    for name in sorted(files):
        hashed.update(name.encode() + b"\0" + files[name].encode() + b"\0")
    return hashed.hexdigest()


def recall(cache: Path, key: str, kind: type[_Result]) -> _Result | None:
    """What was found under the key, if anything is remembered."""
    with suppress(OSError, msgspec.DecodeError):
        return msgspec.json.decode((cache / "results" / key).read_bytes(), type=kind)
    return None


def remember(cache: Path, key: str, result: msgspec.Struct) -> None:
    """Keep a result; a cache that cannot be written costs time and nothing else."""
    folder = cache / "results"
    with suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / key).write_bytes(msgspec.json.encode(result))
        files = sorted(folder.iterdir(), key=lambda file: file.stat().st_mtime, reverse=True)
        for file in files[_KEPT:]:
            file.unlink()
