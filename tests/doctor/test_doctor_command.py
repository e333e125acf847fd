"""`clonedb doctor --security` as an operator or a pipeline calls it."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import msgspec
import psycopg
import pytest

from clonedb import cli
from clonedb.testing import SUPERUSER, IsolatedDatabase


class Result(NamedTuple):
    code: int | str | None
    out: str
    err: str


Command = Callable[..., Result]
Commit = Callable[[str], None]


@pytest.fixture
def doctor(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """`clonedb doctor --security ARGUMENTS…` in this process."""
    monkeypatch.delenv("DATABASE_URL", raising=False)

    def command(*arguments: str) -> Result:
        monkeypatch.setattr(sys, "argv", ["clonedb", "doctor", "--security", *arguments])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        captured = capsys.readouterr()
        return Result(caught.value.code or 0, captured.out, captured.err)

    return command


@pytest.fixture
def planted(sound: IsolatedDatabase) -> Iterator[Commit]:
    """Plants what another connection can see; it is taken away again."""
    with psycopg.connect(sound.dsn(SUPERUSER), autocommit=True) as connection:
        yield lambda plant: connection.execute(plant.encode()) and None
        connection.execute("ALTER ROLE clonedb_owner NOLOGIN")
        connection.execute("DROP INDEX IF EXISTS clonedb.again")


WARNING = "CREATE INDEX again ON clonedb.daily_usage (user_id, day)"
ERROR = "ALTER ROLE clonedb_owner LOGIN"


def test_a_sound_database_ends_with_0(doctor: Command, sound: IsolatedDatabase) -> None:
    result = doctor("--dsn", sound.dsn("clonedb_dba"))
    assert (result.code, result.err) == (0, "")
    assert ": no findings" in result.out
    assert "not made: hba_weak, pg_hba_file_rules is a superuser's" in result.out


def test_a_finding_ends_with_1_and_its_remedy_can_be_pasted(
    doctor: Command, sound: IsolatedDatabase, planted: Commit
) -> None:
    planted(ERROR)
    result = doctor("--dsn", sound.dsn("clonedb_dba"))
    assert result.code == 1
    assert "1 error\n" in result.out
    _, _, script = result.out.partition("-- Remedies")
    remedies = re.split(r"\n\n\d+ checks", script)[0]
    planted("-- " + remedies)
    assert doctor("--dsn", sound.dsn("clonedb_dba")).code == 0


@pytest.mark.parametrize(("options", "code"), [((), 0), (("--strict",), 1)])
def test_a_warning_fails_only_where_it_is_asked_for(
    doctor: Command,
    sound: IsolatedDatabase,
    planted: Commit,
    options: tuple[str, ...],
    code: int,
) -> None:
    planted(WARNING)
    result = doctor("--dsn", sound.dsn("clonedb_dba"), *options)
    assert result.code == code
    assert "DROP INDEX clonedb.again;" in result.out


def test_machines_read_json(doctor: Command, sound: IsolatedDatabase, planted: Commit) -> None:
    planted(ERROR)
    result = doctor("--dsn", sound.dsn("clonedb_dba"), "--json")
    figures: dict[str, Any] = msgspec.json.decode(result.out)
    assert result.code == 1
    assert figures["ok"] is False
    assert figures["findings"] == [
        {
            "check": "owner_login",
            "level": "error",
            "object": "clonedb_owner",
            "message": "the owner of everything can log in",
            "remedy": "ALTER ROLE clonedb_owner NOLOGIN;",
        }
    ]
    assert figures["checks"] + len(figures["skipped"]) > 50
    assert {tuple(skipped) for skipped in figures["skipped"]} == {("check", "reason")}


@pytest.mark.parametrize("dsn", [None, "host=/nowhere dbname=clonedb password=hunter2", "empty"])
def test_what_cannot_be_examined_ends_with_2(
    doctor: Command, empty_database: IsolatedDatabase, dsn: str | None
) -> None:
    dsn = empty_database.dsn("clonedb_dba") if dsn == "empty" else dsn
    result = doctor("--json", *(() if dsn is None else ("--dsn", dsn)))
    assert (result.code, result.out) == (2, "")
    assert result.err.startswith("clonedb: ")
    assert "hunter2" not in result.err
    assert "Traceback" not in result.err
