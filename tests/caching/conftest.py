"""Two processes of the app login, and one of the worker's; no call ever hangs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest_asyncio
from tiers import Process, a_process

from clonedb.testing import IsolatedDatabase

# The server of one's own that a test may need is part of it.
_LONGEST_TEST_SECONDS = 60


@pytest_asyncio.fixture(autouse=True)
async def nothing_hangs() -> AsyncIterator[None]:
    def give_up() -> None:
        for task in asyncio.all_tasks():
            task.cancel(f"it hangs: {_LONGEST_TEST_SECONDS} s have passed")

    timer = asyncio.get_running_loop().call_later(_LONGEST_TEST_SECONDS, give_up)
    yield
    timer.cancel()


@pytest_asyncio.fixture
async def here(migrated: IsolatedDatabase) -> AsyncIterator[Process]:
    async with a_process(migrated.dsn("clonedb_app")) as process:
        yield process


@pytest_asyncio.fixture
async def there(migrated: IsolatedDatabase) -> AsyncIterator[Process]:
    async with a_process(migrated.dsn("clonedb_app")) as process:
        yield process


@pytest_asyncio.fixture
async def backstage(migrated: IsolatedDatabase) -> AsyncIterator[Process]:
    async with a_process(migrated.dsn("clonedb_worker")) as process:
        yield process
