"""What the doctor says of a sound database, of whom, and to whom."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import psycopg
import pytest
from defects import DIARY, NOTICES

from clonedb.doctor import examine, examine_connection
from clonedb.doctor.check import all_checks
from clonedb.doctor.declared import (
    APPEND_ONLY_TABLES,
    ERASABLE_TABLES,
    ERASED_BY_NAME,
    HIDDEN_COLUMNS,
    KEPT_AFTER_ERASURE,
    KEYED_WITHOUT_USER,
    SHARED_TABLES,
    UNLOGGED_TABLES,
)
from clonedb.embedded import EmbeddedServer
from clonedb.errors import NotMigrated
from clonedb.postgres import cluster
from clonedb.queries import load_directory, query_of
from clonedb.resources import sql_directory
from clonedb.testing import SUPERUSER, IsolatedDatabase

Connection = psycopg.Connection[Any]

FOR_SUPERUSERS = {"hba_unencrypted", "hba_weak", "password_md5"}


@pytest.mark.parametrize(
    "role",
    [
        "clonedb_dba",
        "clonedb_migrator",
        "clonedb_app",
        "clonedb_worker",
        "clonedb_readonly",
        "clonedb_backup",
        SUPERUSER,
    ],
)
def test_a_sound_database_gives_no_findings_to_any_login(
    sound: IsolatedDatabase, role: str
) -> None:
    report = examine(sound.dsn(role))
    skipped = set() if role == SUPERUSER else FOR_SUPERUSERS
    assert report.findings == []
    assert {skipped.check for skipped in report.skipped} == skipped
    assert report.checks + len(report.skipped) == len(all_checks())


@pytest.mark.parametrize("role", ["clonedb_dba", "clonedb_app", "clonedb_readonly"])
def test_every_login_finds_the_same(sound: IsolatedDatabase, role: str) -> None:
    """Also what lies behind rights that the login does not have."""
    with psycopg.connect(sound.dsn(SUPERUSER)) as connection:
        connection.execute("ALTER TABLE clonedb.audit_seals OWNER TO clonedb_worker")
        connection.execute("GRANT USAGE ON SCHEMA clonedb TO PUBLIC")
        connection.execute(
            "ALTER ROLE clonedb_backup SET clonedb.user_id = '00000000-0000-7000-8000-000000000000'"
        )
        everything = examine_connection(connection).findings
        connection.execute(f'SET LOCAL ROLE "{role}"'.encode())
        seen = examine_connection(connection).findings
        connection.rollback()
    assert {finding.check for finding in everything} >= {
        "client_owns",
        "public_rights",
        "login_setting",
    }
    assert seen == everything


def test_a_table_that_is_added_as_it_should_be_gives_none(superuser: Connection) -> None:
    superuser.execute(DIARY.encode())
    superuser.execute(NOTICES.encode())
    assert examine_connection(superuser).findings == []


def test_a_table_that_is_added_by_hand_without_protection_is_found(superuser: Connection) -> None:
    superuser.execute(
        "CREATE TABLE clonedb.diary (id bigserial, user_id uuid, words text);"
        "GRANT SELECT ON clonedb.diary TO clonedb_app, clonedb_readonly"
    )
    found = {
        finding.check
        for finding in examine_connection(superuser).findings
        if finding.object == "clonedb.diary"
    }
    assert found == {
        "foreign_owner",
        "no_primary_key",
        "not_backed_up",
        "not_erased",
        "nullable_user",
        "readonly_reads_content",
        "rls_not_forced",
        "rls_off",
        "uncommented",
    }


def test_a_partition_that_is_added_by_hand_is_found(superuser: Connection) -> None:
    superuser.execute(
        "CREATE TABLE clonedb.turns_of_old PARTITION OF clonedb.conversation_turns FOR VALUES "
        "FROM ('00000000-0000-7000-8000-000000000000') TO ('00000000-0001-7000-8000-000000000000')"
    )
    found = [
        finding
        for finding in examine_connection(superuser).findings
        if finding.object == "clonedb.turns_of_old"
    ]
    assert {"rls_off", "rls_not_forced"} <= {finding.check for finding in found}


def test_what_is_declared_as_erased_by_name_is_erased_where_a_user_is(
    superuser: Connection,
) -> None:
    rows = superuser.execute("SELECT table_name, user_column FROM clonedb.person_tables()")
    tables = dict(rows.fetchall())
    assert {table: tables.get(table) for table in ERASED_BY_NAME} == dict.fromkeys(
        ERASED_BY_NAME, "user_id"
    )
    assert [tables[table] for table in KEPT_AFTER_ERASURE] == [None]


def test_what_is_declared_is_there(superuser: Connection) -> None:
    """A table that has gone leaves no exception behind for the next of its name."""
    tables = {
        *SHARED_TABLES,
        *UNLOGGED_TABLES,
        *ERASED_BY_NAME,
        *KEPT_AFTER_ERASURE,
        *APPEND_ONLY_TABLES,
        *ERASABLE_TABLES,
        *KEYED_WITHOUT_USER,
    }
    there = superuser.execute(
        "SELECT c.relname, a.attname FROM pg_class AS c JOIN pg_attribute AS a "
        "ON a.attrelid = c.oid WHERE c.relnamespace = 'clonedb'::regnamespace"
    ).fetchall()
    assert tables <= {table for table, _ in there}
    assert set(HIDDEN_COLUMNS) <= {f"{table}.{column}" for table, column in there}


def test_names_are_quoted_in_remedies(superuser: Connection) -> None:
    superuser.execute('CREATE TABLE clonedb."a ""b"" c; --" (user_id uuid NOT NULL PRIMARY KEY)')
    findings = examine_connection(superuser).findings
    assert {finding.object for finding in findings} >= {'clonedb."a ""b"" c; --"'}
    for finding in findings:
        superuser.execute(finding.remedy.encode())
    left = examine_connection(superuser).findings
    # Row-level security is on by now, so that policies are missed; that remedy makes them.
    for finding in left:
        superuser.execute(finding.remedy.encode())
    assert examine_connection(superuser).findings == []


def test_an_examination_changes_nothing(superuser: Connection) -> None:
    before = superuser.execute("SHOW search_path").fetchone()
    examine_connection(superuser)
    assert superuser.execute("SHOW search_path").fetchone() == before
    assert superuser.execute("SELECT pg_current_xact_id_if_assigned()").fetchone() == (None,)


def test_the_gravest_comes_first(superuser: Connection) -> None:
    superuser.execute("COMMENT ON COLUMN clonedb.users.name IS NULL")
    superuser.execute("CREATE INDEX again ON clonedb.daily_usage (user_id, day)")
    superuser.execute("ALTER ROLE clonedb_owner LOGIN")
    levels = [finding.level for finding in examine_connection(superuser).findings]
    assert levels == ["error", "error", "warning", "note"]


def test_a_database_without_the_schema_is_refused(empty_database: IsolatedDatabase) -> None:
    with pytest.raises(NotMigrated, match="run `clonedb migrate`"):
        examine(empty_database.dsn("clonedb_dba"))


def test_a_server_on_the_network_without_tls_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """On an address of this machine's own, of which no other process here has the same."""
    number = os.getpid()
    address = f"127.{number >> 16 & 127}.{number >> 8 & 255}.{number & 255}"
    monkeypatch.setitem(cluster._SETTINGS, "listen_addresses", address)
    statement = query_of(load_directory(sql_directory() / "doctor").ssl_off.find).full.text
    with (
        tempfile.TemporaryDirectory(prefix="clonedb-") as folder,
        EmbeddedServer(Path(folder), durable=False) as server,
        psycopg.connect(server.dsn(SUPERUSER), autocommit=True) as connection,
    ):
        assert connection.execute(statement.encode()).fetchall() == [("listen_addresses", address)]
        (check,) = (check for check in all_checks() if check.name == "ssl_off")
        found = check.finding({"object": "listen_addresses", "addresses": address})
        assert found.message == f"the server listens on {address} with ssl off"
        assert found.remedy.startswith("ALTER SYSTEM SET ssl = on;")
