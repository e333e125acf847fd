"""An object store in a folder of the test's own, and what lies in it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from clonedb import Database, ObjectStore, StoredObjects, UserScope


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "objects"


@pytest.fixture
def store(folder: Path) -> ObjectStore:
    return ObjectStore(folder)


@pytest_asyncio.fixture
async def objects(store: ObjectStore, as_ada: UserScope) -> AsyncIterator[StoredObjects]:
    """Ada's, under the app login."""
    yield store.of(as_ada)


@pytest_asyncio.fixture
async def shared(store: ObjectStore, worker: Database) -> AsyncIterator[StoredObjects]:
    """What everybody may read, for whoever may write it."""
    yield store.of(worker)
