"""The tests of the repositories share one database and keep to users of their own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import pytest_asyncio

from clonedb import Database, NewUser, User
from clonedb.embedded import EmbeddedServer
from clonedb.testing import IsolatedDatabase
from ground import address, copied


@pytest.fixture(scope="session")
def commons(
    clonedb_server: EmbeddedServer, clonedb_template: Any
) -> Iterator[IsolatedDatabase]:
    with copied(clonedb_server, clonedb_template, "commons") as database:
        yield database


@pytest.fixture
def clonedb_database(commons: IsolatedDatabase) -> IsolatedDatabase:
    return commons


@pytest_asyncio.fixture
async def ada(worker: Database) -> User:
    return await worker.users.create(NewUser(email=address("Ada"), name="Ada"))


@pytest_asyncio.fixture
async def grace(worker: Database) -> User:
    return await worker.users.create(NewUser(email=address("Grace"), name="Grace"))
