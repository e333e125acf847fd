"""Reading and storing what is cached, in the table: nothing is found in a process's memory.

Callers are 16 conversations, of as many users; `cached_of_one` has 16 callers of one user.
"""

from __future__ import annotations

from tests.benchmarks import seeding
from tests.benchmarks.bursts import Burst
from tests.benchmarks.contest import Contest, Entry
from tests.benchmarks.ground import Ground
from tests.benchmarks.peers.cached_material import entries_of
from tests.benchmarks.peers.material import EMBEDDING_MODEL
from tests.benchmarks.site import Site

FRONT = "clonedb, caches"
TABLE = "clonedb, repository"
REDIS = "redis-py"
GLIDE = "valkey-glide"
ONE_TRIP = "redis-py, one pipeline"
TWO_TRIPS = "redis-py, one after the other"
CALLERS = 16

_ANSWER_BURSTS = 3  # times as long: hits are recorded once in a burst, and in service in 10 s

_GET = (
    ("clonedb", "front", FRONT),
    ("clonedb", "table", TABLE),
    ("redis", "get", REDIS),
    ("glide", "get", GLIDE),
)
_PUT = (
    ("clonedb", "front", FRONT),
    ("clonedb", "table", TABLE),
    ("redis", "set", REDIS),
    ("glide", "set", GLIDE),
)
_ANSWER = (
    ("clonedb", "front", FRONT),
    ("redis", "pipeline", ONE_TRIP),
    ("redis", "two", TWO_TRIPS),
    ("glide", "batch", "valkey-glide, one batch"),
)


def contests(site: Site) -> list[Contest]:
    """On the same entries."""
    ground = seeded_ground(site, "cached", site.effort.cache_users, site.effort.cache_entries)
    return contests_on(site, ground)


def contests_on(site: Site, ground: Ground, suffix: str = "", whose: str = "") -> list[Contest]:
    """The four of them, by names and titles that say whose entries they are."""
    burst = Burst(callers=CALLERS, seconds=site.effort.burst)
    long = Burst(callers=CALLERS, seconds=site.effort.burst * _ANSWER_BURSTS)
    return [
        Contest(
            name=f"{work}{suffix}",
            title=f"{title}{whose}",
            work=work,
            entries=[
                Entry(library=library, variant=variant, label=label, ground=ground)
                for library, variant, label in contestants
            ],
            compared=(FRONT,),
            rounds=site.effort.rounds,
            bursts=[each],
            before=lambda: _vacuum(site),
        )
        for work, title, contestants, each in (
            ("embedding_get", "Cached embedding: get, 1,536 floats", _GET, burst),
            ("answer_get", "Cached answer: get, and count the hit", _ANSWER, long),
            ("embedding_put", "Cached embedding: put what is there", _PUT, burst),
            ("embedding_overwrite", "Cached embedding: put another", _PUT, burst),
        )
    ]


def seeded_ground(site: Site, group: str, count: int, entries: int) -> Ground:
    """So many users with so many entries each."""
    users = seeding.add_users(site.base, group, count)
    ground = site.ground(users=users, rows=entries)
    seeding.add_cached_values(
        site.base,
        [
            (
                each.user_id,
                each.embedding_key().digest(),
                each.answer_key().digest(),
                each.embedding().packed,
                each.answer().response,
            )
            for each in entries_of(ground)
        ],
        EMBEDDING_MODEL,
    )
    seeding.settle(site.base)
    return ground


def _vacuum(site: Site) -> None:
    """What the burst before has left, as autovacuum would remove it."""
    site.base.execute("VACUUM clonedb.embedding_cache, clonedb.llm_response_cache")
