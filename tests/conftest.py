"""The fixtures of clonedb's own tests: those that services get, under shorter names."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from uuid import uuid4

import pytest
import pytest_asyncio

from clonedb import Database, User, UserScope
from clonedb.embedded import EmbeddedServer
from clonedb.repositories.users import NewUser
from clonedb.testing import IsolatedDatabase

pytest_plugins = ["clonedb.testing"]


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
