"""No call ever hangs: a test that takes a minute is cancelled, and fails."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio
from observed import ObservedSocket, observe, server_socket

from clonedb.testing import IsolatedDatabase

_LONGEST_TEST_SECONDS = 60


@pytest_asyncio.fixture(autouse=True)
async def nothing_hangs() -> AsyncIterator[None]:
    def give_up() -> None:
        for task in asyncio.all_tasks():
            task.cancel(f"it hangs: {_LONGEST_TEST_SECONDS} s have passed")

    timer = asyncio.get_running_loop().call_later(_LONGEST_TEST_SECONDS, give_up)
    yield
    timer.cancel()


@pytest.fixture
def observed(migrated: IsolatedDatabase) -> Iterator[ObservedSocket]:
    """The server's socket, observed by another process."""
    with observe(server_socket(migrated.dsn())) as socket:
        yield socket
