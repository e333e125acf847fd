"""Where attacks take place: Ada, who has a row in every table; Grace, who attacks; Cyd, deleted."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, NamedTuple
from uuid import UUID

import psycopg
from ground import as_superuser
from people import ROWS, act_for, owned_by, share_rows, store_person
from psycopg import sql
from psycopg.types.json import Jsonb

from clonedb import new_id
from clonedb.testing import IsolatedDatabase

# Whoever could look a receipt up could give back what they never took.
HIDDEN = ("rate_limit_receipts",)
TABLES = tuple(ROWS)
READABLE = tuple(table for table in ROWS if table not in HIDDEN)

Row = dict[str, Any]


class Scene(NamedTuple):
    """The database, and who is in it."""

    database: IsolatedDatabase
    ada: UUID
    grace: UUID
    cyd: UUID

    @contextmanager
    def session(
        self, user: UUID | str | None = None, role: str = "clonedb_app"
    ) -> Iterator[psycopg.Connection[Any]]:
        """A login's transaction with a user's context, or none; rolled back at the end."""
        with psycopg.connect(self.database.dsn(role)) as connection:
            if isinstance(user, str):
                connection.execute("SELECT set_config('clonedb.user_id', %s, true)", [user])
            else:
                act_for(connection, user)
            yield connection
            connection.rollback()

    def allows(
        self,
        statement: str,
        *,
        user: UUID | None = None,
        role: str = "clonedb_app",
        refusal: type[psycopg.Error] = psycopg.errors.InsufficientPrivilege,
    ) -> bool:
        """Whether a statement goes through; only the refusal that is expected counts as one."""
        with self.session(user, role) as connection:
            try:
                connection.execute(statement.encode())
            except refusal:
                return False
        return True

    def allows_any(self, *statements: str, **options: Any) -> bool:
        """Whether at least one goes through; all are tried."""
        outcomes = [self.allows(statement, **options) for statement in statements]
        return any(outcomes)

    def is_hers(self, found: object) -> bool:
        """Whether something of Ada's is in what was found."""
        with as_superuser(self.database) as connection:
            marks = connection.execute(
                "SELECT u.id::text, u.subject_ref::text, s.id::text FROM clonedb.users AS u "
                "INNER JOIN clonedb.conversation_sessions AS s ON s.user_id = u.id "
                "WHERE u.id = %s",
                [self.ada],
            ).fetchone()
        assert marks is not None
        return any(mark in repr(found) for mark in marks)

    def row(self, table: str, user: UUID) -> Row:
        """A row of a person's, as the superuser sees it."""
        with as_superuser(self.database) as connection:
            found = connection.execute(
                sql.SQL("SELECT to_jsonb(t) FROM clonedb.{} AS t WHERE {}").format(
                    sql.Identifier(table), owned_by(table, user)
                )
            ).fetchone()
        assert found is not None
        row: Row = found[0]
        return row

    def all_of_ada(self) -> list[Any]:
        """Everything that is Ada's, and when it was written."""
        with as_superuser(self.database) as connection:
            return [
                connection.execute(
                    sql.SQL("SELECT t.xmin::text, t::text FROM clonedb.{} AS t WHERE {}").format(
                        sql.Identifier(table), owned_by(table, self.ada)
                    )
                ).fetchall()
                for table in TABLES
            ]

    def columns(self, table: str, privilege: str) -> tuple[str, ...]:
        """The columns for which the app has a right."""
        return _columns(self.database, table, privilege)

    def key(self, table: str) -> tuple[str, ...]:
        """The columns of the primary key."""
        return _key(self.database, table)

    def insert(
        self, connection: psycopg.Connection[Any], table: str, row: Row, tail: str = ""
    ) -> int:
        """Insert a row, or of it what the app may give; how many there are then."""
        names = [name for name in self.columns(table, "INSERT") if name in row]
        columns = sql.SQL(", ").join(map(sql.Identifier, names))
        statement = sql.SQL(
            "INSERT INTO clonedb.{table} ({columns}) "
            "SELECT {columns} FROM jsonb_populate_record(NULL::clonedb.{table}, %s) {tail}"
        ).format(
            table=sql.Identifier(table),
            columns=columns,
            tail=sql.SQL(tail),  # pyright: ignore[reportArgumentType]
        )
        if not names:
            statement = sql.SQL("INSERT INTO clonedb.{} DEFAULT VALUES").format(
                sql.Identifier(table)
            )
            return connection.execute(statement).rowcount
        return connection.execute(statement, [Jsonb(row)]).rowcount


@cache
def _columns(database: IsolatedDatabase, table: str, privilege: str) -> tuple[str, ...]:
    with as_superuser(database) as connection:
        rows = connection.execute(
            "SELECT a.attname FROM pg_attribute AS a "
            "WHERE a.attrelid = ('clonedb.' || %s)::regclass AND a.attnum > 0 "
            "AND NOT a.attisdropped AND a.attgenerated = '' "
            "AND has_column_privilege('clonedb_app', a.attrelid, a.attnum, %s)",
            [table, privilege],
        ).fetchall()
    return tuple(name for (name,) in rows)


@cache
def _key(database: IsolatedDatabase, table: str) -> tuple[str, ...]:
    with as_superuser(database) as connection:
        rows = connection.execute(
            "SELECT a.attname FROM pg_index AS i INNER JOIN pg_attribute AS a "
            "ON a.attrelid = i.indrelid AND a.attnum = ANY(i.indkey) "
            "WHERE i.indrelid = ('clonedb.' || %s)::regclass AND i.indisprimary",
            [table],
        ).fetchall()
    return tuple(name for (name,) in rows)


def set_scene(database: IsolatedDatabase) -> Scene:
    """Store the three, and what is everybody's."""
    scene = Scene(database, new_id(), new_id(), new_id())
    with as_superuser(database) as connection:
        for user in (scene.ada, scene.grace, scene.cyd):
            store_person(connection, user)
        share_rows(connection)
        # A copy of a database does not inherit that.
        connection.execute(
            sql.SQL("REVOKE TEMPORARY ON DATABASE {} FROM PUBLIC").format(
                sql.Identifier(database.name)
            )
        )
        connection.execute("UPDATE clonedb.users SET deleted_at = now() WHERE id = %s", [scene.cyd])
        # The library's deletion drops them: their policies do not ask whether a reader lives.
        for table in ("embedding", "vector_search", "llm_response", "audio_chunk"):
            connection.execute(
                f"DELETE FROM clonedb.{table}_cache WHERE user_id = %s".encode(), [scene.cyd]
            )
        for table in ("cache_changes", "cache_fill_leases"):
            connection.execute(
                f"DELETE FROM clonedb.{table} WHERE user_id = %s".encode(), [scene.cyd]
            )
    return scene
