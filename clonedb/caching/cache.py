"""One cache as a service uses it: its tiers behind `get`, `put` and `get_or_compute`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from datetime import timedelta
from time import monotonic
from typing import Any, Final, Generic, TypeVar
from uuid import UUID

import msgspec

from clonedb import queries
from clonedb.caching.figures import CacheFigures
from clonedb.caching.filling import Filling
from clonedb.caching.flights import Flight
from clonedb.caching.gathering import MOST_STORED
from clonedb.caching.keys import CacheKey
from clonedb.caching.memory import Place, Remembered
from clonedb.caching.owner import Owner
from clonedb.caching.state import CacheState
from clonedb.caching.table import Found, Put
from clonedb.errors import InvalidInput
from clonedb.ids import check_id
from clonedb.repositories.cache_table import (
    SHARED_USER,
    check_tag,
    check_tags,
    check_ttl,
)
from clonedb.scope import Scope

K = TypeVar("K", bound=CacheKey)
V = TypeVar("V", bound=msgspec.Struct)
T = TypeVar("T")

_NO_TIME: Final = timedelta(0)

# Of one call for many: a few statements under way keep the channel busy, and more would make its
# neighbours wait, and these run out of the time that a cache is given.
_STORED_AT_ONCE: Final = 4 * MOST_STORED
_STORED_ALONE: Final = 16


class Cache(Generic[K, V]):
    """One cache for one user, or (in `Caches.shared`) of the entries that everybody reads.

    What a user has stored is read before what is shared. No failure of the database reaches a
    caller of `get` and `get_or_compute`: they miss, and it is counted.
    """

    __slots__ = ("_name", "_notifications", "_owner", "_recall", "_state")

    def __init__(self, state: CacheState[K, V], owner: Owner) -> None:
        self._state = state
        self._owner = owner
        self._name = owner.name
        self._recall = state.memory.find
        self._notifications = state.notifications

    async def get(self, key: K) -> V | None:
        """The value of a key; None where nothing fresh is cached, or where there is no value."""
        state = self._state
        try:
            entry = self._recall((self._name, key))
        except TypeError:
            entry = None  # a key that cannot be hashed is refused with its digest
        # `is_usable`, without a call: this is the read that everything is about.
        if (
            entry is not None
            and state.clock() < entry.fresh_until
            and monotonic() < self._notifications.trusted_until
        ):
            state.counters.memory_hits += 1
            tally = entry.tally
            if tally.hits:
                tally.hits += 1
            else:
                state.count_hit(entry)
            return entry.value  # type: ignore[no-any-return]
        found = await self._find(key, _NO_TIME, state.ttl)
        if found is None:
            state.counters.misses += 1
            return None
        return found.value  # type: ignore[no-any-return]

    async def put(
        self, key: K, value: V, *, ttl: timedelta | None = None, tags: Iterable[str] = ()
    ) -> bool:
        """Store a value that is at hand; False where the same is stored, or the database failed.

        A value that was made before the data changed is kept out by `get_or_compute` alone. Raises
        InvalidInput for a value that the cache does not take.
        """
        state = self._state
        state.kind.check_value(value)
        digest = self._digest(key)
        lives = state.jittered(check_ttl(state.ttl if ttl is None else ttl))
        columns = state.kind.columns(key, value)
        drops = state.memory.drops(self._owner.buckets)
        asked = state.clock()
        labels = check_tags(tags)
        if state.puts is None or labels:
            stored = await state.table.put(self._owner.scope, digest, columns, lives, labels)
        else:
            stored = await state.puts.put(
                self._owner, digest, Put(self._owner.scope, columns, lives)
            )
        if stored is not None:
            if stored:
                state.count_stored()
            state.remember(
                (self._name, key),
                # The same, where it was stored already, has at least half of that left.
                Found(value, lives.total_seconds() / (1 if stored else 2), False),
                owner=self._owner,
                digest=digest,
                asked=asked,
                ttl=lives,
                drops=drops,
            )
        return bool(stored)

    async def get_many(self, keys: Iterable[K]) -> list[V | None]:
        """`get` of many keys at once, in few statements; the values in the order of the keys."""
        found: list[V | None] = []
        for some in _parts([*keys], 4 * self._state.kind.read_together):
            found += await asyncio.gather(*map(self.get, some))
        return found

    async def put_many(
        self, values: Mapping[K, V], *, ttl: timedelta | None = None, tags: Iterable[str] = ()
    ) -> int:
        """`put` of many values at once; returns how many were stored.

        Of embeddings without tags in few statements. Not all or none: what a cache lacks is made.
        """
        labels = check_tags(tags)
        gathered = self._state.puts is not None and not labels
        stored = 0
        for some in _parts([*values.items()], _STORED_AT_ONCE if gathered else _STORED_ALONE):
            stored += sum(
                await asyncio.gather(
                    *(self.put(key, value, ttl=ttl, tags=labels) for key, value in some)
                )
            )
        return stored

    async def get_or_compute(
        self,
        key: K,
        compute: Callable[[], Awaitable[V | None]],
        *,
        ttl: timedelta | None = None,
        tags: Iterable[str] = (),
        allow_stale: bool = False,
        cache_none: bool = False,
    ) -> V | None:
        """The cached value, or what `compute` gives, which is then cached.

        One caller in all processes computes a key at a time, in a task of its own; the others wait
        for it as long as the policy says, then compute for themselves. With `allow_stale` a value
        that expired a moment ago is returned at once and made anew in the background. What compute
        raises reaches everybody who waits in this process, and is not cached; None is cached with
        `cache_none` alone. A value whose making began before the data changed is returned and not
        cached. Raises what compute raises, and InvalidInput for a key or a value that is none.
        """
        state = self._state
        place = (self._name, key)
        try:
            entry = state.memory.find(place)
        except TypeError:
            entry = None  # a key that cannot be hashed is refused with its digest
        if entry is not None and state.is_usable(entry):
            state.counters.memory_hits += 1
            state.count_hit(entry)
            if state.clock() >= entry.refresh_at:
                self._filling(key, compute, ttl, tags, cache_none).refresh()
            return entry.value  # type: ignore[no-any-return]
        flight = self._under_way(place)
        if flight is None or allow_stale:
            lives = check_ttl(state.ttl if ttl is None else ttl)
            stale_for = state.policy.stale_for if allow_stale else _NO_TIME
            found = await self._find(key, stale_for, lives)
            if found is not None:
                if state.clock() >= found.refresh_at:
                    self._filling(key, compute, ttl, tags, cache_none).refresh()
                return found.value  # type: ignore[no-any-return]
        state.counters.misses += 1
        flight = self._under_way(place)
        if flight is not None:
            # Whoever computes waits for as long as it takes; the others rather do it themselves.
            state.counters.waits += 1
            patience = state.policy.wait.total_seconds()
        else:
            flight = self._filling(key, compute, ttl, tags, cache_none).depart()
            patience = None
        if await flight.arrived(patience):
            state.counters.waits += flight.found is not None and patience is None
            return flight.result()
        state.counters.fills += 1
        return await compute()

    async def warm(self, limit: int = 100) -> int:
        """Take the entries that were used most into memory; returns how many there were."""
        state = self._state
        drops = state.memory.drops(self._owner.buckets)
        asked = state.clock()
        hottest = await state.table.hottest(self._owner.scope, limit)
        # The hottest last, so that they are the last to make room.
        for digest, found in reversed(hottest):
            state.remember(
                (self._name, digest),
                found,
                owner=self._owner,
                digest=digest,
                asked=asked,
                ttl=state.ttl,
                drops=drops,
            )
        return len(hottest)

    async def invalidate(
        self, key: K | None = None, *, tag: str | None = None, document_id: UUID | str | None = None
    ) -> int:
        """Drop an entry, those with a tag, those made from a document, or (without any) all.

        Of this user; in `Caches.shared` a tag, a document or nothing is about everybody. Returns
        how many were stored. What is being made meanwhile is not cached, and every process is told
        to forget. Raises what the database raises: whoever drops something has to know.
        """
        if sum(given is not None for given in (key, tag, document_id)) > 1:
            raise InvalidInput("an entry, a tag or a document is dropped: name one of them")
        kind = self._state.kind
        digest = None if key is None else self._digest(key)
        everybody = self._owner.user_id is None and digest is None
        told: dict[str, Any] = {} if everybody else {"user_id": SHARED_USER}
        tell = queries.cache_changes.tell_all if everybody else queries.cache_changes.tell
        async with self._owner.scope.transaction() as transaction:
            dropped = await self._drop(transaction, digest, tag, document_id)
            await transaction.value(tell, **told, caches=[kind.name])
        self._state.memory.drop(None if everybody else self._owner.buckets[0])
        return dropped

    def statistics(self) -> CacheFigures:
        """What this process has seen of the cache, of all users together."""
        return self._state.figures()

    async def _drop(
        self, scope: Scope, digest: bytes | None, tag: str | None, document_id: UUID | str | None
    ) -> int:
        kind = self._state.kind
        owner: dict[str, Any] = {} if digest is None else {"user_id": SHARED_USER, "key": digest}
        # First the fills under way: what they have stored before this is dropped after it.
        await scope.count(queries.cache_fill_leases.revoke, cache=kind.name, **owner)
        if digest is not None:
            return 0 if await scope.value(kind.queries.delete, **owner) is None else 1
        if tag is not None:
            return await scope.count(kind.queries.invalidate_by_tag, tag=check_tag(tag))
        if document_id is None:
            return await scope.count(kind.queries.invalidate_all)
        if not hasattr(kind.queries, "invalidate_by_document"):
            raise InvalidInput(f"nothing in the {kind.name} cache is made from documents")
        identifier = check_id(document_id, "document_id")
        return await scope.count(kind.queries.invalidate_by_document, document_id=identifier)

    def _under_way(self, place: Place) -> Flight[V] | None:
        """The fill of a key in this process, if its value may be given to who asks now."""
        flight = self._state.flights.get(place)
        if flight is None or not flight.joinable:
            return None
        # What began before the entries were dropped is for those who asked before.
        return flight if flight.drops == self._state.memory.drops(self._owner.buckets) else None

    def _digest(self, key: K) -> bytes:
        self._state.kind.check_key(key)
        return key.digest()

    def _filling(
        self,
        key: K,
        compute: Callable[[], Awaitable[V | None]],
        ttl: timedelta | None,
        tags: Iterable[str],
        cache_none: bool,
    ) -> Filling[K, V]:
        return Filling(
            self._state,
            self._owner,
            place=(self._name, key),
            key=key,
            digest=self._digest(key),
            compute=compute,
            ttl=check_ttl(self._state.ttl if ttl is None else ttl),
            tags=check_tags(tags),
            cache_none=cache_none,
        )

    async def _find(self, key: K, stale_for: timedelta, ttl: timedelta) -> Remembered | None:
        """The entry of a key in the table, or in memory where it was warmed; counted as a hit."""
        state = self._state
        digest = self._digest(key)
        place = (self._name, key)
        if state.memory.lie_at_digests:
            warmed = state.memory.move((self._name, digest), place)
            if warmed is None and state.kind.is_the_same_for_all:
                warmed = state.memory.peek(("", digest))
            if warmed is not None and state.is_usable(warmed):
                state.counters.memory_hits += 1
                state.count_hit(warmed)
                return warmed
        drops = state.memory.drops(self._owner.buckets)
        asked = state.clock()
        if stale_for:
            found = await state.table.look(self._owner.scope, digest, stale_for)
        else:
            found = await state.reads.look(self._owner, digest)
        if found is None:
            return None
        if found.remaining > 0:
            state.counters.database_hits += 1
        else:
            state.counters.stale_hits += 1
        entry = state.remember(
            place,
            found,
            owner=self._owner,
            digest=digest,
            asked=asked,
            ttl=ttl,
            drops=drops,
        )
        state.count_database_hit(entry)
        return entry


def _parts(items: list[T], most: int) -> Iterator[list[T]]:
    """The items in their order, so many at a time."""
    return (items[first : first + most] for first in range(0, len(items), most))
