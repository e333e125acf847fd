"""What callers see when connections, servers and time fail them."""

from __future__ import annotations

import asyncio
import os
from contextlib import aclosing
from pathlib import Path

import psycopg
import pytest
from channels import LANES, POOL_ALONE, connected
from ground import nobody_waits_for_a_lock, someone_waits_for_a_lock

from clonedb import (
    ConcurrencyConflict,
    Database,
    DatabaseClosed,
    InvalidInput,
    NewUser,
    NotMigrated,
    OutcomeUnknown,
    ServerTooOld,
    SessionTurn,
    Timeout,
    Unavailable,
    User,
    UserPatch,
    migrate,
)
from clonedb.testing import SUPERUSER, IsolatedDatabase

on_both_lanes = pytest.mark.parametrize("lane", LANES)


async def test_a_closed_database_says_so(migrated: IsolatedDatabase) -> None:
    database = Database(migrated.dsn())
    with pytest.raises(DatabaseClosed):
        await database.users.count()
    async with database:
        assert await database.users.count() == 0
    with pytest.raises(DatabaseClosed):
        await database.users.count()
    await database.close()


async def test_a_database_opens_again_after_closing(migrated: IsolatedDatabase) -> None:
    database = Database(migrated.dsn())
    for _ in range(2):
        async with database:
            assert await database.users.count() == 0


async def test_no_server_is_told_at_once_and_by_name(tmp_path: Path) -> None:
    database = Database(f"host={tmp_path} dbname=clonedb user=clonedb_app")
    with pytest.raises(Unavailable, match=str(tmp_path)):
        await database.open()


async def test_a_wrong_login_is_told_and_the_password_is_not(migrated: IsolatedDatabase) -> None:
    dsn = psycopg.conninfo.make_conninfo(migrated.dsn(), user="nobody_here", password="hunter2")
    database = Database(dsn)
    assert "hunter2" not in repr(database) + repr(database.settings) + str(database.settings)
    with pytest.raises(Unavailable, match="nobody_here") as caught:
        await database.open()
    chain: BaseException | None = caught.value
    while chain is not None:
        assert "hunter2" not in repr(chain) + str(chain)
        chain = chain.__cause__


