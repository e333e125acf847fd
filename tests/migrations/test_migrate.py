"""What a deployer can rely on: `clonedb.migrate` on small folders and a real server."""

from __future__ import annotations

import traceback
from pathlib import Path

import psycopg
import pytest
from deploying import Folder, Probe, StockYoyo

from clonedb import migrate
from clonedb.errors import (
    InvalidInput,
    MigrationDrift,
    MigrationError,
    ServerTooOld,
    Unavailable,
)
from clonedb.testing import IsolatedDatabase


def states(dsn: str, folder: Folder) -> list[str]:
    return [one.state for one in migrate.status(dsn, directory=folder.path)]


def test_apply_returns_what_it_applied_and_does_nothing_the_second_time(
    dsn: str, folder: Folder, probe: Probe
) -> None:
    ids = [folder.add_table(number) for number in (1, 2, 3)]
    assert migrate.apply(dsn, directory=folder.path) == ids
    assert migrate.apply(dsn, directory=folder.path) == []
    assert probe.tables() == ["t1", "t2", "t3"]


def test_status_tells_applied_from_pending_and_writes_nothing(
    dsn: str, folder: Folder, probe: Probe
) -> None:
    first, second = folder.add_table(1), folder.add_table(2)
    assert states(dsn, folder) == ["pending", "pending"]
    assert probe.value("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == 0
    migrate.apply(dsn, directory=folder.path, target=first)
    before, after = migrate.status(dsn, directory=folder.path)
    assert (before.id, before.state, after.id, after.state) == (first, "applied", second, "pending")
    (marked_at,) = probe.rows("SELECT applied_at_utc AT TIME ZONE 'UTC' FROM _yoyo_migration")
    assert (before.applied_at,) == marked_at
    assert before.checksum is not None
    assert after.applied_at is None
    assert migrate.pending(dsn, directory=folder.path) == [second]


def test_a_target_is_a_number_or_a_name_and_the_last_to_be_applied(
    dsn: str, folder: Folder
) -> None:
    ids = [folder.add_table(number) for number in (1, 2, 3)]
    assert migrate.apply(dsn, directory=folder.path, target="0002") == ids[:2]
    assert migrate.apply(dsn, directory=folder.path, target=ids[2]) == ids[2:]
    for unknown in ("0009", "000", ""):
        with pytest.raises(InvalidInput):
            migrate.apply(dsn, directory=folder.path, target=unknown)


def test_rolled_back_migrations_can_be_applied_again(
    dsn: str, folder: Folder, probe: Probe
) -> None:
    ids = [folder.add_table(number) for number in (1, 2, 3)]
    migrate.apply(dsn, directory=folder.path)
    assert migrate.rollback(dsn, directory=folder.path) == [ids[2]]
    assert probe.tables() == ["t1", "t2"]
    assert migrate.rollback(dsn, directory=folder.path, to="0001") == [ids[1]]
    assert migrate.rollback(dsn, directory=folder.path, to="0") == [ids[0]]
    assert probe.tables() == []
    assert migrate.rollback(dsn, directory=folder.path) == []
    assert migrate.apply(dsn, directory=folder.path) == ids
    assert migrate.rollback(dsn, directory=folder.path, count=2) == [ids[2], ids[1]]
    with pytest.raises(InvalidInput):
        migrate.rollback(dsn, directory=folder.path, count=0)


def test_a_migration_without_rollback_file_stays_applied(
    dsn: str, folder: Folder, probe: Probe
) -> None:
    folder.add("0001_create_t1", "CREATE TABLE public.t1 ();")
    migrate.apply(dsn, directory=folder.path)
    with pytest.raises(MigrationError, match=r"migrations/0001_create_t1\.rollback\.sql"):
        migrate.rollback(dsn, directory=folder.path)
    assert probe.marks() == ["0001_create_t1"]
    assert probe.tables() == ["t1"]


def test_a_failing_migration_keeps_the_earlier_ones_and_leaves_nothing_of_itself(
    dsn: str, folder: Folder, probe: Probe
) -> None:
    first = folder.add_table(1)
    folder.add(
        "0002_create_t2",
        "-- One good statement and a bad one.\n\nCREATE TABLE public.t2 ();\n\n"
        "CREATE TABLE public.t20 (\n    id integer,\n    other no_such_type\n);\n",
    )
    folder.add_table(3)
    with pytest.raises(MigrationError, match=r"migrations/0002_create_t2\.sql:7: .*no_such_type"):
        migrate.apply(dsn, directory=folder.path)
    assert probe.tables() == ["t1"]
    assert probe.marks() == [first]
    assert states(dsn, folder) == ["applied", "pending", "pending"]


def test_a_migration_that_only_its_commit_refuses_is_not_marked(
    dsn: str, folder: Folder, probe: Probe
) -> None:
    folder.add(
        "0001_create_t1",
        "CREATE TABLE public.t1 (id integer UNIQUE DEFERRABLE INITIALLY DEFERRED);\n"
        "INSERT INTO public.t1 VALUES (1), (1);\n",
    )
    with pytest.raises(MigrationError, match=r"0001_create_t1\.sql: duplicate key") as caught:
        migrate.apply(dsn, directory=folder.path)
    assert caught.value.constraint == "t1_id_key"
    assert probe.tables() == []
    assert probe.marks() == []


def test_an_edited_migration_is_refused_and_nothing_is_applied(
    dsn: str, folder: Folder, probe: Probe
) -> None:
    first = folder.add_table(1)
    migrate.apply(dsn, directory=folder.path)
    path = folder.add(first, "CREATE TABLE public.t1 (id bigint PRIMARY KEY);\n", "DROP TABLE t1;")
    folder.add_table(2)
    for refused in (migrate.apply, migrate.rollback):
        with pytest.raises(MigrationDrift, match=f"migrations/{path.name} was edited"):
            refused(dsn, directory=folder.path)
    assert probe.tables() == ["t1"]
    assert states(dsn, folder) == ["drifted", "pending"]


def test_line_endings_of_a_checkout_are_no_edit(dsn: str, folder: Folder) -> None:
    first = folder.add_table(1)
    migrate.apply(dsn, directory=folder.path)
    path = folder.path / f"{first}.sql"
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert migrate.apply(dsn, directory=folder.path) == []


def test_an_applied_migration_whose_file_vanished_is_refused_by_name(
    dsn: str, folder: Folder, probe: Probe
) -> None:
    folder.add_table(1)
    gone = folder.add_table(2)
    migrate.apply(dsn, directory=folder.path)
    (folder.path / f"{gone}.sql").unlink()
    folder.add_table(3)
    with pytest.raises(MigrationDrift, match=gone):
        migrate.apply(dsn, directory=folder.path)
    assert probe.tables() == ["t1", "t2"]
    assert states(dsn, folder) == ["applied", "unknown", "pending"]


def test_stock_yoyo_goes_on_where_clonedb_stopped_and_the_other_way_round(
    dsn: str, folder: Folder, probe: Probe, stock_yoyo: StockYoyo
) -> None:
    first, second = folder.add_table(1), folder.add_table(2)
    stock_yoyo("apply", "--revision", first)
    assert probe.tables() == ["t1"]
    said: list[tuple[str, str]] = []
    applied = migrate.apply(
        dsn,
        directory=folder.path,
        progress=lambda progress: said.append((progress.event, progress.detail)),
    )
    assert applied == [second]
    assert ("recorded", first) in said
    third = folder.add_table(3)
    assert stock_yoyo("list").count("A  ") == 2
    stock_yoyo("apply")
    assert probe.tables() == ["t1", "t2", "t3"]
    assert migrate.apply(dsn, directory=folder.path) == []
    stock_yoyo("rollback", "--all")
    assert probe.tables() == []
    assert migrate.pending(dsn, directory=folder.path) == [first, second, third]


def test_a_checksum_does_not_outlive_what_stock_yoyo_rolled_back(
    dsn: str, folder: Folder, stock_yoyo: StockYoyo
) -> None:
    first = folder.add_table(1)
    migrate.apply(dsn, directory=folder.path)
    stock_yoyo("rollback")
    folder.add(first, "CREATE TABLE public.t1 (id bigint);\n", "DROP TABLE public.t1;\n")
    stock_yoyo("apply")
    assert migrate.apply(dsn, directory=folder.path) == []
    assert states(dsn, folder) == ["applied"]
    folder.add(first, "CREATE TABLE public.t1 (id text);\n", "DROP TABLE public.t1;\n")
    assert states(dsn, folder) == ["drifted"]


def test_the_first_deployer_may_be_another_role_than_the_later_ones(
    dsn: str, database: IsolatedDatabase, folder: Folder, probe: Probe, stock_yoyo: StockYoyo
) -> None:
    folder.add_table(1)
    migrate.apply(database.dsn("clonedb_superuser"), directory=folder.path)
    second = folder.add_table(2)
    assert migrate.apply(dsn, directory=folder.path) == [second]
    folder.add_table(3)
    stock_yoyo("apply")
    assert probe.tables() == ["t1", "t2", "t3"]


def test_what_an_administrator_began_with_stock_yoyo_is_shared_by_migrating_once_as_that_role(
    dsn: str, database: IsolatedDatabase, folder: Folder
) -> None:
    folder.add_table(1)
    administrator = database.dsn("clonedb_superuser")
    StockYoyo(administrator, folder)("apply")
    with pytest.raises(MigrationError, match=r"permission denied.*migrate once more as that role"):
        migrate.apply(dsn, directory=folder.path)
    assert migrate.apply(administrator, directory=folder.path) == []
    second = folder.add_table(2)
    assert migrate.apply(dsn, directory=folder.path) == [second]


def test_a_backup_may_read_what_migrations_write_down(
    dsn: str, database: IsolatedDatabase, folder: Folder, probe: Probe
) -> None:
    folder.add_table(1)
    migrate.apply(dsn, directory=folder.path)
    unreadable = probe.rows(
        "SELECT c.relname FROM pg_class AS c WHERE c.relnamespace = 'public'::regnamespace"
        " AND c.relkind = 'r' AND c.relname <> 't1'"
        " AND NOT has_table_privilege('clonedb_backup', c.oid, 'SELECT')"
    )
    assert unreadable == []


def test_a_login_without_rights_is_told_who_may(
    database: IsolatedDatabase, folder: Folder, probe: Probe
) -> None:
    folder.add_table(1)
    with pytest.raises(MigrationError, match=r"permission denied.*clonedb_migrator"):
        migrate.apply(database.dsn("clonedb_app"), directory=folder.path)
    assert probe.tables() == []


def test_new_makes_the_next_pair_which_applies_as_it_is(dsn: str, folder: Folder) -> None:
    first, first_undo = migrate.new("create things", folder.path)
    assert (first.name, first_undo.name) == (
        "0001_create_things.sql",
        "0001_create_things.rollback.sql",
    )
    folder.add_table(41)
    second, second_undo = migrate.new("Add-Something", folder.path)
    assert second.name == "0042_add_something.sql"
    assert second_undo.exists()
    ids = ["0001_create_things", "0041_create_t41", "0042_add_something"]
    assert migrate.apply(dsn, directory=folder.path) == ids
    assert migrate.rollback(dsn, directory=folder.path) == ids[2:]


def test_a_folder_that_is_missing_or_empty_is_an_error_and_not_an_up_to_date_database(
    dsn: str, folder: Folder
) -> None:
    for directory in (folder.path, folder.path / "missing"):
        with pytest.raises(MigrationError):
            migrate.apply(dsn, directory=directory)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("-- depends: 0000_nothing\nSELECT 1;", "0000_nothing|depend"),
        ("-- depends: 0001_first\nSELECT 1;", "0001_first"),
        ("-- transactional: perhaps\nSELECT 1;", "perhaps"),
    ],
)
def test_a_header_that_means_nothing_is_refused(
    dsn: str, folder: Folder, content: str, message: str
) -> None:
    folder.add("0001_first", content)
    with pytest.raises(MigrationError, match=message):
        migrate.apply(dsn, directory=folder.path)


