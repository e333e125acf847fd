"""Reading, checking and creating the pairs of files in a migrations folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from clonedb.errors import InvalidInput, MigrationError
from clonedb.migration.files import create_pair, read_folder


def check(directory: Path, text: str) -> None:
    (directory / "0001_escape.sql").write_text(text)
    (migration,) = read_folder(directory)
    migration.check()


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("BEGIN;", "BEGIN"),
        ("begin work;", "BEGIN"),
        ("COMMIT", "COMMIT"),
        ("COMMIT PREPARED 'x';", "COMMIT"),
        ("ROLLBACK;", "ROLLBACK"),
        ("ROLLBACK TO SAVEPOINT here;", "ROLLBACK"),
        ("END;", "END"),
        ("ABORT;", "ABORT"),
        ("SAVEPOINT here;", "SAVEPOINT"),
        ("RELEASE here;", "RELEASE"),
        ("START /* now */ TRANSACTION;", "START TRANSACTION"),
        ("PREPARE -- now\nTRANSACTION 'x';", "PREPARE TRANSACTION"),
        ("/* a /* nested */ comment */ COMMIT;", "COMMIT"),
    ],
)
def test_transaction_control_is_refused_by_its_line(
    tmp_path: Path, statement: str, words: str
) -> None:
    with pytest.raises(MigrationError, match=rf"0001_escape\.sql:3: {words} in a transactional"):
        check(tmp_path, f"CREATE TABLE t ();\n-- COMMIT;\n{statement}\n")


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT 'x; COMMIT;';",
        "SELECT E'\\'; COMMIT;';",
        'SELECT 1 AS "x; COMMIT;";',
        "/* one /* two; */ COMMIT; */ SELECT 1;",
        "DO $do$ BEGIN COMMIT; END $do$;",
        "SELECT $$; COMMIT; $a$; COMMIT; $$;",
        "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT CASE WHEN true THEN 1 END; END;",
        "SELECT CASE WHEN true THEN 1 END;",
        "PREPARE statement AS SELECT 1;",
        "-- transactional: false\nBEGIN; SELECT 1; COMMIT;",
    ],
)
def test_the_same_words_elsewhere_are_not_refused(tmp_path: Path, statement: str) -> None:
    check(tmp_path, statement)


def test_a_second_function_body_does_not_hide_what_follows(tmp_path: Path) -> None:
    body = "BEGIN ATOMIC SELECT CASE WHEN true THEN 1 END; END;"
    functions = "".join(f"CREATE FUNCTION f{n}() RETURNS int {body}\n" for n in (1, 2))
    with pytest.raises(MigrationError, match=r":3: COMMIT"):
        check(tmp_path, f"{functions}COMMIT;")


def test_every_statement_knows_its_line(tmp_path: Path) -> None:
    (tmp_path / "0001_lines.sql").write_text(
        "-- depends:\n-- A comment.\n\nSELECT 1;\nSELECT 1; SELECT 1;\n\n"
        "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS $$\n    SELECT 1;\n$$;\n"
        "-- About the last.\nSELECT 1;\n"
    )
    (tmp_path / "0001_lines.rollback.sql").write_text("\n\nSELECT 2;\n")
    (migration,) = read_folder(tmp_path)
    assert [statement.line for statement in migration.statements] == [4, 5, 5, 7, 10]
    assert [statement.line for statement in migration.rollback or ()] == [3]


def test_the_order_is_by_dependency_and_then_by_name(tmp_path: Path) -> None:
    for name, depends in (("0001_a", "0003_c"), ("0002_b", ""), ("0003_c", "")):
        (tmp_path / f"{name}.sql").write_text(f"-- depends: {depends}\nSELECT 1;\n")
    assert [file.id for file in read_folder(tmp_path)] == ["0002_b", "0003_c", "0001_a"]


def test_a_dependency_of_another_folder_is_missing_here(tmp_path: Path) -> None:
    here, elsewhere = tmp_path / "here", tmp_path / "elsewhere"
    for directory in (here, elsewhere):
        directory.mkdir()
    (elsewhere / "0001_other.sql").write_text("SELECT 1;")
    read_folder(elsewhere)
    (here / "0002_this.sql").write_text("-- depends: 0001_other\nSELECT 1;")
    with pytest.raises(MigrationError, match=r"here/0002_this\.sql depends on 0001_other"):
        read_folder(here)


def test_a_folder_may_have_a_name_that_looks_like_a_pattern(tmp_path: Path) -> None:
    directory = tmp_path / "release [1]"
    directory.mkdir()
    (directory / "0001_a.sql").write_text("SELECT 1;")
    assert [file.id for file in read_folder(directory)] == ["0001_a"]


def test_bytes_that_are_not_utf_8_are_refused(tmp_path: Path) -> None:
    (tmp_path / "0001_latin.sql").write_bytes(b"SELECT '\xe9';")
    with pytest.raises(MigrationError, match="not UTF-8"):
        read_folder(tmp_path)


@pytest.mark.parametrize("name", ["", "  ", "../escape", "9lives", "\u00fcmlaut", "a;b", "x" * 300])
def test_a_name_that_is_no_verb_and_object_makes_no_file(tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidInput):
        create_pair(name, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_pair_of_files_never_replaces_another(tmp_path: Path) -> None:
    create_pair("add_it", tmp_path)
    kept = tmp_path / "0002_add_it.rollback.sql"
    kept.write_text("precious")
    with pytest.raises(FileExistsError):
        create_pair("add_it", tmp_path)
    assert kept.read_text() == "precious"
