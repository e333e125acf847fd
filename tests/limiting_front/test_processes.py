"""64 callers in 4 processes, who share their calls: never more than capacity and refill."""

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from ground import as_superuser
from limiting import PutRule

from clonedb import Database, NewUser, User
from clonedb.testing import IsolatedDatabase

CALLERS, PROCESSES = 16, 4


async def start(
    database: IsolatedDatabase, pairs: list[tuple[str, str]], **plan: Any
) -> list[asyncio.subprocess.Process]:
    """Processes that wait for a line before they begin."""
    started = [
        await asyncio.create_subprocess_exec(
            sys.executable,
            str(Path(__file__).with_name("front_process.py")),
            json.dumps(
                {
                    "dsn": database.dsn("clonedb_app"),
                    "pairs": pairs,
                    "first": number * 5,
                    "step": number % 2 or -1,  # so that they meet the keys in other orders
                    "callers": CALLERS,
                    "tell": False,
                    **plan,
                }
            ),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        for number in range(PROCESSES)
    ]
    for process in started:
        assert process.stdout is not None
        assert await process.stdout.readline() == b"ready\n"
    return started


async def run(
    database: IsolatedDatabase, pairs: list[tuple[str, str]], **plan: Any
) -> tuple[Counter[str], int, float]:
    """How often each pair was admitted, how many calls there were, and in how many seconds."""
    started = await start(database, pairs, **plan)
    with as_superuser(database) as clock:
        begin = clock.execute("SELECT clock_timestamp()").fetchone()
        outputs = await asyncio.gather(*(process.communicate(b"go\n") for process in started))
        end = clock.execute("SELECT clock_timestamp()").fetchone()
    assert begin is not None
    assert end is not None
    assert [process.returncode for process in started] == [0] * PROCESSES
    admitted: Counter[str] = Counter()
    calls = 0
    for output, _ in outputs:
        told = json.loads(output)
        admitted.update(told["admitted"])
        calls += told["calls"]
    return admitted, calls, (end[0] - begin[0]).total_seconds()


def counted(database: IsolatedDatabase) -> tuple[int, int]:
    """What was counted by minute, of everybody: admitted and denied."""
    with as_superuser(database) as connection:
        row = connection.execute(
            "SELECT sum(request_count)::bigint, sum(denied_count)::bigint FROM clonedb.rate_limits"
        ).fetchone()
    assert row is not None
    return row[0], row[1]


@pytest.mark.parametrize("remembering", [False, True], ids=["", "remembering"])
async def test_one_key_gives_its_capacity_and_refill_and_every_call_is_counted(
    rule: PutRule, ada: User, migrated: IsolatedDatabase, remembering: bool
) -> None:
    await rule("user", 100, 150)
    options = {"remember_denials": 0.5} if remembering else {}
    admitted, calls, seconds = await run(migrated, [(str(ada.id), "talk")], seconds=3, **options)
    assert 100 <= admitted.total() <= 100 + 150 * seconds
    assert calls > 10 * admitted.total()
    assert counted(migrated) == (admitted.total(), calls - admitted.total())


async def test_many_keys_give_what_their_rules_hold_together(
    rule: PutRule, worker: Database, migrated: IsolatedDatabase
) -> None:
    users = [await worker.users.create(NewUser(email=f"u{n}@example.com")) for n in range(8)]
    pairs = [(str(user.id), endpoint) for user in users for endpoint in ("talk", "draw", "sing")]
    pairs += [(f"192.0.2.{number}", "talk") for number in range(4)]
    await rule("user", 30, 5)
    await rule("user", 10, 2, endpoint="talk")
    await rule("endpoint", 60, 10)
    await rule("address", 8, 1)
    await rule("everybody", 120, 15)
    admitted, calls, seconds = await run(migrated, pairs, seconds=3)
    assert 120 <= admitted.total() <= 120 + 15 * seconds
    assert calls > admitted.total()
    for endpoint in ("talk", "draw", "sing"):
        got = sum(n for pair, n in admitted.items() if pair.endswith(endpoint))
        assert got <= 60 + 10 * seconds
    for user in users:
        assert admitted[f"{user.id} talk"] <= 10 + 2 * seconds
        others = admitted[f"{user.id} draw"] + admitted[f"{user.id} sing"]
        assert others <= 30 + 5 * seconds
    for number in range(4):
        assert admitted[f"192.0.2.{number} talk"] <= 8 + seconds


async def test_a_process_that_is_killed_takes_no_more_than_it_was_given(
    rule: PutRule, ada: User, migrated: IsolatedDatabase
) -> None:
    await rule("user", 400, 100)
    await rule("everybody", 10_000)
    with as_superuser(migrated) as clock:
        begin = clock.execute("SELECT clock_timestamp()").fetchone()
        started = await start(migrated, [(str(ada.id), "talk")], seconds=1.5, tell=True)
        for process in started:
            assert process.stdin is not None
            process.stdin.write(b"go\n")
            await process.stdin.drain()
        await asyncio.sleep(0.3)
        for process in started[:2]:
            process.kill()
        outputs = await asyncio.gather(*(process.communicate() for process in started))
        end = clock.execute("SELECT clock_timestamp()").fetchone()
    assert begin is not None
    assert end is not None
    told = sum(output.count(b"1\n") for output, _ in outputs)
    seconds = (end[0] - begin[0]).total_seconds()
    # What was granted to a caller who was killed before saying so is lost, and nothing is minted.
    admitted, _ = counted(migrated)
    assert told <= admitted <= 400 + 100 * seconds
    assert admitted - told <= 2 * CALLERS
    assert [process.returncode for process in started[2:]] == [0, 0]
