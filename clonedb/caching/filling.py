"""Making a value that is missing: one filler at a time, in this process and in all of them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any, Final, Generic, TypeVar
from uuid import UUID, uuid4

import msgspec

from clonedb.caching.flights import Flight
from clonedb.caching.keys import CacheKey
from clonedb.caching.memory import Place, Remembered
from clonedb.caching.state import CacheState
from clonedb.caching.table import Found
from clonedb.errors import InvalidInput
from clonedb.scope import Scope

K = TypeVar("K", bound=CacheKey)
V = TypeVar("V", bound=msgspec.Struct)

# Seconds between two looks while another process makes the value, doubled from one to the other.
_SOONEST_LOOK: Final = 0.005
_LATEST_LOOK: Final = 0.05

# A lease is renewed so often before it ends.
_RENEWALS: Final = 3


class Filling(Generic[K, V]):
    """All that one fill needs; the arguments are checked."""

    __slots__ = (
        "_buckets",
        "_cache_none",
        "_compute",
        "_digest",
        "_holder",
        "_key",
        "_place",
        "_scope",
        "_state",
        "_tags",
        "_ttl",
    )

    def __init__(
        self,
        state: CacheState[K, V],
        scope: Scope,
        *,
        place: Place,
        buckets: tuple[str, ...],
        key: K,
        digest: bytes,
        compute: Callable[[], Awaitable[V | None]],
        ttl: timedelta,
        tags: list[str],
        cache_none: bool,
    ) -> None:
        self._state = state
        self._scope = scope
        self._place = place
        self._buckets = buckets
        self._key = key
        self._digest = digest
        self._compute = compute
        self._ttl = ttl
        self._tags = tags
        self._cache_none = cache_none
        self._holder: UUID = uuid4()

    def depart(self) -> Flight[V]:
        """Begin, for everybody in this process who asks for the key."""
        flight: Flight[V] = Flight()
        flights = self._state.flights
        flights[self._place] = flight
        task = flight.depart(self._fly(flight))
        self._state.background.watch(task)

        def landed(_: object) -> None:
            # A flight that was given up may have a successor by now.
            if flights.get(self._place) is flight:
                del flights[self._place]

        task.add_done_callback(landed)
        return flight

    def refresh(self) -> None:
        """Make the value anew in the background, unless that is under way somewhere."""
        state = self._state
        if self._place not in state.refreshing:
            state.refreshing.add(self._place)
            state.background.start(self._refresh())

    async def _fly(self, flight: Flight[V]) -> V | None:
        held = await self._take_lease()
        if held is False:
            entry, held = await self._wait_for_another()
        else:
            # Another may have made it between the caller's look and the lease.
            entry = await self._look() if held else None
        if entry is None:
            return await self._make(held=bool(held))
        flight.found = entry
        if held:
            self._state.background.start(self._release())
        return entry.value  # type: ignore[no-any-return]

    async def _look(self) -> Remembered | None:
        state = self._state
        drops = state.memory.drops(self._buckets)
        asked = state.clock()
        found = await state.table.look(self._scope, self._digest, timedelta(0))
        return None if found is None else self._remember(found, asked, drops)

    def _remember(self, found: Found, asked: float, drops: int) -> Remembered:
        return self._state.remember(
            self._place,
            found,
            user_id=self._scope.user_id,
            digest=self._digest,
            asked=asked,
            ttl=self._ttl,
            buckets=self._buckets,
            drops=drops,
        )

    async def _wait_for_another(self) -> tuple[Remembered | None, bool]:
        """The entry that another process makes, or its lease when it gives up; or neither."""
        state = self._state
        pause = _SOONEST_LOOK
        give_up_at = state.clock() + state.policy.wait.total_seconds()
        while state.clock() < give_up_at:
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LATEST_LOOK)
            held = await self._take_lease()
            entry = await self._look()
            if entry is not None or held is not False:
                return entry, bool(held)
        return None, False

    async def _refresh(self) -> None:
        state = self._state
        try:
            if await self._take_lease():
                state.counters.refreshes += 1
                await self._make(held=True)
        finally:
            state.refreshing.discard(self._place)

    async def _make(self, *, held: bool) -> V | None:
        """Compute the value and store it where the lease is held."""
        state = self._state
        state.counters.fills += 1
        drops = state.memory.drops(self._buckets)
        stored: bool | None = None
        try:
            value = await self._computed(renewed=held)
            columns = self._columns(value)
            if columns is not None and held:
                lives = state.jittered(self._ttl)
                asked = state.clock()
                stored = await state.table.fill(
                    self._scope, self._digest, columns, lives, self._tags, self._holder
                )
        finally:
            if held and stored is None:
                state.background.start(self._release())
        if columns is None:
            return value
        if not held:
            lives, asked = state.jittered(self._ttl), state.clock()
        if stored is False:
            state.counters.outdated += 1
        else:
            state.count_stored()
            found = Found(value, lives.total_seconds(), False)  # pyright: ignore[reportPossiblyUnboundVariable]
            self._remember(found, asked, drops)  # pyright: ignore[reportPossiblyUnboundVariable]
        return value

    async def _computed(self, *, renewed: bool) -> V | None:
        if not renewed:
            return await self._compute()
        renewal = self._state.background.start(self._keep_lease())
        try:
            return await self._compute()
        finally:
            renewal.cancel()

    def _columns(self, value: V | None) -> dict[str, Any] | None:
        """What is stored of a value; None for what is not to be, or cannot be."""
        state = self._state
        if value is None and not self._cache_none:
            return None
        if value is not None:
            state.kind.check_value(value)
        try:
            return state.kind.columns(self._key, value)
        except InvalidInput:
            state.counters.refused += 1
            return None

    async def _take_lease(self) -> bool | None:
        """Whether it is held here; None where the database does not say."""
        return await self._state.table.take_lease(
            self._scope, self._digest, self._holder, self._state.policy.lease.total_seconds()
        )

    async def _keep_lease(self) -> None:
        seconds = self._state.policy.lease.total_seconds()
        while True:
            await asyncio.sleep(seconds / _RENEWALS)
            renewed = await self._state.table.renew_lease(
                self._scope, self._digest, self._holder, seconds
            )
            if renewed is False:
                return  # dropped meanwhile: the value will not be stored

    async def _release(self) -> None:
        await self._state.table.release_lease(self._scope, self._digest, self._holder)
