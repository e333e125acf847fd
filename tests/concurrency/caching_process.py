"""A process of its own that caches embeddings; run by test_caches.py."""

from __future__ import annotations

import asyncio
import sys
from hashlib import sha256

from clonedb import Database, UserScope


async def put(scope: UserScope, writer: int, times: int) -> None:
    for time in range(times):
        key = sha256(str(time % 5).encode()).digest()
        await scope.caches.embedding.put(key, embedding=[writer * 1_000.0 + time] * 64, model="m")


async def main(dsn: str, user_id: str, process: int, writers: int, times: int) -> None:
    async with Database(dsn, maximum_connections=writers) as database:
        print("ready", flush=True)  # noqa: T201
        await asyncio.to_thread(sys.stdin.readline)
        scope = database.as_user(user_id)
        await asyncio.gather(
            *(put(scope, process * writers + writer, times) for writer in range(writers))
        )


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:3], *map(int, sys.argv[3:])))
