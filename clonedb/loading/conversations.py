"""Files of conversations: JSON Lines, compressed with gzip or not.

    {"id": "…", "services": ["…"], "turns": [{"user": "…", "system": "…"}, …]}

A file is read once and line by line, so its size does not matter. A line that cannot be stored is
handed on as a BadLine with its number and the reason, and the reading goes on. Blank lines and
further keys are ignored.
"""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import io
import signal
import stat
import threading
import zlib
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Annotated, Final, Self

import msgspec
from msgspec import Meta

from clonedb.errors import InvalidInput
from clonedb.validation import Label, check_text

# Four transcripts and answers of the largest size that is stored. Longer lines are not held.
MAXIMUM_LINE_BYTES: Final = 8 * 1024 * 1024

# A day of talking without a pause; with it, a session stays well within its 7 days.
MAXIMUM_TURNS: Final = 10_000

_GZIP_MAGIC: Final = b"\x1f\x8b"
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
_SKIPPED_AT_ONCE: Final = 64 * 1024


class Exchange(msgspec.Struct, frozen=True):
    """One turn: what the person said, and what the clone answered."""

    user: str
    system: str


class Conversation(msgspec.Struct, frozen=True):
    """One conversation: `services` are the sources that its answers come from."""

    id: Label
    turns: list[Exchange]
    services: Annotated[list[Label], Meta(max_length=1_000)] = []


class GoodLine(msgspec.Struct, frozen=True):
    """A conversation and the number of its line, from 1."""

    line: int
    conversation: Conversation


class BadLine(msgspec.Struct, frozen=True):
    """A line that cannot be stored, and why."""

    line: int
    reason: str


_decoder: Final = msgspec.json.Decoder(Conversation)


class ConversationFile:
    """An open file of conversations; a context manager, and an iterable of its lines.

    Compression is told by the first bytes, not by the name. Opening raises OSError.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")
        status = path.stat()
        # A pipe has no size, and cannot say how far it has been read.
        self.size = status.st_size if stat.S_ISREG(status.st_mode) else None
        self.compressed = self._file.peek(2)[:2] == _GZIP_MAGIC
        self._lines: io.BufferedReader | gzip.GzipFile = (
            gzip.GzipFile(fileobj=self._file) if self.compressed else self._file
        )
        self._seen = _Seen()
        self._cancelled_before = _cancellations()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._lines.close()
        self._file.close()

    @contextmanager
    def _interruptible(self) -> Iterator[None]:
        """Let Ctrl-C end a read that waits for a pipe.

        asyncio's handler of it cancels the task and returns, and the read would go on waiting.
        Where it is ignored, as it is in the background of a script, it stays so.
        """
        is_main = threading.current_thread() is threading.main_thread()
        kept = signal.getsignal(signal.SIGINT) if is_main and self.size is None else None
        is_heeded = kept is not None and kept != signal.SIG_IGN
        if is_heeded:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            if self.size is None and _cancellations() > self._cancelled_before:
                raise asyncio.CancelledError  # a moment ago, perhaps by asyncio's handler
            yield
        finally:
            if is_heeded:
                signal.signal(signal.SIGINT, kept)

    @property
    def position(self) -> int:
        """How many bytes of `size` have been read; 0 where there is no size."""
        return 0 if self.size is None else self._file.tell()

    def __iter__(self) -> Iterator[GoodLine | BadLine]:
        number = 0
        while True:
            number += 1
            try:
                with self._interruptible():
                    text = self._lines.readline(MAXIMUM_LINE_BYTES + 1)
                    too_long = len(text) > MAXIMUM_LINE_BYTES
                    if too_long:
                        self._skip_line(text)
            except (EOFError, gzip.BadGzipFile, zlib.error) as error:
                yield BadLine(number, f"the gzip data is cut off or damaged here: {error}")
                return
            if not text:
                return
            if number == 1:
                text = text.removeprefix(_BYTE_ORDER_MARK)
            if too_long:
                yield BadLine(number, f"longer than {MAXIMUM_LINE_BYTES:,} bytes")
            elif text and not text.isspace():
                try:
                    conversation = decode(text)
                    self._seen.add(conversation.id)
                except InvalidInput as error:
                    yield BadLine(number, error.message)
                else:
                    yield GoodLine(number, conversation)

    def _skip_line(self, text: bytes) -> None:
        while text and not text.endswith(b"\n"):
            text = self._lines.readline(_SKIPPED_AT_ONCE)


def decode(line: bytes) -> Conversation:
    """The conversation on a line; InvalidInput says what is wrong with it."""
    try:
        conversation = _decoder.decode(line)
    except msgspec.ValidationError as error:
        raise InvalidInput(f"not a conversation: {error}") from None
    except UnicodeDecodeError as error:
        raise InvalidInput(f"not UTF-8: {error.reason}") from None
    except msgspec.DecodeError as error:
        if "surrogate" in str(error):
            raise InvalidInput("a text contains a lone surrogate: not valid Unicode") from None
        raise InvalidInput(f"not JSON: {error}") from None
    except RecursionError:
        raise InvalidInput("not a conversation: nested too deeply") from None
    if not 1 <= len(conversation.turns) <= MAXIMUM_TURNS:
        raise InvalidInput(
            f"{len(conversation.turns):,} turns; a conversation has 1 to {MAXIMUM_TURNS:,}"
        )
    check_text(conversation.id, "id")
    for position, service in enumerate(conversation.services):
        check_text(service, f"services[{position}]")
    for position, turn in enumerate(conversation.turns):
        check_text(turn.user, f"turns[{position}].user")
        check_text(turn.system, f"turns[{position}].system")
    return conversation


def _cancellations() -> int:
    """How often the task was asked to end, where it is one."""
    try:
        task = asyncio.current_task()
    except RuntimeError:
        return 0
    return 0 if task is None else task.cancelling()


class _Seen:
    """The ids of a file so far, as 64 bits of their SHA-256: 8 bytes for each.

    Two different ids among ten million share their bits in 3 files of a million.
    """

    def __init__(self) -> None:
        # Buckets, so that one of a million ids is compared with about 250 others.
        self._buckets = [array("Q") for _ in range(4096)]

    def add(self, identifier: str) -> None:
        digest = hashlib.sha256(identifier.encode()).digest()
        bits = int.from_bytes(digest[:8], "big")
        bucket = self._buckets[bits & 4095]
        if bits in bucket:
            raise InvalidInput(f"the id {identifier[:64]!r} occurred on an earlier line")
        bucket.append(bits)
