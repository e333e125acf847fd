"""Seals the audit log in many small batches, and says so after each, until it is killed."""

from __future__ import annotations

import asyncio
import sys

from clonedb import Database
from clonedb.audit import seal


async def main(dsn: str) -> None:
    async with Database(dsn) as worker:
        async for cut in seal(worker, limit=1):
            sys.stdout.write(f"{cut}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
