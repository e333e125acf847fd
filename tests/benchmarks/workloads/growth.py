"""One turn by id and the 50 newest of a session, while the table of turns grows.

Lists are read twice: of 200 sessions, as many as are active at a time however large the table is,
and of any session, which reads all of the table and what the processor's caches do not hold.
"""

from __future__ import annotations

import msgspec

from tests.benchmarks import seeding
from tests.benchmarks.bursts import Burst
from tests.benchmarks.contest import Contest, Entry
from tests.benchmarks.ground import Ground
from tests.benchmarks.progress import say
from tests.benchmarks.site import Site

_TURNS = 50  # of a session
_SESSIONS = 10  # of a user
_SAMPLE = 5_000
_ACTIVE = 200


def contests(site: Site) -> list[Contest]:
    """A database for each number of rows, so that they are measured in turn."""
    grounds = {rows: _make(site, rows) for rows in site.effort.growth}
    active = {
        rows: msgspec.structs.replace(ground, conversations=ground.conversations[:_ACTIVE])
        for rows, ground in grounds.items()
    }
    return [
        Contest(
            name=name,
            title=f"Growth: {title}",
            work=work,
            entries=[
                Entry(library="clonedb", variant="app", label=label_of(rows), ground=ground)
                for rows, ground in chosen.items()
            ],
            base=label_of(site.effort.growth[0]),
            rounds=site.effort.rounds,
            bursts=[Burst(callers=16, seconds=site.effort.burst)],
        )
        for name, title, work, chosen in (
            ("growth_point", "any turn by id", "one_turn", grounds),
            ("growth_list", "the 50 newest turns of 200 sessions", "newest_turns", active),
            ("growth_any_list", "the 50 newest turns of any session", "newest_turns", grounds),
        )
    ]


def label_of(rows: int) -> str:
    """What the tables call a number of rows."""
    return f"{rows:,} turns"


def _make(site: Site, rows: int) -> Ground:
    say(f"seeding {rows:,} turns")
    name = f"bench_growth_{rows}"
    with site.database(name) as connection:
        users = seeding.add_users(connection, "growth", max(1, rows // (_TURNS * _SESSIONS)))
        seeding.add_sessions(connection, users, sessions=_SESSIONS, turns=_TURNS)
        seeding.settle(connection)
        turns = seeding.sample_turns(connection, _SAMPLE)
    sessions = list(dict.fromkeys((user, session) for user, session, _ in turns))
    return site.ground(database=name, conversations=sessions, turns=turns, rows=_TURNS)
