"""After a crash buckets start full, or hold what they held where they were made logged."""

from __future__ import annotations

import os
import signal
import tempfile
from pathlib import Path
from uuid import UUID

import psycopg
import pytest
from ground import as_superuser

from clonedb import Database, Limits, NewRateLimitRule, NewUser, migrate
from clonedb.embedded import EmbeddedServer
from clonedb.testing import IsolatedDatabase


def persistence(dsn: str) -> str:
    with psycopg.connect(dsn) as connection:
        row = connection.execute(
            "SELECT relpersistence FROM pg_class WHERE oid = 'clonedb.rate_limit_buckets'::regclass"
        ).fetchone()
    assert row is not None
    return str(row[0])


async def test_a_crash_fills_the_buckets_unless_they_are_logged() -> None:
    with tempfile.TemporaryDirectory(prefix="clonedb-") as folder:
        directory = Path(folder)
        with EmbeddedServer(directory, durable=False) as server:
            migrate.apply(server.dsn("clonedb_migrator"))
            async with Database(server.dsn("clonedb_worker")) as worker:
                user = (await worker.users.create(NewUser(email="ada@example.com"))).id
                await worker.rate_limit_rules.put(
                    NewRateLimitRule(scope="user", tier="free", capacity=60, refill_per_second=0)
                )
            await take_ten(server, user)
            kill(server, directory)
        with EmbeddedServer(directory, durable=False) as server:
            assert await left(server, user) == 60
            with psycopg.connect(server.dsn("clonedb_migrator"), autocommit=True) as migrator:
                migrator.execute("SELECT clonedb.log_rate_limits(true)")
            await take_ten(server, user)
            kill(server, directory)
        with EmbeddedServer(directory, durable=False) as server:
            assert await left(server, user) == 50


async def take_ten(server: EmbeddedServer, user: UUID) -> None:
    async with Database(server.dsn("clonedb_app")) as app, Limits(app) as limits:
        assert (await limits.of_user(user).take("talk", cost=10)).allowed


async def left(server: EmbeddedServer, user: UUID) -> float:
    async with Database(server.dsn("clonedb_app")) as app, Limits(app) as limits:
        return (await limits.of_user(user).status("talk"))[0].remaining


def kill(server: EmbeddedServer, directory: Path) -> None:
    """As a crash, of a server whose log has reached the disk."""
    with psycopg.connect(server.dsn("clonedb_superuser"), autocommit=True) as superuser:
        superuser.execute("CHECKPOINT")
    postmaster = (directory / "cluster" / "postmaster.pid").read_text().split()[0]
    os.kill(int(postmaster), signal.SIGKILL)


def test_only_who_migrates_changes_it_and_it_can_be_changed_back(
    migrated: IsolatedDatabase,
) -> None:
    for role in ("clonedb_app", "clonedb_worker", "clonedb_readonly"):
        with (
            psycopg.connect(migrated.dsn(role)) as connection,
            pytest.raises(psycopg.errors.InsufficientPrivilege),
        ):
            connection.execute("SELECT clonedb.log_rate_limits(true)")
    with as_superuser(migrated) as connection:
        connection.execute("SET ROLE clonedb_dba")
        assert persistence(migrated.dsn("clonedb_superuser")) == "u"
        connection.execute("SELECT clonedb.log_rate_limits(true)")
        connection.execute("SELECT clonedb.log_rate_limits(true)")
        assert persistence(migrated.dsn("clonedb_superuser")) == "p"
        connection.execute("SELECT clonedb.log_rate_limits(false)")
        assert persistence(migrated.dsn("clonedb_superuser")) == "u"
