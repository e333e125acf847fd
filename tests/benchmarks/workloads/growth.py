"""One turn by id and the 50 newest of a session, while the table of turns grows."""

from __future__ import annotations

from tests.benchmarks import seeding
from tests.benchmarks.bursts import Burst
from tests.benchmarks.contest import Contest, Entry
from tests.benchmarks.ground import Ground
from tests.benchmarks.progress import say
from tests.benchmarks.site import Site

_TURNS = 50  # of a session
_SESSIONS = 10  # of a user
_SAMPLE = 5_000


def contests(site: Site) -> list[Contest]:
    """A database for each number of rows, so that they are measured in turn."""
    grounds = {rows: _make(site, rows) for rows in site.effort.growth}
    return [
        Contest(
            name=f"growth_{work}",
            title=title,
            work=work,
            entries=[
                Entry(library="clonedb", variant="app", label=label_of(rows), ground=ground)
                for rows, ground in grounds.items()
            ],
            base=label_of(site.effort.growth[0]),
            rounds=site.effort.rounds,
            bursts=[Burst(callers=16, seconds=site.effort.burst)],
        )
        for work, title in (
            ("one_turn", "Growth: one turn by id"),
            ("newest_turns", "Growth: the 50 newest turns"),
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
        pairs = seeding.add_sessions(connection, users, sessions=_SESSIONS, turns=_TURNS)
        seeding.settle(connection)
        turns = seeding.sample_turns(connection, _SAMPLE)
    # The sessions of the same turns, so that both kinds of work meet as many blocks.
    sessions = sorted({(user, session) for user, session, _ in turns} & set(pairs))
    return site.ground(database=name, conversations=sessions, turns=turns, rows=_TURNS)
