"""What the four caches have in common: reading, dropping, purging, counting hits."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Generic, TypeVar
from uuid import UUID

import msgspec
from msgspec import Meta

from clonedb.adapters import ByteStrings
from clonedb.errors import InvalidInput
from clonedb.ids import check_id
from clonedb.validation import Label, convert

if TYPE_CHECKING:
    from clonedb.scope import Scope

# Whose rows everybody reads, and the worker login alone writes.
SHARED_USER: Final = UUID(int=0)

# A key is the SHA-256 of all that determines the value.
KEY_BYTES: Final = 32

# One statement reads, or counts the hits of, so many keys at most.
MAXIMUM_KEYS: Final = 1_000

# 18 ms at most on a busy machine (100,000 small rows): nobody waits long for a row that it holds.
PURGE_BATCH: Final = 1_000

_LONGEST_TTL: Final = timedelta(days=366)

Tags = Annotated[list[Label], Meta(max_length=100)]
DocumentIds = Annotated[list[UUID], Meta(max_length=10_000)]
BatchSize = Annotated[int, Meta(ge=1, le=100_000)]
Hits = Annotated[int, Meta(ge=1, le=2_147_483_647)]


class CachedEntry(msgspec.Struct, frozen=True):
    """What every cached entry begins with, before its value.

    `hit_count` lacks the hits that were not recorded yet. A `shared` entry is everybody's.
    """

    key: bytes
    tags: list[str]
    hit_count: int
    expires_at: datetime
    created_at: datetime
    shared: bool


E = TypeVar("E", bound=msgspec.Struct)


class CacheTable(Generic[E]):
    """One cache: in a user's scope that user's entries, in the scope of the login the shared ones.

    A `get` in a user's scope finds a shared entry where the user has none. An entry that has
    expired is a miss to every reader, and no reader changes a row. What drops many entries
    (`invalidate_…`, `purge_expired`) covers everybody in the scope of the worker login.
    """

    __slots__ = ("_scope",)

    _queries: ClassVar[Any]
    _entry: ClassVar[type[Any]]

    def __init__(self, scope: Scope) -> None:
        self._scope = scope

    async def get(self, key: bytes) -> E | None:
        """The fresh entry of a key, or None."""
        return await self._scope.one(
            self._queries.get, self._entry, **self._owner(), key=check_key(key)
        )

    async def delete(self, key: bytes) -> bool:
        """Drop one entry; False if there was none."""
        dropped = await self._scope.value(self._queries.delete, **self._owner(), key=check_key(key))
        return dropped is not None

    async def invalidate_all(self) -> int:
        """Drop every entry; returns how many there were."""
        return await self._scope.count(self._queries.invalidate_all)

    async def invalidate_by_tag(self, tag: str) -> int:
        """Drop the entries that bear a tag; returns how many there were."""
        return await self._scope.count(self._queries.invalidate_by_tag, tag=check_tag(tag))

    async def purge_expired(self, *, limit: int = PURGE_BATCH) -> int:
        """Drop one batch of expired entries; returns how many, 0 once there are none left.

        An entry that is being renewed meanwhile stays. Where there may be many, `purge_batches`
        goes on where its last batch has ended.
        """
        entries, _ = await self._purge(convert(limit, BatchSize, "limit"), None)
        return entries

    def purge_batches(self, *, limit: int = PURGE_BATCH) -> AsyncGenerator[int, None]:
        """Drop what has expired, batch by batch until one is not full: how many each has dropped.

        Each is a statement, and outside a transaction a commit, of its own.
        """
        return self._purge_batches(convert(limit, BatchSize, "limit"))

    async def _purge_batches(self, limit: int) -> AsyncGenerator[int, None]:
        entries, last = limit, None
        while entries == limit:
            entries, last = await self._purge(limit, last)
            yield entries

    async def _purge(self, limit: int, since: datetime | None) -> tuple[int, datetime | None]:
        """How many entries were dropped, and when the last of them has expired."""
        after: dict[str, datetime] = {} if since is None else {"since": since}
        rows = await self._scope.rows(self._queries.purge_expired, limit=limit, **after)
        entries, last = rows[0]
        return entries, last

    async def record_hits(self, hits: Mapping[bytes, int]) -> int:
        """Add hits that a reader has counted, for up to 1,000 keys; returns how many were found.

        A user's hits of shared entries are not counted: they are recorded by the worker login.
        """
        if not hits:
            return 0
        counts = [convert(count, Hits, "hits") for count in hits.values()]
        return await self._scope.count(
            self._queries.record_hits, **self._owner(), keys=check_keys(hits), hits=counts
        )

    async def _get_many(self, keys: Iterable[bytes]) -> dict[bytes, E]:
        checked = check_keys(keys)
        if not checked:
            return {}
        entries: list[Any] = await self._scope.all(
            self._queries.get_many, self._entry, **self._owner(), keys=checked
        )
        return {entry.key: entry for entry in entries}

    async def _put(self, key: bytes, tags: Iterable[str], ttl: timedelta, **value: Any) -> bool:
        stored = await self._scope.value(
            self._queries.put,
            **self._owner(),
            key=check_key(key),
            tags=check_tags(tags),
            ttl=check_ttl(ttl),
            **value,
        )
        return stored is not None

    def _owner(self) -> dict[str, UUID]:
        return {} if self._scope.user_id is not None else {"user_id": SHARED_USER}


def check_key(key: bytes) -> bytes:
    """The key, if it is a SHA-256 digest: part of one would let different values meet."""
    if not isinstance(key, bytes) or len(key) != KEY_BYTES:
        size = f"{len(key)} bytes" if isinstance(key, bytes) else type(key).__name__
        raise InvalidInput(
            f"key: a digest of {KEY_BYTES} bytes is asked for, not {size}",
            remedy="pass hashlib.sha256(everything that determines the value).digest()",
        )
    return key


def check_keys(keys: Iterable[bytes]) -> ByteStrings:
    checked = ByteStrings(check_key(key) for key in keys)
    if len(checked) > MAXIMUM_KEYS:
        raise InvalidInput(f"keys: {len(checked):,} at once; at most {MAXIMUM_KEYS:,} are taken")
    return checked


def check_tag(tag: str) -> str:
    label: str = convert(tag, Label, "tag")
    return label


def check_tags(tags: Iterable[str]) -> list[str]:
    """The tags in order and once each, so that equal sets are equal to the database too."""
    if tags == ():
        return []
    if isinstance(tags, str):
        raise InvalidInput("tags: a list of texts is asked for, not one text")
    checked: list[str] = convert(list(tags), Tags, "tags")
    return sorted(set(checked))


def check_ttl(ttl: timedelta) -> timedelta:
    if not isinstance(ttl, timedelta) or not timedelta(0) < ttl <= _LONGEST_TTL:
        raise InvalidInput(f"ttl: more than 0 and at most {_LONGEST_TTL.days} days, not {ttl!r}")
    return ttl


def check_documents(document_ids: Iterable[UUID | str]) -> list[UUID]:
    """The ids in order and once each."""
    if isinstance(document_ids, str):
        raise InvalidInput("document_ids: a list of ids is asked for, not one text")
    checked = sorted({check_id(identifier, "document_ids") for identifier in document_ids})
    ids: list[UUID] = convert(checked, DocumentIds, "document_ids")
    return ids
