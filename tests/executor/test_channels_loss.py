"""What callers see when a channel's connection or its server goes away, and how it comes back."""

from __future__ import annotations

import asyncio
import os
import signal
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from uuid import UUID

import psycopg
import pytest
from channels import (
    ONE_OF_EACH,
    PATIENT,
    ask,
    connected,
    everything_connected,
    figures,
    reading,
    through_channels_alone,
    until,
    writing,
)
from ground import as_superuser, someone_waits_for_a_lock

from clonedb import (
    Database,
    NewSession,
    NewUser,
    NewVoiceModel,
    OutcomeUnknown,
    Unavailable,
    User,
    UserPatch,
    UserScope,
    migrate,
    new_id,
)
from clonedb.embedded import EmbeddedServer
from clonedb.testing import IsolatedDatabase


class FragileServer:
    """A server that may be killed; what it has acknowledged survives that."""

    def __init__(self, server: EmbeddedServer) -> None:
        self._server = server
        self._cluster = server._cluster
        self.database = IsolatedDatabase(server, "clonedb")

    @property
    def _pid_file(self) -> Path:
        assert self._cluster is not None
        return self._cluster.data / "postmaster.pid"

    async def kill(self) -> None:
        """As if the machine had been switched off: no shutdown, no checkpoint."""
        os.kill(int(self._pid_file.read_text().split()[0]), signal.SIGQUIT)
        await until(lambda: not self._pid_file.exists())

    async def start(self, *, standby: bool = False) -> None:
        assert self._cluster is not None
        if standby:
            (self._cluster.data / "standby.signal").touch()
        await asyncio.to_thread(self._cluster.ensure_running, binaries=None, durable=True)

    def superuser(self) -> psycopg.Connection[tuple[object, ...]]:
        return as_superuser(self.database)


@pytest.fixture(scope="module")
def fragile_server() -> Iterator[EmbeddedServer]:
    with (
        tempfile.TemporaryDirectory(prefix="clonedb-") as folder,
        EmbeddedServer(Path(folder), durable=True) as server,
    ):
        migrate.apply(server.dsn("clonedb_migrator"))
        yield server


@pytest.fixture
def fragile(fragile_server: EmbeddedServer) -> Iterator[FragileServer]:
    fragile = FragileServer(fragile_server)
    yield fragile
    with fragile.superuser() as connection:
        connection.execute("TRUNCATE clonedb.users CASCADE")


class Load:
    """Callers that read and write until they are told to stop, and keep account of every answer."""

    def __init__(self, scope: UserScope, user: User) -> None:
        self._scope = scope
        self._user = user
        self._stopped = False
        self.acknowledged: list[UUID] = []
        self.unknown: list[UUID] = []
        self.not_stored: list[UUID] = []
        self.seen: Counter[str] = Counter()

    async def _read(self) -> None:
        while not self._stopped:
            try:
                found = await self._scope.users.get_by_id(self._user.id)
            except OutcomeUnknown:
                raise AssertionError("a read has no outcome to be unknown") from None
            except Unavailable:
                self.seen["reads unavailable"] += 1
                await asyncio.sleep(0.01)
            else:
                assert found == self._user
                self.seen["reads"] += 1

    async def _write(self, scope: UserScope) -> None:
        while not self._stopped:
            id = new_id()
            try:
                session = await scope.conversation_sessions.create(NewSession(id=id))
            except OutcomeUnknown:
                self.unknown.append(id)
            except Unavailable:
                self.not_stored.append(id)
                await asyncio.sleep(0.01)
            else:
                assert session.id == id
                self.acknowledged.append(id)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with asyncio.TaskGroup() as callers:
            for _ in range(12):
                callers.create_task(self._read())
                callers.create_task(self._write(self._scope))
                callers.create_task(self._write(self._scope.group_commit()))
            yield
            self._stopped = True

    async def until_more(self, calls: int = 200) -> None:
        """Returns once so many more reads and writes have been answered well."""
        reads, writes = self.seen["reads"] + calls, len(self.acknowledged) + calls
        await until(lambda: self.seen["reads"] > reads and len(self.acknowledged) > writes)

    def check(self, connection: psycopg.Connection[tuple[object, ...]]) -> None:
        rows = connection.execute("SELECT s.id FROM clonedb.conversation_sessions AS s").fetchall()
        stored = Counter(row[0] for row in rows)
        assert all(stored[id] == 1 for id in self.acknowledged)
        assert all(stored[id] == 0 for id in self.not_stored)
        assert stored.keys() <= {*self.acknowledged, *self.unknown}
        assert set(stored.values()) == {1}


