"""One process at a time makes a value, and when it is killed another one does."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from asyncio.subprocess import PIPE, Process
from pathlib import Path
from typing import Any

from tiers import Making, a_process, answer, leases, ms, question, rows, stored

from clonedb import User
from clonedb.testing import IsolatedDatabase

LEASE_SECONDS = 0.5


async def start(
    database: IsolatedDatabase, user: User, name: str, *, callers: int = 1, seconds: float = 0
) -> Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        str(Path(__file__).with_name("filling_process.py")),
        database.dsn("clonedb_app"),
        *map(str, (user.id, name, callers, seconds)),
        stdin=PIPE,
        stdout=PIPE,
    )


async def says(process: Process, line: str) -> None:
    assert process.stdout is not None
    assert (await process.stdout.readline()).decode() == f"{line}\n"


async def end(process: Process) -> Any:
    output, _ = await process.communicate(b"\n")
    assert process.returncode == 0
    return json.loads(output.splitlines()[-1])


async def test_200_callers_in_4_processes_compute_a_cold_key_once(
    migrated: IsolatedDatabase, ada: User
) -> None:
    processes = [
        await start(migrated, ada, str(number), callers=50, seconds=0.3) for number in range(4)
    ]
    for process in processes:
        await says(process, "ready")
    found = await asyncio.gather(*(end(process) for process in processes))
    assert sum(each["runs"] for each in found) == 1
    answers = [text for each in found for text in each["answers"]]
    assert len(answers) == 200
    assert len(set(answers)) == 1
    assert rows(migrated, "SELECT response FROM clonedb.llm_response_cache") == [(answers[0],)]
    assert leases(migrated) == 0


async def test_a_killed_filler_is_followed_by_another_when_its_lease_is_over(
    migrated: IsolatedDatabase, ada: User
) -> None:
    killed = await start(migrated, ada, "killed", seconds=3_600)
    await says(killed, "ready")
    assert killed.stdin is not None
    killed.stdin.write(b"\n")
    await says(killed, "begun")
    async with a_process(migrated.dsn("clonedb_app"), policy={"lease": ms(500)}) as process:
        cache = process.caches.of(ada.id).llm_response
        making = Making(answer("second"))
        waiting = asyncio.create_task(cache.get_or_compute(question("what?"), making))
        # Longer than the lease: the filler keeps it for as long as it lives.
        await asyncio.sleep(2 * LEASE_SECONDS)
        assert making.runs == 0
        killed.kill()
        started = time.monotonic()
        assert await waiting == answer("second")
        assert making.runs == 1
        # The lease, and the pause between two looks; what is left is a busy machine.
        assert time.monotonic() - started < 4 * LEASE_SECONDS
    await killed.communicate()
    assert stored(migrated) == 1
