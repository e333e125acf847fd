"""`clonedb maintain`: upkeep from a scheduler, or never."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from datetime import date
from typing import Any

import msgspec
import psycopg
from cached import KINDS, expire, key_of, rows_of
from ground import as_superuser
from policies import switched_on

from clonedb import Database, NewUser, User
from clonedb.testing import IsolatedDatabase


def maintain(database: IsolatedDatabase, *options: str, code: int = 0) -> list[dict[str, Any]]:
    finished = subprocess.run(
        [sys.executable, "-m", "clonedb", "maintain", "--json", *options],
        env={
            "DATABASE_URL": database.dsn("clonedb_worker"),
            "CLONEDB_MIGRATOR_URL": database.dsn("clonedb_migrator"),
            "PATH": "",
        },
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert finished.stderr == ""
    assert finished.returncode == code
    return [msgspec.json.decode(line) for line in finished.stdout.splitlines()]


async def test_it_removes_what_nobody_can_read_and_nothing_else(
    worker: Database, ada: User, grace: User, migrated: IsolatedDatabase
) -> None:
    for kind in KINDS:
        for number, user in enumerate((ada, grace)):
            await kind.put(worker.as_user(user.id), key_of(str(number)), number)
        expire(migrated, kind)
        await kind.put(worker.as_user(ada.id), key_of("fresh"), 1)
    await worker.as_user(ada.id).rate_limits.take("talk")
    with as_superuser(migrated) as connection:
        connection.execute(
            "UPDATE clonedb.rate_limits SET window_start = window_start - interval '40 days'"
        )
        connection.execute(
            "UPDATE clonedb.rate_limit_buckets SET refilled_at = refilled_at - interval '2 hours'"
        )
    done = {step["step"]: step["rows"] for step in await asyncio.to_thread(maintain, migrated)}
    assert done == {
        "turn_months_ahead": 0,
        "audit_months_ahead": 0,
        "cache_entries": 8,
        "rate_limit_buckets": 2,
        "rate_limit_receipts": 0,
        "cache_use": 0,
        "rate_limits": 1,
        "erasure_receipts": 0,
        "audit_entries": 2,  # two people have signed up
    }
    for kind in KINDS:
        assert [key for _, key in rows_of(migrated, kind)] == [key_of("fresh")]
    again = {step["step"]: step["rows"] for step in await asyncio.to_thread(maintain, migrated)}
    assert set(again.values()) == {0}


async def test_two_at_once_remove_each_row_once(
    worker: Database, ada: User, migrated: IsolatedDatabase
) -> None:
    with as_superuser(migrated) as connection:
        connection.execute(
            "INSERT INTO clonedb.embedding_cache (user_id, key, embedding, model, dimensions, "
            "expires_at) SELECT %s, sha256(i::text::bytea), '\\x0000803f', 'm', 1, now() "
            "FROM generate_series(1, 5000) AS i",
            [ada.id],
        )
    runs = await asyncio.gather(*(asyncio.to_thread(maintain, migrated) for _ in range(2)))
    done = [step for run in runs for step in run]
    assert sum(step["rows"] for step in done if step["step"] == "cache_entries") == 5_000
    assert sum(step["rows"] for step in done if step["step"] == "audit_entries") == 1
    assert rows_of(migrated, KINDS[0]) == []


async def test_embeddings_that_enough_users_hold_are_shared_and_only_those(
    app: Database, worker: Database, migrated: IsolatedDatabase
) -> None:
    users = [await worker.users.create(NewUser(email=f"{n}@example.com")) for n in range(4)]
    *holders, newcomer = users
    for user in holders:
        cache = app.as_user(user.id).caches.embedding
        await cache.put(key_of("common"), embedding=[1.0], model="m", tags=["mine"])
        await cache.put(key_of("differs"), embedding=[float(users.index(user))], model="m")
    for user in holders[:2]:
        await app.as_user(user.id).caches.embedding.put(key_of("two"), embedding=[2.0], model="m")
    expire(migrated, KINDS[0])
    done = await asyncio.to_thread(maintain, migrated, "--share-embeddings", "3")
    (shared,) = [step for step in done if step["step"] == "shared_embeddings"]
    assert shared["rows"] == 1
    theirs = app.as_user(newcomer.id).caches.embedding
    found = await theirs.get(key_of("common"))
    assert found is not None
    assert (list(found.vector()), found.shared, found.tags) == ([1.0], True, [])
    assert await theirs.get(key_of("two")) is None
    assert await theirs.get(key_of("differs")) is None


async def test_months_that_are_missing_are_made(
    worker: Database, migrated: IsolatedDatabase
) -> None:
    with as_superuser(migrated) as connection:
        newest = connection.execute(
            "SELECT i.inhrelid::regclass::text FROM pg_inherits AS i "
            "WHERE i.inhparent = 'clonedb.conversation_turns'::regclass ORDER BY 1 DESC LIMIT 3"
        ).fetchall()
        for (month,) in newest:
            connection.execute(f"DROP TABLE {month}".encode())
    assert (await worker.health()).turn_months_ahead == 21
    runs = await asyncio.gather(*(asyncio.to_thread(maintain, migrated) for _ in range(2)))
    made = [step["rows"] for run in runs for step in run if step["step"] == "turn_months_ahead"]
    assert sorted(made) == [0, 3]
    assert (await worker.health()).turn_months_ahead == 24


async def test_a_long_reader_holds_a_month_up_and_the_command_says_so_in_time(
    worker: Database, migrated: IsolatedDatabase
) -> None:
    await worker.create_turn_months(date(2011, 1, 1), months=1)

    def of_turns(steps: list[dict[str, Any]]) -> dict[str, Any]:
        (found,) = (step for step in steps if step["step"] == "conversation_turns")
        return found

    with switched_on(migrated, "conversation_turns"):
        with psycopg.connect(migrated.dsn("clonedb_worker")) as reader:
            reader.execute("SELECT count(*) FROM clonedb.conversation_turns")
            (would,) = [
                step
                for step in await asyncio.to_thread(maintain, migrated, "--dry-run")
                if step["rows"]
            ]
            assert (would["step"], would["months"]) == ("conversation_turns", ["2011-01"])
            held_up = of_turns(
                await asyncio.to_thread(maintain, migrated, "--patience", "0.5", code=1)
            )
            assert held_up["months"] == []
            assert "a transaction that began before is still open" in held_up["problem"]
            assert held_up["seconds"] < 5
        done = of_turns(await asyncio.to_thread(maintain, migrated))
    assert (done["rows"], done["months"], done["problem"]) == (1, ["2011-01"], None)
