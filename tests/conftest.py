"""The fixtures of clonedb's own tests: those that services get, under shorter names."""

from __future__ import annotations

import os
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from uuid import uuid4

import pytest
import pytest_asyncio

from clonedb import Database, User, UserScope
from clonedb.embedded import EmbeddedServer
from clonedb.repositories.users import NewUser
from clonedb.testing import IsolatedDatabase

pytest_plugins = ["clonedb.testing"]

# The servers of a run, their logs and pytest's folders.
_LARGEST_RUN_BYTES = 2 * 2**30


def _memory() -> Path | None:
    """A folder in memory, where the 750 files of a database cost a tenth of what a disk takes."""
    folder = Path("/dev/shm")  # noqa: S108 - in it every folder has a name of its own
    try:
        there = os.statvfs(folder)
    except OSError:
        return None
    if there.f_flag & (os.ST_RDONLY | os.ST_NOEXEC) or not os.access(folder, os.W_OK | os.X_OK):
        return None
    return folder if there.f_bavail * there.f_frsize >= _LARGEST_RUN_BYTES else None


if "TMPDIR" not in os.environ and (memory := _memory()) is not None:
    os.environ["TMPDIR"] = tempfile.tempdir = str(memory)  # the processes of tests inherit it


@pytest.fixture(scope="session")
def server(clonedb_server: EmbeddedServer) -> EmbeddedServer:
    return clonedb_server


@pytest.fixture
def migrated(clonedb_database: IsolatedDatabase) -> IsolatedDatabase:
    return clonedb_database


@pytest.fixture
def empty_database(server: EmbeddedServer) -> Iterator[IsolatedDatabase]:
    """A database with nothing in it, owned as in production."""
    name = f"empty_{uuid4().hex}"
    server.create_database(name)
    yield IsolatedDatabase(server, name)
    server.drop_database(name)


@pytest_asyncio.fixture
async def app(clonedb_app: Database) -> Database:
    return clonedb_app


@pytest_asyncio.fixture
async def worker(clonedb_worker: Database) -> Database:
    return clonedb_worker


@pytest_asyncio.fixture
async def ada(worker: Database) -> User:
    return await worker.users.create(NewUser(email="ada@example.com", name="Ada"))


@pytest_asyncio.fixture
async def grace(worker: Database) -> User:
    return await worker.users.create(NewUser(email="grace@example.com", name="Grace"))


@pytest_asyncio.fixture
async def as_ada(app: Database, ada: User) -> AsyncIterator[UserScope]:
    yield app.as_user(ada.id)


@pytest_asyncio.fixture
async def as_grace(app: Database, grace: User) -> AsyncIterator[UserScope]:
    yield app.as_user(grace.id)
