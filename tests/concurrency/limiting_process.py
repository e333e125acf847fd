"""A process of its own that takes tokens; run by test_rate_limits.py.

Reads a plan of JSON from its first argument and prints who was admitted how often.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter
from typing import Any

from clonedb import Database


async def call(database: Database, subject: str, endpoint: str, plan: dict[str, Any]) -> int:
    """How many of the caller's requests were admitted; an address has no dash."""
    admitted = 0
    for _ in range(plan["calls"]):
        if "-" in subject:
            decision = await database.as_user(subject).rate_limits.take(endpoint)
        else:
            decision = await database.rate_limits.take(endpoint, address=subject)
        admitted += decision.allowed
    return admitted


async def main(plan: dict[str, Any]) -> None:
    callers = plan["callers"]
    admitted: Counter[str] = Counter()
    async with Database(
        plan["dsn"], minimum_connections=callers, maximum_connections=callers
    ) as database:
        print("ready", flush=True)  # noqa: T201
        await asyncio.to_thread(sys.stdin.readline)
        pairs = [
            plan["pairs"][(number + plan["first"]) % len(plan["pairs"])]
            for number in range(callers)
        ]
        counts = await asyncio.gather(
            *(call(database, subject, endpoint, plan) for subject, endpoint in pairs)
        )
        for (subject, endpoint), count in zip(pairs, counts, strict=True):
            admitted[f"{subject} {endpoint}"] += count
    print(json.dumps(admitted))  # noqa: T201


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1])))
