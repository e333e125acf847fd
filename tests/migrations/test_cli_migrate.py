"""`clonedb migrate` as an operator or a pipeline calls it."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from deploying import PATIENCE, Folder, Probe

import clonedb
from clonedb import cli

INSTALLED = str(Path(clonedb.__file__).parents[1])


class Result(NamedTuple):
    code: int | str | None
    out: str
    err: str


Command = Callable[..., Result]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """`clonedb ARGUMENTS…` in this process, without a DATABASE_URL of the machine's."""
    monkeypatch.delenv("DATABASE_URL", raising=False)

    def command(*arguments: object) -> Result:
        monkeypatch.setattr(sys, "argv", ["clonedb", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        return Result(caught.value.code, *capsys.readouterr())

    return command


@pytest.fixture
def migrate(run: Command, dsn: str, folder: Folder) -> Command:
    return lambda *arguments: run("migrate", "--dsn", dsn, "--directory", folder.path, *arguments)


def test_migrate_applies_and_says_what(migrate: Command, folder: Folder, probe: Probe) -> None:
    folder.add_table(1)
    folder.add_table(2)
    assert migrate() == (0, "applied 0001_create_t1\napplied 0002_create_t2\n", "")
    assert migrate() == (0, "nothing to do\n", "")
    assert probe.tables() == ["t1", "t2"]


def test_the_database_may_come_from_the_environment(
    run: Command, dsn: str, folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.add_table(1)
    monkeypatch.setenv("DATABASE_URL", dsn)
    assert run("migrate", "--directory", folder.path).out == "applied 0001_create_t1\n"


def test_no_database_named_could_not_run(run: Command) -> None:
    code, out, err = run("migrate")
    assert (code, out) == (2, "")
    assert "DATABASE_URL" in err


def test_rollback_takes_a_number_a_target_or_neither(
    migrate: Command, folder: Folder, probe: Probe
) -> None:
    for number in range(1, 6):
        folder.add_table(number)
    migrate()
    assert migrate("--rollback").out == "rolled back 0005_create_t5\n"
    assert (
        migrate("--rollback", "2").out == "rolled back 0004_create_t4\nrolled back 0003_create_t3\n"
    )
    assert migrate("--rollback", "--to", "0001").out == "rolled back 0002_create_t2\n"
    assert migrate("--to", "0002").out == "applied 0002_create_t2\n"
    assert migrate("--to", "0", "--rollback").code == 0
    assert probe.tables() == []


def test_status_lists_every_migration_and_finds_drift(migrate: Command, folder: Folder) -> None:
    folder.add_table(1)
    migrate()
    folder.add_table(2)
    code, out, _ = migrate("--status")
    assert code == 0
    assert [line.split()[:2] for line in out.splitlines()[1:]] == [
        ["0001_create_t1", "applied"],
        ["0002_create_t2", "pending"],
    ]
    folder.add("0001_create_t1", "SELECT 1;")
    code, out, _ = migrate("--status")
    assert code == 1
    assert "drifted" in out


def test_json_is_all_there_is_on_stdout(migrate: Command, folder: Folder, run: Command) -> None:
    folder.add_table(1)
    assert json.loads(migrate("--json").out) == {"applied": ["0001_create_t1"]}
    (status,) = json.loads(migrate("--status", "--json").out)
    assert (status["id"], status["state"]) == ("0001_create_t1", "applied")
    assert status["applied_at"].endswith("Z")
    assert json.loads(migrate("--rollback", "--json").out) == {"rolled_back": ["0001_create_t1"]}
    created = json.loads(run("migrate", "new", "add_it", "--directory", folder.path, "--json").out)[
        "created"
    ]
    assert [Path(path).exists() for path in created] == [True, True]


def test_new_needs_no_database(run: Command, folder: Folder) -> None:
    code, out, _ = run("migrate", "new", "add_something", "--directory", folder.path)
    assert code == 0
    assert [Path(line).name for line in out.splitlines()] == [
        "0001_add_something.sql",
        "0001_add_something.rollback.sql",
    ]


def test_a_refusal_is_one_line_without_traceback(
    migrate: Command, folder: Folder, probe: Probe
) -> None:
    folder.add("0001_broken", "CREATE TABLE public.t1 ();\nCREATE TABLE public.t1 ();")
    code, out, err = migrate()
    assert (code, out) == (1, "")
    assert err.startswith('clonedb: migrations/0001_broken.sql:2: relation "t1" already exists')
    assert err.count("\n") == 1


def test_what_could_not_run_exits_with_2(run: Command, folder: Folder, tmp_path: Path) -> None:
    folder.add_table(1)
    unreachable = f"host={tmp_path} password=very-secret dbname=clonedb"
    malformed = "postgresql://clonedb_migrator:very/secret@localhost/clonedb"
    for dsn in (unreachable, malformed):
        code, out, err = run("migrate", "--dsn", dsn, "--directory", folder.path)
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert "secret" not in err
    for arguments in (
        ["--status", "--rollback"],
        ["--rollback", "0"],
        ["--rollback", "2", "--to", "1"],
    ):
        assert run("migrate", "--dsn", unreachable, *arguments).code == 2


def test_stock_yoyo_s_missing_checksums_are_spoken_of(
    migrate: Command, folder: Folder, stock_yoyo: Any
) -> None:
    folder.add_table(1)
    stock_yoyo("apply")
    assert "no checksum yet" in migrate("--status").out
    assert "0001_create_t1: applied without a checksum" in migrate().err
    assert migrate() == (0, "nothing to do\n", "")


def test_a_terminal_sees_a_bar_and_a_pipe_does_not(dsn: str, folder: Folder) -> None:
    folder.add_table(1)
    command = [sys.executable, "-m", "clonedb", "migrate", "--directory", str(folder.path)]
    terminal, child_side = pty.openpty()
    environment = {**os.environ, "PYTHONPATH": INSTALLED, "DATABASE_URL": dsn, "TERM": "xterm"}
    done = subprocess.run(
        command, env=environment, stdout=subprocess.PIPE, stderr=child_side, timeout=PATIENCE
    )
    os.close(child_side)
    shown = os.read(terminal, 65536)
    os.close(terminal)
    assert done.stdout == b"applied 0001_create_t1\n"
    assert b"Applying 0001_create_t1" in shown
    assert b"1/1" in shown


def test_a_missing_extra_is_named_with_the_command_that_installs_it(folder: Folder) -> None:
    program = "import sys; sys.modules['typer'] = None; from clonedb.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": INSTALLED},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode == 2
    assert done.stderr == (
        "clonedb: the command line needs typer; install it: pip install 'clonedb[cli]'\n"
    )
