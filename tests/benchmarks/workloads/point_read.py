"""One user by id: 13 columns, among them jsonb, an array, a number and three timestamps."""

from __future__ import annotations

from tests.benchmarks.bursts import Burst
from tests.benchmarks.contest import Contest, Entry
from tests.benchmarks.site import Site

WITH_CONTEXT = "clonedb, row-level security"
WITHOUT_CONTEXT = "clonedb, without context"

_CONTESTANTS = (
    ("clonedb", "app", WITH_CONTEXT),
    ("clonedb", "worker", WITHOUT_CONTEXT),
    ("asyncpg", "pinned", "asyncpg, pinned"),
    ("asyncpg", "pool", "asyncpg, pool"),
    ("asyncpg", "transaction", "asyncpg, BEGIN + set_config"),
    ("psycopg", "pinned", "psycopg, pinned"),
    ("psycopg", "pool", "psycopg, pool"),
    ("sqlalchemy", "orm", "SQLAlchemy ORM"),
    ("tortoise", "orm", "Tortoise ORM"),
    ("pgbench", "prepared", "pgbench (in C)"),
)


def contests(site: Site) -> list[Contest]:
    """At each number of callers."""
    ground = site.ground(users=site.users)
    return [
        Contest(
            name="point_read",
            title="Point read: one user of 13 columns by id",
            work="point_read",
            entries=[
                Entry(library=library, variant=variant, label=label, ground=ground)
                for library, variant, label in _CONTESTANTS
            ],
            compared=(WITH_CONTEXT, WITHOUT_CONTEXT),
            rounds=site.effort.rounds,
            bursts=[
                Burst(callers=callers, seconds=site.effort.burst) for callers in site.effort.callers
            ],
        )
    ]
