"""What channels owe to the server, to memory and to the operator."""

from __future__ import annotations

import asyncio
import gc
import logging
import tempfile
import threading
from pathlib import Path

import psycopg
import pytest
from channels import (
    ONE_OF_EACH,
    PATIENT,
    ask,
    ask_one,
    channels_of,
    connected,
    figures,
    reading,
    until,
)
from ground import as_superuser, someone_waits_for_a_lock

from clonedb import AlreadyExists, Database, InvalidInput, NewUser, Unavailable, User, UserPatch
from clonedb.lanes import pipeline
from clonedb.testing import IsolatedDatabase


async def test_one_member_that_fails_does_not_keep_the_others_from_groups(
    migrated: IsolatedDatabase, ada: User
) -> None:
    async with connected(
        migrated.dsn("clonedb_worker"), **PATIENT, read_channels=1, write_channels=1
    ) as database:
        users = database.group_commit().users
        refused = 0

        async def create(number: int) -> None:
            nonlocal refused
            # One in 64 of every round is refused.
            email = ada.email if number % 64 == 0 else f"user{number}@example.com"
            try:
                await users.create(NewUser(email=email))
            except AlreadyExists:
                refused += 1

        await asyncio.gather(*(create(number) for number in range(1_024)))
        syncs = sum(each.syncs for each in figures(database, "group commit"))
        alone = sum(each.syncs for each in figures(database, "write"))
        assert refused == 16
        assert await database.users.count() == 1 + 1_008
        # Without regard to who has failed, half of them would have gone alone.
        assert alone <= 150
        assert syncs <= 100


async def test_what_is_too_slow_for_one_user_stays_quick_for_the_others(
    migrated: IsolatedDatabase,
) -> None:
    slow = reading("SELECT pg_sleep($1::double precision) IS NOT NULL", "seconds")
    async with connected(migrated.dsn("clonedb_worker"), **ONE_OF_EACH) as database:
        users = await database.users.create_many(
            [NewUser(email=f"user{number}@example.com") for number in range(5)]
        )
        scopes = [database.as_user(user.id) for user in users]

        def pooled() -> int:
            return database.pool_statistics().requests

        assert await ask_one(scopes[0], slow, 0.5) is True
        before = pooled()
        for scope in scopes[1:]:
            assert await ask_one(scope, slow, 0.0) is True
        assert pooled() == before
        assert await ask_one(scopes[0], slow, 0.0) is True
        assert pooled() == before + 1
        # Once it is so for several, it is the statement.
        # One after the other: a call that waits behind a slow one is not known to be slow itself.
        for scope in scopes[1:3]:
            await ask_one(scope, slow, 0.5)
        before = pooled()
        assert await ask_one(scopes[4], slow, 0.0) is True
        assert pooled() == before + 1


async def test_a_server_that_falls_silent_at_the_first_statement_is_given_up(
    migrated: IsolatedDatabase, ada: User
) -> None:
    """It answers the start of a connection and then no more, until it comes to itself."""
    fields = psycopg.conninfo.conninfo_to_dict(migrated.dsn())
    name = f".s.PGSQL.{fields.get('port', 5432)}"
    server = str(Path(str(fields["host"])) / name)
    tasks: list[asyncio.Task[None]] = []
    awake = asyncio.Event()

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.append(task)
        server_reader, server_writer = await asyncio.open_unix_connection(server)
        server_writer.write(await reader.read(65_536))
        writer.write(await server_reader.read(65_536))

        async def forward(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
            while data := await source.read(65_536):
                if awake.is_set():
                    sink.write(data)
            sink.close()

        await asyncio.gather(forward(reader, server_writer), forward(server_reader, writer))

    with tempfile.TemporaryDirectory(prefix="clonedb-") as folder:
        async with await asyncio.start_unix_server(pass_on, str(Path(folder) / name)):
            awake.set()
            dsn = psycopg.conninfo.make_conninfo(migrated.dsn(), host=folder)
            async with Database(
                dsn, connection_timeout=0.3, group_channels=0, write_channels=0, read_channels=2
            ) as database:
                awake.clear()
                second = channels_of(database)[1]
                second.begin_to_connect()
                await until(lambda: second.statistics().connections_lost > 0)
                awake.set()
                await until(lambda: second.connected and not second.load)
                assert await database.as_user(ada.id).users.count() == 1
            await asyncio.gather(*tasks)


async def test_a_server_that_takes_no_writes_is_not_stormed(
    migrated: IsolatedDatabase, ada: User
) -> None:
    async with connected(migrated.dsn("clonedb_worker"), **ONE_OF_EACH) as database:
        with as_superuser(migrated) as connection:
            connection.execute("ALTER ROLE clonedb_worker SET default_transaction_read_only = on")
            connection.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
                "WHERE usename = 'clonedb_worker'"
            )
        try:
            (before,) = figures(database, "write")
            loop = asyncio.get_running_loop()
            end = loop.time() + 2
            while loop.time() < end:
                with pytest.raises(Unavailable):
                    await database.users.update(ada.id, UserPatch(name="never"))
                await asyncio.sleep(0.005)
            (after,) = figures(database, "write")
            assert after.connections_made - before.connections_made <= 8
        finally:
            with as_superuser(migrated) as connection:
                connection.execute("ALTER ROLE clonedb_worker RESET default_transaction_read_only")


