"""Drops the months of turns that are over; says each step, and waits for a line before the next."""

from __future__ import annotations

import asyncio
import sys
from datetime import datetime

from clonedb.lanes.owner import connect_as_owner
from clonedb.retention import drop_expired_months


async def main(dsn: str, now: datetime) -> None:
    async with connect_as_owner(dsn) as owner:
        sys.stdout.write("connected\n")
        sys.stdout.flush()
        async for step in drop_expired_months(owner, "conversation_turns", now=now):
            sys.stdout.write(f"{step.did} {step.month}\n")
            sys.stdout.flush()
            sys.stdin.readline()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], datetime.fromisoformat(sys.argv[2])))
