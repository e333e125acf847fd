"""A process that stores, reads or deletes objects, run by the tests to be killed or measured.

`ready` says that it is where it is wanted: half way through an upload, before a download, or with a
claim of the outbox.
"""

from __future__ import annotations

import asyncio
import resource
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID

from clonedb import Database, ObjectStore, queries

PIECE = bytes(1024 * 1024)


async def main(what: str, dsn: str, folder: str, *arguments: str) -> None:
    store = ObjectStore(folder)
    async with Database(dsn) as database:
        await {"put": put, "download": download, "measure": measure, "work_off": work_off}[what](
            store, database, *arguments
        )


async def half(mebibytes: int) -> AsyncIterator[bytes]:
    for _ in range(mebibytes):
        yield PIECE
    await say_ready()
    await asyncio.Event().wait()


async def put(store: ObjectStore, database: Database, user_id: str, name: str) -> None:
    await store.of(database.as_user(UUID(user_id))).put("voice_model", name, half(50))


async def download(
    store: ObjectStore, database: Database, user_id: str, name: str, path: str
) -> None:
    await say_ready()
    await store.of(database.as_user(UUID(user_id))).download("voice_model", name, path)


async def measure(
    store: ObjectStore, database: Database, user_id: str, mebibytes: str, path: str
) -> None:
    """Prints by how many bytes the process has grown while it stored, streamed and downloaded."""
    objects = store.of(database.as_user(UUID(user_id)))
    await objects.put("voice_model", "small", PIECE)
    await objects.download("voice_model", "small", path)
    before = peak()

    async def source() -> AsyncIterator[bytes]:
        for _ in range(int(mebibytes)):
            yield PIECE

    await objects.put("voice_model", "large", source())
    async with objects.open("voice_model", "large") as reader:
        async for _ in reader:
            pass
    await objects.download("voice_model", "large", path)
    await say_ready()
    print(peak() - before, flush=True)  # noqa: T201


async def work_off(store: ObjectStore, database: Database, behaviour: str) -> None:
    if behaviour == "claims":
        # What work_off does first; a kill anywhere later leaves no more than this.
        await database.count(
            queries.object_deletions.claim_due, limit=100, lease_seconds=600, now=None
        )
        await say_ready()
        await asyncio.Event().wait()
    await say_ready()
    while (await store.work_off(database, limit=5)).claimed:
        pass


async def say_ready() -> None:
    print("ready", flush=True)  # noqa: T201


def peak() -> int:
    """The most memory that the process has had, in bytes."""
    status = Path("/proc/self/status")
    if status.exists():
        # What getrusage says begins with the most that the parent had.
        (line,) = (each for each in status.read_text().splitlines() if each.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