@pytest.mark.parametrize(
    "dsn",
    [
        "postgresql://user:hunter 2@host:port:1/db",
        "postgresql://user:hunter@2@host/db",
        "postgresql://user:hunter/2@host/db",
        "host",
        "port=five host=x hunter2",
    ],
)
def test_a_dsn_that_is_none_is_refused_without_quoting_it(dsn: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        Database(dsn)
    assert "hunter" not in str(caught.value)


def test_without_a_dsn_the_environment_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DATABASE_URL", raising=False)
    with pytest.raises(InvalidInput, match="DATABASE_URL"):
        Database()
    monkeypatch.setenv("DATABASE_URL", "host=/cloudsql/project:region:instance dbname=clonedb")
    assert Database().settings.target == "host=/cloudsql/project:region:instance dbname=clonedb"


@pytest.mark.parametrize(
    "options",
    [
        {"maximum_connections": 0},
        {"minimum_connections": 5, "maximum_connections": 4},
        {"statement_timeout": 0},
        {"statement_timeout": float("nan")},
        {"pool_timeout": -1},
        {"pool_size": 3},
        {"pgbouncer": "perhaps"},
    ],
)
def test_settings_out_of_range_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(InvalidInput):
        Database("host=/nowhere", **options)


async def test_a_database_without_migrations_names_them(empty_database: IsolatedDatabase) -> None:
    with pytest.raises(NotMigrated, match="0001_create_roles"):
        await Database(empty_database.dsn()).open()


async def test_a_database_migrated_half_way_names_what_is_missing_at_least(
    empty_database: IsolatedDatabase,
) -> None:
    migrate.apply(empty_database.dsn("clonedb_migrator"), target="0018_create_audit")
    with pytest.raises(NotMigrated, match="0019_grant_migrations_table"):
        await Database(empty_database.dsn()).open()


async def test_one_missing_migration_is_named(migrated: IsolatedDatabase) -> None:
    with psycopg.connect(migrated.dsn(SUPERUSER), autocommit=True) as connection:
        connection.execute(
            "DELETE FROM public._yoyo_migration "
            "WHERE migration_id = '0012_create_conversation_turns'"
        )
    with pytest.raises(NotMigrated, match=r"lacks 1 .*0012_create_conversation_turns"):
        await Database(migrated.dsn()).open()
    database = await Database(migrated.dsn()).open(check_migrations=False)
    health = await database.health()
    assert not health.ok
    assert health.missing_migrations == ["0012_create_conversation_turns"]
    await database.close()


async def test_health_warns_before_the_months_run_out(
    app: Database, migrated: IsolatedDatabase
) -> None:
    assert (await app.health()).ok
    with psycopg.connect(migrated.dsn(SUPERUSER), autocommit=True) as connection:
        months = connection.execute(
            "SELECT inhrelid::regclass::text FROM pg_inherits "
            "WHERE inhparent = 'clonedb.conversation_turns'::regclass ORDER BY 1"
        ).fetchall()
        for (month,) in months[3:]:
            connection.execute(psycopg.sql.SQL("DROP TABLE {}").format(psycopg.sql.SQL(month)))
    health = await app.health()
    assert health.turn_months_ahead == 1
    assert "turn partitions" in health.problems[0]


async def test_health_never_raises(app: Database) -> None:
    await app.close()
    health = await app.health()
    assert not health.reachable
    assert health.problems


@on_both_lanes
async def test_a_statement_stops_at_its_timeout(
    migrated: IsolatedDatabase, ada: User, lane: str
) -> None:
    async with connected(migrated.dsn("clonedb_worker"), **LANES[lane]) as database:
        with psycopg.connect(migrated.dsn(SUPERUSER)) as locker:
            locker.execute("SELECT FROM clonedb.users FOR UPDATE")
            with pytest.raises(Timeout, match=r"users.update at sql/users.sql:\d+"):
                await database.within(0.1).users.update(ada.id, UserPatch(name="late"))
        updated = await database.users.update(ada.id, UserPatch(name="in time"))
        assert updated.name == "in time"


async def test_the_timeout_of_one_caller_does_not_stay_on_the_pools_connection(
    migrated: IsolatedDatabase, ada: User
) -> None:
    async with connected(
        migrated.dsn("clonedb_worker"), maximum_connections=1, **POOL_ALONE
    ) as single:
        await single.within(0.05).users.count()
        (timeout,) = await _settings(single, "statement_timeout")
        assert timeout == "0"


async def _settings(database: Database, *names: str) -> list[str]:
    assert database._pool is not None
    async with database._pool.connection() as connection:
        cursor = await connection.execute("SELECT name, setting FROM pg_settings")
        found = dict(await cursor.fetchall())
        return [found[name] for name in names]


@pytest.mark.parametrize("channels", [1, 0])
async def test_the_context_of_one_caller_does_not_stay_on_the_connection(
    migrated: IsolatedDatabase, ada: User, channels: int
) -> None:
    async with connected(
        migrated.dsn("clonedb_app"),
        maximum_connections=1,
        read_channels=channels,
        write_channels=channels,
    ) as single:
        assert await single.as_user(ada.id).users.count() == 1
        assert await single.users.count() == 0
        with pytest.raises(InvalidInput):
            await single.as_user(ada.id).users.update_many([ada.id], UserPatch(name="x" * 300))
        assert await single.users.count() == 0


@on_both_lanes
async def test_a_cancelled_caller_disturbs_nobody(
    migrated: IsolatedDatabase, ada: User, lane: str
) -> None:
    async with connected(
        migrated.dsn("clonedb_worker"), maximum_connections=2, **LANES[lane]
    ) as database:
        with psycopg.connect(migrated.dsn(SUPERUSER)) as locker:
            locker.execute("SELECT FROM clonedb.users FOR UPDATE")
            waiting = asyncio.create_task(database.users.update(ada.id, UserPatch(name="never")))
            await someone_waits_for_a_lock(migrated)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            # The pool cancels the statement; a channel gives it up, and nobody sends it again.
            await nobody_waits_for_a_lock(migrated)
        found = await asyncio.gather(*(database.users.get_by_id(ada.id) for _ in range(20)))
        assert {user.name for user in found} == {"Ada"}


async def test_a_full_pool_is_unavailable_after_its_timeout(
    migrated: IsolatedDatabase, ada: User
) -> None:
    async with (
        connected(
            migrated.dsn(), maximum_connections=1, pool_timeout=0.2, **POOL_ALONE
        ) as database,
        database.as_user(ada.id).transaction(),
    ):
        with pytest.raises(Unavailable, match="no connection became free"):
            await database.users.count()


@on_both_lanes
async def test_killed_connections_are_replaced_and_reads_do_not_notice(
    migrated: IsolatedDatabase, ada: User, lane: str
) -> None:
    async with connected(
        migrated.dsn("clonedb_worker"),
        minimum_connections=4,
        maximum_connections=4,
        **LANES[lane],
    ) as database:
        await asyncio.gather(*(database.users.count() for _ in range(16)))
        with psycopg.connect(migrated.dsn(SUPERUSER), autocommit=True) as killer:
            killer.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
                "WHERE usename = 'clonedb_worker' AND datname = current_database()"
            )
        counts = await asyncio.gather(*(database.users.count() for _ in range(16)))
        assert counts == [1] * 16
        created = await database.users.create(NewUser(email="after@example.com"))
        assert created.email == "after@example.com"


