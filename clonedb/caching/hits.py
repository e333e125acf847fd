"""Hits and figures, counted in memory and added to the database now and then.

No read writes. What a process that was killed had not recorded is lost, and so is what could not be
recorded since the database did not answer: these are figures, and not anybody's bill.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any, Final
from uuid import UUID

import msgspec

from clonedb import queries
from clonedb.caching.figures import Counters
from clonedb.caching.guard import Guard
from clonedb.caching.state import CacheState
from clonedb.repositories.cache_table import MAXIMUM_KEYS
from clonedb.repositories.caches import CacheName
from clonedb.scopes import DatabaseScope

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
            for user_id, hits in _take_hits(state).items():
                scope = self._database if user_id is None else self._database.as_user(user_id)
                keys = list(hits)
                for first in range(0, len(keys), MAXIMUM_KEYS):
                    some = {key: hits[key] for key in keys[first : first + MAXIMUM_KEYS]}
                    await state.table.record_hits(scope, some)
        await self._record_figures()

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
        )


def _take_hits(state: CacheState[Any, Any]) -> dict[UUID | None, dict[bytes, int]]:
    """The hits of each user's entries (None for shared ones), which are then no more counted."""
    used, state.used = state.used, []
    hits: dict[UUID | None, dict[bytes, int]] = defaultdict(lambda: defaultdict(int))
    for entry in used:
        hits[None if entry.shared else entry.user_id][entry.digest] += entry.hits
        entry.hits = 0
    return hits