async def test_the_last_answer_is_not_kept(migrated: IsolatedDatabase, ada: User) -> None:
    async with connected(migrated.dsn("clonedb_app"), **PATIENT, **ONE_OF_EACH) as database:
        scope = database.as_user(ada.id)
        await ask(scope, reading("SELECT repeat('secret ', $1::integer)", "times"), 1_000)
        await asyncio.sleep(0)
        results = [
            each.ntuples
            for each in gc.get_objects()
            if isinstance(each, psycopg.pq.PGresult) and each.ntuples
        ]
        assert results == []
        rows = [await ask_one(scope, reading("SELECT 7 AS a")) for _ in range(3)]
        assert rows == [7, 7, 7]


async def test_a_connection_with_many_statements_is_made_anew(
    migrated: IsolatedDatabase, ada: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "PREPARED_STATEMENTS", 20)
    async with connected(migrated.dsn("clonedb_app"), **PATIENT, **ONE_OF_EACH) as database:
        scope = database.as_user(ada.id)
        for number in range(50):
            assert await ask_one(scope, reading(f"SELECT {number}")) == number
            await until(lambda: figures(database, "read")[0].connected)
        (channel,) = figures(database, "read")
        assert 2 <= channel.connections_made <= 4


async def test_another_threads_event_loop_is_refused_before_anything_is_sent(
    migrated: IsolatedDatabase, ada: User
) -> None:
    async with connected(migrated.dsn("clonedb_worker"), **ONE_OF_EACH) as database:
        caught: list[BaseException] = []

        def elsewhere() -> None:
            try:
                asyncio.run(database.users.update(ada.id, UserPatch(name="never")))
            except InvalidInput as error:
                caught.append(error)

        thread = threading.Thread(target=elsewhere)
        thread.start()
        await asyncio.to_thread(thread.join)
        assert "event loop" in str(caught[0])
        assert (await database.users.get_by_id(ada.id)).name == "Ada"


async def test_closing_waits_for_what_a_channel_gave_to_the_pool(
    migrated: IsolatedDatabase, ada: User
) -> None:
    database = await Database(migrated.dsn("clonedb_worker")).open()
    with psycopg.connect(migrated.dsn("clonedb_superuser")) as locker:
        locker.execute("SELECT FROM clonedb.users FOR UPDATE")
        waiting = asyncio.create_task(database.users.update(ada.id, UserPatch(name="in time")))
        await someone_waits_for_a_lock(migrated)
        await asyncio.sleep(0.1)  # past the channel's lock timeout
        closing = asyncio.create_task(database.close())
        await asyncio.sleep(0.05)
        locker.rollback()
        await closing
    assert (await waiting).name == "in time"


async def test_an_operator_is_told_of_a_channel_that_cannot_connect(
    migrated: IsolatedDatabase, ada: User, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="clonedb.channels"):
        async with connected(migrated.dsn("clonedb_worker"), **ONE_OF_EACH) as database:
            with as_superuser(migrated) as connection:
                connection.execute("ALTER ROLE clonedb_worker CONNECTION LIMIT 2")
                connection.execute(
                    "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
                    "WHERE usename = 'clonedb_worker' AND query LIKE '%set_config%'"
                )
            try:
                await until(lambda: any(each.failure for each in database.channel_statistics()))
                health = await database.health()
                assert any("cannot connect" in problem for problem in health.problems)
            finally:
                with as_superuser(migrated) as connection:
                    connection.execute("ALTER ROLE clonedb_worker CONNECTION LIMIT -1")
            await until(lambda: not any(each.failure for each in database.channel_statistics()))
            assert (await database.health()).ok
    levels = {record.levelname for record in caplog.records}
    assert levels == {"INFO", "WARNING"}
    assert "clonedb_worker" in caplog.text
