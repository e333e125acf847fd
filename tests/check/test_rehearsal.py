"""The rehearsal of migrations: what it measures, and what it finds in planted defects."""

from __future__ import annotations

from pathlib import Path

import pytest
from planted_migrations import Migrations, beginning

from clonedb.check.migrations.comparison import compare
from clonedb.check.migrations.rehearsal import Rehearsal, read, write
from clonedb.check.migrations.rehearse import Rehearsed, rehearse
from clonedb.check.migrations.told import locks_of_queries
from clonedb.check.scratch import Scratch
from clonedb.errors import MigrationError
from clonedb.migration.files import read_folder
from clonedb.resources import sql_directory

ALONE = "-- transactional: false\n"
EXCLUSIVE = "-- locks: ACCESS EXCLUSIVE on things\n"


def facts(text: str) -> list[str]:
    """What a text says of applying, each fact with one space between its words."""
    applied = text.partition("\napplied\n")[2].partition("\n\n")[0]
    return [" ".join(line.split()) for line in applied.splitlines()]


def run(scratch: Scratch, migrations: Migrations) -> Rehearsed:
    return rehearse(scratch, migrations.path, migrations.path.parent)


# Name, statements, rollback, what is measured. Each file claims what it does.
HONEST = {
    "a column": (
        "ALTER TABLE clonedb.things ADD COLUMN colour text;",
        "ALTER TABLE clonedb.things DROP COLUMN colour;",
        EXCLUSIVE,
        ["locks ACCESS EXCLUSIVE on things, from line 6: blocks reads and writes"],
    ),
    "a rewrite": (
        "-- Wider.\n\nALTER TABLE clonedb.things ALTER COLUMN size TYPE bigint;",
        "ALTER TABLE clonedb.things ALTER COLUMN size TYPE integer;",
        EXCLUSIVE + "-- rewrites: things\n",
        [
            "locks ACCESS EXCLUSIVE on things, from line 9: blocks reads and writes",
            "rewrites things",
            "reads all things",
        ],
    ),
    "a check": (
        "ALTER TABLE clonedb.things ADD CONSTRAINT things_size_is_positive CHECK (size > 0);",
        "ALTER TABLE clonedb.things DROP CONSTRAINT things_size_is_positive;",
        EXCLUSIVE + "-- validates: things_size_is_positive of things\n",
        [
            "locks ACCESS EXCLUSIVE on things, from line 7: blocks reads and writes",
            "validates things_size_is_positive of things",
            "reads all things",
        ],
    ),
    "a check that is not valid yet": (
        "ALTER TABLE clonedb.things ADD CONSTRAINT things_size_is_small CHECK (size < 999) NOT VALID;",
        "ALTER TABLE clonedb.things DROP CONSTRAINT things_size_is_small;",
        EXCLUSIVE,
        ["locks ACCESS EXCLUSIVE on things, from line 6: blocks reads and writes"],
    ),
    "its validation": (
        "ALTER TABLE clonedb.things VALIDATE CONSTRAINT things_size_is_small;",
        # What is valid stays so; the constraint is made anew.
        "ALTER TABLE clonedb.things DROP CONSTRAINT things_size_is_small;\n"
        "ALTER TABLE clonedb.things ADD CONSTRAINT things_size_is_small CHECK (size < 999) NOT VALID;",
        "-- locks: SHARE UPDATE EXCLUSIVE on things\n-- validates: things_size_is_small of things\n",
        [
            "locks SHARE UPDATE EXCLUSIVE on things, from line 7: blocks no query",
            "validates things_size_is_small of things",
            "reads all things",
        ],
    ),
    "a key between two": (
        "ALTER TABLE clonedb.parts ADD CONSTRAINT parts_thing_exists FOREIGN KEY (thing_id)\n"
        "REFERENCES clonedb.things (id);",
        "ALTER TABLE clonedb.parts DROP CONSTRAINT parts_thing_exists;",
        "-- locks: SHARE ROW EXCLUSIVE on parts and clonedb.things (an instant)\n"
        "-- validates: parts_thing_exists of parts\n",
        [
            "locks SHARE ROW EXCLUSIVE on parts, from line 7: blocks writes",
            "locks SHARE ROW EXCLUSIVE on things, from line 7: blocks writes",
            "validates parts_thing_exists of parts",
            "reads all parts",
            "reads all things",
        ],
    ),
    "an index": (
        "CREATE INDEX things_by_name ON clonedb.things (name);",
        "DROP INDEX clonedb.things_by_name;",
        "-- locks: SHARE on things\n-- builds: things_by_name of things\n",
        [
            "locks SHARE on things, from line 7: blocks writes",
            "builds things_by_name of things",
            "reads all things",
        ],
    ),
    "an index built anew": (
        "REINDEX INDEX clonedb.things_by_size;",
        "SELECT 1;",
        "-- locks: SHARE on things; ACCESS EXCLUSIVE on things_by_size of things\n"
        "-- builds: things_by_size of things\n",
        [
            "locks SHARE on things, from line 7: blocks writes",
            "locks ACCESS EXCLUSIVE on things_by_size of things, from line 7: blocks reads and writes",
            "builds things_by_size of things",
            "reads all things",
        ],
    ),
    "rows": (
        "UPDATE clonedb.things SET name = upper(name);",
        "SELECT 1;",
        "-- locks: none\n-- writes: things\n",
        ["reads all things", "writes things"],
    ),
    "a month": (
        "LOCK TABLE clonedb.days_2026_02 IN SHARE MODE;\n"
        "ALTER INDEX clonedb.things_by_size RENAME TO things_of_size;",
        "ALTER INDEX clonedb.things_of_size RENAME TO things_by_size;",
        "-- locks: SHARE on months of days;\n"
        "--   SHARE UPDATE EXCLUSIVE on things_by_size of things\n",
        [
            "locks SHARE on months of days, from line 7: blocks writes",
            "locks SHARE UPDATE EXCLUSIVE on things_by_size of things, from line 8: blocks no query",
        ],
    ),
    "an index built concurrently": (
        "CREATE INDEX CONCURRENTLY things_by_both ON clonedb.things (name, size);",
        "DROP INDEX CONCURRENTLY clonedb.things_by_both;",
        "-- locks: SHARE UPDATE EXCLUSIVE on things\n",
        [
            "locks SHARE UPDATE EXCLUSIVE on things, from line 7: blocks no query",
        ],
    ),
    "statements that are transactions of their own": (
        "UPDATE clonedb.things SET size = size;\nCREATE INDEX things_twice ON clonedb.things (size);\n"
        "ALTER TABLE clonedb.parts ADD COLUMN note text;\nVACUUM FULL clonedb.parts;",
        "DROP INDEX clonedb.things_twice;\nALTER TABLE clonedb.parts DROP COLUMN note;",
        "-- locks: ACCESS EXCLUSIVE on parts; SHARE on things\n-- writes: things\n"
        "-- rewrites: parts\n-- builds: things_twice of things\n",
        [
            "locks ACCESS EXCLUSIVE on parts, from line 12: blocks reads and writes",
            "locks SHARE on things, from line 11: blocks writes",
            "rewrites parts",
            "builds things_twice of things",
            "reads all things",
            "writes things",
        ],
    ),
    "nothing": ("SELECT 1;", "SELECT 1;", "-- locks: none\n", ["nothing that anybody waits for"]),
}


