"""sqlfluff sees each query as plain SQL, every line where it was."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from clonedb.errors import QueryFileError
from clonedb.query.lint_view import lint_view, main

QUERIES = """\
-- Sessions.

-- name: find_many(state, after_id, limit)
-- A page.
SELECT s.id
FROM clonedb.sessions AS s
WHERE s.deleted_at IS NULL  -- unless: include_deleted
    AND s.state = :state  -- filter: state
    AND s.id > :after_id  -- after: oldest
    ORDER BY s.id DESC  -- order: newest
    ORDER BY s.id  -- order: oldest
LIMIT :limit  -- as many as fit

-- name: find_all()
-- All.
SELECT 'a
-- b'

-- name: find_one()
-- One; the semicolon stands on a line that goes.
SELECT 1 AS a
ORDER BY a  -- order: up
ORDER BY a DESC;  -- order: down
"""

VIEW = """\
-- Sessions.

-- name: find_many(state, after_id, limit)
-- A page.
SELECT s.id
FROM clonedb.sessions AS s
WHERE s.deleted_at IS NULL
    AND s.state = :state
    AND s.id > :after_id
    ORDER BY s.id DESC
    -- the order oldest
LIMIT :limit;  -- as many as fit

-- name: find_all()
-- All.
SELECT 'a
-- b';

-- name: find_one()
-- One; the semicolon stands on a line that goes.
SELECT 1 AS a
ORDER BY a;
-- the order down
"""


def test_the_view_has_one_order_no_conditions_and_all_semicolons() -> None:
    assert lint_view(QUERIES, "sql/sessions.sql") == VIEW


def test_a_file_that_cannot_be_loaded_cannot_be_viewed() -> None:
    with pytest.raises(QueryFileError, match=r"^sql/sessions.sql:3: 'if: a' is no condition"):
        lint_view("-- name: a()\n-- A.\nSELECT 1  -- if: a\n", "sql/sessions.sql")


def test_a_folders_views_have_its_files_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = tmp_path / "sql", tmp_path / "build" / "sql"
    (source / "setup").mkdir(parents=True)
    (source / "setup" / "logins.sql").write_text("CREATE ROLE a;\n")
    (source / "sessions.sql").write_text(QUERIES)
    monkeypatch.setattr(sys, "argv", ["lint_view", str(source), str(target)])
    main()
    assert {file.name: file.read_text() for file in target.iterdir()} == {"sessions.sql": VIEW}
