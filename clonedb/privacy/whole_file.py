"""A file that appears when all of it is written, or not at all."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4

from clonedb.objects.threads import in_thread


@asynccontextmanager
async def whole_file(target: Path) -> AsyncIterator[BinaryIO]:
    """A binary file to write, under the target's name once the block has ended well.

    Until then it has a name beside it that begins with a dot and ends with `.part`. Nobody but its
    owner may read it. Raises OSError, with a full disk too; then, and whenever the block raises,
    the target is as it was and nothing lies beside it.
    """
    part = target.with_name(f".{uuid4().hex}.part")
    file = await in_thread(_create, part)
    try:
        try:
            yield file
            await in_thread(_finish, file)
        finally:
            await in_thread(file.close)
        await in_thread(_publish, part, target)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def _create(part: Path) -> BinaryIO:
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    return os.fdopen(descriptor, "wb")


def _finish(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def _publish(part: Path, target: Path) -> None:
    part.replace(target)
    descriptor = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
