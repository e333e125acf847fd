"""Ten thousand waiting callers cost little, and are not sent all at once."""

from __future__ import annotations

import asyncio
import tracemalloc

import pytest
from channels import (
    ONE_OF_EACH,
    PATIENT,
    ask_one,
    connected,
    reading,
    through_channels_alone,
    writing,
)
from observed import ObservedSocket

from clonedb.lanes import channel
from clonedb.lanes.channel import ChannelStatistics
from clonedb.testing import IsolatedDatabase

CALLERS = 10_000
MEGABYTE = 1 << 20


@pytest.mark.parametrize("kind", ["reads", "writes", "group"])
async def test_ten_thousand_callers_wait_for_a_slow_server_in_little_memory(
    migrated: IsolatedDatabase, kind: str
) -> None:
    make = reading if kind == "reads" else writing
    sleep = make("SELECT pg_sleep(0.5)::text")
    length = make("SELECT length($1::text) + $2::int", "text", "number")
    # Encoded all at once they would be 160 MB.
    text = "x" * 16_384
    settings = {**PATIENT, **ONE_OF_EACH}
    async with connected(migrated.dsn(), **settings) as database:
        scope = database.group_commit() if kind == "group" else database
        samples: list[ChannelStatistics] = []

        async def sample() -> None:
            while True:
                samples.extend(database.channel_statistics())
                await asyncio.sleep(0.002)

        sampling = asyncio.create_task(sample())
        tracemalloc.start()
        try:
            with through_channels_alone(database):
                slow = asyncio.create_task(ask_one(scope, sleep))
                answers = await asyncio.gather(
                    *(ask_one(scope, length, text, number) for number in range(CALLERS))
                )
                await slow
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
            sampling.cancel()
        assert answers == [len(text) + number for number in range(CALLERS)]
        # A caller is a task, a few frames and a call; what is in flight comes on top.
        assert peak < CALLERS * 8_192 + 8 * MEGABYTE
        for seen in samples:
            assert seen.in_flight <= channel._IN_FLIGHT[seen.name.removesuffix(" 1")]
            assert seen.bytes_in_flight <= channel._BYTES_IN_FLIGHT + channel.LARGEST_CALL
        assert max(seen.waiting for seen in samples) > CALLERS - 200
        assert max(seen.bytes_in_flight for seen in samples) > len(text)


async def test_callers_of_a_channel_that_stands_still_take_the_pool(
    observed: ObservedSocket, migrated: IsolatedDatabase
) -> None:
    sleep = reading("SELECT pg_sleep(1)::text")
    echo = reading("SELECT $1::bigint", "number")
    async with connected(
        migrated.dsn(), read_channels=1, channel_statement_timeout=0.1, maximum_connections=4
    ) as database:
        slow = asyncio.create_task(ask_one(database.within(0.1), sleep))
        answers = await asyncio.gather(*(ask_one(database, echo, n) for n in range(2_000)))
        assert answers == list(range(2_000))
        with pytest.raises(Exception, match="statement timeout"):
            await slow


async def test_large_parameters_take_the_pool(migrated: IsolatedDatabase) -> None:
    size = reading("SELECT length($1::text)", "text")
    sizes = [1_000, channel.LARGEST_CALL, channel.LARGEST_CALL + 1, 5 * MEGABYTE]
    async with connected(migrated.dsn(), **PATIENT) as database:
        before = database.pool_statistics().requests
        assert (
            await asyncio.gather(*(ask_one(database, size, "x" * length) for length in sizes))
            == sizes
        )
        assert database.pool_statistics().requests == before + 2
        assert sum(channel.detours for channel in database.channel_statistics()) == 2
