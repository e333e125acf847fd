"""Which columns are proved to be never NULL, beside rows that show what is possible.

Every case is proved, and run on rows of which some lack what can be lacking: a column that is proved
must not be NULL in any, and one that is not proved is NULL in some, unless the case says why it is
not (`unshown`: PostgreSQL cannot know, or the rows have none).
`pytest tests/check/test_nullability.py -rP | grep ^case` prints the table.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any, NamedTuple

import psycopg
import pytest

from clonedb.check.catalogue import Catalogue
from clonedb.check.describe import TreeReader
from clonedb.check.nullability import TreeProof
from clonedb.check.planner_proof import PlannerProof, without_limit
from clonedb.check.scratch import SUPERUSER, Scratch
from clonedb.query.statements import Statement

SCHEMA = """
CREATE SCHEMA cases;
CREATE DOMAIN cases.filled AS text NOT NULL;
CREATE TYPE cases.pair AS (x int, y int);
CREATE TABLE cases.a (
    id int PRIMARY KEY, n int NOT NULL, m int, tags int[] NOT NULL, doc jsonb NOT NULL,
    p cases.pair, word cases.filled,
    twice int GENERATED ALWAYS AS (n * 2) STORED, maybe int GENERATED ALWAYS AS (m * 2) STORED,
    CONSTRAINT c CHECK (m IS NOT NULL OR n < 2)
);
CREATE TABLE cases.b (id int PRIMARY KEY, a_id int NOT NULL, v int NOT NULL, w int);
CREATE TABLE cases.checked (k int, CONSTRAINT k_is_there CHECK (k IS NOT NULL));
CREATE TABLE cases.late (k int);
INSERT INTO cases.late VALUES (NULL);
ALTER TABLE cases.late ADD CONSTRAINT k NOT NULL k NOT VALID;
CREATE VIEW cases.seen AS SELECT a.id, a.m, a.n + 1 AS more FROM cases.a;
CREATE FUNCTION cases.nothing(int) RETURNS int LANGUAGE sql STRICT AS 'SELECT NULL::int';
CREATE TABLE cases.triggered (id int PRIMARY KEY, m int);
CREATE FUNCTION cases.erase() RETURNS trigger LANGUAGE plpgsql
    AS $$ BEGIN new.m := NULL; RETURN new; END $$;
CREATE TRIGGER erase BEFORE INSERT OR UPDATE ON cases.triggered
    FOR EACH ROW EXECUTE FUNCTION cases.erase();
INSERT INTO cases.a VALUES
    (1, 1, NULL, '{}', '{}', NULL, 'x'), (2, 2, 5, '{7,8}', '{"k": null}', (1, NULL), 'y'),
    (3, 3, 6, '{9}', '{"k": 1}', (1, 2), 'z');