def test_a_python_file_in_the_folder_is_refused_and_not_run(dsn: str, folder: Folder) -> None:
    folder.add_table(1)
    canary = folder.path / "canary"
    (folder.path / "__init__.py").write_text(f"open({str(canary)!r}, 'w')")
    with pytest.raises(MigrationError, match=r"__init__\.py"):
        migrate.apply(dsn, directory=folder.path)
    assert not canary.exists()


def test_the_catalogue_digest_is_the_same_after_down_and_up_and_another_after_a_change(
    dsn: str, folder: Folder
) -> None:
    folder.add(
        "0001_create_schema",
        "SET LOCAL ROLE clonedb_owner;\n"
        "CREATE SCHEMA clonedb;\n"
        "CREATE TABLE clonedb.things (id integer PRIMARY KEY, name text);\n"
        "ALTER TABLE clonedb.things ENABLE ROW LEVEL SECURITY;\n",
        "DROP SCHEMA clonedb CASCADE;\n",
    )
    migrate.apply(dsn, directory=folder.path)
    once = migrate.catalogue_digest(dsn)
    migrate.rollback(dsn, directory=folder.path)
    assert migrate.catalogue(dsn) == []
    migrate.apply(dsn, directory=folder.path)
    assert migrate.catalogue_digest(dsn) == once
    digests = {once}
    changes = [
        "ALTER TABLE clonedb.things ALTER COLUMN name SET NOT NULL",
        "ALTER TABLE clonedb.things ALTER COLUMN name SET DEFAULT 'x'",
        "ALTER TABLE clonedb.things FORCE ROW LEVEL SECURITY",
        "CREATE POLICY p ON clonedb.things USING (true)",
        "ALTER POLICY p ON clonedb.things USING (false)",
        "CREATE INDEX i ON clonedb.things (name)",
        "ALTER TABLE clonedb.things ADD CONSTRAINT c CHECK (id > 0) NOT VALID",
        "ALTER TABLE clonedb.things VALIDATE CONSTRAINT c",
        "COMMENT ON COLUMN clonedb.things.name IS 'x'",
        "GRANT SELECT ON clonedb.things TO clonedb_app",
        "GRANT SELECT ON clonedb.things TO clonedb_worker WITH GRANT OPTION",
        "GRANT UPDATE (name) ON clonedb.things TO clonedb_app",
        "CREATE FUNCTION clonedb.f() RETURNS integer LANGUAGE sql AS 'SELECT 1'",
        "REVOKE EXECUTE ON FUNCTION clonedb.f() FROM PUBLIC",
        "ALTER TABLE clonedb.things SET (fillfactor = 70)",
        "ALTER TABLE clonedb.things OWNER TO clonedb_migrator",
        "CREATE TYPE clonedb.mood AS ENUM ('good')",
        "CREATE SEQUENCE clonedb.numbers",
        "GRANT USAGE ON SCHEMA clonedb TO clonedb_app",
    ]
    with psycopg.connect(dsn, autocommit=True) as connection:
        for change in changes:
            connection.execute(change.encode())
            digest = migrate.catalogue_digest(dsn)
            assert digest not in digests, change
            digests.add(digest)


