"""What the tests of large objects share: sources, and what lies in a store's folder."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

from ground import as_superuser

from clonedb.testing import IsolatedDatabase

MIB = 1024 * 1024
LARGE = 100 * MIB

# Longer than any upload may take.
TOMORROW = timedelta(hours=25)


def piece(number: int) -> bytes:
    """A mebibyte that no other number has."""
    return sha256(str(number).encode()).digest() * (MIB // 32)


async def pieces(size: int, *, first: int = 0) -> AsyncIterator[bytes]:
    for number in range(first, first + size // MIB):
        yield piece(number)


def whole(size: int, *, first: int = 0) -> bytes:
    return b"".join(piece(number) for number in range(first, first + size // MIB))


def files(folder: Path) -> dict[str, int]:
    """Every file below the folder, and its size."""
    return {
        str(path.relative_to(folder)): path.stat().st_size
        for path in folder.rglob("*")
        if path.is_file()
    }


def names(folder: Path) -> list[str]:
    """What lies in the folder itself."""
    return sorted(path.name for path in folder.iterdir())


def tomorrow() -> datetime:
    return datetime.now(UTC) + TOMORROW


def rows(database: IsolatedDatabase, query: str) -> list[tuple[Any, ...]]:
    with as_superuser(database) as connection:
        return connection.execute(query.encode()).fetchall()


def keys(database: IsolatedDatabase, table: str) -> list[str]:
    return [key for (key,) in rows(database, f"SELECT object_key FROM clonedb.{table} ORDER BY 1")]


async def started(script: str, *arguments: object) -> asyncio.subprocess.Process:
    """A process of tests/objects that has said that it is where it is wanted."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(Path(__file__).parent / "objects" / script),
        *map(str, arguments),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    async with asyncio.timeout(60):
        assert await process.stdout.readline() == b"ready\n"
    return process


async def killed(process: asyncio.subprocess.Process) -> None:
    process.kill()
    assert await process.wait() == -9


async def ended(process: asyncio.subprocess.Process) -> bytes:
    """What a process that is let go on has printed by its end."""
    async with asyncio.timeout(120):
        output, _ = await process.communicate(b"go\n")
    assert process.returncode == 0
    return output