def test_what_a_migration_does_to_tables_with_rows(scratch: Scratch, tmp_path: Path) -> None:
    migrations = beginning(tmp_path / "migrations")
    expected = {}
    for name, (up, down, claims, wanted) in HONEST.items():
        first = ALONE if "CONCURRENTLY" in up or "VACUUM" in up else ""
        identifier = migrations.add(name.replace(" ", "_"), up, down, claims=claims, first=first)
        expected[identifier] = wanted
    rehearsed = run(scratch, migrations)
    found = {each.id: facts(write(each)) for each in rehearsed.rehearsals}
    assert {name: found[name] for name in expected} == expected
    assert rehearsed.findings == []
    assert list(compare(read_folder(migrations.path), rehearsed.rehearsals)) == []
    assert all(read(write(each)) == each for each in rehearsed.rehearsals)
    assert [each.id for each in rehearsed.rehearsals if not each.transactional] == [
        "0012_an_index_built_concurrently",
        "0013_statements_that_are_transactions_of_their_own",
    ]


# Name, statements, rollback, header: what is found, by file and line.
DEFECTS = {
    "a rewrite that nobody was told of": (
        "ALTER TABLE clonedb.things ALTER COLUMN size TYPE bigint;",
        "ALTER TABLE clonedb.things ALTER COLUMN size TYPE integer;",
        EXCLUSIVE,
        ["1: rewrites things, and does not claim it - write `-- rewrites: things`"],
    ),
    "a hot table locked in silence": (
        "ALTER TABLE clonedb.things ADD COLUMN colour text;",
        "ALTER TABLE clonedb.things DROP COLUMN colour;",
        "-- locks: none\n",
        [
            "4: takes ACCESS EXCLUSIVE on things in line 6, which blocks reads and writes, and does "
            "not claim it - write `-- locks: ACCESS EXCLUSIVE on things`, or let it do less"
        ],
    ),
    "what is not done": (
        "SELECT 1;",
        "SELECT 1;",
        "-- locks: SHARE on things\n-- validates: a_check of things\n",
        [
            "4: takes no SHARE on things, and claims it - write `-- locks: none`",
            "5: does not validate a_check of things, and claims it - remove the line",
        ],
    ),
    "a weaker lock": (
        "LOCK TABLE clonedb.things, clonedb.parts IN EXCLUSIVE MODE;",
        "SELECT 1;",
        "-- locks: SHARE on things; EXCLUSIVE on parts\n",
        [
            "4: takes EXCLUSIVE on things in line 6, which blocks writes and row locks, and does not "
            "claim it; takes no SHARE on things, and claims it - write `-- locks: EXCLUSIVE on "
            "parts, things`"
        ],
    ),
    "words": (
        "SELECT 1;",
        "SELECT 1;",
        "-- locks: a few, for an instant\n",
        ["4: `locks: a few, for an instant` cannot be read - write `-- locks: none`"],
    ),
    "an index while writers wait": (
        "CREATE INDEX parts_thing ON clonedb.parts (thing_id);",
        "DROP INDEX clonedb.parts_thing;",
        "-- locks: SHARE on parts\n",
        ["1: builds parts_thing of parts while writers wait, and does not claim it"],
    ),
    "no rollback file": (
        "SELECT 1;",
        None,
        "-- locks: none\n",
        ["1: has no rollback file migrations/{id}.rollback.sql - write it"],
    ),
    "a rollback that leaves something": (
        "CREATE OR REPLACE FUNCTION clonedb.one() RETURNS integer LANGUAGE sql AS 'SELECT 1';",
        "SELECT 1;",
        "-- locks: none\n",
        [
            "1: migrations/{id}.rollback.sql does not give back the schema: with function clonedb.one() - "
            "correct migrations/{id}.rollback.sql"
        ],
    ),
    "a rollback that fails": (
        "SELECT 1;",
        "DROP TABLE clonedb.nothing;",
        "-- locks: none\n",
        [
            '1: cannot be rolled back: migrations/{id}.rollback.sql:1: table "nothing" does not exist'
        ],
    ),
    "a table without rows": (
        "CREATE TABLE clonedb.empty (id integer PRIMARY KEY);",
        "DROP TABLE clonedb.empty;",
        "-- locks: none\n",
        [
            "1: is rehearsed without rows in empty, so nothing shows of what becomes of them - write sql"
        ],
    ),
    "nothing at all": ("", "", "", ["1: holds no statement - write what it is to do"]),
    "a table that cannot be made twice": (
        "CREATE TABLE public.twice AS SELECT 1 AS one;",
        "SELECT 1;",
        "-- locks: none\n",
        [
            "1: cannot be applied again after its rollback: migrations/{id}.sql:6: relation "
            '"twice" already exists - correct migrations/{id}.rollback.sql; what follows was not'
        ],
    ),
}