SECRET = "p@ss/w?rd#%&:x y'z"


@pytest.mark.parametrize(
    "malformed",
    [
        f"postgresql://clonedb_migrator:{SECRET}@localhost/clonedb",
        "postgresql://clonedb_migrator:1234/secret@localhost/clonedb",
        "postgresql://clonedb_migrator:secret@part@localhost/clonedb",
        "postgresql://clonedb_migrator:secr%zzet@localhost/clonedb",
        "host=localhost password=two secrets",
        "secret",
        "",
    ],
)
def test_a_malformed_dsn_is_refused_without_quoting_it(folder: Folder, malformed: str) -> None:
    folder.add_table(1)
    with pytest.raises(InvalidInput) as caught:
        migrate.apply(malformed, directory=folder.path)
    for part in (SECRET, "secret", "1234", "@part", "zzet"):
        assert part not in "".join(traceback.format_exception(caught.value))


def test_a_dsn_may_be_a_url_for_a_socket_folder_and_name_the_driver(
    dsn: str, folder: Folder
) -> None:
    first = folder.add_table(1)
    fields = psycopg.conninfo.conninfo_to_dict(dsn)
    host = str(fields["host"]).replace("/", "%2F")
    url = f"postgresql+psycopg://{fields['user']}@/{fields['dbname']}?host={host}"
    if "port" in fields:
        url += f"&port={fields['port']}"
    assert migrate.apply(url, directory=folder.path) == [first]


def test_no_server_is_unavailable(tmp_path: Path, folder: Folder) -> None:
    folder.add_table(1)
    with pytest.raises(Unavailable, match="No such file or directory"):
        migrate.apply(f"host={tmp_path} dbname=clonedb", directory=folder.path)


def test_a_server_older_than_15_is_refused(old_server: str, folder: Folder) -> None:
    folder.add_table(1)
    with pytest.raises(ServerTooOld, match=r"PostgreSQL 14\.20.*15 or newer"):
        migrate.apply(old_server, directory=folder.path)
