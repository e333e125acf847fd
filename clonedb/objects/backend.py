"""Bytes under keys: in a local folder, in Google Cloud Storage or in S3, through obstore.

A key is written once, and shows nothing until all of it is there: in a folder the bytes have
another name until they are complete, a bucket takes them as the parts of one upload. What the store
reports becomes a typed error that shows no credentials.
"""

from __future__ import annotations

import asyncio
import errno
import os
import re
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote, urlsplit

from clonedb.errors import ClonedbError, InvalidInput, ObjectStoreFull, ObjectStoreUnavailable
from clonedb.objects.feed import PIECE_BYTES, Feed
from clonedb.objects.threads import in_thread

if TYPE_CHECKING:
    from obstore.store import ObjectStore

# S3 takes parts from 5 MiB on, at most 10,000 of them.
PART_BYTES: Final = 8 * 1024 * 1024

# Of one upload at once: what is in memory of it is these, and one that is being filled.
PARALLEL_PARTS: Final = 4

# How long a cancelled upload waits to be undone in the store, before that is left to its expiry.
UNDO_SECONDS: Final = 10.0

# For a transfer as a whole, and for one that stalls: obstore's own 30 s end any large one.
_PATIENCE: Final = {"connect_timeout": "10s", "read_timeout": "60s", "timeout": "6h"}

_FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_SECRET: Final = re.compile(r"key|secret|token|password|credential|sas|authoriz", re.IGNORECASE)
_LONGEST_REPORT: Final = 300


class Missing(Exception):
    """Nothing lies under the key."""


class Backend:
    """A folder or a bucket; `location` is where, fit to be shown."""

    def __init__(self, location: str, options: Mapping[str, Any]) -> None:
        self.location, self._folder = _located(location)
        self._secrets = sorted(_secrets_of(options), key=len, reverse=True)
        try:
            import obstore
        except ImportError:
            raise ObjectStoreUnavailable(
                "the object store needs obstore", remedy="pip install 'clonedb[objects]'"
            ) from None
        self._obstore = obstore
        # A folder is opened at its first use.
        self._store: Any = self._opened(options) if self._folder is None else None
        if options and self._folder is not None:
            raise InvalidInput(f"a folder takes no options, such as {min(options)}")

    def _opened(self, options: Mapping[str, Any]) -> ObjectStore:
        from obstore.store import from_url

        patient = {**_PATIENCE, **options.get("client_options", {})}
        with self._reported(InvalidInput):
            return from_url(self.location, **{**options, "client_options": patient})  # pyright: ignore[reportCallIssue, reportArgumentType]

    def _reached(self, *, to_write: bool = False) -> Any:
        """The store. Only who writes makes a folder: in a mistyped one all objects seem gone."""
        folder, store = self._folder, self._store
        is_missing = folder is not None and not folder.is_dir()
        if is_missing and not to_write:
            raise ObjectStoreUnavailable(
                f"there is no folder {folder}",
                remedy="name the one that objects were written to; the first write makes it",
            )
        if folder is not None and (store is None or is_missing):
            from obstore.store import LocalStore

            with self._reported():
                # What lies in it is intimate: nobody else may enter.
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                store = self._store = LocalStore(folder)
        return store

    async def write(self, key: str, feed: Feed) -> None:
        """Store all of the feed, durably.

        Raises what the source has raised, ObjectStoreFull or ObjectStoreUnavailable. Then, and when
        it was cancelled, nothing lies under the key or will, unless `feed.settled` is False.
        """
        small = await feed.whole(PART_BYTES)
        store = self._reached(to_write=True)
        feed.settled = False
        with self._reported(feed=feed):
            if small is None:
                writing = self._obstore.put_async(
                    store, key, feed, chunk_size=PART_BYTES, max_concurrency=PARALLEL_PARTS
                )
            else:
                writing = self._obstore.put_async(store, key, small, use_multipart=False)
            await _undone_if_cancelled(asyncio.ensure_future(writing), feed)
            if self._folder is not None:
                await in_thread(_make_durable, self._folder, key)

    async def read(self, key: str) -> AsyncGenerator[bytes, None]:
        """What lies under the key, opened already, in pieces. Raises Missing."""
        store = self._reached()
        with self._reported():
            found = await self._obstore.get_async(store, key)
        return self._pieces(found.stream(min_chunk_size=PIECE_BYTES))

    async def _pieces(self, stream: Any) -> AsyncGenerator[bytes, None]:
        while True:
            with self._reported():
                piece = await anext(stream, None)
            if piece is None:
                return
            yield bytes(piece)

    async def delete(self, key: str) -> None:
        """Leave nothing under the key, nor of an upload to it that was killed in a folder."""
        store = self._reached()
        try:
            with self._reported():
                await self._obstore.delete_async(store, key)
        except Missing:
            pass
        if self._folder is not None:
            with self._reported():
                await in_thread(_remove_unfinished, self._folder, key)

    @contextmanager
    def _reported(
        self, kind: type[ClonedbError] = ObjectStoreUnavailable, *, feed: Feed | None = None
    ) -> Iterator[None]:
        """What obstore and the file system raise, as the errors of this package."""
        try:
            yield
        except ClonedbError:
            raise
        except Exception as error:
            if feed is not None and feed.failure is not None:
                raise feed.failure from None
            text = str(error)
            # A bucket that does not exist is reported as an object that does not.
            if isinstance(error, FileNotFoundError) and "NoSuchBucket" not in text:
                raise Missing from None
            number = _error_number(error, text)
            if number in _FULL:
                raise ObjectStoreFull(
                    f"{self.location} has no space left: {self._shown(text)}",
                    remedy="make room, or store something smaller; nothing of it was kept",
                ) from None
            raise kind(f"{self.location}: {self._shown(text)}") from None

    def _shown(self, report: str) -> str:
        """The report's first lines, without obstore's own details and without credentials."""
        text = report.split("\n\nDebug source")[0].strip() or "no reason was given"
        for secret in self._secrets:
            text = text.replace(secret, "…")
        return text if len(text) <= _LONGEST_REPORT else f"{text[:_LONGEST_REPORT]}…"


