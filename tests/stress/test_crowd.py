"""A million calls of 100 users over two connections: no answer is another's. `nox -s stress`."""

from __future__ import annotations

import os

from crowd import crowd

from clonedb.testing import IsolatedDatabase

CALLS = int(os.environ.get("CLONEDB_STRESS_CALLS", "1_000_000"))
LONGEST_SECONDS = 280


async def test_a_million_calls_of_a_hundred_users_over_two_connections(
    migrated: IsolatedDatabase,
) -> None:
    report = await crowd(
        migrated,
        users=100,
        calls=CALLS,
        callers=200,
        seed=1,
        seconds=LONGEST_SECONDS,
        read_channels=1,
        write_channels=1,
        group_channels=0,
    )
    print(f"two connections: {report}")
    assert report.wrong == []
    assert report.calls >= CALLS


async def test_a_hundred_thousand_calls_while_connections_are_killed(
    migrated: IsolatedDatabase,
) -> None:
    report = await crowd(
        migrated,
        users=100,
        calls=CALLS // 10,
        callers=100,
        seed=2,
        seconds=LONGEST_SECONDS,
        seconds_between_kills=0.03,
    )
    print(f"all channels, killed: {report}")
    assert report.wrong == []
    assert report.calls >= CALLS // 10