INSERT INTO cases.b VALUES (10, 1, 1, NULL), (11, 9, 2, 3);
INSERT INTO cases.checked VALUES (1);
INSERT INTO cases.triggered VALUES (1, 1);
"""


class Case(NamedTuple):
    sql: str
    proved: str  # y or n for each column
    unshown: str = ""  # the columns, by letter, that stay unproved although no row shows a NULL


CASES = {
    "NOT NULL and not": Case("SELECT a.n, a.m FROM cases.a", "yn"),
    "the left of a LEFT JOIN": Case(
        "SELECT a.n, b.v FROM cases.a LEFT JOIN cases.b ON b.a_id = a.id", "yn"
    ),
    "the right of a RIGHT JOIN": Case(
        "SELECT a.n, b.v FROM cases.a RIGHT JOIN cases.b ON b.a_id = a.id", "ny"
    ),
    "two LEFT JOINs": Case(
        "SELECT a.n, b.v, x.n FROM cases.a LEFT JOIN cases.b ON b.a_id = a.id "
        "LEFT JOIN cases.a AS x ON x.id = b.v",
        "ynn",
    ),
    "an inner join behind a LEFT JOIN": Case(
        "SELECT a.n, b.v, x.n FROM cases.a LEFT JOIN (cases.b INNER JOIN cases.a AS x "
        "ON x.id = b.v) ON b.a_id = a.id",
        "ynn",
    ),
    "LEFT JOIN of a sub-select": Case(
        "SELECT a.n, q.v, q.one FROM cases.a LEFT JOIN "
        "(SELECT b.a_id, b.v, 1 AS one FROM cases.b) AS q ON q.a_id = a.id",
        "ynn",
    ),
    "FULL JOIN": Case(
        "SELECT a.n, b.v FROM cases.a FULL JOIN cases.b ON b.a_id = a.id", "nn"
    ),
    "FULL JOIN USING": Case(
        "SELECT id, x.n FROM cases.a AS x FULL JOIN cases.b AS y USING (id)", "nn", "a"
    ),
    "a LEFT JOIN that WHERE makes inner": Case(
        "SELECT a.n, b.v FROM cases.a LEFT JOIN cases.b ON b.a_id = a.id WHERE b.v > 0", "yy"
    ),
    "a LEFT JOIN that is inner by IS NOT NULL, with a LIMIT": Case(
        "SELECT b.v, b.w FROM cases.a LEFT JOIN cases.b ON b.a_id = a.id "
        "WHERE b.id IS NOT NULL ORDER BY a.id LIMIT 5",
        "yn",
    ),
    "WHERE demands it": Case("SELECT a.m FROM cases.a WHERE a.m IS NOT NULL", "y"),
    "WHERE demands it under DISTINCT ON": Case(
        "SELECT DISTINCT ON (a.n) a.m FROM cases.a WHERE a.m IS NOT NULL ORDER BY a.n", "y"
    ),
    "WHERE demands something else or it": Case(
        "SELECT a.m FROM cases.a WHERE a.m IS NOT NULL OR a.n = 1", "n"
    ),
    "a CHECK": Case("SELECT k.k FROM cases.checked AS k", "y"),
    "a CHECK and a condition": Case("SELECT a.m FROM cases.a WHERE a.n >= 2", "y"),
    "NOT NULL that is not validated": Case("SELECT l.k FROM cases.late AS l", "n"),
    "a view's columns": Case("SELECT s.id, s.m, s.more FROM cases.seen AS s", "ynn", "c"),
    "a CTE": Case("WITH c AS (SELECT a.n, a.m FROM cases.a) SELECT c.n, c.m FROM c", "yn"),
    "a CTE read twice, with FOR UPDATE": Case(
        "WITH c AS (SELECT a.n, a.m FROM cases.a FOR UPDATE) "
        "SELECT c.n, d.m FROM c CROSS JOIN c AS d",
        "yn",
    ),
    "UNION ALL": Case(
        "SELECT a.n, a.n FROM cases.a UNION ALL SELECT b.v, b.w FROM cases.b", "yn"
    ),
    "INTERSECT and EXCEPT": Case(
        "(SELECT a.m FROM cases.a INTERSECT SELECT b.v + 4 FROM cases.b) EXCEPT SELECT b.w FROM cases.b",
        "y",
    ),
    "aggregates over no rows": Case(
        "SELECT count(*), sum(a.n), max(a.n), coalesce(sum(a.n), 0) FROM cases.a WHERE a.id < 0",
        "ynny",
    ),
    "aggregates of groups": Case(
        "SELECT a.n, max(a.n), max(a.m), max(a.n) FILTER (WHERE a.id < 0), array_agg(a.m) "
        "FROM cases.a GROUP BY a.n",
        "yynnn",
        "e",
    ),
    "GROUPING SETS": Case(
        "SELECT a.n, a.id, count(*), GROUPING(a.n) FROM cases.a GROUP BY GROUPING SETS ((a.n), (a.id))",
        "nnyy",
    ),
    "window functions": Case(
        "SELECT row_number() OVER (), lag(a.n) OVER (ORDER BY a.id) FROM cases.a", "yn"
    ),
    "coalesce": Case(
        "SELECT coalesce(a.m, 0), coalesce(a.m, a.n), coalesce(a.m, $1::int) FROM cases.a", "yyn"
    ),
    "CASE": Case(
        "SELECT CASE WHEN a.n > 1 THEN 'x' ELSE 'y' END, CASE WHEN a.n > 1 THEN 'x' END "
        "FROM cases.a",
        "yn",
    ),
    "nullif": Case("SELECT nullif(a.n, 1) FROM cases.a", "n"),
    "EXISTS and a scalar count": Case(
        "SELECT EXISTS (SELECT FROM cases.b WHERE b.id < 0), "
        "(SELECT count(*) FROM cases.b), (SELECT b.v FROM cases.b WHERE b.id < 0)",
        "yyn",
    ),
    "a scalar count with HAVING": Case(
        "SELECT (SELECT count(*) FROM cases.b HAVING count(*) > 100)", "n"
    ),
    "NOT IN": Case("SELECT 5 NOT IN (SELECT b.w FROM cases.b)", "n"),
    "comparisons and arithmetic": Case(
        "SELECT a.n = 1, a.m = 1, a.n + 1, a.m IS NULL, a.m IS DISTINCT FROM 1 FROM cases.a", "ynyyy"
    ),
    "RETURNING of INSERT": Case(
        "INSERT INTO cases.a (id, n, m, tags, doc, word) VALUES (4, 1, NULL, '{}', '{}', 'w') "
        "RETURNING id, m, twice, maybe",
        "ynyn",
    ),
    "RETURNING of what was set": Case(
        "UPDATE cases.a AS a SET m = a.n FROM cases.b WHERE b.a_id = a.id RETURNING a.m, b.v, b.w",
        "yyn",
    ),
    "RETURNING of what may have been kept": Case(
        "INSERT INTO cases.b (id, a_id, v, w) VALUES (10, 1, 1, 1) "
        "ON CONFLICT (id) DO UPDATE SET v = 1 RETURNING w",
        "n",
    ),
    "RETURNING of what a trigger changes": Case(
        "UPDATE cases.triggered AS t SET m = 1 RETURNING t.m", "n"
    ),
    "RETURNING with the old row's value": Case(
        "UPDATE cases.a AS a SET m = a.m + 0 WHERE a.m IS NULL RETURNING a.m", "n"
    ),
    "RETURNING old and new": Case(
        "INSERT INTO cases.b VALUES (12, 1, 1, NULL) RETURNING old.v, b.v", "ny"
    ),
    "DELETE USING": Case(
        "DELETE FROM cases.b AS b USING cases.a AS a WHERE a.id = b.a_id RETURNING b.v, b.w, a.n, a.m",
        "ynyn",
    ),
    "MERGE": Case(
        "MERGE INTO cases.b AS b USING cases.a AS a ON a.id = b.a_id "
        "WHEN NOT MATCHED BY SOURCE THEN UPDATE SET v = 0 RETURNING b.v, a.n",
        "yn",
    ),
    "a data-modifying CTE": Case(
        "WITH gone AS (DELETE FROM cases.b AS b RETURNING b.a_id, b.v, b.w) "
        "SELECT a.n, gone.v FROM cases.a LEFT JOIN gone ON gone.a_id = a.id",
        "yn",
    ),
    "a recursive CTE": Case(
        "WITH RECURSIVE r (n, m) AS (SELECT 1, 1 UNION ALL SELECT r.n + 1, nullif(r.m, 1) FROM r "
        "WHERE r.n < 3) SELECT r.n, r.m FROM r",
        "yn",
    ),
    "LATERAL": Case(
        "SELECT a.n, q.v, q.s FROM cases.a LEFT JOIN LATERAL "
        "(SELECT b.v, a.n + b.v AS s FROM cases.b WHERE b.a_id = a.id) AS q ON true",
        "ynn",
    ),
    "CROSS JOIN LATERAL": Case(
        "SELECT q.s, q.t FROM cases.a CROSS JOIN LATERAL (SELECT a.n + 1 AS s, a.m AS t) AS q", "yn"
    ),
    "operators of jsonb": Case(
        "SELECT a.doc ->> 'k', a.doc -> 'z', a.doc ? 'k', a.doc || '{}', (a.doc -> 'k')::int "
        "FROM cases.a",
        "nnyyn",
    ),
    "the null of jsonb": Case("SELECT ('null'::jsonb)::int", "n"),
    "arrays and slices": Case(
        "SELECT a.tags[1], a.tags[1:2], cardinality(a.tags), array_length(a.tags, 1) FROM cases.a",
        "nnyn",
        "b",
    ),
    "a dollar-quoted string, a comment, a percent": Case(
        "SELECT $$it's$$, '100%' -- that's all\nFROM cases.a", "yy"
    ),
    "set-returning functions": Case(
        "SELECT unnest(ARRAY[1, NULL]), generate_series(1, 2)", "nn", "b"
    ),
    "a set-returning function in FROM": Case(
        "SELECT x.v FROM unnest(ARRAY[1, NULL]) AS x (v)", "n"
    ),
    "json_to_recordset": Case(
        """SELECT x.v FROM json_to_recordset('[{"v": null}]') AS x (v int)""", "n"
    ),
    "VALUES": Case("SELECT v.x, v.y FROM (VALUES (1, 2), (3, NULL)) AS v (x, y)", "yn"),
    "a domain that is NOT NULL, under a LEFT JOIN": Case(
        "SELECT a.word FROM cases.b LEFT JOIN cases.a ON a.id = b.a_id", "n"
    ),
    "a composite type": Case("SELECT (a.p).x, (a.p).y, ROW(a.m) FROM cases.a", "nny"),
    "a strict function of somebody": Case("SELECT cases.nothing(a.n) FROM cases.a", "n"),
    "parameters": Case("SELECT $1::int, coalesce($1::int, 1)", "ny"),
    "times that may be infinite": Case(
        "SELECT extract(DAY FROM 'infinity'::timestamptz), now(), CURRENT_DATE", "nyy"
    ),
    "substring by a pattern": Case("SELECT substring('a' FROM 'b')", "n"),
    "the bounds of a range": Case(
        "SELECT lower(v.r), upper(v.r), lower('X') FROM "
        "(VALUES ('[1,2)'::int4range), ('empty'::int4range)) AS v (r)",
        "nny",
    ),
    "the null of jsonb, cast by a function's name": Case(
        "SELECT int4(v.j), to_jsonb(1) FROM (VALUES ('1'::jsonb), ('null'::jsonb)) AS v (j)", "ny"
    ),
    "a CTE in a recursive one, of its name": Case(
        "WITH RECURSIVE r (n) AS (SELECT 1 UNION SELECT q.n FROM r CROSS JOIN LATERAL "
        "(WITH r (n) AS (SELECT NULL::int) SELECT r.n FROM r) AS q) SELECT r.n FROM r",
        "n",
    ),
    "a query around": Case(
        "SELECT (SELECT a.n), (SELECT a.m) FROM cases.a", "nn", "a"
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def database(scratch: Scratch) -> Iterator[str]:
    name = f"cases_{os.getpid()}"
    server = scratch.server
    server.create_database(name)
    with psycopg.connect(server.dsn(SUPERUSER, name), autocommit=True) as connection:
        connection.execute(SCHEMA.encode())
    yield name
    server.drop_database(name)


class Prover:
    def __init__(self, connections: list[psycopg.Connection[Any]]) -> None:
        self.connection, planning, reading = connections
        self.tree = TreeProof(Catalogue(self.connection))
        self.planner = PlannerProof(planning)
        self.reader = TreeReader(reading)

    def proved(self, text: str) -> str:
        tree = self.reader.tree(text)
        assert tree is not None
        never = self.tree.proved(tree)
        if tree.number("commandType") == 1:
            missing = [number for number, proved in enumerate(never) if not proved]
            for number in self.planner.proved(text, len(never), missing):
                never[number] = True
        return "".join("y" if each else "n" for each in never)

    def rows(self, text: str) -> list[tuple[Any, ...]]:
        self.connection.execute(b"BEGIN")
        try:
            values = [None] if "$1" in text else []
            return self.connection.execute(text.encode(), values).fetchall()
        finally:
            self.connection.execute(b"ROLLBACK")


@pytest.fixture(scope="module")
def prover(scratch: Scratch, database: str) -> Iterator[Prover]:
    with ExitStack() as stack:
        connections = [scratch.connect(database=database) for _ in range(3)]
        for connection in connections:
            stack.enter_context(connection)
        yield Prover(connections)


@pytest.mark.parametrize("name", CASES)
def test_what_is_proved_is_true_and_what_is_not_may_be_null(prover: Prover, name: str) -> None:
    case = CASES[name]
    assert prover.proved(case.sql) == case.proved
    rows = prover.rows(case.sql)
    assert rows
    for number, letter in enumerate(case.proved):
        values = [row[number] for row in rows]
        shown = any(value is None for value in values)
        told = "never NULL" if letter == "y" else "NULL in a row" if shown else "may be NULL"
        print(f"case {name}: column {number + 1} {told}: {case.sql}")
        assert shown == (letter == "n" and "abcdefg"[number] not in case.unshown), values


@pytest.mark.parametrize(
    ("text", "idle"),
    [
        ("SELECT a.n FROM cases.a WHERE a.id = $1", True),
        ("DELETE FROM cases.a AS a WHERE a.id = $1", True),
        ("SELECT a.n FROM cases.a WHERE a.m IS NOT DISTINCT FROM $1", False),
        ("WITH gone AS (DELETE FROM cases.b) SELECT a.n FROM cases.a WHERE a.id = $1", False),
    ],
)
def test_a_parameter_whose_null_does_nothing(prover: Prover, text: str, idle: bool) -> None:
    statement = Statement("x.x", text, ("id",), "write", "pool", None, None, "sql/x.sql", 1)
    assert prover.planner.does_nothing(statement, "id", "integer") == idle


def test_two_hundred_columns(prover: Prover) -> None:
    columns = ", ".join(f"a.n + {n} AS c{n}, a.m AS d{n}" for n in range(100))
    assert prover.proved(f"SELECT {columns} FROM cases.a") == "yn" * 100


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("SELECT 1 FROM t ORDER BY x LIMIT $1", "SELECT 1 FROM t "),
        ("SELECT 1 FROM t FOR UPDATE", "SELECT 1 FROM t "),
        ("SELECT 1 AS limit, t.offset FROM t", "SELECT 1 AS limit, t.offset FROM t"),
        ("SELECT (SELECT 1 LIMIT 1), 'ORDER BY' FROM t", "SELECT (SELECT 1 LIMIT 1), 'ORDER BY' FROM t"),
        ("SELECT x[$1 : $2] FROM t -- LIMIT\nOFFSET $3", "SELECT x[$1 : $2] FROM t -- LIMIT\n"),
    ],
)  # fmt: skip
def test_a_limit_at_the_end_is_left_out(text: str, left: str) -> None:
    assert without_limit(text) == left
