"""Query files become modules, and a wrong file is refused with its line and what to do."""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from aiosql.types import SQLOperationType

from clonedb import queries
from clonedb.errors import QueryFileError
from clonedb.queries import all_queries, load_directory, query_of
from clonedb.query.statements import Statement
from clonedb.resources import sql_directory

Load = Callable[..., SimpleNamespace]

USERS = """\
-- Users.

-- name: find_by_id(id)^
-- One user.
SELECT u.id
FROM clonedb.users AS u
WHERE u.id = :id;

-- name: find_all()
-- All of them.
SELECT u.id FROM clonedb.users AS u

-- name: count()$
-- How many.
SELECT count(*) FROM clonedb.users AS u

-- name: delete(id)!
-- Deletes one.
DELETE FROM clonedb.users WHERE id = :id

-- name: create(id)<!
-- Makes one.
INSERT INTO clonedb.users (id) VALUES (:id) RETURNING id
"""


def query(body: str, parameters: str = "", tags: str = "", operator: str = "") -> str:
    """A query whose body begins on line 3, or below its tags."""
    return f"-- name: read({parameters}){operator}\n-- Reads.\n{tags}{body}\n"


@pytest.fixture
def load(tmp_path: Path) -> Load:
    def write(text: str | bytes, name: str = "users.sql") -> SimpleNamespace:
        folder = tmp_path / "sql"
        folder.mkdir(exist_ok=True)
        content = text if isinstance(text, bytes) else text.encode()
        (folder / name).write_bytes(content)
        return load_directory(folder)

    return write


class Recorder:
    """A target that tells which of its methods was called, and with what."""

    def __getattr__(self, method: str) -> Callable[[Statement, tuple[Any, ...]], Any]:
        return lambda statement, values: (method, statement, values)


@pytest.mark.parametrize(
    ("name", "arguments", "method"),
    [
        ("find_by_id", {"id": 1}, "fetch_one"),
        ("find_all", {}, "fetch_all"),
        ("find_all_cursor", {}, "stream"),
        ("count", {}, "fetch_value"),
        ("delete", {"id": 1}, "execute"),
        ("create", {"id": 1}, "fetch_one"),
    ],
)
def test_a_function_hands_statement_and_values_to_what_its_operator_means(
    load: Load, name: str, arguments: dict[str, Any], method: str
) -> None:
    function = getattr(load(USERS).users, name)
    called, statement, values = function(Recorder(), **arguments)
    assert called == method
    assert statement is query_of(function).full
    assert values == tuple(arguments.values())


def test_a_function_describes_its_query(load: Load) -> None:
    function = load(USERS).users.find_by_id
    assert function.__doc__ == "One user."
    assert function.sql == (
        "/* users.find_by_id */\nSELECT u.id\nFROM clonedb.users AS u\nWHERE u.id = $1"
    )
    assert function.operation is SQLOperationType.SELECT_ONE
    assert str(inspect.signature(function)) == "(conn, /, *, id)"
    query = query_of(function)
    assert (query.name, query.path, query.line) == ("users.find_by_id", "sql/users.sql", 3)


def test_a_cursor_has_the_query_of_its_function(load: Load) -> None:
    users = load(USERS).users
    assert query_of(users.find_all_cursor) is query_of(users.find_all)


def test_only_a_query_modules_function_has_a_query() -> None:
    with pytest.raises(TypeError, match="not a function of a query module"):
        query_of(print)


@pytest.mark.parametrize(("name", "line"), [("find_by_id", 3), ("find_all_cursor", 9)])
def test_a_traceback_shows_the_name_line_of_the_query(load: Load, name: str, line: int) -> None:
    function = getattr(load(USERS).users, name)
    with pytest.raises(TypeError, match=rf"\(sql/users.sql:{line}\)") as raised:
        function(Recorder(), wrong=1)
    frames = {frame.name: frame for frame in traceback.extract_tb(raised.tb)}
    frame = frames[f"users.{name}"]
    assert Path(frame.filename).parts[-2:] == ("sql", "users.sql")
    assert frame.lineno == line
    assert (frame.line or "").startswith("-- name: ")


