"""A process of its own that activates models; run by test_activation.py."""

from __future__ import annotations

import asyncio
import sys

from clonedb import Database


async def main(dsn: str, user_id: str, table: str, *ids: str) -> None:
    async with Database(dsn, maximum_connections=len(ids)) as database:
        print("ready", flush=True)  # noqa: T201
        await asyncio.to_thread(sys.stdin.readline)
        models = getattr(database.as_user(user_id), table)
        for _ in range(5):
            await asyncio.gather(*(models.activate(id) for id in ids))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
