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
from clonedb.caching.owner import Owner
from clonedb.caching.state import CacheState
from clonedb.caching.table import Found
from clonedb.errors import InvalidInput

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
        "_cache_none",
        "_compute",
        "_digest",
        "_held",
        "_holder",
        "_key",
        "_owner",
        "_place",
        "_state",
        "_tags",
        "_ttl",
    )

    def __init__(
        self,
        state: CacheState[K, V],
        owner: Owner,
        *,
        place: Place,
        key: K,
        digest: bytes,
        compute: Callable[[], Awaitable[V | None]],
        ttl: timedelta,
        tags: list[str],
        cache_none: bool,
    ) -> None:
        self._state = state
        self._owner = owner
        self._place = place
        self._key = key
        self._digest = digest
        self._compute = compute
        self._ttl = ttl
        self._tags = tags
        self._cache_none = cache_none
        self._holder: UUID = uuid4()
        # Whether the lease is: None while, or where, the database does not say.
        self._held: bool | None = False

    def depart(self) -> Flight[V]:
        """Begin, for everybody in this process who asks for the key."""
        flight: Flight[V] = Flight(self._state.memory.drops(self._owner.buckets))
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
        try:
            entry = await self._find_or_take_lease()
            if entry is None:
                return await self._make(flight)
        finally:
            if self._held is not False:
                # Also where the database did not say that it is held.
                self._state.background.start(self._release())
        flight.found = entry
        return entry.value  # type: ignore[no-any-return]

    async def _find_or_take_lease(self) -> Remembered | None:
        """The entry that another has made, or None: then it is to be made here."""
        await self._take_lease()
        if self._held is False:
            return await self._wait_for_another()
        # Another may have made it between the caller's look and the lease.
        return await self._look() if self._held else None

    async def _look(self) -> Remembered | None:
        state = self._state
        drops = state.memory.drops(self._owner.buckets)
        asked = state.clock()
        found = await state.table.look(self._owner.scope, self._digest, timedelta(0))
        return None if found is None else self._remember(found, asked, drops)

    def _remember(self, found: Found, asked: float, drops: int) -> Remembered:
        return self._state.remember(
            self._place,
            found,
            owner=self._owner,
            digest=self._digest,
            asked=asked,
            ttl=self._ttl,
            drops=drops,
        )

    async def _wait_for_another(self) -> Remembered | None:
        """The entry that another process makes; None with its lease, or when it takes too long."""
        state = self._state
        pause = _SOONEST_LOOK
        give_up_at = state.clock() + state.policy.wait.total_seconds()
        while state.clock() < give_up_at:
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LATEST_LOOK)
            await self._take_lease()
            entry = await self._look()
            if entry is not None or self._held is not False:
                return entry
        return None

    async def _refresh(self) -> None:
        state = self._state
        # A failure is not tried again at every use, nor by every process at once.
        pause = state.policy.lease.total_seconds()
        try:
            await self._take_lease()
            if self._held:
                entry = await self._look()
                # Where another has made it meanwhile, there is nothing to do.
                if entry is None or state.clock() >= entry.refresh_at:
                    state.counters.refreshes += 1
                    await self._make(None)
            pause = 0
        finally:
            asyncio.get_running_loop().call_later(pause, state.refreshing.discard, self._place)
            if self._held is not False:
                state.background.start(self._release())

    async def _make(self, flight: Flight[V] | None) -> V | None:
        """Compute the value, and store it where the lease is held."""
        state = self._state
        state.counters.fills += 1
        drops = state.memory.drops(self._owner.buckets)
        try:
            value = await self._computed()
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if flight is not None and task is not None and not task.cancelling():
                flight.was_cancelled_inside = True
            raise
        columns = self._columns(value)
        if columns is None:
            return value
        lives, asked = state.jittered(self._ttl), state.clock()
        if self._held:
            try:
                stored = await state.table.fill(
                    self._owner.scope, self._digest, columns, lives, self._tags, self._holder
                )
            except InvalidInput:  # the table's own CHECKs have the last word
                state.counters.refused += 1
                return value
            if stored is not None:
                self._held = False  # given up with it
            if stored is False:
                state.counters.outdated += 1
                return value
            if stored:
                state.count_stored()
        self._remember(Found(value, lives.total_seconds(), False), asked, drops)
        return value

    async def _computed(self) -> V | None:
        if not self._held:
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

    async def _take_lease(self) -> None:
        """Sets whether it is held here; None where the database does not say."""
        self._held = None
        self._held = await self._state.table.take_lease(
            self._owner.scope, self._digest, self._holder, self._state.policy.lease.total_seconds()
        )

    async def _keep_lease(self) -> None:
        seconds = self._state.policy.lease.total_seconds()
        while True:
            await asyncio.sleep(seconds / _RENEWALS)
            renewed = await self._state.table.renew_lease(
                self._owner.scope, self._digest, self._holder, seconds
            )
            if renewed is False:
                return  # dropped meanwhile: the value will not be stored

    async def _release(self) -> None:
        await self._state.table.release_lease(self._owner.scope, self._digest, self._holder)