def test_arguments_go_by_name_only(load: Load) -> None:
    with pytest.raises(ValueError, match="positional"):
        load(USERS).users.find_by_id(Recorder(), 1)


def test_each_file_is_a_module_of_its_own(load: Load) -> None:
    load("-- name: find_all()\n-- All.\nSELECT 1\n", "sessions.sql")
    modules = load(USERS)
    assert query_of(modules.sessions.find_all).name == "sessions.find_all"
    assert query_of(modules.users.find_all).name == "users.find_all"
    assert [query.name for query in all_queries(modules)] == [
        "sessions.find_all",
        "users.find_by_id",
        "users.find_all",
        "users.count",
        "users.delete",
        "users.create",
    ]


def test_sub_folders_and_hidden_files_are_no_modules(load: Load, tmp_path: Path) -> None:
    modules = load(USERS)
    (tmp_path / "sql" / "setup").mkdir()
    (tmp_path / "sql" / "setup" / "logins.sql").write_text("CREATE ROLE a;\n")
    (tmp_path / "sql" / ".users.sql").write_text("half saved")
    assert vars(load_directory(tmp_path / "sql")).keys() == vars(modules).keys() == {"users"}


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotADirectoryError, match="no folder of query files"):
        load_directory(tmp_path / "sql")


def test_the_packages_own_files_are_loaded_at_import() -> None:
    files = {file.stem for file in sql_directory().glob("*.sql")}
    assert files
    assert files == vars(queries.modules).keys()
    for name in files:
        assert getattr(queries, name) is getattr(queries.modules, name)


def test_line_ends_and_byte_order_mark_of_other_systems_change_nothing(load: Load) -> None:
    text = query("SELECT 'a\nb',\n    1")
    windows = b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode()
    for content in (text, windows, text.replace("\n", "\r")):
        assert load(content).users.read.sql == "/* users.read */\nSELECT 'a\nb',\n    1"


def test_a_sentence_with_a_colon_is_prose(load: Load) -> None:
    text = "-- name: a()\n-- Note: it is a colon.\n-- See https://example.com too.\nSELECT 1\n"
    assert query_of(load(text).users.a).doc == "Note: it is a colon.\nSee https://example.com too."


def test_a_linters_directive_is_no_condition(load: Load) -> None:
    text = "-- name: a()\n-- A.\nSELECT 1  -- noqa: LT05\n"
    assert load(text).users.a.sql == "/* users.a */\nSELECT 1"


