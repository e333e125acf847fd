"""Two hundred callers in four processes want one value that nobody has made."""

from __future__ import annotations

from tests.benchmarks import seeding
from tests.benchmarks.bursts import Burst
from tests.benchmarks.contest import Contest, Entry
from tests.benchmarks.peers.clonedb_upkeep import CALLERS, PROCESSES
from tests.benchmarks.site import Site


def contests(site: Site) -> list[Contest]:
    """One key after the other."""
    users = seeding.add_users(site.base, "stampede", 20)
    return [
        Contest(
            name="stampede",
            title=f"A cold key: {CALLERS * PROCESSES} callers in {PROCESSES} processes",
            work="stampede",
            entries=[
                Entry(
                    library="clonedb",
                    variant="front",
                    label="clonedb",
                    ground=site.ground(users=users),
                )
            ],
            rounds=site.effort.long_rounds,
            bursts=[Burst(callers=1, calls=site.effort.long_rounds)],
            unit="keys",
        )
    ]
