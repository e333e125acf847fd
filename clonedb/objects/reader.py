"""Reading an object, so that nobody takes for whole what is not."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import uuid4

from clonedb.errors import ObjectDamaged
from clonedb.objects.description import StoredObject
from clonedb.objects.threads import in_thread


class ObjectReader:
    """An object's bytes, as an async iterator of pieces of about 1 MiB, to be read once.

    The last piece comes when all were found to be what was stored: whoever has `stored.size_bytes`
    bytes has the object. Raises ObjectDamaged instead of it.
    """

    __slots__ = ("_pieces", "stored")

    def __init__(self, stored: StoredObject, pieces: AsyncGenerator[bytes, None]) -> None:
        self.stored = stored
        self._pieces = pieces

    def __aiter__(self) -> AsyncGenerator[bytes, None]:
        return self._pieces


async def verified(
    stored: StoredObject, pieces: AsyncGenerator[bytes, None]
) -> AsyncGenerator[bytes, None]:
    digest, size, held = sha256(), 0, b""
    async for piece in pieces:
        size += len(piece)
        if size > stored.size_bytes:
            break
        await in_thread(digest.update, piece)
        if held:
            yield held
        held = piece
    if size != stored.size_bytes or digest.digest() != stored.sha256:
        raise damaged(stored, "is not what was stored")
    if held:
        yield held


def damaged(stored: StoredObject, what: str) -> ObjectDamaged:
    return ObjectDamaged(
        f"{stored.kind} {stored.id}, {stored.size_bytes:,} bytes at {stored.object_key}, {what}",
        remedy="bring the object back from a backup of the store, or store it again",
    )


async def write_file(reader: ObjectReader, target: Path) -> None:
    """The object under a name beside the target's, and then under the target's."""
    part = target.with_name(f".{uuid4().hex}.part")
    file = await in_thread(part.open, "xb")
    try:
        try:
            async for piece in reader:
                await in_thread(file.write, piece)
            await in_thread(_finish, file)
        finally:
            await in_thread(file.close)
        await in_thread(_publish, part, target)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def _finish(file: Any) -> None:
    file.flush()
    os.fsync(file.fileno())


def _publish(part: Path, target: Path) -> None:
    part.replace(target)
    descriptor = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
