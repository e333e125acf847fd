"""To another host the library speaks TLS 1.3 with a server that proves who it is, or not at all.

Against a real server with certificates made here, over every kind of connection.
"""

from __future__ import annotations

import asyncio
import json
import logging
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest
import rich.pretty
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from tls import PATIENCE_SECONDS, TlsServer, binaries_with_tls, running_server

from clonedb import ClonedbError, Database, InvalidInput, Unavailable, cli, migrate
from clonedb.doctor import examine
from clonedb.settings import connection_parameters, make_settings
from clonedb.transport import VARIABLE

BINARIES = binaries_with_tls()
needs_tls = pytest.mark.skipif(
    BINARIES is None,
    reason="no PostgreSQL with OpenSSL: the embedded one has none; install Debian's postgresql",
)
PASSWORD = "hunter2-of-ada"
STRONG = {
    "sslmode": "verify-full",
    "ssl_min_protocol_version": "TLSv1.3",
    "gssencmode": "disable",
}


@pytest.fixture(scope="module")
def server() -> Iterator[TlsServer]:
    assert BINARIES is not None
    with (
        tempfile.TemporaryDirectory(prefix="clonedb-tls-") as folder,
        running_server(BINARIES, Path(folder)) as server,
    ):
        with server.through_socket() as superuser:
            for role in ("app", "worker", "migrator"):
                superuser.execute(f"ALTER ROLE clonedb_{role} PASSWORD '{PASSWORD}'".encode())
        server.authority.issue("expired", days=-1)
        server.authority.issue("misnamed", "other.clonedb.test")
        server.stranger.issue("strange")
        yield server


