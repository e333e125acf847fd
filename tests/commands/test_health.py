"""`clonedb health`: what an operator's monitoring asks."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import msgspec
import psycopg
import pytest

from clonedb.testing import SUPERUSER, IsolatedDatabase


def health(dsn: str, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "clonedb", "health", "--dsn", dsn, *options],
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.parametrize("role", ["clonedb_app", "clonedb_worker"])
def test_a_sound_database_is_healthy(migrated: IsolatedDatabase, role: str) -> None:
    finished = health(migrated.dsn(role), "--json")
    figures: dict[str, Any] = msgspec.json.decode(finished.stdout)
    assert (finished.returncode, figures["ok"], figures["problems"]) == (0, True, [])
    assert figures["turn_months_ahead"] == 24
    assert figures["missing_migrations"] == []


def test_a_missing_migration_is_named(migrated: IsolatedDatabase) -> None:
    with psycopg.connect(migrated.dsn(SUPERUSER), autocommit=True) as connection:
        connection.execute("DELETE FROM public._yoyo_migration WHERE migration_id LIKE '0018%'")
    finished = health(migrated.dsn("clonedb_app"))
    assert finished.returncode == 1
    assert "migrations are missing: 0018_create_audit" in finished.stdout
    assert finished.stderr == ""


def test_an_unmigrated_database_is_told_what_to_do(empty_database: IsolatedDatabase) -> None:
    finished = health(empty_database.dsn("clonedb_app"))
    assert finished.returncode == 1
    assert "run `clonedb migrate`" in finished.stdout


def test_no_server_is_no_traceback(tmp_path: object) -> None:
    finished = health(f"host={tmp_path} dbname=clonedb password=hunter2", "--json")
    assert finished.returncode == 1
    assert msgspec.json.decode(finished.stdout)["reachable"] is False
    assert "Traceback" not in finished.stderr
    assert "hunter2" not in finished.stdout + finished.stderr
