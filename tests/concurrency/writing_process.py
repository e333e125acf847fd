"""A process of its own that records turns; run by test_conversations.py."""

from __future__ import annotations

import asyncio
import sys

from clonedb import Database, NewTurn, UserScope


async def record(scope: UserScope, session_id: str, turns: int) -> None:
    for _ in range(turns):
        await scope.conversation_sessions.record_turn(
            session_id, NewTurn(user_transcript="Hello", llm_response="Hi", total_latency_ms=3)
        )


async def main(dsn: str, user_id: str, session_id: str, writers: int, turns: int) -> None:
    async with Database(dsn, maximum_connections=writers) as database:
        print("ready", flush=True)  # noqa: T201
        await asyncio.to_thread(sys.stdin.readline)
        scope = database.as_user(user_id)
        await asyncio.gather(*(record(scope, session_id, turns) for _ in range(writers)))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:4], *map(int, sys.argv[4:])))
