"""Small migrations folders for the tests of rehearsal and deploy window."""

from __future__ import annotations

from pathlib import Path

HEADER = "-- Does something.\n-- why: a test.\n"


class Migrations:
    """A migrations folder that a test fills, numbered in the order of adding."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(parents=True, exist_ok=True)

    def add(
        self,
        name: str,
        up: str,
        down: str | None = "SELECT 1;",
        *,
        claims: str = "-- locks: none\n",
        phase: str = "before deploy",
        first: str = "",
    ) -> str:
        """Write a pair; the statements begin behind the header and an empty line."""
        number = len([each for each in self.path.glob("*.sql") if "rollback" not in each.name]) + 1
        identifier = f"{number:04}_{name}"
        text = f"{first}{HEADER}-- phase: {phase}\n{claims}\n{up}\n"
        (self.path / f"{identifier}.sql").write_text(text)
        if down is not None:
            (self.path / f"{identifier}.rollback.sql").write_text(f"{down}\n")
        return identifier


# A table that everybody is at, one that refers to it, and one with months.
BEGINNING = """\
CREATE SCHEMA clonedb AUTHORIZATION clonedb_owner;
SET LOCAL ROLE clonedb_owner;
CREATE TABLE clonedb.things (id integer PRIMARY KEY, name text NOT NULL, size integer);
CREATE INDEX things_by_size ON clonedb.things (size);
INSERT INTO clonedb.things SELECT n, 'thing ' || n, n FROM generate_series(1, 500) AS n;
CREATE TABLE clonedb.parts (id integer PRIMARY KEY, thing_id integer NOT NULL);
INSERT INTO clonedb.parts SELECT n, n FROM generate_series(1, 500) AS n;
CREATE TABLE clonedb.days (day date NOT NULL, note text) PARTITION BY RANGE (day);
CREATE TABLE clonedb.days_2026_01 PARTITION OF clonedb.days
FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
CREATE TABLE clonedb.days_2026_02 PARTITION OF clonedb.days
FOR VALUES FROM ('2026-02-01') TO ('2026-03-01');
INSERT INTO clonedb.days SELECT d, 'rain'
FROM generate_series('2026-01-01', '2026-02-28', interval '1 day') AS d;
GRANT USAGE ON SCHEMA clonedb TO clonedb_app, clonedb_worker;
GRANT SELECT, INSERT, UPDATE, DELETE ON clonedb.things TO clonedb_app, clonedb_worker;"""


def beginning(path: Path) -> Migrations:
    """A folder whose first migration makes these tables."""
    migrations = Migrations(path)
    migrations.add("begin", BEGINNING, "DROP SCHEMA clonedb CASCADE;")
    return migrations
