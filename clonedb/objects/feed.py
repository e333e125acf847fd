"""What a caller stores, in pieces: from bytes, a file or an iterator, counted and digested."""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, Iterator
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any, BinaryIO, Final, TypeAlias

from clonedb.errors import InvalidInput
from clonedb.objects.threads import in_thread

Source: TypeAlias = (
    "bytes | bytearray | memoryview | os.PathLike[str] | BinaryIO | AsyncIterable[bytes]"
)

# 8 MiB in each of the 10,000 parts that an upload to S3 may have, rounded down.
MAXIMUM_OBJECT_BYTES: Final = 64 * 1024**3

# Of a file in one read: digesting it takes 1 to 3 ms, so threads are worth their while.
PIECE_BYTES: Final = 1024 * 1024

# Below this a digest takes less than handing it to a thread.
_DIGEST_INLINE_BYTES: Final = 64 * 1024


class Feed:
    """The pieces of a source, one after the other, for whoever writes them to the store.

    `size` and `digest()` are of all pieces so far. What the source raised is in `failure`. Whoever
    writes says in `settled` whether that has ended, one way or the other.
    """

    def __init__(self, source: Source) -> None:
        self._pieces = _pieces_of(source)
        self._digest = sha256()
        self._waiting: deque[bytes] = deque()
        self._pulling: asyncio.Task[Any] | None = None
        self._stopped = False
        self.size = 0
        self.failure: BaseException | None = None
        self.settled = True

    def digest(self) -> bytes:
        return self._digest.digest()

    async def whole(self, limit: int) -> bytes | None:
        """All of it, if it has at most `limit` bytes; else None, and it is still to be iterated."""
        taken: list[bytes] = []
        while self.size <= limit:
            try:
                taken.append(await self._pull())
            except StopAsyncIteration:
                return b"".join(taken)
        self._waiting.extend(taken)
        return None

    def __aiter__(self) -> Feed:
        return self

    async def __anext__(self) -> bytes:
        return self._waiting.popleft() if self._waiting else await self._pull()

    def stop(self) -> None:
        """Let the iteration fail, now or at its next piece: its reader then undoes what it did."""
        self._stopped = True
        self._waiting.clear()
        if self._pulling is not None:
            self._pulling.cancel()

    async def close(self) -> None:
        """Close what the source has opened."""
        self.stop()
        if self._pulling is not None:
            await asyncio.wait([self._pulling])
        with suppress(Exception):
            await self._pieces.aclose()

    async def _pull(self) -> bytes:
        if self._stopped:
            raise InterruptedError("the upload was stopped")
        # Of its own, so that stopping ends the wait for the source and nothing else.
        self._pulling = pulling = asyncio.ensure_future(self._next())
        try:
            piece = await pulling
        except asyncio.CancelledError:
            if not self._stopped:
                raise
            raise InterruptedError("the upload was stopped") from None
        except BaseException as error:
            self.failure = error
            raise
        finally:
            self._pulling = None
        if piece is None:
            raise StopAsyncIteration
        return piece

    async def _next(self) -> bytes | None:
        piece = await anext(self._pieces, None)
        if piece is None:
            return None
        self.size += len(piece)
        if self.size > MAXIMUM_OBJECT_BYTES:
            raise InvalidInput(f"an object has at most {MAXIMUM_OBJECT_BYTES:,} bytes")
        if len(piece) <= _DIGEST_INLINE_BYTES:
            self._digest.update(piece)
        else:
            await in_thread(self._digest.update, piece)
        return piece


async def _pieces_of(source: Source) -> AsyncGenerator[bytes, None]:
    if isinstance(source, bytes | bytearray | memoryview):
        for piece in _cut(source):
            yield piece
    elif isinstance(source, os.PathLike):
        file = await in_thread(_open, Path(source))
        try:
            while piece := await in_thread(file.read, PIECE_BYTES):
                yield piece
        finally:
            file.close()
    elif hasattr(source, "__aiter__"):
        async for given in source:  # pyright: ignore[reportGeneralTypeIssues]
            for piece in _cut(given):
                yield piece
    elif hasattr(source, "read"):
        while given := await in_thread(source.read, PIECE_BYTES):  # pyright: ignore[reportAttributeAccessIssue]
            for piece in _cut(given):
                yield piece
    else:
        raise InvalidInput(
            f"an object is stored from bytes, a Path, a binary file or an async iterator of bytes, "
            f"not from {type(source).__name__}"
        )


def _open(path: Path) -> BinaryIO:
    return path.open("rb", buffering=0)


def _cut(given: object) -> Iterator[bytes]:
    if not isinstance(given, bytes | bytearray | memoryview):
        raise InvalidInput(f"the source gives {type(given).__name__}, not bytes")
    view = memoryview(given)
    if not view.c_contiguous:
        raise InvalidInput("the source gives bytes that do not lie one after the other")
    view = view.cast("B")
    for at in range(0, len(view), PIECE_BYTES):
        yield bytes(view[at : at + PIECE_BYTES])
