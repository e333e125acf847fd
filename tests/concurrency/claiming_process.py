"""A worker process that claims and finishes documents; run by test_claims.py.

It prints what it claimed and finished. One that `dies` says that it is stuck with its second
batch, and waits to be killed.
"""

from __future__ import annotations

import asyncio
import sys

from clonedb import Database

BATCH = 25


async def main(dsn: str, name: str, behaviour: str, lease_seconds: float) -> None:
    async with Database(dsn, minimum_connections=4, maximum_connections=4) as database:
        queue = database.knowledge_documents
        say("ready")
        await asyncio.to_thread(sys.stdin.readline)
        batches = 0
        while True:
            claims = await queue.claim_pending(
                worker=name, limit=BATCH, lease_seconds=lease_seconds
            )
            batches += 1
            for claim in claims:
                say(f"claimed {claim.id} {claim.attempts}")
            if behaviour == "dies" and batches == 2:
                say("stuck")
                await asyncio.Event().wait()
            if not claims:
                waiting = await queue.statistics()
                if waiting.pending == waiting.processing == 0:
                    return
                await asyncio.sleep(0.1)
            for first in range(0, len(claims), 4):
                await asyncio.gather(
                    *(
                        queue.finish(claim, vector_ids=[f"{claim.id}/0"])
                        for claim in claims[first : first + 4]
                    )
                )
            for claim in claims:
                say(f"finished {claim.id}")


def say(line: str) -> None:
    print(line, flush=True)  # noqa: T201


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], sys.argv[3], float(sys.argv[4])))
