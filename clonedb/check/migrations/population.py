"""Rows for the tables that a migration has made, so that what later ones do to rows is seen.

`sql/check/population/<table>.sql` fills a table as it is right after the migration that makes it;
a later migration has to cope with these rows as it will with production's.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import psycopg
from psycopg import sql

from clonedb.check.catalogue import read_query
from clonedb.errors import MigrationError
from clonedb.resources import sql_directory

FOLDER: Final = "check/population"
_ANY_ROW: Final = sql.SQL("SELECT FROM {} LIMIT 1")


class Population:
    """Fills the tables of one database; the connection is a superuser's, whom no policy stops."""

    def __init__(self, connection: psycopg.Connection[Any], folder: Path | None = None) -> None:
        self._connection = connection
        self._folder = folder or sql_directory() / FOLDER
        self._filled: set[str] = set()

    def fill(self) -> list[str]:
        """Fill what is new; the new tables that hold nothing even so.

        Raises MigrationError, which names the file, where the rows are refused.
        """
        new = [name for name in self._tables() if name not in self._filled]
        # In the order of their making, which is that of their keys.
        for name in new:
            file = self._folder / f"{name}.sql"
            if file.exists():
                self._run(file)
        self._filled.update(new)
        return [name for name in new if self._is_empty(name)]

    def drop_spare_months(self) -> bool:
        """Drop the months beyond the first three, if they are empty; whether there were any.

        They are most of the catalogue, which is read twice for every migration.
        """
        spare = [
            sql.Identifier(*row)
            for row in self._connection.execute(read_query("rehearsal/spare_months")).fetchall()
        ]
        empty = [
            name
            for name in spare
            if self._connection.execute(_ANY_ROW.format(name)).fetchone() is None
        ]
        if empty:
            self._connection.execute(sql.SQL("DROP TABLE {}").format(sql.SQL(", ").join(empty)))
        return bool(empty)

    def forget(self) -> None:
        """After a rollback: a table that is made again is new again."""
        self._filled.intersection_update(self._tables())

    def _run(self, file: Path) -> None:
        try:
            self._connection.execute(file.read_bytes())
        except psycopg.Error as error:
            what = error.diag.message_primary or str(error)
            raise MigrationError(
                f"sql/{FOLDER}/{file.name}: {what}",
                remedy="let the file fill the table as the migration that makes it leaves it",
            ) from error

    def _tables(self) -> Iterator[str]:
        for (name,) in self._connection.execute(read_query("rehearsal/tables")):
            yield name

    def _is_empty(self, name: str) -> bool:
        schema, _, table = name.rpartition(".")
        query = _ANY_ROW.format(sql.Identifier(schema or "clonedb", table))
        return self._connection.execute(query).fetchone() is None
