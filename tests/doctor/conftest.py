"""A sound database, and a superuser's connection to plant defects through."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from people import copy_of
from psycopg import sql

from clonedb.embedded import EmbeddedServer
from clonedb.testing import SUPERUSER, IsolatedDatabase


@pytest.fixture(scope="session")
def sound(server: EmbeddedServer, clonedb_template: Any) -> Iterator[IsolatedDatabase]:
    """A migrated database that tests leave as they found it."""
    with copy_of(server, clonedb_template, "doctor") as database:
        with psycopg.connect(database.dsn(SUPERUSER), autocommit=True) as connection:
            # What a copy does not inherit.
            revoke = sql.SQL("REVOKE TEMPORARY ON DATABASE {} FROM PUBLIC")
            connection.execute(revoke.format(sql.Identifier(database.name)))
        yield database


@pytest.fixture(scope="session")
def long_lived(sound: IsolatedDatabase) -> Iterator[psycopg.Connection[Any]]:
    """One connection for the session: its caches of the catalogue are warm."""
    with psycopg.connect(sound.dsn(SUPERUSER)) as connection:
        yield connection


@pytest.fixture
def superuser(long_lived: psycopg.Connection[Any]) -> Iterator[psycopg.Connection[Any]]:
    """A superuser's connection, in a transaction that is rolled back."""
    yield long_lived
    long_lived.rollback()
