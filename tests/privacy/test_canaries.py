"""A word in every column of a person: all of it is exported, and none of it outlives erasure."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import pytest
from canaries import (
    CLOSED,
    Connection,
    Planted,
    in_files,
    plant,
    rows_of,
    where,
    without_checks,
)
from ground import as_superuser

from clonedb import Database, ObjectStore
from clonedb.privacy import erase_user, export_user
from clonedb.privacy.classes import INTIMATE
from clonedb.testing import SUPERUSER, IsolatedDatabase

ADA, GRACE = "canaryofada", "canaryofgrace"


async def furnish(store: ObjectStore, worker: Database, person: Planted) -> None:
    """Real files beside the planted rows: one that is kept, one whose upload goes on."""
    objects = store.of(worker.as_user(person.id))
    await objects.put(
        "document",
        f"{person.word}.txt",
        f"in the store: {person.word}".encode(),
        metadata={person.word: person.word},
    )
    await objects.upload(f"never kept: {person.word}".encode())


@pytest.fixture
async def people(
    migrated: IsolatedDatabase, worker: Database, tmp_path: Path
) -> tuple[Planted, Planted, ObjectStore]:
    with as_superuser(migrated) as connection:
        without_checks(connection)
        ada, grace = plant(connection, ADA), plant(connection, GRACE)
        # What is deleted is hidden, and has no files any more.
        connection.execute("UPDATE clonedb.users SET deleted_at = NULL")
    store = ObjectStore(tmp_path / "objects")
    await furnish(store, worker, ada)
    await furnish(store, worker, grace)
    with as_superuser(migrated) as connection:
        connection.execute(
            "UPDATE clonedb.object_uploads "
            "SET expires_at = CASE user_id WHEN %s THEN now() ELSE now() + interval '1 day' END",
            [ada.id],
        )
        # What the planner knows of columns is a place for words too.
        connection.execute("ANALYZE")
    return ada, grace, store


def test_every_column_that_can_hold_a_word_has_one(migrated: IsolatedDatabase) -> None:
    """By the catalogue, not by a list: whatever is added is planted, or named with its reason."""
    with as_superuser(migrated) as connection:
        without_checks(connection)
        planted = plant(connection, ADA)
        holding = {
            f"{table}.{column}" for table, columns in planted.columns.items() for column in columns
        }
        wordy = {
            f"{table}.{column}"
            for table, column in connection.execute(
                "SELECT c.relname, a.attname FROM pg_class AS c "
                "JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 "
                "JOIN pg_type AS y ON y.oid = a.atttypid "
                "LEFT JOIN pg_type AS e ON e.oid = y.typelem AND y.typcategory = 'A' "
                "WHERE c.relnamespace = 'clonedb'::regnamespace AND NOT c.relispartition "
                "AND c.relname IN (SELECT table_name FROM clonedb.person_tables()) "
                "AND NOT a.attisdropped AND a.attgenerated = '' "
                "AND (coalesce(e.typcategory, y.typcategory) = 'S' "
                "OR y.typname IN ('json', 'jsonb', 'bytea'))"
            ).fetchall()
        }
        closed = {name for name in wordy if name.partition(".")[0] in CLOSED}
        assert wordy - closed == holding
        # And it is found wherever it was planted, also in what is generated from it.
        connection.execute("UPDATE clonedb.knowledge_documents SET language = 'simple'")
        holding.remove("knowledge_documents.language")
        seen = {name.removeprefix("clonedb.") for name in where(connection, ADA)}
        months = {name for name in seen if "_20" in name.partition(".")[0]}
        generated = {"users.email_key", "knowledge_documents.search"}
        assert (
            seen - months
            == {name for name in holding if not name.startswith("conversation_turns")} | generated
        )
        assert {name.partition(".")[2] for name in months} == planted.columns["conversation_turns"]


@pytest.mark.parametrize("column", ["action", "resource", "result"])
def test_no_word_of_a_person_fits_in_the_log_that_outlives_them(
    migrated: IsolatedDatabase, column: str
) -> None:
    values = {"action": "user.login", "resource": "users", "result": "success"}
    with as_superuser(migrated) as connection, pytest.raises(psycopg.errors.CheckViolation):
        connection.execute(
            "INSERT INTO clonedb.audit_logs (action, resource, result) VALUES (%s, %s, %s)",
            list({**values, column: "Ada said so"}.values()),
        )


@pytest.mark.parametrize("way", ["erase_user", "app"])
async def test_nothing_is_left_of_an_erased_person_and_all_of_the_other(
    people: tuple[Planted, Planted, ObjectStore],
    app: Database,
    worker: Database,
    migrated: IsolatedDatabase,
    tmp_path: Path,
    way: str,
) -> None:
    ada, grace, store = people
    with as_superuser(migrated) as connection:
        connection.execute("LISTEN clonedb_caches")
        subject_ref = subject_of(connection, ada)
        before = rows_of(connection, grace.id)
        assert all(before.values())
        if way == "app":
            assert await app.as_user(ada.id).users.hard_delete(ada.id) is True
        receipt = await erase_user(worker, ada.id, object_store=store)
        assert receipt.outcome == ("erased" if way == "erase_user" else "already_erased")
        assert receipt.closed_at is not None
        assert receipt.row_counts.keys() == before.keys()
        if way == "erase_user":
            assert receipt.row_counts == {table: len(rows) for table, rows in before.items()}
        # Planted where no CHECK lets a word in, it may be sampled; what a person said is not.
        assert {name for name in where(connection, ADA) if "pg_stat" not in name} == set()
        assert sampled_classes(connection, ADA).isdisjoint(INTIMATE)
        assert list(in_files(tmp_path / "objects", ADA)) == []
        # Not even their id; what stood for them in the log stands for nobody.
        assert [name for name in where(connection, str(ada.id)) if "pg_stat" not in name] == []
        for name in where(connection, str(subject_ref)):
            assert name.startswith(("clonedb.audit_logs", "pg_statistic")), name
        told = [notice.payload for notice in connection.notifies(timeout=0)]
        assert told
        for payload in told:
            assert ADA not in payload
            assert ada.id.hex not in payload.replace("-", "")
        assert rows_of(connection, grace.id) == before
    assert len(list(in_files(tmp_path / "objects", GRACE))) == 2


LEFTOVERS = (
    "CREATE TABLE public.leftover AS SELECT '{word}' AS said",
    "CREATE UNLOGGED TABLE public.leftover AS SELECT ARRAY['a', 'x {word} y'] AS said",
    "CREATE SCHEMA other; CREATE TABLE other.l AS SELECT jsonb_build_object('{word}', 1) AS j",
    "CREATE TABLE public.leftover AS SELECT convert_to('{word}', 'UTF8') AS bytes",
    "CREATE TABLE public.leftover (said varchar(99)); INSERT INTO leftover VALUES ('{word}')",
    "CREATE MATERIALIZED VIEW clonedb.leftover AS SELECT '{word}'::text AS said",
    "UPDATE clonedb.rate_limit_rules SET endpoint = '{word}' WHERE scope = 'address'",
    "INSERT INTO clonedb.object_deletions (object_key, last_error) VALUES ('00/{zeros}', '{word}')",
    # ANALYZE leaves alone what it has written of a table that is empty by now.
    "CREATE TABLE l AS SELECT '{word}' AS s FROM generate_series(1, 9); ANALYZE l; DELETE FROM l",
    "SELECT lo_from_bytea(0, convert_to('{word}', 'UTF8'))",
)


def test_the_scan_finds_what_is_left_anywhere(migrated: IsolatedDatabase) -> None:
    with psycopg.connect(migrated.dsn(SUPERUSER)) as connection:
        for leftover in LEFTOVERS:
            connection.execute(leftover.format(word=ADA, zeros="0" * 32).encode())
            assert len(where(connection, ADA)) == 1, leftover
            connection.rollback()


async def test_every_column_of_a_person_is_in_their_export(
    people: tuple[Planted, Planted, ObjectStore],
    worker: Database,
    migrated: IsolatedDatabase,
    tmp_path: Path,
) -> None:
    ada, _, store = people
    done = await export_user(worker, ada.id, tmp_path / "ada.zip", object_store=store)
    with as_superuser(migrated) as connection:
        catalogue = columns_of_people(connection)
        counts = {table: len(rows) for table, rows in rows_of(connection, ada.id).items()}
    with zipfile.ZipFile(tmp_path / "ada.zip") as written:
        assert written.testzip() is None
        files = {name: written.read(name).decode() for name in written.namelist()}
    page = files.pop("index.html")
    for table, columns in catalogue.items():
        rows = [msgspec.json.decode(line) for line in files.pop(f"{table}.jsonl").splitlines()]
        assert done.rows[table] == len(rows) == counts.get(table, len(rows))
        assert f"{table}.jsonl" in page
        for column in columns:
            assert f"<code>{column}</code>" in page
        for row in rows:
            assert row.keys() == columns
        for column in ada.columns.get(table, ()):
            assert any(holds(row[column], ADA) for row in rows), (table, column)
    # Their files; those whose keys were planted lie nowhere, and are said to be missing.
    assert files[f"objects/document/{ADA}.txt"] == f"in the store: {ADA}"
    assert done.objects == 2
    assert done.damaged == [f"objects/{ADA}/{ADA}"]
    assert "is missing" in page
    assert GRACE not in str(files) + page
    assert (tmp_path / "ada.zip").stat().st_mode & 0o777 == 0o600


def holds(value: Any, word: str) -> bool:
    text = msgspec.json.encode(value).decode()
    return word in text or word.encode().hex() in text


def subject_of(connection: Connection, person: Planted) -> Any:
    row = connection.execute(
        "SELECT subject_ref FROM clonedb.users WHERE id = %s", [person.id]
    ).fetchone()
    assert row is not None
    return row[0]


def sampled_classes(connection: Connection, word: str) -> set[str]:
    """The classes of the columns of which ANALYZE has kept the word."""
    rows = connection.execute(
        "SELECT coalesce(substring(col_description(s.starelid, s.staattnum) "
        "FROM 'personal: ([a-z]+)'), 'not classified') FROM pg_statistic AS s "
        "WHERE strpos(s::text, %s) > 0 OR strpos(s::text, %s) > 0",
        [word, word.encode().hex()],
    ).fetchall()
    return {name for (name,) in rows}


def columns_of_people(connection: Connection) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for table, column in connection.execute(
        "SELECT t.table_name, a.attname FROM clonedb.person_tables() AS t "
        "JOIN pg_attribute AS a ON a.attrelid = t.relation "
        "WHERE a.attnum > 0 AND NOT a.attisdropped"
    ).fetchall():
        found.setdefault(table, set()).add(column)
    return found
