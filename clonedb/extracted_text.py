"""Text that programs produced: cleaned where it is stored, since no person can correct it."""

from __future__ import annotations

import re
from typing import Final

from clonedb.errors import InvalidInput

# The CHECK of knowledge_documents.text_content: a thousand pages have about 3 MB.
MAXIMUM_DOCUMENT_BYTES: Final = 10 * 1024 * 1024

# The CHECK of knowledge_documents.error_message, in characters.
MAXIMUM_MESSAGE_LENGTH: Final = 4_000

# NUL, which PostgreSQL has no place for, and halves of a character, which UTF-8 has none for.
_NOT_STORABLE: Final = re.compile("[\0\ud800-\udfff]")
_REPLACEMENT: Final = "\N{REPLACEMENT CHARACTER}"


def clean_text(text: object, where: str) -> str:
    """The text of a document; InvalidInput for more than 10 MiB of UTF-8.

    NUL and lone surrogates, which extraction from PDF and office files leaves behind, become
    U+FFFD, one for one: positions in the text stay, and the loss can be seen.
    """
    if not isinstance(text, str):
        raise InvalidInput(f"{where} is no text but {type(text).__name__}")
    # Characters are never fewer than a byte, so a giant is refused before it is copied.
    size = len(text)
    if size <= MAXIMUM_DOCUMENT_BYTES:
        text = _NOT_STORABLE.sub(_REPLACEMENT, text)
        size = len(text) if text.isascii() else len(text.encode())
    if size > MAXIMUM_DOCUMENT_BYTES:
        raise InvalidInput(
            f"{where} has {size:,} bytes; at most {MAXIMUM_DOCUMENT_BYTES:,} are stored",
            remedy="split the document",
        )
    return text


def clean_message(message: object) -> str:
    """A report of what went wrong, cleaned like a text and cut to 4,000 characters.

    The report of a failure must not fail in its turn.
    """
    text = _NOT_STORABLE.sub(_REPLACEMENT, str(message)).strip()
    if len(text) > MAXIMUM_MESSAGE_LENGTH:
        text = text[: MAXIMUM_MESSAGE_LENGTH - 1] + "…"
    return text or "no reason was given"
