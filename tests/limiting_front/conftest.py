"""What the tests of the front share: rules of their own, the front, and how often it has asked."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import pytest
import pytest_asyncio
from limiting import PutRule, without_rules

from clonedb import Database, Limits


@pytest_asyncio.fixture
async def rule(worker: Database) -> PutRule:
    """Stores a rule; there are no others."""
    return await without_rules(worker)


@pytest_asyncio.fixture
async def limits(app: Database) -> AsyncIterator[Limits]:
    async with Limits(app) as front:
        yield front


@pytest.fixture
def writes(app: Database) -> Callable[[], int]:
    """How many statements that may write the app's Database has sent."""

    def count() -> int:
        channels = sum(
            channel.calls
            for channel in app.channel_statistics()
            if channel.name.startswith("write")
        )
        # While a channel connects, its calls take the pool.
        return channels + app.pool_statistics().requests

    return count
