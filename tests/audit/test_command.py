"""`clonedb audit`: what it prints, and how it ends."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from ground import as_superuser
from sealed import SealedLog, sealed_log
from typer.testing import CliRunner, Result

from clonedb.commands.app import app as command
from clonedb.testing import IsolatedDatabase


def run(*arguments: object) -> Result:
    return CliRunner().invoke(command, ["audit", *map(str, arguments)])


@pytest_asyncio.fixture
async def log(migrated: IsolatedDatabase) -> SealedLog:
    return await sealed_log(migrated)


def verify(log: SealedLog, *options: str, role: str = "clonedb_readonly") -> Result:
    return run("verify", "--dsn", log.database.dsn(role), *options)


def test_sealing_prints_what_to_keep_and_verifying_takes_it(log: SealedLog) -> None:
    worker = log.database.dsn("clonedb_worker")
    sealed = run("seal", "--dsn", worker, "--json")
    assert (sealed.exit_code, sealed.stderr) == (0, "")
    printed: dict[str, Any] = json.loads(sealed.stdout)
    assert (printed["seals"], printed["entries"]) == (1, 1)
    last = printed["last_seal"]
    again = run("seal", "--dsn", worker)
    assert again.exit_code == 0
    assert again.stdout.splitlines() == ["sealed 0 entries in 0 seals", f"last seal {last}"]
    for options in (["--last-seal", last], ["--last-digest", last.partition(":")[2]]):
        for role in ("readonly", "backup", "dba", "worker"):
            found = verify(log, *options, "--json", role=f"clonedb_{role}")
            assert found.exit_code == 0, found.output
            report = json.loads(found.stdout)
            assert report["ok"] is True
            assert report["findings"] == []
            assert f"{report['last_seal']}:{report['last_digest']}" == last
    lines = verify(log).stdout.splitlines()
    assert lines[0] == "4 seals, 10 entries as they were sealed"
    assert f"last seal {last}" in lines
    assert "cut off" in lines[-1]  # what it has not looked for


def test_what_is_found_ends_with_1_and_is_named(log: SealedLog) -> None:
    entry = log.entries[1][1]
    with as_superuser(log.database) as connection:
        connection.execute("DELETE FROM clonedb.audit_logs WHERE id = %s", [entry])
    found = verify(log, "--last-seal", str(log.last))
    assert found.exit_code == 1
    assert f"- deleted: seal 2: entry {entry}: " in found.stdout
    as_json = verify(log, "--json")
    assert as_json.exit_code == 1
    (finding,) = json.loads(as_json.stdout)["findings"]
    assert (finding["kind"], finding["seal"], finding["entry"]) == ("deleted", 2, str(entry))


@pytest.mark.parametrize(
    "options",
    [
        ["--last-digest", "zz"],
        ["--last-digest", "00" * 31],
        ["--last-digest", ""],
        ["--last-seal", "3"],
        ["--last-seal", "0:" + "00" * 32],
        ["--last-seal", "-1:" + "00" * 32],
        ["--last-seal", "3:" + "00" * 33],
        ["--last-seal", "3:" + "00" * 32, "--last-digest", "00" * 32],
        ["--last-seal", "1:" + "00" * 32, "--from-seal", "3"],
        ["--from-seal", "0"],
        ["--from-seal", "one"],
        ["--kept-from", "2026"],
        ["--kept-from", "2026-13"],
        ["--unknown"],
    ],
    ids=" ".join,
)
def test_what_makes_no_sense_ends_with_2(log: SealedLog, options: list[str]) -> None:
    found = verify(log, *options)
    assert (found.exit_code, found.stdout) == (2, "")
    assert found.stderr


def test_what_cannot_run_ends_with_2(
    log: SealedLog, empty_database: IsolatedDatabase, tmp_path: Path
) -> None:
    """An alarm is one only where something was looked at."""
    for dsn in (
        log.database.dsn("clonedb_app"),  # may not read seals
        empty_database.dsn("clonedb_readonly"),  # not migrated
        f"host={tmp_path} user=nobody dbname=nothing",
        "nonsense",
    ):
        for name in ("seal", "verify"):
            found = run(name, "--dsn", dsn)
            assert (found.exit_code, found.stdout) == (2, ""), (dsn, name)
            assert found.stderr.startswith("clonedb: ")
