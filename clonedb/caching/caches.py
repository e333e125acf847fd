"""The four caches of a process: opened beside a Database, closed before it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from functools import lru_cache
from types import TracebackType
from typing import Annotated, Any, Final, Self
from uuid import UUID

from msgspec import Meta

from clonedb import queries
from clonedb.caching.background import Background
from clonedb.caching.cache import Cache
from clonedb.caching.figures import CacheFigures
from clonedb.caching.guard import Guard
from clonedb.caching.hits import HitRecorder
from clonedb.caching.keys import AudioChunkKey, EmbeddingKey, LlmResponseKey, VectorSearchKey
from clonedb.caching.kinds import KINDS, Kind
from clonedb.caching.owner import Owner
from clonedb.caching.policy import CachePolicy
from clonedb.caching.state import CacheState
from clonedb.caching.values import AudioChunk, Embedding, LlmResponse, VectorSearch
from clonedb.database import Database
from clonedb.errors import DatabaseClosed, InvalidInput
from clonedb.repositories.caches import CacheName
from clonedb.scope import Scope
from clonedb.validation import convert

# Where processes are told what was dropped: the caches' initials, and `:` and a bucket, or not.
CHANNEL: Final = "clonedb_caches"

# How many expired entries a process removes at once, of whichever user: more than it has stored
# meanwhile (see STORED_BETWEEN), since processes stop and leave theirs behind.
_REMOVED_AT_ONCE: Final = 200

# Of as many users a process asks at a time: making what `of` gives costs a tenth of a read.
_USERS_AT_HAND: Final = 4_096

# A minute is what is shown by dashboards; a crash loses so much of the counts.
RECORDING_SECONDS: Final = 10.0

_Seconds = Annotated[float, Meta(gt=0, le=3_600)]


class UserCaches:
    """The four caches of one user, or the shared entries."""

    __slots__ = (
        "_owner",
        "_states",
        "audio_chunk",
        "embedding",
        "llm_response",
        "vector_search",
    )

    def __init__(self, states: Mapping[CacheName, CacheState[Any, Any]], scope: Scope) -> None:
        self._states = states
        self._owner = owner = Owner(scope)
        self.embedding: Final[Cache[EmbeddingKey, Embedding]] = Cache(states["embedding"], owner)
        self.vector_search: Final[Cache[VectorSearchKey, VectorSearch]] = Cache(
            states["vector_search"], owner
        )
        self.llm_response: Final[Cache[LlmResponseKey, LlmResponse]] = Cache(
            states["llm_response"], owner
        )
        self.audio_chunk: Final[Cache[AudioChunkKey, AudioChunk]] = Cache(
            states["audio_chunk"], owner
        )

    async def warm(self, limit: int = 100) -> int:
        """Take each cache's entries that were used most into memory; returns how many there were.

        At a user's login, say; in `Caches.shared` when a service starts.
        """
        counts = [await Cache(state, self._owner).warm(limit) for state in self._states.values()]
        return sum(counts)

    async def invalidate(self, *, tag: str | None = None) -> int:
        """Drop what bears a tag, or everything, in the four caches; returns how many there were."""
        counts = [
            await Cache(state, self._owner).invalidate(tag=tag) for state in self._states.values()
        ]
        return sum(counts)


class Caches:
    """The tiers of the four caches, for a process: `async with Caches(database) as caches:`.

    `policies` says how a cache behaves whose default does not suit. `patience` is how many seconds
    the database may take before a cache goes on without it. Without `notifications` (behind
    pgbouncer, say) nothing is kept in memory. `clock` is what counts as now in memory, in seconds.
    """

    def __init__(
        self,
        database: Database,
        *,
        policies: Mapping[CacheName, CachePolicy] | None = None,
        patience: float = 0.5,
        recording: float = RECORDING_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        given = dict(policies or {})
        self._database = database
        self._background = Background()
        self._recording = convert(recording, _Seconds, "recording")
        self._guard = Guard(convert(patience, _Seconds, "patience"))
        self._states: dict[CacheName, CacheState[Any, Any]] = {}
        for kind in KINDS:
            policy = given.pop(kind.name, CachePolicy())
            if not isinstance(policy, CachePolicy):
                raise InvalidInput(f"the policy of {kind.name} is no CachePolicy")
            self._states[kind.name] = self._state(kind, policy, clock)
        if given:
            raise InvalidInput(f"no cache is called {', '.join(map(repr, given))}")
        self._recorder = HitRecorder(database, self._states, self._guard)
        self._unsubscribe: Callable[[], None] | None = None
        # They hold nothing of a user but the id.
        self._users = lru_cache(_USERS_AT_HAND)(self._of)

    def _state(
        self, kind: Kind[Any, Any], policy: CachePolicy, clock: Callable[[], float]
    ) -> CacheState[Any, Any]:
        return CacheState(
            kind,
            policy,
            self._database,
            guard=self._guard,
            background=self._background,
            tidy=self._tidy,
            clock=clock,
        )

    async def open(self) -> Self:
        """Listen to what is dropped; the Database has to be open."""
        if self._unsubscribe is None:
            for state in self._states.values():
                state.memory.open()
            self._unsubscribe = self._database.notifications.subscribe(
                CHANNEL, self._received, self._forget
            )
            self._background.start(self._record())
        return self

    async def close(self) -> None:
        """End what runs in the background and record the hits that are not; again is a no-op."""
        unsubscribe, self._unsubscribe = self._unsubscribe, None
        if unsubscribe is not None:
            unsubscribe()
            await self._background.cancel()
            await self._recorder.record()
            # Also of processes that live too briefly to store a hundred values.
            if any(state.has_stored for state in self._states.values()):
                await self._guard.attempt(self._remove_expired, lambda: None, "trim")
            for state in self._states.values():
                state.memory.close()

    async def __aenter__(self) -> Self:
        return await self.open()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    def of(self, user_id: UUID | str) -> UserCaches:
        """The caches of one user; InvalidInput for what is not a UUID of version 7."""
        self._check_open()
        try:
            return self._users(user_id)
        except TypeError:
            return self._of(user_id)  # what cannot be hashed is refused with a better word

    def _of(self, user_id: UUID | str) -> UserCaches:
        return UserCaches(self._states, self._database.as_user(user_id))

    @property
    def shared(self) -> UserCaches:
        """The entries that everybody reads, and that the worker login alone writes."""
        self._check_open()
        return UserCaches(self._states, self._database)

    def statistics(self) -> list[CacheFigures]:
        """What this process has seen of each cache since it was opened."""
        return [state.figures() for state in self._states.values()]

    async def record(self) -> None:
        """Record the hits and the figures in the database now, and not within ten seconds."""
        await self._recorder.record()

    def _check_open(self) -> None:
        if self._unsubscribe is None:
            raise DatabaseClosed(
                "the caches are not open", remedy="use `async with Caches(database) as caches:`"
            )

    def _received(self, payload: str) -> None:
        caches, _, bucket = payload.partition(":")
        for state in self._states.values():
            if state.kind.initial in caches:
                state.memory.drop(bucket or None)

    def _forget(self) -> None:
        for state in self._states.values():
            state.memory.drop()

    async def _record(self) -> None:
        while True:
            await asyncio.sleep(self._recording)
            await self._recorder.record()

    def _tidy(self) -> None:
        self._background.start(self._guard.attempt(self._remove_expired, lambda: None, "trim"))

    async def _remove_expired(self) -> None:
        await self._database.rows(queries.caches.trim, limit=_REMOVED_AT_ONCE)
