"""One of the processes of a stampede: a dsn, a number of callers and an event loop are given to it.

Each line that it reads names a user and a number, whose embedding all its callers want at once; it
answers with how often it had to make it.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Final
from uuid import UUID

from clonedb import Database
from clonedb.caching.caches import Caches
from clonedb.caching.values import Embedding
from tests.benchmarks.peers.cached_material import Entry

# What a model takes at least; the other processes are in the midst of their calls meanwhile.
_MAKING_SECONDS: Final = 0.05
# Whom the database does not answer in time makes the value alone, as it should; not here, however
# busy the machine is.
_PATIENCE: Final = 10


async def _serve(dsn: str, callers: int) -> None:
    loop = asyncio.get_running_loop()
    async with Database(dsn) as database, Caches(database, patience=_PATIENCE) as caches:
        while (line := await loop.run_in_executor(None, sys.stdin.readline)).strip():
            made = 0
            if line.strip() != "ready":
                user_id, number = line.split()
                made = await _want(caches, Entry(UUID(user_id), int(number)), callers)
            sys.stdout.write(f"{made}\n")
            sys.stdout.flush()


async def _want(caches: Caches, entry: Entry, callers: int) -> int:
    made = 0

    async def make() -> Embedding:
        nonlocal made
        made += 1
        await asyncio.sleep(_MAKING_SECONDS)
        return entry.embedding()

    cache, key = caches.of(entry.user_id).embedding, entry.embedding_key()
    found = await asyncio.gather(*(cache.get_or_compute(key, make) for _ in range(callers)))
    if found != [entry.embedding()] * callers:
        raise AssertionError("a caller has another value")
    return made


def _main() -> None:
    dsn, callers, loop = sys.argv[1:]
    factory = None
    if loop == "uvloop":
        import uvloop

        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(_serve(dsn, int(callers)))


if __name__ == "__main__":
    _main()