@pytest.fixture(scope="module")
def migrated(server: TlsServer) -> TlsServer:
    """Migrated over TLS, by the command."""
    done = run_clonedb("migrate", server.dsn("clonedb_migrator", PASSWORD), "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["applied"]
    return server


def run_clonedb(command: str, dsn: str, *options: str) -> subprocess.CompletedProcess[str]:
    words = [*command.split(), "--dsn", dsn, *options]
    return subprocess.run(
        [sys.executable, "-m", "clonedb", *words], capture_output=True, text=True, check=False
    )


REMOTE = [
    "host=db.example.com",
    "host=10.1.2.3",
    "host=127.0.0.1,db.example.com",
    "host=localhost hostaddr=10.1.2.3",
    "host=db.example.com hostaddr=127.0.0.1",
    "host=/run/postgresql,db.example.com",
    "service=clonedb",
    "postgresql://db.example.com:5433/clonedb",
    "postgresql+psycopg://app:secret@[2001:db8::1]/clonedb",
    "host=127.0.0.1.example.com",
    "host=0.0.0.0",
]
LOCAL = [
    "dbname=clonedb",
    "host=localhost",
    "host=127.0.0.1 sslmode=disable",
    "host=127.9.9.9 port=5433",
    "host=::1 sslmode=require",
    "host=/cloudsql/project:region:instance",
    "postgresql:///clonedb?host=%2Fcloudsql%2Fproject:region:instance",
    "host=/run/postgresql,localhost",
    "host=localhost hostaddr=127.0.0.1",
]


@pytest.mark.parametrize("dsn", REMOTE)
def test_to_another_host_a_dsn_means_verified_tls(dsn: str) -> None:
    assert STRONG.items() <= connection_parameters(dsn).items()
    settings = make_settings("host=localhost dbname=x", notification_dsn=dsn)
    assert settings.notification_dsn is not None
    assert STRONG.items() <= conninfo_to_dict(settings.notification_dsn).items()
    assert STRONG.items() <= conninfo_to_dict(make_settings(dsn).dsn).items()


@pytest.mark.parametrize("dsn", LOCAL)
def test_within_the_machine_a_dsn_is_left_as_it_is(dsn: str) -> None:
    assert connection_parameters(dsn) == conninfo_to_dict(dsn)


def test_the_environment_names_a_host_and_does_not_weaken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGHOST", "db.example.com")
    monkeypatch.setenv("PGSSLMODE", "disable")
    assert STRONG.items() <= connection_parameters("dbname=clonedb").items()
    monkeypatch.delenv("PGHOST")
    monkeypatch.setenv("PGHOSTADDR", "10.1.2.3")
    assert STRONG.items() <= connection_parameters("host=localhost").items()


@pytest.mark.parametrize(
    "weaker",
    [
        *(f"sslmode={mode}" for mode in ("disable", "allow", "prefer", "require", "verify-ca")),
        *(f"ssl_min_protocol_version={version}" for version in ("TLSv1", "TLSv1.1", "TLSv1.2")),
        "gssencmode=prefer",
        "sslmode=hunter2-of-ada",
    ],
)
def test_less_is_refused_unless_it_is_allowed(weaker: str, monkeypatch: pytest.MonkeyPatch) -> None:
    dsn = f"host=db.example.com password={PASSWORD} {weaker}"
    name, _, value = weaker.partition("=")
    for ask in (connection_parameters, make_settings, migrate.status, examine, Database):
        with pytest.raises(InvalidInput, match=name) as caught:
            ask(dsn)
        assert PASSWORD not in str(caught.value)
    with pytest.raises(InvalidInput, match=name):
        make_settings("host=localhost", notification_dsn=dsn)
    assert connection_parameters(dsn, allow_weaker_tls=True)[name] == value
    assert conninfo_to_dict(make_settings(dsn, allow_weaker_tls=True).dsn)[name] == value
    monkeypatch.setenv(VARIABLE, "1")
    assert connection_parameters(dsn) == {**STRONG, **conninfo_to_dict(dsn)}
    monkeypatch.setenv(VARIABLE, "yes")
    with pytest.raises(InvalidInput, match=VARIABLE):
        connection_parameters(dsn)


def told(error: BaseException) -> str:
    """All that a log would have of an error, causes included."""
    chain, link = [], error
    while link is not None:
        chain += [repr(link), str(link), *traceback.format_exception(link)]
        link = link.__cause__ or link.__context__
    return "\n".join(chain)


@pytest.fixture(autouse=True)
def log(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    """Whatever these tests do, no log has the password, at any level."""
    caplog.set_level(logging.DEBUG)
    yield caplog
    assert PASSWORD not in caplog.text
    assert PASSWORD not in "".join(repr(record.__dict__) for record in caplog.records)


# How the server is, what the client trusts, and what is said of it.
REFUSED = {
    "plaintext": ({"ssl": "off"}, {}, "does not support ssl"),
    "TLS 1.2": ({"ssl_max_protocol_version": "TLSv1.2"}, {}, "protocol version"),
    "wrong authority": ({"ssl_cert_file": "strange.crt"}, {}, "certificate verify failed"),
    "expired": ({"ssl_cert_file": "expired.crt"}, {}, "certificate verify failed"),
    "wrong name": ({"ssl_cert_file": "misnamed.crt"}, {}, "does not match host name"),
    "no authority": ({}, {"sslrootcert": "/nowhere/root.crt"}, "does not exist"),
}


@needs_tls
@pytest.mark.parametrize("case", REFUSED)
async def test_a_server_that_does_not_prove_itself_is_refused(
    case: str, migrated: TlsServer
) -> None:
    settings, trusted, said = REFUSED[case]
    good = migrated.dsn("clonedb_worker", PASSWORD)
    dsn = migrated.dsn("clonedb_worker", PASSWORD, **trusted)
    migrated.configure()
    patience = {"pool_timeout": 0.3, "connection_timeout": 3, "minimum_connections": 0}
    async with Database(good, notification_dsn=dsn, **patience) as database:
        # What is open already is cut, so that each kind of connection has to be made anew.
        migrated.configure(**settings)
        with migrated.through_socket() as superuser:
            superuser.execute(
                "SELECT pg_terminate_backend(pid, 1000) FROM pg_stat_activity "
                "WHERE usename = 'clonedb_worker'"
            )
        database.notifications.subscribe("clonedb_attack", lambda _: None, lambda: None)
        if not trusted:
            with pytest.raises(Unavailable):
                await database.users.count()
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not database.notifications.failure or not (  # noqa: ASYNC110
                trusted or database.channel_statistics()[0].failure
            ):
                await asyncio.sleep(0)
        failures = [database.notifications.failure]
        if not trusted:
            failures.append(database.channel_statistics()[0].failure)
        assert all(said in (failure or "").lower() for failure in failures), failures
        with pytest.raises(Unavailable) as opening:
            await Database(dsn).open()
        with pytest.raises(Unavailable) as migrating:
            await asyncio.to_thread(migrate.status, dsn)
        with pytest.raises(Unavailable) as examining:
            await asyncio.to_thread(examine, dsn)
        for caught in (opening, migrating, examining):
            assert said in str(caught.value).lower()
            assert PASSWORD not in told(caught.value)


@needs_tls
async def test_the_right_server_is_used_over_tls_1_3_by_every_connection(
    migrated: TlsServer,
) -> None:
    migrated.configure()
    dsn = migrated.dsn("clonedb_worker", PASSWORD)
    async with Database(dsn, application_name="attack") as database:
        database.notifications.subscribe("clonedb_attack", lambda _: None, lambda: None)
        async with database.transaction() as tx:
            assert await tx.users.count() == 0
            await asyncio.gather(*(database.users.count() for _ in range(500)))
            async with asyncio.timeout(PATIENCE_SECONDS):
                while not database.notifications.connections_made:  # noqa: ASYNC110
                    await asyncio.sleep(0)
            with migrated.through_socket() as superuser:
                found = superuser.execute(
                    "SELECT s.ssl, s.version, a.query LIKE 'LISTEN%' OR a.query = 'SELECT' "
                    "FROM pg_stat_activity AS a INNER JOIN pg_stat_ssl AS s USING (pid) "
                    "WHERE a.application_name = 'attack'"
                ).fetchall()
    assert len(found) >= 4  # the pool, two channels, notifications
    assert {(ssl, version) for ssl, version, _ in found} == {(True, "TLSv1.3")}
    assert any(listening for _, _, listening in found)
    done = run_clonedb("health", dsn, "--json")
    assert done.returncode == 0, done.stdout


@needs_tls
def test_a_client_without_tls_is_refused_by_a_server_that_insists(
    migrated: TlsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    migrated.configure()
    monkeypatch.setenv(VARIABLE, "1")
    with pytest.raises(Unavailable, match="rejects connection"):
        migrate.status(migrated.dsn("clonedb_worker", PASSWORD, sslmode="disable"))


@needs_tls
def test_within_the_machine_a_server_without_tls_will_do(migrated: TlsServer) -> None:
    migrated.configure(ssl="off")
    dsn = f"host={migrated.folder} port={migrated.port} dbname=clonedb user=clonedb_worker"
    assert migrate.catalogue_digest(dsn)


BROKEN = {
    "wrong password": {"password": f"{PASSWORD}-wrong"},
    "unknown login": {"user": "nobody"},
    "no such database": {"dbname": "nowhere"},
    "nobody listens": {"port": 1},
    "unknown certificate": {"sslrootcert": "/nowhere/root.crt"},
    "no client certificate": {
        "sslcert": "/etc/passwd",
        "sslkey": "/nowhere",
        "sslpassword": PASSWORD,
    },
    "bad option": {"sslmode": PASSWORD},
    "bad port": {"port": PASSWORD},
    "bad timeout": {"connect_timeout": PASSWORD},
}


@needs_tls
@pytest.mark.parametrize("broken", BROKEN)
async def test_no_failure_tells_the_password(
    broken: str, migrated: TlsServer, capsys: pytest.CaptureFixture[str]
) -> None:
    migrated.configure()
    dsn = make_conninfo(migrated.dsn("clonedb_app", PASSWORD), **BROKEN[broken])
    database = None
    for ask in (migrate.status, examine, Database):
        with pytest.raises(ClonedbError) as caught:
            made = ask(dsn)
            assert isinstance(made, Database)
            database = made
            await database.open()
        assert PASSWORD not in told(caught.value)
    if database is not None:
        health = await database.health()
        assert not health.ok
        shown = (database, database.settings, database.notifications, health)
        assert not [each for each in shown if PASSWORD in f"{each!r}{each}"]
    with pytest.raises(SystemExit) as exit, pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["clonedb", "migrate", "--status", "--json", "--dsn", dsn])
        await asyncio.to_thread(cli.main)
    assert exit.value.code == 2
    printed = capsys.readouterr()
    assert PASSWORD not in printed.out + printed.err


@needs_tls
async def test_nothing_that_works_tells_the_password_either(migrated: TlsServer) -> None:
    migrated.configure()
    async with Database(migrated.dsn("clonedb_app", PASSWORD)) as database:
        await database.users.find_login("ada@example.com")
        shown = (database, database.settings, await database.health(), database.notifications)
        assert not [each for each in shown if PASSWORD in f"{each!r}{each}"]
        assert rich.pretty.pretty_repr(database.settings).count(PASSWORD) == 0