@on_both_lanes
async def test_a_write_whose_connection_died_is_of_unknown_outcome(
    migrated: IsolatedDatabase, ada: User, lane: str
) -> None:
    # Long enough to be killed while it waits for the lock in the channel.
    options = {"channel_lock_timeout": 10, "channel_statement_timeout": 10, **LANES[lane]}
    async with connected(migrated.dsn("clonedb_worker"), **options) as database:
        with psycopg.connect(migrated.dsn(SUPERUSER)) as locker:
            locker.execute("SELECT FROM clonedb.users FOR UPDATE")
            waiting = asyncio.create_task(database.users.update(ada.id, UserPatch(name="never")))
            await someone_waits_for_a_lock(migrated)
            locker.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
                "WHERE usename = 'clonedb_worker' AND wait_event_type = 'Lock'"
            )
            with pytest.raises(OutcomeUnknown):
                await waiting
        assert (await database.users.get_by_id(ada.id)).name == "Ada"


@on_both_lanes
async def test_a_lock_timeout_is_a_conflict_that_may_be_retried(
    migrated: IsolatedDatabase, ada: User, lane: str
) -> None:
    with psycopg.connect(migrated.dsn(SUPERUSER), autocommit=True) as connection:
        connection.execute(
            psycopg.sql.SQL("ALTER DATABASE {} SET lock_timeout = '100ms'").format(
                psycopg.sql.Identifier(migrated.name)
            )
        )
    async with connected(migrated.dsn("clonedb_worker"), **LANES[lane]) as database:
        with psycopg.connect(migrated.dsn(SUPERUSER)) as locker:
            locker.execute("SELECT FROM clonedb.users FOR UPDATE")
            with pytest.raises(ConcurrencyConflict, match="tried again"):
                await database.users.update(ada.id, UserPatch(name="late"))


@on_both_lanes
async def test_prepared_statements_survive_a_column_that_changes_its_type(
    migrated: IsolatedDatabase, ada: User, lane: str
) -> None:
    async with connected(
        migrated.dsn("clonedb_worker"), maximum_connections=2, **LANES[lane]
    ) as database:
        await asyncio.gather(*(database.users.get_by_id(ada.id) for _ in range(8)))
        with psycopg.connect(migrated.dsn(SUPERUSER), autocommit=True) as connection:
            connection.execute("ALTER TABLE clonedb.users ALTER speaking_style TYPE varchar(2000)")
        found = await asyncio.gather(*(database.users.get_by_id(ada.id) for _ in range(8)))
        assert found == [ada] * 8
        updated = await database.users.update(ada.id, UserPatch(speaking_style="calm"))
        assert updated.speaking_style == "calm"


