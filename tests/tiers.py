"""What the tests of the caches share: keys and values, processes that cache, and named steps."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from itertools import combinations
from typing import Any, Final, NamedTuple, TypeVar
from uuid import UUID

import psycopg
from channels import until
from ground import as_superuser

from clonedb import Database
from clonedb.caching.cache import Cache
from clonedb.caching.caches import Caches, UserCaches
from clonedb.caching.gathering import GatheredReads
from clonedb.caching.keys import (
    AudioChunkKey,
    CacheKey,
    EmbeddingKey,
    LlmResponseKey,
    VectorSearchKey,
)
from clonedb.caching.memory import bucket_of
from clonedb.caching.policy import CachePolicy
from clonedb.caching.values import AudioChunk, Embedding, LlmResponse, VectorSearch
from clonedb.repositories.caches import CacheName
from clonedb.testing import SUPERUSER, IsolatedDatabase

Step = TypeVar("Step")

# What a test waits for that must not come.
A_MOMENT: Final = 0.05


class Sample(NamedTuple):
    """A cache, with a key and a value of it for each number."""

    name: CacheName
    key: Callable[[int], CacheKey]
    value: Callable[[int], Any]

    def of(self, caches: UserCaches) -> Cache[Any, Any]:
        cache: Cache[Any, Any] = getattr(caches, self.name)
        return cache


SAMPLES: Final[Sequence[Sample]] = (
    Sample(
        "embedding",
        lambda number: EmbeddingKey(f"text {number}", "small"),
        lambda number: Embedding.of([float(number), 0.5]),
    ),
    Sample(
        "vector_search",
        lambda number: VectorSearchKey(vector=[float(number), 1.0], index="main", limit=5),
        lambda number: VectorSearch.of([{"number": number}]),
    ),
    Sample("llm_response", lambda number: question(f"question {number}"), lambda n: answer(n)),
    Sample(
        "audio_chunk",
        lambda number: AudioChunkKey(
            text=f"words {number}",
            provider="openai-tts",
            voice_model_id=None,
            format="opus",
            sample_rate=48_000,
        ),
        lambda number: AudioChunk(str(number).encode(), 20),
    ),
)


def question(prompt: str = "what?", **fields: Any) -> LlmResponseKey:
    return LlmResponseKey(provider="gpt-4-turbo", prompt=prompt, **fields)


def answer(text: object = "42", *document_ids: UUID) -> LlmResponse:
    return LlmResponse(str(text), document_ids)


class Clock:
    """The process's clock, which can be put forward."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self.ahead


class Making:
    """A computation that counts its runs and, where `held`, goes on when it is let go."""

    def __init__(
        self, value: Any = None, *, held: bool = False, fails: BaseException | None = None
    ):
        self.value = answer() if value is None else value
        self.fails = fails
        self.runs = 0
        self.cancelled = 0
        self.begun = asyncio.Event()
        self.go_on = asyncio.Event()
        if not held:
            self.go_on.set()

    async def __call__(self) -> Any:
        self.runs += 1
        value = self.value  # the data as they are when it begins
        self.begun.set()
        try:
            await self.go_on.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self.fails is not None:
            raise self.fails
        return value


class Nothing(Making):
    """A computation that finds that there is no value."""

    async def __call__(self) -> None:
        await super().__call__()


class Process(NamedTuple):
    """A Database and its caches: what a process has, of which a test may open several."""

    database: Database
    caches: Caches

    @property
    def trusted(self) -> bool:
        """Whether memory may be used."""
        return time.monotonic() < self.database.notifications.trusted_until

    def figures(self, cache: CacheName = "llm_response") -> Any:
        return next(each for each in self.caches.statistics() if each.cache == cache)


@asynccontextmanager
async def a_process(
    dsn: str,
    *,
    policy: Mapping[str, Any] | None = None,
    trusted: bool = True,
    clock: Callable[[], float] = time.monotonic,
    patience: float = 5,
    **settings: Any,
) -> AsyncIterator[Process]:
    """One that is open; `policy` is that of each cache, and memory is used from the start."""
    policies: dict[CacheName, CachePolicy] = {
        sample.name: CachePolicy(**(policy or {})) for sample in SAMPLES
    }
    async with (
        Database(dsn, **settings) as database,
        Caches(
            database, policies=policies, patience=patience, clock=clock, recording=3_600
        ) as caches,
    ):
        process = Process(database, caches)
        if trusted:
            await until(lambda: process.trusted)
        yield process


# The policy of a process that remembers nothing: each of its reads is one of the table.
FORGETFUL: Final[Mapping[str, Any]] = {"memory_entries": 0}
# None whose values are made anew before they expire.
LATE: Final[Mapping[str, Any]] = {"refresh_ahead": 0.0, "jitter": 0.0}


