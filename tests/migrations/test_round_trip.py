"""The migrations of this release: up, down and up again, by whoever may deploy."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest
from deploying import StockYoyo
from psycopg import sql

from clonedb import migrate
from clonedb.embedded import EmbeddedServer
from clonedb.errors import ClonedbError
from clonedb.resources import migrations_directory

FOLDER = SimpleNamespace(path=migrations_directory())
ROLES = [
    "clonedb_app",
    "clonedb_backup",
    "clonedb_dba",
    "clonedb_migrator",
    "clonedb_owner",
    "clonedb_readonly",
    "clonedb_worker",
]


def identifiers() -> list[str]:
    return sorted(
        path.stem
        for path in migrations_directory().glob("*.sql")
        if not path.name.endswith(".rollback.sql")
    )


def test_every_migration_can_be_rolled_back_and_says_what_it_follows() -> None:
    names = identifiers()
    numbers = [name[:4] for name in names]
    assert all(number.isdigit() for number in numbers)
    assert len(set(numbers)) == len(numbers)
    for position, name in enumerate(names):
        assert (migrations_directory() / f"{name}.rollback.sql").is_file()
        text = (migrations_directory() / f"{name}.sql").read_text(encoding="utf-8")
        header = text.partition("\n\n")[0].splitlines()
        words = [line.removeprefix("--").split(":")[0].strip() for line in header]
        assert {"why", "phase", "locks", "rollback"} <= set(words), name
        earlier = {f"-- depends: {other}" for other in names[:position]}
        assert position == 0 or earlier & set(header), name


def run(connection: psycopg.Connection[Any], name: str) -> None:
    """Run a file as one transaction, as `psql --single-transaction` does."""
    with connection.transaction():
        connection.execute((migrations_directory() / name).read_bytes())


def test_each_migration_is_undone_by_its_rollback(empty_database: Any) -> None:
    """Up step by step, down step by step, up again; an operator's roles stay as they are."""
    dsn = empty_database.dsn("clonedb_migrator")
    attributes = (
        "SELECT rolname, rolcanlogin, rolconnlimit, rolconfig FROM pg_roles "
        "WHERE rolname LIKE 'clonedb\\_%' ORDER BY rolname"
    )
    with psycopg.connect(dsn, autocommit=True) as connection:
        roles = connection.execute(attributes).fetchall()
        steps = [migrate.catalogue(dsn)]
        for name in identifiers():
            run(connection, f"{name}.sql")
            steps.append(migrate.catalogue(dsn))
        assert len(steps[-1]) > 1000
        for name, before in reversed(list(zip(identifiers(), steps[:-1], strict=True))):
            run(connection, f"{name}.rollback.sql")
            assert migrate.catalogue(dsn) == before, name
        leftovers = connection.execute(
            "SELECT defaclrole::regrole::text FROM pg_default_acl "
            "UNION ALL SELECT nspname FROM pg_namespace WHERE nspname = 'clonedb'"
        ).fetchall()
        assert leftovers == []
        for name in identifiers():
            run(connection, f"{name}.sql")
        assert migrate.catalogue(dsn) == steps[-1]
        assert connection.execute(attributes).fetchall() == roles


def test_stock_yoyo_makes_the_same_schema(migrated: Any, empty_database: Any) -> None:
    dsn = empty_database.dsn("clonedb_migrator")
    yoyo = StockYoyo(dsn, FOLDER)  # type: ignore[arg-type]
    yoyo("apply")
    assert migrate.catalogue(dsn) == migrate.catalogue(migrated.dsn("clonedb_migrator"))
    yoyo("rollback", "--all")
    assert migrate.catalogue(dsn) == []


def test_whoever_may_not_become_the_owner_is_told_what_to_do(
    server: EmbeddedServer, empty_database: Any
) -> None:
    name = sql.Identifier(f"stranger_of_{empty_database.name}")
    with psycopg.connect(empty_database.dsn("clonedb_superuser"), autocommit=True) as superuser:
        superuser.execute(sql.SQL("CREATE ROLE {} LOGIN").format(name))
        superuser.execute(sql.SQL("GRANT CREATE ON SCHEMA public TO {}").format(name))
        try:
            with pytest.raises(ClonedbError, match="may not become clonedb_owner"):
                migrate.apply(empty_database.dsn(name.as_string().strip('"')))
        finally:
            superuser.execute(sql.SQL("DROP OWNED BY {}").format(name))
            superuser.execute(sql.SQL("DROP ROLE {}").format(name))


@pytest.fixture
def bare_server() -> Iterator[EmbeddedServer]:
    """A server of its own without any of clonedb's roles."""
    with (
        tempfile.TemporaryDirectory(prefix="clonedb-") as folder,
        EmbeddedServer(Path(folder), durable=False) as server,
    ):
        with psycopg.connect(
            server.dsn("clonedb_superuser", "postgres"), autocommit=True
        ) as superuser:
            superuser.execute("DROP DATABASE clonedb")
            for role in ROLES:
                superuser.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(role)))
        yield server


def test_the_first_deployment_needs_no_superuser(bare_server: EmbeddedServer) -> None:
    """As on Cloud SQL: a role with CREATEROLE that owns the database, and nothing else."""
    with psycopg.connect(
        bare_server.dsn("clonedb_superuser", "postgres"), autocommit=True
    ) as superuser:
        superuser.execute("CREATE ROLE deployer LOGIN CREATEROLE")
        superuser.execute("CREATE DATABASE cloud OWNER deployer")
    dsn = bare_server.dsn("deployer", "cloud")
    migrate.apply(dsn)
    first = migrate.catalogue(dsn)
    migrate.rollback(dsn, to="0")
    migrate.apply(dsn)
    assert migrate.catalogue(dsn) == first
    with psycopg.connect(dsn) as connection:
        roles = connection.execute(
            "SELECT rolname, rolcanlogin, rolsuper FROM pg_roles "
            "WHERE rolname LIKE 'clonedb\\_%' AND rolname <> 'clonedb_superuser' ORDER BY rolname"
        ).fetchall()
        temporary = connection.execute(
            "SELECT has_database_privilege('clonedb_app', current_database(), 'TEMPORARY')"
        ).fetchone()
    assert roles == [(role, False, False) for role in ROLES]
    assert temporary == (False,)
