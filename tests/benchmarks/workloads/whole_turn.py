"""A whole turn of a conversation: 10 statements in 5 round trips, every cache missed and filled.

The limit is taken while the session moves to processing and the embedding is looked up; the search
needs the embedding, the answer the search; then the turn is recorded, which moves the session to
speaking, while the three caches are filled; at last the session listens again. fsync is on.
"""

from __future__ import annotations

from functools import partial

from tests.benchmarks.bursts import Burst
from tests.benchmarks.contest import Contest, Entry
from tests.benchmarks.site import Site

_CONTESTANTS = (
    ("clonedb", "single", "clonedb"),
    ("clonedb", "group", "clonedb, group commit"),
    ("psycopg", "pipeline", "psycopg, pipelined by hand"),
)


def contests(site: Site) -> list[Contest]:
    """With each number of conversations at once."""
    numbers = site.effort.conversations
    entries = [
        Entry(
            library=library,
            variant=variant,
            label=label,
            ground=site.ground(
                conversations=site.new_conversations(f"whole-{library}-{variant}", max(numbers))
            ),
        )
        for library, variant, label in _CONTESTANTS
    ]
    return [
        Contest(
            name="whole_turn",
            title="A whole turn with its limits and caches",
            work="whole_turn",
            entries=entries,
            rounds=site.effort.rounds,
            bursts=[Burst(callers=number, seconds=site.effort.burst * 2) for number in numbers],
            unit="turns",
            before=partial(site.server.make_durable, True),
        )
    ]
