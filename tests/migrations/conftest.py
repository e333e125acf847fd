"""Fixtures for migrations on an empty database."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from deploying import (
    EVERYTHING_GOES,
    Deployer,
    Folder,
    OldServer,
    Probe,
    StockYoyo,
    wait_until_refused,
)

from clonedb.embedded import EmbeddedServer
from clonedb.testing import IsolatedDatabase


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "migrations")


@pytest.fixture(scope="session")
def shared_database(server: Any) -> Iterator[IsolatedDatabase]:
    name = f"migrations_{uuid4().hex}"
    server.create_database(name)
    yield IsolatedDatabase(server, name)
    server.drop_database(name)


@pytest.fixture
def database(shared_database: IsolatedDatabase) -> Iterator[IsolatedDatabase]:
    """A database with nothing in it: the same one for each test, twenty times quicker than new."""
    yield shared_database
    with psycopg.connect(shared_database.dsn("clonedb_superuser"), autocommit=True) as connection:
        connection.execute(EVERYTHING_GOES)


@pytest.fixture
def dsn(database: IsolatedDatabase) -> str:
    """The deployer's connection string."""
    return database.dsn("clonedb_migrator")


@pytest.fixture
def probe(database: IsolatedDatabase) -> Iterator[Probe]:
    with psycopg.connect(database.dsn("clonedb_superuser"), autocommit=True) as connection:
        yield Probe(connection)


@pytest.fixture
def deploy(dsn: str, folder: Folder) -> Iterator[Callable[..., Deployer]]:
    started: list[Deployer] = []

    def start(**options: Any) -> Deployer:
        started.append(Deployer(dsn, folder, **options))
        return started[-1]

    yield start
    for deployer in started:
        deployer.kill()


@pytest.fixture
def stock_yoyo(dsn: str, folder: Folder) -> StockYoyo:
    return StockYoyo(dsn, folder)


@pytest.fixture
def old_server() -> Iterator[str]:
    server = OldServer()
    server.start()
    yield server.dsn
    server.join()


@pytest.fixture
def password_server() -> Iterator[str]:
    """A server of its own that asks clonedb_migrator for a password: r@ght w?rd#%&:'x."""
    with (
        tempfile.TemporaryDirectory(prefix="clonedb-") as folder,
        EmbeddedServer(Path(folder), durable=False) as asking,
    ):
        with psycopg.connect(asking.dsn("clonedb_superuser"), autocommit=True) as connection:
            connection.execute("ALTER ROLE clonedb_migrator PASSWORD 'r@ght w?rd#%&:''x'")
            ((rules,),) = connection.execute("SHOW hba_file")
            Path(rules).write_text(
                "local all clonedb_migrator scram-sha-256\n" + Path(rules).read_text()
            )
            connection.execute("SELECT pg_reload_conf()")
        wait_until_refused(asking.dsn("clonedb_migrator"))
        yield asking.dsn("clonedb_migrator")
