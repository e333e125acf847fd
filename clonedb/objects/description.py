"""What is said of an object: the rows of the database, and what callers may say."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Final
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, UnsetType

from clonedb.errors import InvalidInput
from clonedb.repositories.vocabulary import ObjectKind
from clonedb.validation import convert

# The table's CHECK says the same, after the object was uploaded.
MAXIMUM_METADATA_BYTES: Final = 64 * 1024

Name = Annotated[str, Meta(min_length=1, max_length=200, pattern=r"^[^/\\\x00-\x1f\x7f-\x9f]*\Z")]
ContentType = Annotated[
    str, Meta(min_length=3, max_length=200, pattern=r"^[!-.0-~]+/[!-.0-~][ !-~]*\Z")
]
Metadata = dict[str, Any]


class StoredObject(msgspec.Struct, frozen=True):
    """What the database knows of an object; `object_key` is where it lies in the store.

    `id` and `created_at` stay when it is replaced, the others do not. `sha256` has 32 bytes.
    """

    id: UUID
    kind: ObjectKind
    name: str
    object_key: str
    size_bytes: int
    sha256: bytes
    content_type: str
    metadata: Metadata
    created_at: datetime
    updated_at: datetime


class StoredObjectFilter(msgspec.Struct, frozen=True, kw_only=True):
    kind: ObjectKind | UnsetType = UNSET


class Upload(msgspec.Struct, frozen=True):
    """An object that lies in the store whole and that nobody sees until it is kept."""

    object_key: str
    size_bytes: int
    sha256: bytes


def named(kind: ObjectKind, name: str | UUID) -> dict[str, Any]:
    """The arguments that say which object, checked."""
    text: str = convert(str(name) if isinstance(name, UUID) else name, Name, "name")
    if text in (".", ".."):
        raise InvalidInput(f"name is {text!r}, which no file may be called")
    return {"kind": convert(kind, ObjectKind, "kind"), "name": text}


def described(
    kind: ObjectKind, name: str | UUID, content_type: str, metadata: Metadata | None
) -> dict[str, Any]:
    checked = convert({} if metadata is None else metadata, Metadata, "metadata")
    if len(msgspec.json.encode(checked)) > MAXIMUM_METADATA_BYTES:
        raise InvalidInput(f"metadata has more than {MAXIMUM_METADATA_BYTES:,} bytes of JSON")
    return {
        **named(kind, name),
        "content_type": convert(content_type, ContentType, "content_type"),
        "metadata": checked,
    }
