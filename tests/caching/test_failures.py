"""Whatever is wrong with the database: who asks a cache gets the value, soon, and it is counted."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from channels import until
from ground import as_superuser
from tiers import (
    FORGETFUL,
    Making,
    Process,
    a_process,
    answer,
    execute,
    listening,
    question,
    stored,
)

from clonedb import (
    ClonedbError,
    Database,
    InvalidInput,
    NewUser,
    Unavailable,
    User,
    migrate,
)
from clonedb.caching.guard import PAUSE_SECONDS, Guard
from clonedb.embedded import EmbeddedServer
from clonedb.postgres.accounts import account_for
from clonedb.testing import SUPERUSER, IsolatedDatabase

PATIENCE = 0.3


@asynccontextmanager
async def locked(database: IsolatedDatabase, table: str) -> AsyncIterator[None]:
    """Somebody alters a table, and nobody else reads it."""
    with psycopg.connect(database.dsn(SUPERUSER)) as connection:
        connection.execute(f"LOCK clonedb.{table} IN ACCESS EXCLUSIVE MODE".encode())
        yield


@asynccontextmanager
async def broken(database: IsolatedDatabase, how: str, undo: str) -> AsyncIterator[None]:
    execute(database, how)
    yield
    execute(database, undo)


TROUBLES: dict[str, Callable[[IsolatedDatabase], Any]] = {
    "the table is locked": lambda database: locked(database, "llm_response_cache"),
    "the leases are locked": lambda database: locked(database, "cache_fill_leases"),
    "the changes are locked": lambda database: locked(database, "cache_changes"),
    "the table is missing": lambda database: broken(
        database,
        "ALTER TABLE clonedb.llm_response_cache RENAME TO gone",
        "ALTER TABLE clonedb.gone RENAME TO llm_response_cache",
    ),
    "the leases are missing": lambda database: broken(
        database,
        "ALTER TABLE clonedb.cache_fill_leases RENAME TO gone",
        "ALTER TABLE clonedb.gone RENAME TO cache_fill_leases",
    ),
    "the changes are missing": lambda database: broken(
        database,
        "ALTER TABLE clonedb.cache_changes RENAME TO gone",
        "ALTER TABLE clonedb.gone RENAME TO cache_changes",
    ),
    "a column is missing": lambda database: broken(
        database,
        "ALTER TABLE clonedb.llm_response_cache RENAME response TO gone",
        "ALTER TABLE clonedb.llm_response_cache RENAME gone TO response",
    ),
    "it is forbidden": lambda database: broken(
        database,
        "REVOKE SELECT ON clonedb.llm_response_cache FROM clonedb_app",
        "GRANT SELECT ON clonedb.llm_response_cache TO clonedb_app",
    ),
    "the disk is full": lambda database: broken(
        database,
        """
        CREATE FUNCTION clonedb.full() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN RAISE 'No space left on device' USING ERRCODE = 'disk_full'; END $$;
        CREATE TRIGGER full_disk BEFORE INSERT OR UPDATE OR DELETE ON clonedb.llm_response_cache
        FOR EACH STATEMENT EXECUTE FUNCTION clonedb.full()
        """,
        "DROP TRIGGER full_disk ON clonedb.llm_response_cache; DROP FUNCTION clonedb.full()",
    ),
}


@pytest.mark.parametrize("trouble", TROUBLES.values(), ids=TROUBLES)
async def test_a_value_is_computed_within_the_patience_and_the_failure_counted(
    migrated: IsolatedDatabase, ada: User, trouble: Callable[[IsolatedDatabase], Any]
) -> None:
    async with (
        a_process(migrated.dsn("clonedb_app"), policy=FORGETFUL, patience=PATIENCE) as process,
        trouble(migrated),
    ):
        cache = process.caches.of(ada.id).llm_response
        begun = time.monotonic()
        for number in range(20):
            making = Making(answer(number))
            assert await cache.get_or_compute(question(), making) == answer(number)
            assert making.runs == 1
        # The patience once, and then nobody asks for a second; what is left is a busy machine.
        assert time.monotonic() - begun < PATIENCE + PAUSE_SECONDS - 0.1
        assert await cache.get(question()) is None
        assert await cache.put(question("put"), answer()) is False
        assert await cache.warm() == 0
        assert process.figures().failures > 0
        await process.caches.record()


@pytest.mark.parametrize("table", ["llm_response_cache", "cache_fill_leases"])
async def test_whoever_drops_something_is_told_that_it_failed(
    migrated: IsolatedDatabase, ada: User, table: str
) -> None:
    async with a_process(migrated.dsn("clonedb_app"), patience=PATIENCE) as process:
        cache = process.caches.of(ada.id).llm_response
        await cache.put(question(), answer())
        execute(migrated, f"ALTER TABLE clonedb.{table} RENAME TO gone")
        calls: list[Callable[[], Awaitable[int]]] = [
            lambda: cache.invalidate(question()),
            lambda: cache.invalidate(tag="a"),
            lambda: cache.invalidate(),
            lambda: process.caches.of(ada.id).invalidate(),
        ]
        try:
            for call in calls:
                with pytest.raises(ClonedbError):
                    await call()
        finally:
            execute(migrated, f"ALTER TABLE clonedb.gone RENAME TO {table}")


async def test_statements_that_time_out_are_failures(migrated: IsolatedDatabase, ada: User) -> None:
    async with (
        a_process(migrated.dsn("clonedb_app"), statement_timeout=0.1) as process,
        locked(migrated, "llm_response_cache"),
    ):
        cache = process.caches.of(ada.id).llm_response
        assert await cache.get_or_compute(question(), Making()) == answer()
        assert process.figures().failures > 0


async def test_nobody_asks_during_the_pause_and_one_failure_is_told_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    now, calls, failures = 0.0, 0, 0

    async def call() -> int:
        nonlocal calls
        calls += 1
        if now < 10:
            raise Unavailable("gone")
        return 7

    def failed() -> None:
        nonlocal failures
        failures += 1

    guard = Guard(1, clock=lambda: now)
    for _ in range(5):
        assert await guard.attempt(call, failed) is None
    assert (calls, failures) == (1, 5)
    now = PAUSE_SECONDS
    assert await guard.attempt(call, failed) is None
    assert (calls, failures) == (2, 6)
    now = 20
    assert await guard.attempt(call, failed) == 7
    assert await guard.attempt(call, failed) == 7
    assert failures == 6
    assert [record.message for record in caplog.records] == [
        "a cache in the database is not used: gone",
        "the caches in the database are used again",
    ]


async def test_what_is_a_caller_s_own_fault_does_not_stop_the_caches_for_the_others(
    here: Process, backstage: Process, ada: User, grace: User, migrated: IsolatedDatabase
) -> None:
    """A user who was deleted and goes on asking; an app that writes what is shared."""
    await backstage.database.users.delete(grace.id)
    faults: list[Callable[[], Awaitable[Any]]] = [
        lambda: here.caches.of(grace.id).llm_response.get_or_compute(question(), Making()),
        lambda: here.caches.of(grace.id).llm_response.put(question(), answer()),
        lambda: here.caches.shared.llm_response.put(question(), answer()),
        lambda: here.caches.shared.llm_response.get_or_compute(question(), Making()),
    ]
    cache = here.caches.of(ada.id).llm_response
    for number, fault in enumerate(faults):
        await fault()
        assert await cache.put(question(f"{number}"), answer()), number


async def test_a_bad_argument_is_told_and_stops_nothing(here: Process, ada: User) -> None:
    cache = here.caches.of(ada.id).llm_response
    for limit in (-1, "many", 2**70):
        with pytest.raises(InvalidInput):
            await cache.warm(limit)  # type: ignore[arg-type]
    assert await cache.put(question(), answer())


class FragileServer:
    """A server of its own that is killed as if the machine had been switched off."""

    def __init__(self, server: EmbeddedServer) -> None:
        assert server._cluster is not None
        self._cluster = server._cluster
        self.database = IsolatedDatabase(server, "clonedb")

    async def kill(self) -> None:
        pid_file = self._cluster.data / "postmaster.pid"
        os.kill(int(pid_file.read_text().split()[0]), signal.SIGQUIT)
        await until(lambda: not pid_file.exists())

    async def start(self) -> None:
        await asyncio.to_thread(self._cluster.ensure_running, binaries=None, durable=True)


@pytest.fixture
def fragile() -> Iterator[FragileServer]:
    with (
        tempfile.TemporaryDirectory(prefix="clonedb-") as folder,
        EmbeddedServer(Path(folder), durable=True) as server,
    ):
        migrate.apply(server.dsn("clonedb_migrator"))
        yield FragileServer(server)


async def test_a_server_that_is_killed_and_comes_back_fails_no_call_and_leaves_nothing_old(
    fragile: FragileServer,
) -> None:
    """The caches are empty after the crash, and so is what a process remembers."""
    database = fragile.database
    async with Database(database.dsn("clonedb_worker")) as worker:
        ada = await worker.users.create(NewUser(email="ada@example.com"))
    async with a_process(database.dsn("clonedb_app"), patience=PATIENCE, pool_timeout=1) as process:
        cache = process.caches.of(ada.id).llm_response
        held = Making(answer("held"), held=True)
        filling = asyncio.create_task(cache.get_or_compute(question("held"), held))
        await held.begun.wait()
        await cache.put(question(), answer("old"))
        await fragile.kill()
        await until(lambda: not process.trusted)
        assert process.figures().memory_entries == 0
        for number in range(3):
            making = Making(answer(number))
            assert await cache.get_or_compute(question(), making) == answer(number)
        with pytest.raises(ClonedbError):
            await cache.invalidate(question())
        await fragile.start()
        held.go_on.set()
        assert await filling == answer("held")
        await until(lambda: process.trusted)
        assert await cache.get(question()) is None
        await asyncio.sleep(PAUSE_SECONDS)
        assert await cache.put(question(), answer("new"))
        assert await cache.get(question()) == answer("new")
        assert process.figures().failures > 0


@contextmanager
def small_disk() -> Iterator[Path]:
    """A file system of 400 kB, for the account of the server."""
    with tempfile.TemporaryDirectory(prefix="clonedb-") as name:
        folder = Path(name)
        account = account_for(folder)
        options = f"size=400k,uid={account.uid},gid={account.gid},mode=700"
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", name]
        if os.geteuid() != 0 or shutil.which("mount") is None:
            pytest.skip("root alone mounts a small disk")
        if subprocess.run(command, check=False, capture_output=True).returncode:
            pytest.skip("no file system may be mounted here")
        try:
            yield folder
        finally:
            subprocess.run(["umount", "-l", name], check=True)


async def test_a_disk_that_is_really_full_fails_no_call(
    migrated: IsolatedDatabase, ada: User
) -> None:
    with small_disk() as folder, as_superuser(migrated) as superuser:
        superuser.execute("TRUNCATE clonedb.llm_response_cache")
        superuser.execute(f"CREATE TABLESPACE small LOCATION '{folder}'".encode())
        try:
            superuser.execute("ALTER TABLE clonedb.llm_response_cache SET TABLESPACE small")
            async with a_process(migrated.dsn("clonedb_app"), policy=FORGETFUL) as process:
                cache = process.caches.of(ada.id).llm_response
                for number in range(10):
                    value = answer(os.urandom(50_000).hex())
                    made = await cache.get_or_compute(question(f"{number}"), Making(value))
                    assert made == value
                assert process.figures().failures > 0
                assert 1 <= stored(migrated) < 10
                assert await cache.get_or_compute(question(), Making()) == answer()
        finally:
            superuser.execute("ALTER TABLE clonedb.llm_response_cache SET TABLESPACE pg_default")
            superuser.execute("DROP TABLESPACE small")


async def test_events_are_told_also_while_nobody_can_be_told(
    migrated: IsolatedDatabase, here: Process, ada: User
) -> None:
    """A listener that does not read its notifications holds up nobody."""
    async with listening(migrated):
        for _ in range(50):
            await here.caches.of(ada.id).llm_response.invalidate()
