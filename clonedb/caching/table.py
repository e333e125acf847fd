"""The second tier: one cache's table, asked and filled on behalf of the tiers together."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final, Generic, NamedTuple, TypeVar
from uuid import UUID

import msgspec

from clonedb import queries
from clonedb.adapters import ByteStrings, Uuids
from clonedb.caching.figures import Counters
from clonedb.caching.guard import Guard
from clonedb.caching.keys import CacheKey
from clonedb.caching.kinds import Kind
from clonedb.caching.owner import Owner
from clonedb.repositories.cache_table import SHARED_USER
from clonedb.scope import Scope
from clonedb.scopes import DatabaseScope

K = TypeVar("K", bound=CacheKey)
V = TypeVar("V", bound=msgspec.Struct)


_FRESH: Final[dict[str, Any]] = {"with_stale": False}


class Found(NamedTuple):
    """What a look found; `value` is None where it is known that there is none.

    `remaining` is the seconds for which it stays fresh; below 0 it expired so long ago.
    """

    value: Any
    remaining: float
    shared: bool


class Put(NamedTuple):
    """What is to be stored of a value, whose it is, and for how long."""

    scope: Scope
    columns: dict[str, Any]
    ttl: timedelta


class Table(Generic[K, V]):
    """One cache's table; a call that the database fails returns None and is counted."""

    __slots__ = ("_counters", "_guard", "_kind", "_queries")

    def __init__(self, kind: Kind[K, V], guard: Guard, counters: Counters) -> None:
        self._kind = kind
        self._guard = guard
        self._counters = counters
        self._queries = kind.queries

    @property
    def read_together(self) -> int:
        """How many values of this cache one statement reads at most."""
        return self._kind.read_together

    def _failed(self) -> None:
        self._counters.failures += 1

    async def look(
        self, scope: Scope, digest: bytes, stale_for: timedelta | None = None
    ) -> Found | None:
        """The entry of a key, also one that expired no longer ago than that."""
        stale = {"with_stale": True, "stale": stale_for} if stale_for else _FRESH
        rows = await self._guard.attempt(
            lambda: scope.rows(self._queries.look, **_owner(scope), key=digest, **stale),
            self._failed,
            "look",
        )
        if not rows:
            return None
        remaining, shared, *columns = rows[0]
        return Found(self._value(*columns), remaining, shared)

    async def look_each(
        self, database: DatabaseScope, asked: Mapping[tuple[str, bytes], Owner]
    ) -> dict[tuple[str, bytes], Found]:
        """What `look` finds for each user and key, in one statement."""
        rows = await self._guard.attempt(
            lambda: database._rows_of_users(
                {name for name, _ in asked if name},
                self._queries.look_each,
                user_ids=Uuids([owner.id_bytes for owner in asked.values()]),
                keys=ByteStrings([digest for _, digest in asked]),
            ),
            self._failed,
            "look",
        )
        places, value = list(asked), self._value
        return {
            places[place - 1]: Found(value(*columns), remaining, shared)
            for place, remaining, shared, *columns in rows or ()
        }

    async def hottest(self, scope: Scope, limit: int) -> list[tuple[bytes, Found]]:
        """The entries that were used most, with their digests."""
        rows = await self._guard.attempt(
            lambda: scope.rows(self._queries.hottest, **_owner(scope), limit=limit),
            self._failed,
            "look",
        )
        return [
            (digest, Found(self._value(*columns), remaining, shared))
            for digest, remaining, shared, *columns in rows or ()
        ]

    async def put(
        self, scope: Scope, digest: bytes, columns: dict[str, Any], ttl: timedelta, tags: list[str]
    ) -> bool | None:
        """Store a value; False where the same is stored with half its time left."""
        rows = await self._guard.attempt(
            lambda: scope.rows(
                self._queries.put, **_owner(scope), key=digest, **columns, ttl=ttl, tags=tags
            ),
            self._failed,
            "put",
        )
        return None if rows is None else bool(rows)

    async def put_each(self, puts: dict[bytes, Put]) -> dict[bytes, bool]:
        """`put` of one user's values without tags, all or none; empty where the database failed."""
        scope = next(iter(puts.values())).scope
        columns: dict[str, list[Any]] = {
            plural: kind(put.columns[name] for put in puts.values())
            for name, (plural, kind) in self._kind.put_each.items()
        }
        rows = await self._guard.attempt(
            lambda: scope.rows(
                self._queries.put_each,
                **_owner(scope),
                keys=ByteStrings(puts),
                **columns,
                seconds=[put.ttl.total_seconds() for put in puts.values()],
            ),
            self._failed,
            "put",
        )
        if rows is None:
            return {}
        stored = {digest for (digest,) in rows}
        return {digest: digest in stored for digest in puts}

    async def fill(
        self,
        scope: Scope,
        digest: bytes,
        columns: dict[str, Any],
        ttl: timedelta,
        tags: list[str],
        holder: UUID,
    ) -> bool | None:
        """Store what was made under a lease; False where it is older than a change."""
        rows = await self._guard.attempt(
            lambda: scope.rows(
                self._queries.fill,
                **_owner(scope),
                key=digest,
                **columns,
                ttl=ttl,
                tags=tags,
                holder=holder,
            ),
            self._failed,
            "fill",
        )
        return None if rows is None else bool(rows)

    async def take_lease(
        self, scope: Scope, digest: bytes, holder: UUID, seconds: float
    ) -> bool | None:
        """Whether the lease of a key is the holder's now."""
        return await self._lease(
            queries.cache_fill_leases.take, scope, digest, holder, seconds=seconds
        )

    async def renew_lease(
        self, scope: Scope, digest: bytes, holder: UUID, seconds: float
    ) -> bool | None:
        """Whether the lease is still the holder's, and ends so many seconds from now."""
        return await self._lease(
            queries.cache_fill_leases.renew, scope, digest, holder, seconds=seconds
        )

    async def release_lease(self, scope: Scope, digest: bytes, holder: UUID) -> None:
        """Let another one make the value."""
        await self._lease(queries.cache_fill_leases.release, scope, digest, holder)

    async def record_hits(self, scope: Scope, hits: dict[bytes, int]) -> None:
        """Add hits that were counted in memory."""
        await self._guard.attempt(
            lambda: scope.count(
                self._queries.record_hits,
                **_owner(scope),
                keys=ByteStrings(hits),
                hits=list(hits.values()),
            ),
            self._failed,
            "hits",
        )

    async def _lease(
        self, query: Any, scope: Scope, digest: bytes, holder: UUID, **arguments: float
    ) -> bool | None:
        rows = await self._guard.attempt(
            lambda: scope.rows(
                query,
                **_owner(scope),
                cache=self._kind.name,
                key=digest,
                holder=holder,
                **arguments,
            ),
            self._failed,
            "lease",
        )
        return None if rows is None else bool(rows)

    def _value(self, first: Any, *others: Any) -> V | None:
        return None if first is None else self._kind.value(first, *others)


def _owner(scope: Scope) -> dict[str, UUID]:
    return {} if scope.user_id is not None else {"user_id": SHARED_USER}