def pid_of_a_channel(connection: psycopg.Connection[tuple[object, ...]], statement: str) -> int:
    """The backend whose last statement was this: channels have their own."""
    row = connection.execute(
        "SELECT pid FROM pg_stat_activity WHERE usename = 'clonedb_worker' AND query LIKE %s "
        "ORDER BY state_change DESC LIMIT 1",
        [f"%{statement}%"],
    ).fetchone()
    assert row is not None
    return int(str(row[0]))


def losses(database: Database) -> int:
    return sum(channel.connections_lost for channel in database.channel_statistics())


@pytest.mark.parametrize("blow", ["restart", "kill -9 of a backend", "terminated"])
async def test_under_load_reads_succeed_or_are_unavailable_and_acknowledged_writes_are_stored(
    fragile: FragileServer, blow: str
) -> None:
    async with connected(fragile.database.dsn("clonedb_worker"), pool_timeout=5) as database:
        user = await database.users.create(NewUser(email="ada@example.com"))
        load = Load(database.as_user(user.id), user)
        async with load.running():
            for _ in range(2):
                await load.until_more()
                before = losses(database)
                if blow == "restart":
                    await fragile.kill()
                    await fragile.start()
                else:
                    with fragile.superuser() as connection:
                        if blow == "terminated":
                            connection.execute(
                                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                                "WHERE usename = 'clonedb_worker'"
                            )
                        else:
                            # The server starts anew by itself: all other connections are lost too.
                            victim = pid_of_a_channel(connection, "INTO clonedb.conversation_sess")
                            os.kill(victim, signal.SIGKILL)
                await until(lambda before=before: losses(database) > before)  # type: ignore[misc]
                await load.until_more()
        await everything_connected(database)
        with through_channels_alone(database):
            # Not the load's own statements: what was slow in it takes the pool for some seconds.
            mine = database.as_user(user.id).voice_models
            assert await mine.count() == 0
            await mine.create(NewVoiceModel(provider="xtts-v2", model_path="v", sample_rate=24_000))
        with fragile.superuser() as connection:
            connection.execute(
                "DELETE FROM clonedb.conversation_sessions WHERE id <> ALL (%s)",
                [[*load.acknowledged, *load.unknown, *load.not_stored]],
            )
            load.check(connection)
        print(blow, load.seen, len(load.acknowledged), len(load.unknown), len(load.not_stored))  # noqa: T201


@pytest.mark.parametrize("grouping", [False, True], ids=["alone", "grouped"])
async def test_what_was_acknowledged_survives_the_death_of_a_durable_server(
    fragile: FragileServer, grouping: bool
) -> None:
    async with connected(fragile.database.dsn("clonedb_worker")) as database:
        user = await database.users.create(NewUser(email="ada@example.com"))
        scope = database.as_user(user.id)
        scope = scope.group_commit() if grouping else scope
        for size in (1, 30, 200):
            ids = [new_id() for _ in range(size)]
            with through_channels_alone(database):
                await asyncio.gather(
                    *(scope.conversation_sessions.create(NewSession(id=id)) for id in ids)
                )
            await fragile.kill()
            await fragile.start()
            with fragile.superuser() as connection:
                stored = connection.execute(
                    "SELECT count(*) FROM clonedb.conversation_sessions WHERE id = ANY (%s)", [ids]
                ).fetchone()
                assert stored == (size,)
            await everything_connected(database)


async def test_closing_does_not_wait_for_a_server_that_is_away(fragile: FragileServer) -> None:
    async with connected(fragile.database.dsn("clonedb_worker"), pool_timeout=1) as database:
        await fragile.kill()
        await until(lambda: losses(database) == len(database.channel_statistics()))
        with pytest.raises(Unavailable):
            await database.users.count()
        async with asyncio.timeout(10):
            await database.close()
    await fragile.start()


async def test_a_server_that_became_a_standby_is_left_and_its_successor_found(
    fragile: FragileServer,
) -> None:
    async with connected(fragile.database.dsn("clonedb_worker")) as database:
        user = await database.users.create(NewUser(email="ada@example.com"))
        await fragile.kill()
        await fragile.start(standby=True)
        await everything_connected(database)
        lost, made = losses(database), _made(database)
        for scope in (database, database.group_commit()):
            with pytest.raises(Unavailable, match="standby") as caught:
                await scope.users.update(user.id, UserPatch(name="never"))
            assert not isinstance(caught.value, OutcomeUnknown)
        # Whoever does not write is served.
        assert await database.users.get_by_id(user.id) == user
        # The channels that had met it have connected anew: maybe to another server.
        assert losses(database) == lost + 2
        await everything_connected(database)
        assert _made(database) == made + 2
        with fragile.superuser() as connection:
            connection.execute("SELECT pg_promote()")
        with through_channels_alone(database):
            for scope in (database, database.group_commit()):
                assert (await scope.users.update(user.id, UserPatch(name="Ada"))).name == "Ada"


