"""Hits and figures, counted in memory and added to the database now and then.

No read writes. What a process that was killed had not recorded is lost, and so is what could not be
recorded since the database did not answer: these are figures, and not anybody's bill.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any, Final, TypeVar

import msgspec

from clonedb import queries
from clonedb.caching.figures import Counters
from clonedb.caching.guard import Guard
from clonedb.caching.state import CacheState
from clonedb.repositories.cache_table import MAXIMUM_KEYS
from clonedb.repositories.caches import CacheName
from clonedb.scope import Scope
from clonedb.scopes import DatabaseScope

T = TypeVar("T")

# Statements under way at a time: enough to fill a channel's writes, and no burden to others.
_AT_ONCE: Final = 16

_RECORDED: Final = (
    "memory_hits",
    "database_hits",
    "stale_hits",
    "misses",
    "fills",
    "failures",
)


class HitRecorder:
    """What the four caches have counted since it was last recorded."""

    __slots__ = ("_database", "_guard", "_recorded", "_states")

    def __init__(
        self,
        database: DatabaseScope,
        states: Mapping[CacheName, CacheState[Any, Any]],
        guard: Guard,
    ) -> None:
        self._database = database
        self._states = states
        self._guard = guard
        self._recorded = {name: Counters() for name in states}

    async def record(self) -> None:
        """Add the hits to their entries, and the figures to the hour; never raises."""
        for state in self._states.values():
            users: dict[str, dict[bytes, int]] = defaultdict(dict)
            for (owner, digest), hits in state.take_hits().items():
                users[owner][digest] = hits
            batches = [
                (owner, dict(some))
                for owner, hits in users.items()
                for some in _slices(list(hits.items()), MAXIMUM_KEYS)
            ]
            for some_batches in _slices(batches, _AT_ONCE):
                await asyncio.gather(
                    *(
                        state.table.record_hits(self._scope_of(owner), hits)
                        for owner, hits in some_batches
                    )
                )
        await self._record_figures()

    def _scope_of(self, owner: str) -> Scope:
        return self._database.as_user(owner) if owner else self._database

    async def _record_figures(self) -> None:
        present = {name: msgspec.structs.asdict(s.counters) for name, s in self._states.items()}
        before = {name: msgspec.structs.asdict(c) for name, c in self._recorded.items()}
        if present == before:
            return
        columns = {
            figure: [present[name][figure] - before[name][figure] for name in self._states]
            for figure in _RECORDED
        }
        caches = list(self._states)
        self._recorded = {name: Counters(**figures) for name, figures in present.items()}
        await self._guard.attempt(
            lambda: self._database.count(queries.caches.record_use, caches=caches, **columns),
            lambda: None,
            "figures",
        )


def _slices(items: list[T], size: int) -> Iterator[list[T]]:
    for first in range(0, len(items), size):
        yield items[first : first + size]
