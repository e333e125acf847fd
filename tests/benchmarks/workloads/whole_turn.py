"""A whole turn of a conversation: 10 statements in 5 round trips, every cache missed and filled.

The limit is taken while the session moves to processing and the embedding is looked up; the search
needs the embedding, the answer the search; then the turn is recorded, which moves the session to
speaking, while the three caches are filled; at last the session listens again. fsync is on.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Final

from tests.benchmarks import seeding
from tests.benchmarks.bursts import Burst
from tests.benchmarks.contest import Contest, Entry
from tests.benchmarks.ground import Ground
from tests.benchmarks.peers.clonedb_calls import WholeTurn
from tests.benchmarks.site import Site

# Of every conversation, before anything is measured.
_EARLIER_TURNS = 8

GROUPED: Final = "clonedb, group commit"
SINGLE: Final = "clonedb"

_CONTESTANTS = (
    ("clonedb", "group", GROUPED),
    ("clonedb", "single", SINGLE),
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
    # Whoever plans a statement on an empty table reads the table whole for as long as nobody
    # analyses it, however it grows.
    for entry in entries:
        asyncio.run(_talk(entry.ground))
    seeding.settle(site.base)
    return [
        Contest(
            name="whole_turn",
            title="A whole turn with its limits and caches",
            work="whole_turn",
            entries=entries,
            compared=(GROUPED, SINGLE),
            rounds=site.effort.rounds,
            bursts=[Burst(callers=number, seconds=site.effort.burst * 2) for number in numbers],
            unit="turns",
            before=partial(site.server.make_durable, True),
        )
    ]


async def _talk(ground: Ground) -> None:
    service = WholeTurn(ground)
    await service.open()
    for _ in range(_EARLIER_TURNS):
        await asyncio.gather(*(service.call(each) for each in range(len(ground.conversations))))
    await service.close()
