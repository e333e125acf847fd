"""What `clonedb.testing` promises to a service's own tests."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from clonedb import Database, DatabaseScope, NewUser
from clonedb.testing import SUPERUSER, IsolatedDatabase, Person

SERVICE_TESTS = """
import psycopg
import pytest

from clonedb import AlreadyExists, NewUser

pytest_plugins = ["clonedb.testing"]


@pytest.mark.parametrize("number", range(3))
async def test_every_test_begins_with_an_empty_database(clonedb_worker, number):
    assert await clonedb_worker.users.count() == 0
    await clonedb_worker.users.create(NewUser(email="ada@example.com"))


async def test_a_test_that_spoils_the_schema(clonedb_database):
    with psycopg.connect(clonedb_database.dsn("clonedb_superuser")) as connection:
        connection.execute("DROP SCHEMA clonedb CASCADE")


async def test_does_not_spoil_it_for_the_next(clonedb_person, clonedb_app):
    mine = clonedb_app.as_user(clonedb_person.user.id)
    assert await mine.users.count() == 1
"""


def test_one_line_in_a_services_test_module_is_enough(tmp_path: Path) -> None:
    (tmp_path / "test_service.py").write_text(SERVICE_TESTS)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    finished = subprocess.run(
        [*command, "-o", "asyncio_mode=auto", "test_service.py"],
        cwd=tmp_path,
        env={name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert "5 passed" in finished.stdout, finished.stdout + finished.stderr


async def test_the_person_is_whole(clonedb_person: Person, app: Database) -> None:
    mine = app.as_user(clonedb_person.user.id)
    assert await mine.voice_models.find_active() == clonedb_person.voice_model
    assert await mine.face_models.find_active() == clonedb_person.face_model
    found = await mine.knowledge_documents.search("patterns")
    assert [match.document.id for match in found] == [clonedb_person.document.id]
    stored = await mine.conversation_sessions.with_turns(clonedb_person.session.id)
    assert stored is not None
    assert stored.session == clonedb_person.session
    assert stored.turns == clonedb_person.turns
    assert stored.session.total_turns == 2


async def test_what_a_rolled_back_test_stores_is_seen_by_itself_alone(
    clonedb_rollback: DatabaseScope, migrated: IsolatedDatabase
) -> None:
    await clonedb_rollback.users.create(NewUser(email="ada@example.com"))
    assert await clonedb_rollback.users.count() == 1
    with psycopg.connect(migrated.dsn(SUPERUSER)) as connection:
        assert connection.execute("SELECT count(*) FROM clonedb.users").fetchone() == (0,)


@pytest.mark.parametrize("role", ["clonedb_app", "clonedb_worker", SUPERUSER])
def test_a_copy_is_a_database_of_its_own(
    clonedb_copy: psycopg.Connection[object], migrated: IsolatedDatabase, role: str
) -> None:
    assert clonedb_copy.info.dbname != migrated.name
    assert f"user={role}" in migrated.dsn(role)
    assert clonedb_copy.execute("SELECT count(*) FROM clonedb.users").fetchone() == (0,)
