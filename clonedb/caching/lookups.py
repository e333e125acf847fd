"""Reads of one user's entries that come at the same time, as one statement.

Who comes first goes at once and alone, so that one caller waits for nobody. Who comes while that is
under way goes with all others of that user who come in the same tick of the event loop. Users never
share a statement: whose entries are seen is said once for each.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from functools import partial
from typing import Any, Final

from clonedb.caching.background import Background
from clonedb.caching.owner import Owner
from clonedb.caching.table import Found, Table

# Keys of one statement: a larger answer would hold up the neighbours in its channel.
MOST_KEYS: Final = 100

_FRESH: Final = timedelta(0)

_Callers = dict[bytes, list[asyncio.Future[Found | None]]]


class Lookups:
    """The reads of one cache's table in a process."""

    __slots__ = ("_background", "_gathered", "_table", "_under_way")

    def __init__(self, table: Table[Any, Any], background: Background) -> None:
        self._table = table
        self._background = background
        self._under_way: set[str] = set()
        self._gathered: dict[str, _Callers] = {}

    async def look(self, owner: Owner, digest: bytes) -> Found | None:
        """The fresh entry of a key."""
        name, under_way = owner.name, self._under_way
        if name not in under_way:
            under_way.add(name)
            try:
                return await self._table.look(owner.scope, digest, _FRESH)
            finally:
                under_way.remove(name)
        answer: asyncio.Future[Found | None] = asyncio.get_running_loop().create_future()
        callers = self._gathered.get(name)
        if callers is None:
            callers = self._gathered[name] = {}
            # It is sent at the end of this tick.
            task = self._background.start(self._find(owner, callers))
            task.add_done_callback(partial(self._answer, owner, callers))
        callers.setdefault(digest, []).append(answer)
        if len(callers) >= MOST_KEYS:
            del self._gathered[name]
        return await answer

    async def _find(self, owner: Owner, callers: _Callers) -> dict[bytes, Found]:
        self._close(owner, callers)
        return await self._table.look_many(owner.scope, list(callers))

    def _answer(
        self, owner: Owner, callers: _Callers, task: asyncio.Task[dict[bytes, Found]]
    ) -> None:
        # Where the caches are being closed, nothing is found, and it may not even have begun.
        self._close(owner, callers)
        failed = task.cancelled() or task.exception() is not None
        found = {} if failed else task.result()
        for digest, answers in callers.items():
            for answer in answers:
                if not answer.done():
                    answer.set_result(found.get(digest))

    def _close(self, owner: Owner, callers: _Callers) -> None:
        """Let nobody join any more."""
        if self._gathered.get(owner.name) is callers:
            del self._gathered[owner.name]