def test_what_is_refused_with_file_and_line(scratch: Scratch, tmp_path: Path) -> None:
    migrations = beginning(tmp_path / "migrations")
    expected: dict[str, list[str]] = {}
    for name, (up, down, claims, wanted) in DEFECTS.items():
        identifier = migrations.add(name.replace(" ", "_"), up, down, claims=claims)
        if not up:
            (migrations.path / f"{identifier}.sql").write_text("")
        expected[identifier] = [each.format(id=identifier) for each in wanted]
    unphased = migrations.path / "0014_unphased.sql"
    unphased.write_text("-- Does nothing.\n-- phase: later\n\nSELECT 1;\n")
    rehearsed = run(scratch, migrations)
    # What cannot be made twice ends the rehearsal.
    assert len(rehearsed.rehearsals) == len(DEFECTS)
    extra = Rehearsal(
        id="0014_unphased",
        file="",
        phase="",
        transactional=True,
        rollback="missing",
        up=rehearsed.rehearsals[0].up,
        down=None,
    )
    expected["0014_unphased"] = [
        "1: says no `-- locks:` in its header - write `-- locks: none`",
        "2: `phase: later` is neither of before deploy and after deploy - write `-- phase: before",
    ]
    findings = [
        *rehearsed.findings,
        *compare(read_folder(migrations.path), [*rehearsed.rehearsals, extra]),
    ]
    found: dict[str, list[str]] = {}
    for each in sorted(findings):
        assert each.path == f"migrations/{each.query}.sql"
        found.setdefault(each.query, []).append(f"{each.line}: {each.what} - {each.remedy}")
    assert {
        name: [message[: len(start)] for message, start in zip(found[name], starts, strict=True)]
        for name, starts in expected.items()
    } == expected
    assert found.keys() == expected.keys()


