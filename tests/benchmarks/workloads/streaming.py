"""A million turns of one user, one after the other, in memory that does not grow."""

from __future__ import annotations

from tests.benchmarks import seeding
from tests.benchmarks.bursts import Burst
from tests.benchmarks.contest import Contest, Entry
from tests.benchmarks.progress import say
from tests.benchmarks.site import Site

_DATABASE = "bench_stream"


def contests(site: Site) -> list[Contest]:
    """One pass; memory is compared with that after the first thousand turns."""
    effort = site.effort
    rows = effort.stream_sessions * effort.stream_turns
    say(f"seeding {rows:,} turns")
    with site.database(_DATABASE) as connection:
        users = seeding.add_users(connection, "stream", 1)
        seeding.add_sessions(
            connection, users, sessions=effort.stream_sessions, turns=effort.stream_turns
        )
        seeding.settle(connection)
    ground = site.ground(database=_DATABASE, users=users, rows=rows)
    return [
        Contest(
            name="stream",
            title=f"Streaming {rows:,} turns",
            work="stream",
            entries=[Entry(library="clonedb", variant="app", label="clonedb", ground=ground)],
            rounds=1,
            bursts=[Burst(callers=1, calls=1, watch=True)],
            unit="passes",
        )
    ]
