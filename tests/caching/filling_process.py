"""A process of its own that wants one value of a cache; run by test_filling_processes.py.

Says "begun" when it computes, and at the end what it got and how often it computed.
"""

from __future__ import annotations

import asyncio
import json
import sys
from datetime import timedelta

from clonedb import Database
from clonedb.caching.caches import Caches
from clonedb.caching.keys import LlmResponseKey
from clonedb.caching.policy import CachePolicy
from clonedb.caching.values import LlmResponse


async def main(dsn: str, user_id: str, name: str, callers: int, seconds: float) -> None:
    runs = 0

    async def compute() -> LlmResponse:
        nonlocal runs
        runs += 1
        print("begun", flush=True)  # noqa: T201
        await asyncio.sleep(seconds)
        return LlmResponse(name)

    policy = CachePolicy(lease=timedelta(seconds=0.5))
    async with (
        Database(dsn) as database,
        Caches(database, policies={"llm_response": policy}, patience=10) as caches,
    ):
        print("ready", flush=True)  # noqa: T201
        await asyncio.to_thread(sys.stdin.readline)
        cache = caches.of(user_id).llm_response
        key = LlmResponseKey(provider="gpt-4-turbo", prompt="what?")
        found = await asyncio.gather(
            *(cache.get_or_compute(key, compute) for _ in range(callers)), return_exceptions=True
        )
        answers = [getattr(each, "response", repr(each)) for each in found]
        print(json.dumps({"answers": answers, "runs": runs}), flush=True)  # noqa: T201


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:4], int(sys.argv[4]), float(sys.argv[5])))