def _made(database: Database) -> int:
    return sum(channel.connections_made for channel in database.channel_statistics())


async def test_a_login_whose_writes_were_stopped_is_unavailable_for_writes(
    migrated: IsolatedDatabase, ada: User
) -> None:
    # What operators do before they move a database, and some providers when the disk is full.
    with as_superuser(migrated) as connection:
        set_read_only = psycopg.sql.SQL(
            "ALTER DATABASE {} SET default_transaction_read_only = on"
        ).format(psycopg.sql.Identifier(migrated.name))
        connection.execute(set_read_only)
        reset = psycopg.sql.SQL("ALTER DATABASE {} RESET default_transaction_read_only").format(
            psycopg.sql.Identifier(migrated.name)
        )
        async with connected(migrated.dsn("clonedb_worker"), **ONE_OF_EACH) as database:
            for scope in (database, database.group_commit()):
                with pytest.raises(Unavailable):
                    await scope.users.update(ada.id, UserPatch(name="never"))
            assert await database.users.get_by_id(ada.id) == ada
            await everything_connected(database)
            connection.execute(reset)
            # The sessions made meanwhile still have the setting: one more write finds that out.
            for _ in range(2):
                with suppress(Unavailable):
                    await database.users.update(ada.id, UserPatch(name="A."))
                await everything_connected(database)
            assert (await database.users.get_by_id(ada.id)).name == "A."


async def test_writes_behind_one_that_the_server_takes_for_read_only_get_their_own_answers(
    migrated: IsolatedDatabase, ada: User
) -> None:
    # One alone is refused as by a standby; those behind it are stored.
    with as_superuser(migrated) as connection:
        connection.execute("CREATE SEQUENCE clonedb.counted")
        connection.execute("GRANT USAGE ON SEQUENCE clonedb.counted TO clonedb_worker")
    refused = writing(
        "SELECT set_config('transaction_read_only', 'on', true), nextval('clonedb.counted')"
    )
    async with connected(migrated.dsn("clonedb_worker"), **PATIENT, **ONE_OF_EACH) as database:
        scope = database.as_user(ada.id)
        ids = [new_id() for _ in range(40)]
        outcomes = await asyncio.gather(
            ask(scope, refused),
            *(scope.conversation_sessions.create(NewSession(id=id)) for id in ids),
            return_exceptions=True,
        )
        assert isinstance(outcomes[0], Unavailable)
        assert outcomes[0].sqlstate == "25006"
        assert [getattr(outcome, "id", outcome) for outcome in outcomes[1:]] == ids
        await everything_connected(database)
        assert losses(database) == 1


@pytest.mark.parametrize("kind", ["read", "write", "group"])
async def test_an_answer_that_came_with_the_end_of_the_connection_is_an_answer(
    migrated: IsolatedDatabase, ada: User, kind: str
) -> None:
    make = reading if kind == "read" else writing
    last_words = make("SELECT clock_timestamp(), $1::text", "word")
    goodbye = make("SELECT pg_terminate_backend(pg_backend_pid())")
    async with connected(migrated.dsn("clonedb_worker"), **PATIENT, **ONE_OF_EACH) as database:
        scope = database.group_commit() if kind == "group" else database
        first = asyncio.create_task(ask(scope, last_words, "first"))
        if kind == "group":
            await asyncio.sleep(0)  # a group of its own
            await asyncio.sleep(0)
        dying = asyncio.create_task(ask(database, goodbye))
        for _ in range(3):
            await asyncio.sleep(0)
        # Not a line of Python runs between the arrival of the answer and that of the goodbye.
        time.sleep(0.1)  # noqa: ASYNC251
        assert (await first)[0][1] == "first"
        if kind == "read":
            # It is the pool's turn to lose a connection, once more and then no more.
            with pytest.raises(Unavailable):
                await dying
        else:
            with pytest.raises(OutcomeUnknown):
                await dying


