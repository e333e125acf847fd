"""A process of its own that takes tokens through the front; run by test_processes.py.

Reads a plan of JSON from its first argument; prints a line whenever somebody was admitted, or
at the end who was admitted how often.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import Counter
from typing import Any

from clonedb import Database, Limits


async def main(plan: dict[str, Any]) -> None:
    admitted: Counter[str] = Counter()
    calls = 0
    options = {"remember_denials": plan.get("remember_denials", 0)}
    async with Database(plan["dsn"]) as database, Limits(database, **options) as limits:
        print("ready", flush=True)  # noqa: T201
        await asyncio.to_thread(sys.stdin.readline)
        until = time.monotonic() + plan["seconds"]

        async def caller(number: int) -> None:
            nonlocal calls
            while time.monotonic() < until:
                subject, endpoint = plan["pairs"][number % len(plan["pairs"])]
                number += plan["step"]
                of = limits.of_user(subject) if "-" in subject else limits.of_address(subject)
                decision = await of.take(endpoint)
                calls += 1
                if decision.allowed:
                    admitted[f"{subject} {endpoint}"] += 1
                    if plan["tell"]:
                        print(1, flush=True)  # noqa: T201

        await asyncio.gather(*(caller(plan["first"] + number) for number in range(plan["callers"])))
    if not plan["tell"]:
        print(json.dumps({"admitted": admitted, "calls": calls}))  # noqa: T201


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1])))