async def test_the_figures_of_pool_and_channels_are_there(
    migrated: IsolatedDatabase, ada: User
) -> None:
    async with connected(migrated.dsn()) as database:
        async with database.transaction():
            await database.as_user(ada.id).users.get_by_id(ada.id)
        assert database.pool_statistics().size >= 1
        assert database.pool_statistics().requests >= 1
        channels = database.channel_statistics()
        assert [channel.name for channel in channels] == [
            *("read 1", "read 2"),
            *("write 1", "write 2", "write 3", "write 4"),
            *("group commit 1", "group commit 2"),
        ]
        assert all(channel.connected and channel.connections_made == 1 for channel in channels)
        # The list of migrations that opening reads, and the user.
        assert sum(channel.calls for channel in channels) == 2
    assert database.pool_statistics().size == 0
    assert database.channel_statistics() == []


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts descriptors in /proc")
async def test_closing_leaves_no_connection_behind(migrated: IsolatedDatabase) -> None:
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    async with connected(migrated.dsn(), minimum_connections=5) as database:
        await asyncio.gather(*(database.users.count() for _ in range(20)))
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


async def test_a_stream_left_early_gives_its_connection_back(
    migrated: IsolatedDatabase, ada: User
) -> None:
    async with Database(migrated.dsn("clonedb_app"), maximum_connections=1) as database:
        scope = database.as_user(ada.id)
        session = await scope.conversation_sessions.start()
        turns = [
            SessionTurn(session_id=session.id, user_transcript="a" * 2_000, llm_response="b")
            for _ in range(3_000)
        ]
        await scope.conversation_sessions.record_many(turns)
        for _ in range(3):
            async with aclosing(scope.conversation_sessions.stream_turns()) as stream:
                async for turn in stream:
                    if turn.turn_number == 2:
                        break
            assert await scope.conversation_sessions.count_turns(session.id) == 3_000
        seen = [turn.turn_number async for turn in scope.conversation_sessions.stream_turns()]
        assert seen == list(range(1, 3_001))


async def test_a_server_older_than_15_is_refused(tmp_path: Path) -> None:
    def message(kind: bytes, body: bytes) -> bytes:
        return kind + (len(body) + 4).to_bytes(4, "big") + body

    async def fourteen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Says hello as PostgreSQL 14 does; no such server is at hand."""
        length = int.from_bytes(await reader.readexactly(4), "big")
        await reader.readexactly(length - 4)
        writer.write(
            message(b"R", bytes(4))
            + message(b"S", b"server_version\x0014.19\x00")
            + message(b"S", b"client_encoding\x00UTF8\x00")
            + message(b"Z", b"I")
        )
        await reader.read()
        writer.close()
        await writer.wait_closed()
        gone.set()

    gone = asyncio.Event()
    server = await asyncio.start_unix_server(fourteen, tmp_path / ".s.PGSQL.5432")
    async with server:
        with pytest.raises(ServerTooOld, match="PostgreSQL 14; clonedb needs 15"):
            await Database(f"host={tmp_path} user=clonedb_app dbname=clonedb").open()
        await gone.wait()


async def test_one_caller_gets_past_all_the_connections_that_a_restart_has_killed(
    migrated: IsolatedDatabase, ada: User
) -> None:
    async with connected(
        migrated.dsn("clonedb_worker"), minimum_connections=8, pool_timeout=5, **POOL_ALONE
    ) as database:
        for call in (
            database.users.count,
            lambda: database.users.update(ada.id, UserPatch(name="A.")),
        ):
            with psycopg.connect(migrated.dsn(SUPERUSER), autocommit=True) as killer:
                killer.execute(
                    "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
                    "WHERE usename = 'clonedb_worker' AND datname = current_database()"
                )
            await call()