async def _undone_if_cancelled(writing: asyncio.Future[Any], feed: Feed) -> None:
    """The future's end. A cancellation lets the feed fail: the store then undoes what it has.

    Cancelling obstore itself would leave an upload's parts in the bucket.
    """
    try:
        await asyncio.shield(writing)
    except asyncio.CancelledError:
        feed.stop()
        await asyncio.wait([writing], timeout=UNDO_SECONDS)
        raise
    finally:
        if writing.done():
            feed.settled = True
            if not writing.cancelled():
                writing.exception()  # seen, where the cancellation is what the caller is told


def _located(location: str) -> tuple[str, Path | None]:
    """Where it is, fit to be shown, and the folder if it is one; a URL may hold no credentials."""
    if "://" not in location:
        folder = Path(location).expanduser().absolute()
        return str(folder), folder
    try:
        parts = urlsplit(location)
    except ValueError:
        raise InvalidInput("the object store's URL is malformed") from None
    if parts.scheme not in ("file", "gs", "s3"):
        raise InvalidInput("an object store is a folder, or a URL of file://, gs:// or s3://")
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise InvalidInput(
            "the object store's URL holds more than a bucket and a path",
            remedy="pass credentials and settings as options",
        )
    if parts.scheme == "file":
        if parts.netloc not in ("", "localhost") or not parts.path.strip("/"):
            raise InvalidInput("a file:// URL names a folder of this machine: file:///srv/objects")
        folder = Path(unquote(parts.path))
        return str(folder), folder
    if not parts.netloc:
        raise InvalidInput(f"the object store's URL names no bucket: {parts.scheme}://bucket/path")
    return location, None


def _secrets_of(options: Mapping[str, Any]) -> Iterator[str]:
    for name, value in options.items():
        if isinstance(value, Mapping):
            yield from _secrets_of(value)
        elif isinstance(value, str) and value and _SECRET.search(name):
            yield value


def _error_number(error: Exception, text: str) -> int | None:
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno
    found = re.search(r"\(os error (\d+)\)", text)
    return int(found[1]) if found else None


def _make_durable(folder: Path, key: str) -> None:
    """A crash of the machine must not leave a row whose object was in memory alone."""
    path = folder / key
    for each in (path, path.parent, folder):
        descriptor = os.open(each, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _remove_unfinished(folder: Path, key: str) -> None:
    # obstore writes to the key's name with # and a number behind it.
    path = folder / key
    for unfinished in path.parent.glob(f"{path.name}#*"):
        unfinished.unlink(missing_ok=True)
