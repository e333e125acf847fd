"""What a process has seen of one cache, since its start and since it last told the database."""

from __future__ import annotations

import msgspec

from clonedb.repositories.caches import CacheName


class CacheFigures(msgspec.Struct, frozen=True):
    """One cache in this process, since it was opened.

    Every request is one of `memory_hits`, `database_hits`, `stale_hits` and `misses`. A miss ends
    as one of `fills` (made here), `waits` (another was making it, here or elsewhere), or nothing. A
    fill that is `outdated` was overtaken by a change of the data and is not stored; one that is
    `refused` is no value that the cache takes. `failures` are calls to the database that failed or
    were too slow: each of them cost a caller nothing but the value's making.
    """

    cache: CacheName
    memory_hits: int
    database_hits: int
    stale_hits: int
    misses: int
    fills: int
    waits: int
    refreshes: int
    outdated: int
    refused: int
    failures: int
    memory_entries: int
    memory_bytes: int
    memory_evictions: int

    @property
    def requests(self) -> int:
        return self.memory_hits + self.database_hits + self.stale_hits + self.misses

    @property
    def hit_rate(self) -> float | None:
        """The part of the requests that found a value, in any tier; None before the first."""
        return 1 - self.misses / self.requests if self.requests else None


class Counters(msgspec.Struct):
    """The same while they are counted."""

    memory_hits: int = 0
    database_hits: int = 0
    stale_hits: int = 0
    misses: int = 0
    fills: int = 0
    waits: int = 0
    refreshes: int = 0
    outdated: int = 0
    refused: int = 0
    failures: int = 0