@pytest.mark.parametrize(
    ("text", "line", "complaint"),
    [
        # parameters
        (query("SELECT 1,\n    :id"), 4, ":id is not declared: add id to the parameters"),
        (query("SELECT 'a' :b, '{a: 1}' :c"), 3, ":b is not declared.*needs a space behind it"),
        (query("SELECT 1", "id"), 1, "id is declared and not used: write :id, or remove it"),
        (query("SELECT E':id', $$ :id $$ -- :id", "id"), 1, "id is declared and not used"),
        (query("SELECT :a", "a, a"), 1, "the parameter a is declared twice"),
        (query("SELECT :Id", "Id"), 1, "'Id' is no name for a parameter: use lower case"),
        (query("SELECT :class", "class"), 1, "'class' is no name for a parameter"),
        (query("SELECT :order", "order"), 1, "a parameter cannot be called order: rename it"),
        (query("SELECT :conn", "conn"), 1, "a parameter cannot be called conn: rename it"),
        (query("SELECT\n    $1"), 4, r"\$1 is a numbered parameter: declare a name for it"),
        (query("SELECT\n    a[1:n]", "n"), 4, ":n behind an operand .*: put spaces around"),
        # headers
        ("\n-- name: read\n-- A.\nSELECT 1\n", 2, "'read' is no header: write -- name: "),
        ("-- name: (a)\n-- A.\nSELECT 1\n", 1, "is no header"),
        ("-- name: a() b\n-- A.\nSELECT 1\n", 1, "b is no operator: use"),
        ("-- name: a() ^ b\n-- A.\nSELECT 1\n", 1, "is no header"),
        ("-- name: read(a, b\n-- A.\nSELECT :a\n", 1, "is no header"),
        ("-- name: 1st()\n-- A.\nSELECT 1\n", 1, "'1st' is no name for a query: use lower case"),
        ("-- name: find-all()\n-- A.\nSELECT 1\n", 1, "'find-all' is no name for a query"),
        ("-- name: add_query()\n-- A.\nSELECT 1\n", 1, "add_query is a name that aiosql takes"),
        ("-- name: is_aio()\n-- A.\nSELECT 1\n", 1, "is_aio is a name that aiosql takes"),
        ("-- name: all_cursor()\n-- A.\nSELECT 1\n", 1, "all_cursor is a name that aiosql takes"),
        (query("SELECT 1", operator="*!"), 1, r"\*! runs one statement per row.*unnest"),
        (query("SELECT 1", operator="#"), 1, "# is a script, .* migrations/"),
        (query("SELECT 1", operator="?"), 1, r"\? is no operator: use \^"),
        ("-- name: a()\nSELECT 1\n", 1, "a has no description: say below its name"),
        ("-- name: a()\n-- lane: pool\nSELECT 1\n", 1, "a has no description"),
        # names
        (f"{query('SELECT 1')}\n{query('SELECT 2')}", 5, "line 1 has a query read already"),
        ("-- Name: a()\n-- A.\nSELECT 1\n", 3, "only comments may stand before the first"),
        (query("SELECT 1\n\n-- Name: b()\n-- B.\nSELECT 2"), 5, "-- name: in lower case"),
        (query("SELECT 1 -- name: b()"), 3, "put it on a line of its own"),
        (query("SELECT '\n\n-- name: b()'"), 3, "string .* holds the -- name: of line 5: close"),
        (query("SELECT $$ -- name: b() $$"), 3, "the string .* holds the -- name: of line 3"),
        (query("/*\n-- name: b()\n*/ SELECT 1"), 3, "the block comment .* holds the -- name:"),
        # tags
        (query("SELECT 1", tags="-- speed: high\n"), 3, "speed is no tag: use access, lane,"),
        (query("SELECT 1", tags="-- Lane: pool\n"), 3, "Lane is no tag: use access, lane,"),
        (query("SELECT 1", tags="-- lane: slow\n"), 3, "'slow' is no lane: use channel or pool"),
        (query("SELECT 1", tags="-- lane:\n"), 3, "'' is no lane: use channel or pool"),
        (query("SELECT 1", tags="-- access: all\n"), 3, "'all' is no access: use read or write"),
        (query("SELECT 1", tags="-- plan_cache_mode: on\n"), 3, "'on' is no plan_cache_mode: use"),
        (query("SELECT 1", tags="-- timeout: 0 s\n"), 3, "'0 s' is no timeout: write 250 ms or"),
        (query("SELECT 1", tags="-- timeout: 5 min\n"), 3, "'5 min' is no timeout"),
        (query("SELECT 1", tags="-- lane: pool\n-- lane: pool\n"), 4, "tag lane is given twice"),
        (query("SELECT 1", tags="-- lane: pool\n-- Why.\n"), 4, "prose goes before the tags"),
        (query("-- access: write\nSELECT f()", tags="\n"), 4, "put access: directly below its"),
        (query("SELECT 1\nFOR UPDATE", tags="-- access: read\n"), 5, "access: read, but writes"),
        # conditions
        (query("SELECT 1  -- if: a"), 3, "'if: a' is no condition: write filter: NAME, when:"),
        (query("SELECT 1  -- Filter: a"), 3, "'Filter: a' is no condition"),
        (query("SELECT 1  -- order:"), 3, "'order:' is no condition: .* order: NAME"),
        (query("SELECT 1\n, 2  -- when: a, b"), 4, "'when: a, b' is no condition"),
        (query("SELECT 1\n, 2  -- when: a; b"), 4, "'b' is no condition"),
        (query("SELECT 1\n, 2  -- when: a;"), 4, "this ; is inside the comment: put it before"),
        (query("SELECT 1\n-- when: a"), 4, "when: has no SQL before it: put it at the end"),
        (query("SELECT '\n  -- when: a\n'"), 4, "a condition inside a string is only text of it"),
        (query("SELECT 1 /*\n-- when: a\n*/"), 4, "inside a block comment is only text of it"),
        (query("SELECT '\n' -- when: a"), 4, "this line begins inside a string or comment"),
        (query("SELECT 1\n/*\n*/ , 2 -- when: a"), 5, "this line begins inside a string"),
        (query("SELECT 1\n, 2 -- filter: a"), 4, "the filter a has no parameter of its own"),
        (query("SELECT :a\n, :a -- filter: a", "a"), 4, "the filter a has no parameter of its"),
        (query("SELECT 1\n, :a -- filter: a; filter: b", "a"), 4, "one filter, order or after at"),
        (query("SELECT 1\n, :after_id -- after: a", "after_id"), 4, "there is no order a: end the"),
        (
            query("SELECT 1\n, :id -- after: a\nORDER BY 1 -- order: a", "id"),
            4,
            "the parameters of a cursor are named after_<column>; here: id",
        ),
        (query("SELECT 1\n, 2 -- after: a\nORDER BY 1 -- order: a"), 4, "here: none"),
        (query("SELECT :a\n, 2 -- when: a", "a"), 4, "a is an argument already: give the flag"),
        (query("SELECT 1\n, 2 -- when: order"), 4, "order is an argument already"),
        (query("SELECT 1 -- when: a\nSELECT 2 -- unless: a"), 3, "all lines of read are condition"),
        # statements and files
        (query("SELECT 1;\nSELECT 2;"), 3, "a query is one statement, and this ; is not its end"),
        (query("SELECT 1\n;\n;\nSELECT 2"), 5, "a query is one statement"),
        (query("SELECT 'a\n    FROM t\n"), 3, "the string that begins here has no end: close"),
        (query("SELECT $$ a"), 3, r"the quote \$\$ that begins here has no end"),
        (query("SELECT 1\n/* a"), 4, "the comment that begins here has no end: close it with"),
        (query('SELECT "a'), 3, "the quoted identifier that begins here has no end"),
        (query(""), 1, "read has no SQL below its header"),
        (query("-- only why\n;"), 1, "read has no SQL below its header"),
        ("", 1, "the file has no query: begin one with -- name:"),
        ("-- Users.\n", 1, "the file has no query"),
        ("-- Users.\nSET a = 1;\n-- name: a()\n-- A.\nSELECT 1\n", 2, "only comments may stand"),
        (query("SELECT 1").encode() + b"-- caf\xe9\n", 4, "this is not UTF-8: save the file as"),
        (query("SELECT '\0'"), 3, "there is a NUL"),
    ],
)
def test_a_wrong_file_is_refused_with_line_and_remedy(
    load: Load, text: str | bytes, line: int, complaint: str
) -> None:
    with pytest.raises(QueryFileError, match=rf"^sql/users\.sql:{line}: .*{complaint}") as raised:
        load(text)
    assert (raised.value.path, raised.value.line) == ("sql/users.sql", line)


@pytest.mark.parametrize("name", ["Users.sql", "user-list.sql", "class.sql", "2users.sql"])
def test_a_files_name_must_be_a_modules(load: Load, name: str) -> None:
    with pytest.raises(QueryFileError, match="is no name for a query module: use lower case"):
        load(USERS, name)
