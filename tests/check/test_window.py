"""The deploy window, in real git repositories: each phase, planted; and what git cannot give."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from planted_migrations import Migrations, beginning

from clonedb.check.migrations.revision import checked_out
from clonedb.check.migrations.window import Window, deploy_window
from clonedb.check.scratch import Scratch
from clonedb.errors import InvalidInput

QUERIES = """\
-- name: find(id)^
-- One thing.
SELECT
    t.id,
    t.name
FROM clonedb.things AS t
WHERE t.id = :id::integer;

-- name: sizes()
-- How large they are.
SELECT t.size
FROM clonedb.things AS t;

-- name: add(id, name)!
-- Adds a thing.
INSERT INTO clonedb.things (id, name)
VALUES (:id::integer, :name::text);

-- name: label(id)$
-- What is on a thing.
SELECT clonedb.label(:id::integer) AS label;
"""
LABEL = "FUNCTION clonedb.label(p_id integer) RETURNS text LANGUAGE sql AS 'SELECT ''x'''"
SIZES = QUERIES.partition("-- name: sizes")[2].partition("-- name: add")[0]


class Repository:
    """A repository whose folder `database` has queries and migrations, committed as v1."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.sql = path / "database" / "sql"
        self.migrations = beginning(path / "database" / "migrations")
        first = self.migrations.path / "0001_begin.sql"
        first.write_text(first.read_text() + f"CREATE {LABEL};\n")
        self.sql.mkdir()
        self.write(QUERIES)
        self.git("init", "-q")
        self.git("add", ".")
        self.git("commit", "-qm", "v1")
        self.git("tag", "v1")

    def write(self, queries: str) -> None:
        (self.sql / "things.sql").write_text(queries)

    def git(self, *arguments: str) -> str:
        who = ["-c", "user.name=A Test", "-c", "user.email=test@example.com"]
        done = subprocess.run(
            ["git", "-C", str(self.path), *who, *arguments],
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.strip()

    def begin_again(self) -> Migrations:
        self.git("checkout", "-q", ".")
        self.git("clean", "-qfd")
        return self.migrations


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    if shutil.which("git") is None:
        pytest.skip("git is not installed, and its history is what this is about")
    return Repository(tmp_path_factory.mktemp("repository"))


def prove(scratch: Scratch, repository: Repository, base: str = "v1") -> Window:
    folder = repository.migrations.path
    with checked_out(base, repository.sql, folder) as revision:
        return deploy_window(scratch, revision, repository.sql, folder)


COLOURS = "\n-- name: colours()\n-- All.\nSELECT c.id\nFROM clonedb.colours AS c;\n"

# What is done, this revision's queries, what the header claims: the phase, and what is found of it.
CASES = {
    "a new table": (
        "CREATE TABLE clonedb.colours (id integer PRIMARY KEY);",
        QUERIES + COLOURS,
        "before deploy",
        "before deploy",
        None,
    ),
    "a new table, too late": (
        "CREATE TABLE clonedb.colours (id integer PRIMARY KEY);",
        QUERIES + COLOURS,
        "after deploy",
        "before deploy",
        "is claimed for after deploy, and this code does not work without it (things.colours: "
        'relation "clonedb.colours" does not exist) - write `-- phase: before deploy`',
    ),
    "an index": (
        "CREATE INDEX things_by_name ON clonedb.things (name);",
        QUERIES,
        "after deploy",
        "either",
        None,
    ),
    "a column that is dropped": (
        "ALTER TABLE clonedb.things DROP COLUMN size;",
        QUERIES.replace(f"-- name: sizes{SIZES}", ""),
        "after deploy",
        "after deploy",
        None,
    ),
    "a column that is dropped too early": (
        "ALTER TABLE clonedb.things DROP COLUMN size;",
        QUERIES.replace(f"-- name: sizes{SIZES}", ""),
        "before deploy",
        "after deploy",
        "is claimed for before deploy, and the code of {base} does not survive it (things.sizes: "
        "column t.size does not exist) - write `-- phase: after deploy`",
    ),
    "a right that is taken": (
        "REVOKE INSERT ON clonedb.things FROM clonedb_app;",
        QUERIES.replace("things (id, name)", "parts (id, thing_id)").replace(
            ":name::text", ":name::integer"
        ),
        "before deploy",
        "after deploy",
        "does not survive it (things.add: clonedb_app lacks INSERT (id, name) ON things)",
    ),
    "a column that is renamed": (
        "ALTER TABLE clonedb.things RENAME COLUMN name TO title;",
        QUERIES.replace("name\n", "title\n").replace("(id, name)\nV", "(id, title)\nV"),
        "before deploy",
        "never",
        "can be applied neither before the deploy nor after it: the code of {base} does not survive "
        "it (things.find: column t.name does not exist",
    ),
    "a column that every row must have": (
        "ALTER TABLE clonedb.things ADD COLUMN colour text NOT NULL DEFAULT 'red';\n"
        "ALTER TABLE clonedb.things ALTER COLUMN colour DROP DEFAULT;",
        QUERIES.replace("(id, name)\nV", "(id, name, colour)\nV").replace(
            ":name::text", ":name::text, 'red'"
        ),
        "before deploy",
        "never",
        "(things.add: gives no value to things.colour, which must have one), and this code does not "
        'work without it (things.add: column "colour" of relation "things" does not exist) - make',
    ),
    "a function with another signature": (
        f"DROP FUNCTION clonedb.label(integer);\nCREATE {LABEL};".replace(
            "p_id integer", "p_id integer, p_language text"
        ),
        QUERIES.replace("label(:id::integer)", "label(:id::integer, 'en')"),
        "before deploy",
        "never",
        "(things.label: function clonedb.label(integer) does not exist)",
    ),
    "a type that others took for another": (
        "ALTER TABLE clonedb.things ALTER COLUMN size TYPE bigint;",
        QUERIES,
        "before deploy",
        "never",
        "(things.sizes: gives size bigint, and took it for size integer)",
    ),
}


def test_each_phase_is_proved_by_the_queries_of_both_revisions(
    scratch: Scratch, repository: Repository
) -> None:
    base = repository.git("rev-parse", "v1")[:12]
    for name, (up, queries, claimed, phase, wanted) in CASES.items():
        migrations = repository.begin_again()
        identifier = migrations.add("change", f"SET LOCAL ROLE clonedb_owner;\n{up}", phase=claimed)
        repository.write(queries)
        window = prove(scratch, repository)
        assert [(step.id, step.phase) for step in window.steps] == [(identifier, phase)], name
        found = [
            f"{each.path}:{each.line}: {each.what} - {each.remedy}" for each in window.findings
        ]
        if wanted is None:
            assert found == [], name
        else:
            assert len(found) == 1, name
            assert found[0].startswith(f"migrations/{identifier}.sql:3: "), name
            assert wanted.format(base=base) in found[0], name


def test_what_comes_in_the_wrong_order_or_has_changed(
    scratch: Scratch, repository: Repository
) -> None:
    migrations = repository.begin_again()
    assert prove(scratch, repository) == Window(repository.git("rev-parse", "v1")[:12], [], [])
    migrations.add("drop", "ALTER TABLE clonedb.things DROP COLUMN size;", phase="after deploy")
    migrations.add("create", "CREATE TABLE clonedb.colours (id integer PRIMARY KEY);")
    repository.write(QUERIES.replace(f"-- name: sizes{SIZES}", "") + COLOURS)
    window = prove(scratch, repository)
    assert [step.phase for step in window.steps] == ["after deploy", "before deploy"]
    (finding,) = window.findings
    assert finding.what.startswith(
        "comes behind 0002_drop, which is for after the deploy, and this"
    )
    assert finding.remedy == "number it before 0002_drop"
    first = migrations.path / "0001_begin.sql"
    first.write_text(first.read_text() + "-- Edited.\n")
    (migrations.path / "0002_drop.sql").write_text("ALTER TABLE clonedb.things\nDROP size, DRP x;")
    window = prove(scratch, repository)
    base = window.base
    assert window.steps == []
    assert [(each.line, each.what) for each in window.findings] == [
        (1, f"was edited since {base}"),
        (2, f'cannot be applied behind {base}: syntax error at or near "DRP"'),
    ]
    first.rename(migrations.path / "0000_begin.sql")
    gone = prove(scratch, repository).findings[-1]
    assert (gone.query, gone.what) == ("0001_begin", f"is gone, and was there at {base}")


def command(cache: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    # Beside the interpreter's own folder git has to be found, and nothing else.
    git = shutil.which("git") or ""
    return subprocess.run(
        [sys.executable, "-m", "clonedb", "check", "--migrations", "migrations", *arguments],
        env={"PATH": str(Path(git).parent), "CLONEDB_CACHE": str(cache)},
        capture_output=True,
        text=True,
        timeout=120,
        cwd=folder,
    )


def test_the_command_works_from_a_folder_below_and_says_what_git_lacks(
    scratch: Scratch, cache: Path, repository: Repository, tmp_path: Path
) -> None:
    migrations = repository.begin_again()
    migrations.add("drop", "ALTER TABLE clonedb.things DROP COLUMN size;", phase="after deploy")
    below = repository.path / "database"
    found = command(cache, below, "--sql", "sql", "--window", "v1")
    assert (found.returncode, found.stdout.count("\n")) == (1, 1), found
    assert found.stdout == (
        "sql/things.sql:9: things.sizes: does not prepare behind all migrations: column t.size does "
        "not exist - correct the query, or what the migrations do\n"
    )
    assert found.stderr.startswith("0002_drop: after deploy\n1 migrations since")
    unknown = command(cache, below, "--sql", "sql", "--window", "v0")
    assert (unknown.returncode, unknown.stdout) == (2, "")
    assert unknown.stderr.startswith("clonedb: there is no revision 'v0' - name a commit")
    assert unknown.stderr.count("\n") == 1


def test_what_is_no_repository_or_was_not_there_yet(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    migrations = repository.begin_again()
    lonely = tmp_path / "lonely"
    lonely.mkdir()
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    with (
        pytest.raises(InvalidInput, match="lonely is in no git repository"),
        checked_out("v1", lonely, lonely),
    ):
        pass
    new = repository.path / "new"
    new.mkdir()
    with (
        pytest.raises(InvalidInput, match=r"the revision \w+ has no folder new"),
        checked_out("v1", new, migrations.path),
    ):
        pass
    with (
        pytest.raises(InvalidInput, match="there is no revision '--help'"),
        checked_out("--help", repository.sql, migrations.path),
    ):
        pass
    with (
        pytest.raises(InvalidInput, match="there is no folder nothing"),
        checked_out("v1", tmp_path / "nothing", migrations.path),
    ):
        pass
    monkeypatch.setenv("PATH", os.devnull)
    with (
        pytest.raises(InvalidInput, match="git is not installed"),
        checked_out("v1", repository.sql, migrations.path),
    ):
        pass