async def test_writes_that_were_in_flight_are_of_unknown_outcome_and_those_that_waited_are_done(
    migrated: IsolatedDatabase, ada: User
) -> None:
    async with connected(migrated.dsn("clonedb_worker"), **PATIENT, **ONE_OF_EACH) as database:
        scope = database.as_user(ada.id)
        ids = [new_id() for _ in range(40)]
        with as_superuser(migrated) as locker, locker.transaction():
            locker.execute("SELECT FROM clonedb.users FOR UPDATE")
            calls = [
                asyncio.create_task(scope.users.update(ada.id, UserPatch(name="never"))),
                *(
                    asyncio.create_task(scope.conversation_sessions.create(NewSession(id=id)))
                    for id in ids
                ),
            ]
            await someone_waits_for_a_lock(migrated)
            (channel,) = figures(database, "write")
            in_flight = channel.in_flight
            assert 1 < in_flight < 41
            locker.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
                "WHERE usename = 'clonedb_worker' AND wait_event_type = 'Lock'"
            )
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        assert all(isinstance(outcome, OutcomeUnknown) for outcome in outcomes[:in_flight])
        assert [outcome.id for outcome in outcomes[in_flight:]] == ids[in_flight - 1 :]  # type: ignore[union-attr]
        assert (await scope.users.get_by_id(ada.id)).name == "Ada"


async def test_a_server_that_falls_silent_is_given_up_and_the_channel_connects_anew(
    migrated: IsolatedDatabase, ada: User
) -> None:
    async with connected(
        migrated.dsn("clonedb_worker"), connection_timeout=3, **ONE_OF_EACH
    ) as database:
        await database.users.get_by_id(ada.id)
        with as_superuser(migrated) as connection:
            silent = pid_of_a_channel(connection, "u.personality_traits")
        os.kill(silent, signal.SIGSTOP)
        try:
            first = asyncio.create_task(database.users.get_by_id(ada.id))
            # More than are sent at once: neither those behind it nor those who wait are held up.
            found = await asyncio.gather(*(database.users.get_by_id(ada.id) for _ in range(300)))
            assert found == [ada] * 300
            assert figures(database, "read")[0].connections_lost == 0
            # A read may be sent again.
            assert await first == ada
            await until(lambda: figures(database, "read")[0].connections_lost == 1)
            await everything_connected(database)
            with through_channels_alone(database):
                assert await database.users.get_by_id(ada.id) == ada
        finally:
            os.kill(silent, signal.SIGCONT)


async def test_an_idle_channel_that_was_closed_by_the_server_is_replaced_before_it_is_needed(
    migrated: IsolatedDatabase, ada: User
) -> None:
    async with connected(migrated.dsn("clonedb_worker")) as database:
        with as_superuser(migrated) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
                "WHERE usename = 'clonedb_worker' AND datname = current_database()"
            )
        await until(lambda: losses(database) == len(database.channel_statistics()))
        await until(lambda: all(channel.connected for channel in database.channel_statistics()))
        with through_channels_alone(database):
            assert await database.users.get_by_id(ada.id) == ada


async def test_a_login_with_one_connection_reads_all_the_same_or_is_unavailable(
    migrated: IsolatedDatabase, ada: User
) -> None:
    with as_superuser(migrated) as connection:
        try:
            connection.execute("ALTER ROLE clonedb_app CONNECTION LIMIT 1")
            # The pool and the first channel are after the same connection; either may get it.
            opened = 0
            for _ in range(15):
                with suppress(Unavailable):
                    async with Database(
                        migrated.dsn("clonedb_app"), maximum_connections=1, pool_timeout=2
                    ) as database:
                        assert await database.as_user(ada.id).users.get_by_id(ada.id) == ada
                        opened += 1
            assert opened
        finally:
            connection.execute("ALTER ROLE clonedb_app CONNECTION LIMIT -1")


async def test_a_channel_that_cannot_connect_leaves_its_calls_to_the_pool_until_it_can(
    migrated: IsolatedDatabase, ada: User
) -> None:
    with as_superuser(migrated) as connection:
        try:
            async with connected(migrated.dsn("clonedb_app"), maximum_connections=1) as database:
                scope = database.as_user(ada.id)
                connection.execute("ALTER ROLE clonedb_app CONNECTION LIMIT 1")
                connection.execute(
                    "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
                    "WHERE usename = 'clonedb_app' AND query <> ''"
                )
                await until(lambda: losses(database) == len(database.channel_statistics()))
                for _ in range(5):
                    assert (await scope.users.get_by_id(ada.id)).name == "Ada"
                    assert (await scope.users.update(ada.id, UserPatch(name="Ada"))).name == "Ada"
                connection.execute("ALTER ROLE clonedb_app CONNECTION LIMIT -1")
                await everything_connected(database)
                with through_channels_alone(database):
                    assert (await scope.users.get_by_id(ada.id)).name == "Ada"
        finally:
            connection.execute("ALTER ROLE clonedb_app CONNECTION LIMIT -1")
