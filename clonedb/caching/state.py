"""What the users of one cache share in a process."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Final, Generic, TypeVar

import msgspec
from msgspec.structs import astuple

from clonedb.caching.background import Background
from clonedb.caching.figures import CacheFigures, Counters
from clonedb.caching.flights import Flight
from clonedb.caching.gathering import GatheredPuts, GatheredReads
from clonedb.caching.guard import Guard
from clonedb.caching.keys import CacheKey
from clonedb.caching.kinds import Kind
from clonedb.caching.memory import Memory, Place, Remembered, Tally
from clonedb.caching.owner import Owner
from clonedb.caching.policy import CachePolicy
from clonedb.caching.table import Found, Table
from clonedb.database import Database

K = TypeVar("K", bound=CacheKey)
V = TypeVar("V", bound=msgspec.Struct)


# After so many stored values a process removes some expired ones.
STORED_BETWEEN: Final = 100


# Entries whose hits are counted between two recordings, in memory and in the table each: some MB.
# What is beyond is not counted.
_COUNTED_AT_MOST: Final = 50_000

Hits = dict[tuple[str, bytes], int]  # by user, as text (empty: shared), and digest


class CacheState(Generic[K, V]):
    """One cache in a process: its memory, its table, and what is under way."""

    __slots__ = (
        "_hits",
        "_memory_seconds",
        "_random",
        "_refresh_ahead",
        "_stored",
        "_tidy",
        "_used",
        "background",
        "clock",
        "counters",
        "flights",
        "kind",
        "memory",
        "notifications",
        "policy",
        "puts",
        "reads",
        "refreshing",
        "table",
    )

    def __init__(
        self,
        kind: Kind[K, V],
        policy: CachePolicy,
        database: Database,
        *,
        guard: Guard,
        background: Background,
        tidy: Callable[[], None],
        clock: Callable[[], float],
    ) -> None:
        self.kind = kind
        self.policy = policy
        self.clock = clock
        self.background = background
        self.counters = Counters()
        self.table = Table(kind, guard, self.counters)
        self.reads = GatheredReads(self.table, database, background)
        self.puts = GatheredPuts(self.table, background) if kind.put_each else None
        self._memory_seconds = policy.memory_ttl.total_seconds()
        self._refresh_ahead = policy.refresh_ahead
        self.memory = Memory(entries=policy.memory_entries, bytes=policy.memory_bytes)
        self.flights: dict[Place, Flight[V]] = {}
        self.refreshing: set[Place] = set()
        # Hits that are not recorded yet: of entries in memory, and of those read in the table.
        self._used: list[Tally] = []
        self._hits: Hits = {}
        self._stored = 0  # values, since expired ones were last removed
        self._tidy = tidy
        self.notifications = database.notifications
        self._random = random.Random()  # noqa: S311 - when a value expires is no secret

    @property
    def ttl(self) -> timedelta:
        """How long a value lives whose caller says nothing."""
        return self.policy.ttl or self.kind.ttl

    def jittered(self, ttl: timedelta) -> timedelta:
        """A little less than that, each time by another part."""
        return ttl * (1 - self.policy.jitter * self._random.random())

    def count_stored(self) -> None:
        """Note a stored value; now and then some that have expired are removed for it."""
        self._stored += 1
        if self._stored >= STORED_BETWEEN:
            self._stored = 0
            self._tidy()

    @property
    def has_stored(self) -> bool:
        """Whether values were stored since expired ones were last removed."""
        return self._stored > 0

    def is_usable(self, entry: Remembered) -> bool:
        """Whether what is remembered may be used now."""
        return (
            self.clock() < entry.fresh_until and time.monotonic() < self.notifications.trusted_until
        )

    def count_hit(self, entry: Remembered) -> None:
        """Note a use of an entry in memory, to be recorded in the database later."""
        tally = entry.tally
        if not tally.hits:
            if len(self._used) >= _COUNTED_AT_MOST:
                return
            self._used.append(tally)
        tally.hits += 1

    def count_database_hit(self, entry: Remembered) -> None:
        """Note a use of an entry that was read in the database."""
        self._add(entry.tally, 1)

    def take_hits(self) -> Hits:
        """The hits that are not recorded yet, which from now on count as recorded."""
        for tally in self._used:
            self._add(tally, tally.hits)
            tally.hits = 0
        self._used.clear()
        hits, self._hits = self._hits, {}
        return hits

    def _add(self, tally: Tally, hits: int) -> None:
        place = (tally.owner, tally.digest)
        known = self._hits.get(place)
        if known is not None:
            self._hits[place] = known + hits
        elif len(self._hits) < _COUNTED_AT_MOST:
            self._hits[place] = hits

    def remember(
        self,
        place: Place,
        found: Found,
        *,
        owner: Owner,
        digest: bytes,
        asked: float,
        ttl: timedelta,
        drops: int,
    ) -> Remembered:
        """An entry of what was found or made, kept in memory if it may be."""
        value, remaining, shared = found
        fresh = self._memory_seconds
        entry = Remembered(
            value,
            Tally("" if shared else owner.name, digest),
            asked,
            asked + (remaining if remaining < fresh else fresh),
            asked + remaining - self._refresh_ahead * ttl.total_seconds(),
            owner.buckets,
        )
        if remaining > 0 and self.memory.is_open:
            entry.weight += _size(place[1])
            if value is not None:
                entry.weight += self.kind.weight(value)
            self.memory.remember(place, entry, drops)
        return entry

    def figures(self) -> CacheFigures:
        return CacheFigures(
            cache=self.kind.name,
            **msgspec.structs.asdict(self.counters),
            memory_entries=len(self.memory),
            memory_bytes=self.memory.bytes,
            memory_evictions=self.memory.evictions,
        )


def _size(key: CacheKey | bytes) -> int:
    fields = (key,) if isinstance(key, bytes) else astuple(key)
    return sum(len(field) for field in fields if isinstance(field, str | bytes))
