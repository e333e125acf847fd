"""The check as a whole: its ledger, its hashes, its command, and what it says to bad input."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from planted_migrations import Migrations

from clonedb.check import run
from clonedb.check.ledger import write_files
from clonedb.check.remembered import key_of
from clonedb.check.scratch import PRODUCTION, SUPERUSER, Scratch, digest, scratch_server
from clonedb.check.whole import check_folder, compare_hashes
from clonedb.errors import EmbeddedError, InvalidInput, MigrationError, QueryFileError
from clonedb.queries import modules
from clonedb.resources import migrations_directory, sql_directory

# With months, filters and orders; of the worker; writing much.
SOME = (
    "conversation_turns.find_many",
    "audit_logs.find_many",
    "users.delete",
)
QUERY = "-- name: one()\n-- One.\nSELECT 1 AS one;\n"


def test_the_ledger_is_the_same_again_elsewhere_and_on_another_day(
    scratch: Scratch, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = run.check(scratch, modules, only=SOME).ledger
    assert run.check(scratch, modules, only=SOME).ledger == first
    for name in SOME:
        committed = sql_directory() / "ledger" / f"{name.replace('.', '/')}.txt"
        assert first[f"{name.replace('.', '/')}.txt"] == committed.read_text()
    worker = os.environ.get("PYTEST_XDIST_WORKER", "")
    # What somebody has set for psql is nothing to it.
    monkeypatch.setenv("TZ", "Asia/Kathmandu")
    monkeypatch.setenv("PGTZ", "Asia/Kathmandu")
    monkeypatch.setenv("PGGEQO", "off")
    monkeypatch.setenv(
        "PGOPTIONS", "-c datestyle=German -c intervalstyle=sql_standard -c enable_indexscan=off"
    )
    with scratch_server(cache=cache / f"elsewhere{worker}") as other:
        # Another day has other months.
        for database in ("clonedb", PRODUCTION):
            with other.connect(database=database) as connection:
                renamed = connection.execute(
                    b"SELECT format('ALTER TABLE clonedb.%I RENAME TO %I', c.relname, "
                    b"regexp_replace(c.relname, '_20(\\d\\d)_', '_21\\1_')) FROM pg_class AS c "
                    b"WHERE c.relispartition AND c.relkind = 'r'"
                ).fetchall()
                for (statement,) in renamed:
                    connection.execute(statement.encode())
        assert len(renamed) > 40
        assert run.check(other, modules, only=SOME).ledger == first


class Restored(Scratch):
    """A scratch server whose database has been through pg_dump."""

    name = ""

    def dsn(self, role: str = SUPERUSER, database: str = "clonedb") -> str:
        return super().dsn(role, self.name if database == "clonedb" else database)


def test_the_ledger_is_the_same_after_a_dump_and_a_restore(scratch: Scratch) -> None:
    restored = Restored(scratch.server)
    restored.name = f"restored_{os.getpid()}"
    scratch.server.create_database(restored.name)
    try:
        programs = scratch.server.binaries
        dump = subprocess.run(
            [programs / "pg_dump", scratch.dsn()], capture_output=True, check=True
        )
        subprocess.run(
            [programs / "psql", "-Xq", "-v", "ON_ERROR_STOP=1", restored.dsn()],
            input=dump.stdout,
            capture_output=True,
            check=True,
        )
        some = (*SOME, "stored_objects.find")
        before = run.check(scratch, modules, only=some).ledger
        assert run.check(restored, modules, only=some).ledger == before
    finally:
        scratch.server.drop_database(restored.name)


@pytest.mark.parametrize(
    ("file", "before", "after"),
    [
        ("sql/users.sql", "-- users: all", "-- users:  all"),
        ("sql/check/sizes.toml", "users = 200_000", "users = 200_001"),
        ("sql/check/caches.toml", '"title",', ""),
        ("clonedb/repositories/users.py", "    name: str | None", "    name: str"),
        ("clonedb/repositories/users.py", "queries.users.exists", "queries.users.count"),
        ("clonedb/check/plans.py", "PAGE_ROWS: Final = 51", "PAGE_ROWS: Final = 52"),
        ("tests/check/mistakes.py", "find_by_id", "find_by_ids"),
        ("migrations/0003_create_roles.sql", "", "-- more\n"),
    ],
)
def test_nothing_is_remembered_when_what_it_was_made_from_has_changed(
    tmp_path: Path, file: str, before: str, after: str
) -> None:
    root = sql_directory().parent
    if file.startswith("migrations"):
        file = f"migrations/{next(root.glob('migrations/0003_*')).name}"
    for folder in {"sql", "clonedb", "tests/check", "migrations"}:
        shutil.copytree(root / folder, tmp_path / folder)

    def key() -> str:
        folders = [tmp_path / "sql", tmp_path / "clonedb", tmp_path / "tests"]
        return key_of(digest(tmp_path / "migrations"), folders)

    first = key()
    assert key() == first
    text = (tmp_path / file).read_text()
    assert before in text
    (tmp_path / file).write_text(text.replace(before, after, 1))
    assert key() != first


def test_hashes_tell_without_a_server_what_has_changed(tmp_path: Path) -> None:
    folder = tmp_path / "sql"
    shutil.copytree(sql_directory(), folder)
    assert compare_hashes(folder) == []
    users = folder / "users.sql"
    users.write_text(users.read_text().replace("u.created_at DESC", "u.created_at DESC NULLS LAST"))
    (folder / "extra.sql").write_text(QUERY)
    (folder / "ledger" / "gone").mkdir()
    (folder / "ledger" / "gone" / "query.txt").write_text("gone.query\n")
    migrations = tmp_path / "migrations"
    shutil.copytree(migrations_directory(), migrations)
    last = migrations / "0027_audit_sign_ups.rollback.sql"
    last.write_text(last.read_text() + "-- Edited.\n")
    (migrations / "0025_create_cache_upkeep.sql").write_text("-- Edited.\nSELECT 1;\n")
    (migrations / "0026_create_audit_sealing.sql").rename(migrations / "0026_seal.sql")
    last.with_name("0027_audit_sign_ups.sql").write_text("SELECT 1;\n")
    found = {(each.path, each.query): each.what for each in compare_hashes(folder, migrations)}
    assert found == {
        ("sql/users.sql", "users.find_many"): "has changed since the ledger was written",
        ("sql/extra.sql", "extra.one"): "is not in the ledger",
        ("sql/ledger/gone/query.txt", "ledger"): "describes a query that does not exist",
        ("sql/ledger/made_from.txt", "ledger"): "migrations or sizes have changed since the "
        "ledger was written",
        (
            "migrations/0025_create_cache_upkeep.sql",
            "0025_create_cache_upkeep",
        ): "has changed since the ledger was written",
        (
            "migrations/0027_audit_sign_ups.sql",
            "0027_audit_sign_ups",
        ): "has changed since the ledger was written",
        ("migrations/0026_seal.sql", "0026_seal"): "is not in the ledger",
        ("sql/ledger/migrations/0026_create_audit_sealing.txt", "ledger"): "describes a migration "
        "that does not exist",
    }


def test_a_folder_of_ones_own_gets_a_ledger_and_is_remembered(
    scratch: Scratch, cache: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "sql"
    folder.mkdir()
    (folder / "mine.sql").write_text(QUERY)
    done = check_folder(folder, cache=cache)
    assert done.findings == []
    assert done.written == ["sql/ledger/made_from.txt", "sql/ledger/mine/one.txt"]
    assert "    one  integer  never null" in (folder / "ledger/mine/one.txt").read_text()
    (folder / "mine.sql").write_text(QUERY.replace("SELECT 1 AS one", "SHOW work_mem"))
    assert check_folder(folder, cache=cache).findings == []
    text = (folder / "ledger/mine/one.txt").read_text()
    assert "a command without a parse tree" in text
    assert "    work_mem  text\n" in text
    (folder / "mine.sql").write_text(QUERY)
    check_folder(folder, cache=cache)
    assert check_folder(folder, cache=cache).written == []
    (folder / "ledger/mine/one.txt").write_text("something else")
    assert check_folder(folder, cache=cache).written == ["sql/ledger/mine/one.txt"]
    (folder / "mine.sql").rename(folder / "other.sql")
    assert check_folder(folder, cache=cache).written == [
        "sql/ledger/mine/one.txt",
        "sql/ledger/other/one.txt",
    ]
    assert not (folder / "ledger/mine").exists()
    with pytest.raises(InvalidInput, match=r"there is no query mine\.one"):
        check_folder(folder, cache=cache, only=["mine.one"])


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", r"bad\.sql:1: the file has no query"),
        ("-- name: a()\n-- Zoë.\nSELECT 1;".encode("latin-1"), r"bad\.sql:2: this is not UTF-8"),
        (b"-- name: a()\nSELECT 1;", r"bad\.sql:1: a has no description"),
    ],
)
def test_a_file_that_cannot_be_read(
    scratch: Scratch, cache: Path, tmp_path: Path, content: bytes, complaint: str
) -> None:
    folder = tmp_path / "sql"
    folder.mkdir()
    (folder / "bad.sql").write_bytes(content)
    with pytest.raises(QueryFileError, match=complaint):
        check_folder(folder, cache=cache)


def test_a_broken_migration_in_the_middle(cache: Path, tmp_path: Path) -> None:
    folder = tmp_path / "migrations"
    folder.mkdir()
    for number in (1, 2):
        for file in migrations_directory().glob(f"000{number}_*.sql"):
            shutil.copy(file, folder)
    (folder / "0003_break.sql").write_text("-- depends: 0002_create_schema\nCREATE TABEL x ();")
    (folder / "0003_break.rollback.sql").write_text("SELECT 1;")
    with pytest.raises(MigrationError, match="0003_break"):
        check_folder(migrations=folder, cache=cache / "broken")
    broken = command(cache / "broken", "--migrations", folder)
    assert (broken.returncode, broken.stdout) == (2, "")
    assert broken.stderr.count("\n") == 1


def test_migrations_of_ones_own_are_rehearsed_into_the_ledger(
    scratch: Scratch, cache: Path, tmp_path: Path
) -> None:
    sql = tmp_path / "sql"
    sql.mkdir()
    (sql / "mine.sql").write_text(QUERY)
    migrations = Migrations(tmp_path / "migrations")
    for number in range(1, 6):
        for file in migrations_directory().glob(f"000{number}_*.sql"):
            shutil.copy(file, migrations.path)
    identifier = migrations.add(
        "name", "ALTER TABLE clonedb.users ALTER COLUMN name TYPE varchar(300);", None
    )
    done = check_folder(sql, migrations.path, cache=cache / "own")
    assert [(each.path, each.line, each.what.partition(",")[0]) for each in done.findings] == [
        (
            f"migrations/{identifier}.sql",
            1,
            f"has no rollback file migrations/{identifier}.rollback.sql",
        ),
        (f"migrations/{identifier}.sql", 1, "rewrites users"),
        (f"migrations/{identifier}.sql", 1, "validates users_name_is_short of users"),
        (f"migrations/{identifier}.sql", 4, "takes ACCESS EXCLUSIVE on users in line 6"),
    ]
    text = sql / "ledger" / "migrations" / f"{identifier}.txt"
    assert "\n    rewrites   users\n" in text.read_text()
    assert done.migrations == 6
    # For a changed query alone nothing is rehearsed again; what was found of migrations stays.
    (remembered,) = (
        file
        for file in (cache / "own" / "results").iterdir()
        if b'"rehearsals"' in file.read_bytes()
    )
    known = remembered.stat().st_mtime_ns
    (sql / "mine.sql").write_text(QUERY.replace("AS one", "AS two"))
    again = check_folder(sql, migrations.path, cache=cache / "own")
    assert (again.findings, again.written) == (done.findings, ["sql/ledger/mine/one.txt"])
    assert remembered.stat().st_mtime_ns == known
    shown = command(cache / "own", "0006", "--migrations", migrations.path, name="rehearse")
    assert shown.returncode == 1
    assert f"{identifier}\n\nfile  " in shown.stdout
    assert "queries wait: audio_chunk_cache." in shown.stdout
    assert shown.stdout.endswith("or let it do less\n")
    unknown = command(cache / "own", "0007", "--migrations", migrations.path, name="rehearse")
    assert (unknown.returncode, unknown.stdout) == (2, "")
    assert unknown.stderr.startswith("clonedb: no migration is named '0007' - give its number")
    text.write_text("")
    assert check_folder(sql, migrations.path, cache=cache / "own").written == [
        f"sql/ledger/migrations/{identifier}.txt"
    ]


def test_no_server_and_no_place_for_the_ledger(
    scratch: Scratch, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "sql"
    folder.mkdir()
    (folder / "mine.sql").write_text(QUERY)
    (folder / "ledger").write_text("in the way")
    with pytest.raises(OSError, match="ledger"):
        check_folder(folder, cache=cache)
    monkeypatch.setenv("CLONEDB_PG_BIN", str(tmp_path))
    with pytest.raises(EmbeddedError, match="has no initdb"):
        check_folder(folder, cache=cache)


def command(
    cache: Path, *arguments: object, name: str = "check", **environment: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "clonedb", name, *map(str, arguments)],
        env={"PATH": "", "CLONEDB_CACHE": str(cache), **environment},
        capture_output=True,
        text=True,
        timeout=120,
        cwd=environment.get("PYTHONPATH"),
    )


def test_the_command_says_in_a_line_what_is_wrong(
    scratch: Scratch, cache: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "sql"
    folder.mkdir()
    (folder / "mine.sql").write_text(QUERY.replace("1 AS", "x AS"))
    found = command(cache, "--sql", folder)
    assert found.returncode == 1
    assert found.stdout == (
        'sql/mine.sql:3: mine.one: PostgreSQL does not prepare it: column "x" does not exist - '
        "correct the name, or add the migration that makes it\n"
    )
    as_json = json.loads(command(cache, "--sql", folder, "--json").stdout)
    assert [each["line"] for each in as_json["findings"]] == [3]
    (folder / "mine.sql").write_text("")
    broken = command(cache, "--sql", folder)
    assert (broken.returncode, broken.stdout) == (2, "")
    assert broken.stderr.count("\n") == 1
    offline = command(cache, "--offline", CLONEDB_PG_BIN="/nowhere")
    assert (offline.returncode, offline.stdout) == (0, "")


def test_a_broken_file_of_clonedbs_own_is_one_line_too(cache: Path, tmp_path: Path) -> None:
    package = sql_directory().parent
    for folder in ("clonedb", "sql", "migrations"):
        shutil.copytree(package / folder, tmp_path / folder)
    (tmp_path / "sql" / "empty.sql").write_text("")
    broken = command(cache, PYTHONPATH=str(tmp_path))
    assert (broken.returncode, broken.stdout) == (2, "")
    assert broken.stderr == (
        "clonedb: sql/empty.sql:1: the file has no query: begin one with -- name: find_all()\n"
    )


def test_what_may_not_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a file")
    with pytest.raises(OSError, match="a"):
        write_files(tmp_path, {"a/b.txt": "text"})