class Steps:
    """Named places at which what runs waits until the test lets it go on."""

    def __init__(self) -> None:
        self._may: dict[str, asyncio.Event] = defaultdict(asyncio.Event)
        self._done: dict[str, asyncio.Event] = defaultdict(asyncio.Event)

    @asynccontextmanager
    async def step(self, name: str) -> AsyncIterator[None]:
        """The block is a step; the second time it has been let go on already."""
        await self.wait(name)
        yield
        self.done(name)

    async def wait(self, name: str) -> None:
        await self._may[name].wait()

    def done(self, name: str) -> None:
        self._done[name].set()

    async def take(self, name: str, database: IsolatedDatabase) -> None:
        """Let a step be taken; returns when it is over, or waits for a lock."""
        self._may[name].set()
        async with asyncio.timeout(10):
            while not self._done[name].is_set():
                with suppress(TimeoutError):
                    async with asyncio.timeout(0.02):
                        await self._done[name].wait()
                    return
                if waiters(database):
                    return


class SteppedTable:
    """A cache's table whose first look, lease and fill are steps."""

    def __init__(self, table: Any, steps: Steps) -> None:
        self._table = table
        self._steps = steps

    def __getattr__(self, name: str) -> Any:
        return getattr(self._table, name)

    async def look(self, *arguments: Any) -> Any:
        async with self._steps.step("look"):
            return await self._table.look(*arguments)

    async def take_lease(self, *arguments: Any) -> Any:
        async with self._steps.step("lease"):
            return await self._table.take_lease(*arguments)

    async def fill(self, *arguments: Any) -> Any:
        async with self._steps.step("fill"):
            return await self._table.fill(*arguments)


def stepped(process: Process, steps: Steps) -> None:
    """Let the fills of LLM responses in a process go step by step."""
    state = process.caches._states["llm_response"]
    table = state.table._table if isinstance(state.table, SteppedTable) else state.table
    state.table = SteppedTable(table, steps)  # type: ignore[assignment]
    state.reads = GatheredReads(state.table, process.database, state.background)


def waiters(database: IsolatedDatabase) -> int:
    """How many statements wait for a lock."""
    (row,) = rows(
        database,
        "SELECT count(*) FROM pg_stat_activity "
        "WHERE datname = current_database() AND wait_event_type = 'Lock'",
    )
    return int(row[0])


def drops(process: Process, user_id: UUID) -> int:
    """How often a process has forgotten a user's LLM responses."""
    memory = process.caches._states["llm_response"].memory
    return memory.drops((bucket_of(user_id),))


def ms(milliseconds: float) -> timedelta:
    return timedelta(milliseconds=milliseconds)


def rows(database: IsolatedDatabase, query: str, *arguments: Any) -> list[tuple[Any, ...]]:
    """What a query says to the superuser."""
    with as_superuser(database) as connection:
        return connection.execute(query.encode(), arguments).fetchall()


def execute(database: IsolatedDatabase, command: str, *arguments: Any) -> None:
    """A command of the superuser."""
    with as_superuser(database) as connection:
        connection.execute(command.encode(), arguments or None)


def leases(database: IsolatedDatabase) -> int:
    (row,) = rows(database, "SELECT count(*) FROM clonedb.cache_fill_leases")
    return int(row[0])


def stored(database: IsolatedDatabase, cache: CacheName = "llm_response") -> int:
    """How many entries the table has, whether they are read or not."""
    (row,) = rows(database, f"SELECT count(*) FROM clonedb.{cache}_cache")
    return int(row[0])


def expire(database: IsolatedDatabase, seconds: float = 1) -> None:
    """Let every LLM response have expired so many seconds ago."""
    execute(
        database,
        "UPDATE clonedb.llm_response_cache "
        "SET expires_at = clock_timestamp() - make_interval(secs => %s)",
        seconds,
    )


def expire_leases(database: IsolatedDatabase) -> None:
    execute(database, "UPDATE clonedb.cache_fill_leases SET expires_at = now() - interval '1 s'")


@asynccontextmanager
async def listening(database: IsolatedDatabase) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
    """A connection of its own that hears what the processes are told."""
    connection = await psycopg.AsyncConnection.connect(database.dsn(SUPERUSER), autocommit=True)
    async with connection:
        await connection.execute("LISTEN clonedb_caches")
        yield connection


async def heard(connection: psycopg.AsyncConnection[Any]) -> list[str]:
    """The payloads that have come so far."""
    await connection.execute("SELECT")
    return [notice.payload async for notice in connection.notifies(timeout=0)]


def every_order(first: Sequence[Step], second: Sequence[Step]) -> Iterator[tuple[Step, ...]]:
    """All ways to put two lists of steps into one, each in its own order."""
    total = len(first) + len(second)
    for places in combinations(range(total), len(first)):
        ones, twos = iter(first), iter(second)
        yield tuple(next(ones if place in places else twos) for place in range(total))


async def at_once(condition: Callable[[], bool]) -> None:
    """Returns once the condition holds; fails where that takes as long as a lease does."""
    async with asyncio.timeout(2):
        await until(condition)


async def given_way() -> None:
    """Let everything that is ready run."""
    for _ in range(5):
        await asyncio.sleep(0)
