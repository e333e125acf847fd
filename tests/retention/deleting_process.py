"""Deletes documents one by one, and says so after each, until it is killed."""

from __future__ import annotations

import asyncio
import sys
from datetime import UTC, datetime, timedelta

from clonedb import Database
from clonedb.retention import delete_expired


async def main(dsn: str, days: int) -> None:
    now = datetime.now(UTC) + timedelta(days=days)
    async with Database(dsn) as worker:
        async for rows in delete_expired(worker, "deleted_knowledge_documents", now=now, batch=1):
            sys.stdout.write(f"{rows}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
