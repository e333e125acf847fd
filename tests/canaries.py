"""A word in everything that a person can have in the database, and where it is found again.

Which tables and columns there are is read from the catalogue, so that a new one is planted too.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

import psycopg
from ground import as_superuser, fingerprint
from psycopg import sql
from psycopg.types.json import Jsonb

from clonedb import new_id
from clonedb.testing import IsolatedDatabase

Connection = psycopg.Connection[Any]

# One moment for all, as a foreign key has it.
NOW = datetime.now(UTC)

# Nothing fits in them, with their CHECKs in place, that somebody could have said.
CLOSED = {
    "audit_logs": "action, resource and result are names of a closed form; it survives erasure",
}


class Planted(NamedTuple):
    """A person whose every value is the word: by table, the columns that hold it."""

    id: UUID
    word: str
    columns: dict[str, set[str]]


def without_checks(connection: Connection) -> None:
    """Let every column hold any word, also where a CHECK allows a closed set or a digest alone."""
    for table, check in connection.execute(
        "SELECT k.conrelid::regclass::text, k.conname FROM pg_constraint AS k "
        "JOIN pg_class AS c ON c.oid = k.conrelid WHERE k.contype = 'c' AND k.coninhcount = 0 "
        "AND k.connamespace = 'clonedb'::regnamespace AND NOT c.relispartition"
    ).fetchall():
        connection.execute(f"ALTER TABLE {table} DROP CONSTRAINT {check}".encode())
    for domain, check in connection.execute(
        "SELECT k.contypid::regtype::text, k.conname FROM pg_constraint AS k "
        "WHERE k.contypid <> 0 AND k.connamespace = 'clonedb'::regnamespace"
    ).fetchall():
        connection.execute(f"ALTER DOMAIN {domain} DROP CONSTRAINT {check}".encode())


def plant(connection: Connection, word: str) -> Planted:
    """Store a row of a new person in every table of people, with the word wherever it fits."""
    user_id, thing = new_id(), new_id()
    planted: dict[str, set[str]] = {}
    tables = connection.execute(
        "SELECT table_name, user_column FROM clonedb.person_tables() ORDER BY height DESC, 1"
    ).fetchall()
    for table, user_column in tables:
        if table in CLOSED:
            continue
        values, holding = {}, set()
        for column, kind, has_default in _columns(connection, table):
            value = user_id if column == user_column else _value(kind, word, thing)
            if value is None and has_default:
                continue
            assert value is not None, f"{table}.{column}: say how a {kind} is planted"
            values[column] = value
            if kind in _WORDED:
                holding.add(column)
        insert = sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(
            sql.Identifier("clonedb", table),
            sql.SQL(", ").join(map(sql.Identifier, values)),
            sql.SQL(", ").join(sql.Placeholder() * len(values)),
        )
        connection.execute(insert, list(values.values()))
        planted[table] = holding
    return Planted(user_id, word, planted)


def _columns(connection: Connection, table: str) -> list[tuple[str, str, bool]]:
    """Name, type without its domain, and whether it has a default or may be NULL."""
    return connection.execute(
        "SELECT a.attname, format_type(coalesce(nullif(y.typbasetype, 0), y.oid), NULL), "
        "a.atthasdef OR NOT a.attnotnull FROM pg_attribute AS a "
        "JOIN pg_type AS y ON y.oid = a.atttypid "
        "WHERE a.attrelid = %s::regclass AND a.attnum > 0 AND NOT a.attisdropped "
        "AND a.attgenerated = '' ORDER BY a.attnum",
        [f"clonedb.{table}"],
    ).fetchall()


_WORDED = ("text", "character varying", "jsonb", "json", "text[]", "bytea")


def _value(kind: str, word: str, thing: UUID) -> object:
    """What of a type holds the word, or something that is allowed; None for the default."""
    match kind:
        case "text" | "character varying":
            return word
        case "jsonb" | "json":
            return Jsonb({word: [{word: word}]})
        case "text[]":
            return [word]
        case "bytea":
            return word.encode()
        case "uuid":
            return thing
        case "uuid[]":
            return [thing]
        case "smallint" | "integer" | "bigint" | "numeric" | "double precision" | "real":
            return 1
        case "boolean":
            return True
        case "date":
            return "2026-01-01"
        case "timestamp with time zone":
            return NOW
        case "inet":
            return "192.0.2.77"
        case _:
            return None


def where(connection: Connection, *words: str) -> list[str]:
    """Every column of every table, partition and catalogue of the database that has a word in it.

    Text, JSON with its keys, arrays and bytes: all are looked through as the text of their row.
    """
    needles = [needle for word in words for needle in (word, word.encode().hex())]
    found = []
    for (relation,) in connection.execute(
        "SELECT c.oid::regclass::text FROM pg_class AS c "
        "WHERE c.relkind IN ('r', 'm') AND c.relpersistence <> 't' ORDER BY 1"
    ).fetchall():
        if connection.execute(_any_row(relation, "t::text"), [needles]).fetchone():
            for (column,) in connection.execute(
                "SELECT quote_ident(attname) FROM pg_attribute WHERE attrelid = %s::regclass "
                "AND attnum > 0 AND NOT attisdropped ORDER BY attnum",
                [relation],
            ).fetchall():
                if connection.execute(
                    _any_row(relation, f"t.{column}::text"), [needles]
                ).fetchone():
                    found.append(f"{relation}.{column}")
    return found


def _any_row(relation: str, text: str) -> bytes:
    return (
        f"SELECT 1 FROM ONLY {relation} AS t, unnest(%s::text[]) AS n (needle) "
        f"WHERE strpos({text}, n.needle) > 0 LIMIT 1"
    ).encode()


def in_files(folder: Path, word: str) -> Iterator[str]:
    """Files below the folder that have the word in their name or their bytes."""
    for path in sorted(folder.rglob("*")):
        if word in path.name or (path.is_file() and word.encode() in path.read_bytes()):
            yield str(path.relative_to(folder))


def rows_of(connection: Connection, user_id: UUID) -> dict[str, list[str]]:
    """All rows of a person, by table, as text."""
    found = {}
    for table, column in connection.execute(
        "SELECT table_name, user_column FROM clonedb.person_tables() WHERE user_column IS NOT NULL"
    ).fetchall():
        query = sql.SQL("SELECT t::text FROM {} AS t WHERE t.{} = %s ORDER BY 1").format(
            sql.Identifier("clonedb", table), sql.Identifier(column)
        )
        found[table] = [row for (row,) in connection.execute(query, [user_id]).fetchall()]
    return found


def stored(database: IsolatedDatabase) -> dict[str, tuple[int, str]]:
    """How many rows each table holds, and a digest of them."""
    with as_superuser(database) as connection:
        return fingerprint(connection)