def test_files_that_cannot_be_read_or_applied(scratch: Scratch, tmp_path: Path) -> None:
    migrations = beginning(tmp_path / "migrations")
    identifier = migrations.add("break", "SELECT 1;\nALTER TABEL clonedb.things;")
    migrations.add("follow", "SELECT 1;")
    with pytest.raises(
        MigrationError, match=f'{identifier}.sql:7: syntax error at or near "TABEL"'
    ):
        run(scratch, migrations)
    (migrations.path / f"{identifier}.sql").write_bytes("-- Zoe.\n-- Zoë.\n".encode("latin-1"))
    with pytest.raises(MigrationError, match=f"{identifier}.sql:2: this is not UTF-8"):
        run(scratch, migrations)
    (migrations.path / f"{identifier}.sql").write_text("CREATE TABLE clonedb.odd (id int);")
    (tmp_path / "odd.sql").write_text("INSERT INTO clonedb.odd VALUES ('one');")
    with pytest.raises(
        MigrationError, match=r"sql/check/population/odd\.sql: invalid input syntax"
    ):
        run(scratch, migrations)


def test_whom_a_committed_migration_keeps_waiting() -> None:
    ledger = sql_directory() / "ledger"
    queries = locks_of_queries(ledger)
    assert len(queries) > 200
    sessions = read((ledger / "migrations" / "0010_create_conversation_sessions.txt").read_text())
    blocked = sessions.up.blocked(queries)
    # It refers to users and models, so who writes these waits, and who reads them does not.
    assert {"users.sign_up", "users.update", "face_models.create"} <= blocked.keys()
    assert (
        not {"users.find_by_id", "face_models.find_many", "daily_usage.find_many"} & blocked.keys()
    )
    assert [lock.shown for lock in blocked["face_models.create"]] == [
        "SHARE ROW EXCLUSIVE on face_models"
    ]
    # Every policy asks the users, so who drops a key to them stops everybody.
    assert sessions.down is not None
    assert "audio_chunk_cache.get" in sessions.down.blocked(queries)


@pytest.mark.parametrize("text", ["", "users.create\n\nquery     1\n", "0001_x\n\napplied\n"])
def test_a_text_that_tells_of_no_rehearsal(text: str) -> None:
    with pytest.raises(ValueError, match="is no text of a rehearsal"):
        read(text)
