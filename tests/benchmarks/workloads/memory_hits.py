"""What a process finds in its memory, and how long callers wait for either tier."""

from __future__ import annotations

from tests.benchmarks.bursts import Burst
from tests.benchmarks.contest import Contest, Entry
from tests.benchmarks.site import Site
from tests.benchmarks.workloads.cached_values import CALLERS, REDIS, seeded_ground

FRONT = "clonedb, caches"
TTL = "cachetools.TTLCache"
MEMORY = "clonedb, found in memory"
TABLE = "clonedb, found in the table"

_HIT = (
    ("clonedb", "front", FRONT),
    ("cachetools", "lru", "cachetools.LRUCache"),
    ("cachetools", "ttl", TTL),
    ("cachetools", "tlru", "cachetools.TLRUCache"),
    ("redis", "get", REDIS),
)
_LATENCY = (
    ("clonedb", "memory", MEMORY),
    ("clonedb", "table", TABLE),
    ("redis", "get", REDIS),
    ("glide", "get", "valkey-glide"),
)


def contests(site: Site) -> list[Contest]:
    """By one caller and by many, though nobody waits in memory; then each call by itself."""
    ground = seeded_ground(site, "remembered", site.effort.cache_users, site.effort.cache_entries)
    effort = site.effort
    return [
        Contest(
            name="memory_hit",
            title="Cached embedding in memory",
            work="memory_hit",
            entries=[
                Entry(library=library, variant=variant, label=label, ground=ground)
                for library, variant, label in _HIT
            ],
            compared=(FRONT,),
            rounds=effort.rounds,
            bursts=[Burst(callers=callers, seconds=effort.burst) for callers in (1, CALLERS)],
        ),
        Contest(
            name="cache_latency",
            title="Cached embedding: how long a caller waits",
            work="cache_latency",
            entries=[
                Entry(library=library, variant=variant, label=label, ground=ground)
                for library, variant, label in _LATENCY
            ],
            compared=(),
            rounds=effort.rounds,
            bursts=[Burst(callers=CALLERS, seconds=effort.burst, latencies=True)],
        ),
    ]
