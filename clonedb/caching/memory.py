"""The first tier: what a process remembers of one cache, bounded by entries and by bytes.

The least recently used goes first (cachetools); what is too old is no more found. Whoever stores
has to say since when it has held the value: when entries of its user were dropped meanwhile, it is
not remembered, since it may be from before.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from typing import Any, Final
from uuid import UUID

from cachetools import LRUCache

# What the bookkeeping of an entry takes in CPython 3.11, roughly, beside the value itself.
OVERHEAD_BYTES: Final = 600

Place = tuple[str, Any]  # whose, as text, and the key or its digest


def bucket_of(user_id: UUID) -> str:
    """What a notification says of a user: 16 bits of a digest, as clonedb.cache_notice() does."""
    return sha256(user_id.bytes).digest()[:2].hex()


class Tally:
    """The hits of an entry since they were last recorded in the database.

    It is kept until they are, also where the entry has made room. `owner` is the user's id as text,
    and empty where the entry is shared.
    """

    __slots__ = ("digest", "hits", "owner")

    def __init__(self, owner: str, digest: bytes) -> None:
        self.owner = owner
        self.digest = digest
        self.hits = 0


class Remembered:
    """An entry in memory; times are of the process's monotonic clock.

    `asked` is when the value was asked for: of two entries of a key the later one counts.
    """

    __slots__ = ("asked", "buckets", "fresh_until", "refresh_at", "tally", "value", "weight")

    def __init__(
        self,
        value: Any,
        tally: Tally,
        asked: float,
        fresh_until: float,
        refresh_at: float,
        buckets: tuple[str, ...],
        weight: int = OVERHEAD_BYTES,
    ) -> None:
        self.value = value
        self.tally = tally
        self.asked = asked
        self.fresh_until = fresh_until
        self.refresh_at = refresh_at
        self.weight = weight
        self.buckets = buckets


class Memory:
    """One cache's entries in this process."""

    __slots__ = ("_drops", "_entries", "_limit", "_most_entries", "find")

    def __init__(self, *, entries: int, bytes: int) -> None:
        self._limit = self._most_entries = entries
        self._entries = _Entries(bytes)
        # The read that everything is about: no call of ours in between. None for a miss.
        self.find: Callable[[Place], Remembered | None] = self._entries.__getitem__
        # How often the entries of each bucket were dropped, and (None) all of them.
        self._drops: dict[str | None, int] = {}

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def lie_at_digests(self) -> bool:
        """Whether any were warmed, and are to be looked for by their digests."""
        return self._entries.lie_at_digests

    @property
    def is_open(self) -> bool:
        """Whether anything is remembered at all."""
        return self._most_entries > 0

    @property
    def bytes(self) -> int:
        """What the values and their bookkeeping take, roughly."""
        return int(self._entries.currsize)

    @property
    def evictions(self) -> int:
        """How many entries have made room for others."""
        return self._entries.evictions

    def drops(self, buckets: tuple[str, ...]) -> int:
        """How often these users' entries were dropped so far.

        Whoever asks for a value takes this figure first, and gives it to `remember`.
        """
        drops = self._drops
        count = drops.get(None, 0)
        for bucket in buckets:
            count += drops.get(bucket, 0)
        return count

    def remember(self, place: Place, entry: Remembered, drops: int) -> None:
        """Keep an entry, unless its user's were dropped since, or a later one is kept."""
        entries = self._entries
        if drops != self.drops(entry.buckets):
            return
        kept = entries.get(place)
        if kept is not None and kept.asked > entry.asked:
            return
        if entry.weight > entries.maxsize or self._most_entries == 0:
            entries.pop(place, None)
            return
        entries[place] = entry
        while len(entries) > self._most_entries:
            entries.popitem()

    def open(self) -> None:
        """Remember again."""
        self._most_entries = self._limit

    def close(self) -> None:
        """Forget everything, and remember nothing more."""
        self._most_entries = 0
        self.drop()

    def move(self, digest: Place, place: Place) -> Remembered | None:
        """The entry that lies at a digest, from now on at its key; None for none."""
        entry: Remembered | None = self._entries.pop(digest, None)
        if entry is not None:
            self._entries[place] = entry
        return entry

    def peek(self, digest: Place) -> Remembered | None:
        """The entry that lies at a digest; None for none."""
        entry: Remembered | None = self._entries.get(digest)
        return entry

    def drop(self, bucket: str | None = None) -> None:
        """Forget the entries of a bucket's users, or everything."""
        self._drops[bucket] = self._drops.get(bucket, 0) + 1
        if bucket is None:
            self._entries.clear()
        else:
            for place in tuple(self._entries.places.get(bucket, ())):
                del self._entries[place]


class _Entries(LRUCache[Place, Remembered]):
    """An LRU cache that knows which of its entries belong to a bucket."""

    def __init__(self, maxsize: int) -> None:
        super().__init__(maxsize, getsizeof=lambda entry: entry.weight)
        self.places: dict[str, set[Place]] = {}
        self.evictions = 0
        # Whether any were warmed, who are looked for by their digests.
        self.lie_at_digests = False

    def __missing__(self, place: Place) -> Any:
        return None

    def __setitem__(self, place: Place, entry: Remembered) -> None:
        if place in self:
            del self[place]
        super().__setitem__(place, entry)
        self.lie_at_digests |= isinstance(place[1], bytes)
        for bucket in entry.buckets:
            self.places.setdefault(bucket, set()).add(place)

    def __delitem__(self, place: Place) -> None:
        entry = super().__getitem__(place)
        super().__delitem__(place)
        for bucket in entry.buckets:
            places = self.places[bucket]
            places.discard(place)
            if not places:
                del self.places[bucket]

    def popitem(self) -> tuple[Place, Remembered]:
        self.evictions += 1
        return super().popitem()

    def clear(self) -> None:
        super().clear()
        self.places.clear()
