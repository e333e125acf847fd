"""A zip file that is written as its contents come, in constant memory."""

from __future__ import annotations

import time
import zipfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import IO

from clonedb.objects.threads import in_thread
from clonedb.privacy.whole_file import whole_file


class Archive:
    """What `archive` gives: `member` for each file, one after another."""

    __slots__ = ("_zip",)

    def __init__(self, opened: zipfile.ZipFile) -> None:
        self._zip = opened

    @asynccontextmanager
    async def member(self, name: str) -> AsyncIterator[Member]:
        """A file of the archive, to be written within the block."""
        information = zipfile.ZipInfo(name, date_time=time.localtime()[:6])
        information.compress_type = zipfile.ZIP_DEFLATED
        information.external_attr = 0o600 << 16
        # Its size is not known before, and may need 64 bits.
        entry = await in_thread(lambda: self._zip.open(information, "w", force_zip64=True))
        try:
            yield Member(entry)
        finally:
            await in_thread(entry.close)


class Member:
    """A file of the archive that is being written."""

    __slots__ = ("_entry",)

    def __init__(self, entry: IO[bytes]) -> None:
        self._entry = entry

    async def write(self, piece: bytes) -> None:
        """Compresses beside the event loop."""
        await in_thread(self._entry.write, piece)


@asynccontextmanager
async def archive(target: Path) -> AsyncIterator[Archive]:
    """A zip file, in the place of the target when all of it is written; see `whole_file`."""
    async with whole_file(target) as file:
        opened = zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED)
        try:
            yield Archive(opened)
        except BaseException:
            # It would write its directory when it is collected, into a file that is gone.
            with suppress(OSError, ValueError):
                opened.close()
            raise
        await in_thread(opened.close)
