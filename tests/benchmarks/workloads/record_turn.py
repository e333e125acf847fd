"""Recording a turn: 16 callers on 16 sessions of 16 users, with fsync on and off."""

from __future__ import annotations

from functools import partial

from tests.benchmarks.bursts import Burst
from tests.benchmarks.contest import Contest, Entry
from tests.benchmarks.site import Site

GROUPED = "clonedb, group commit"
SINGLE = "clonedb"

_CALLERS = 16
_CONTESTANTS = (
    ("clonedb", "group", GROUPED),
    ("clonedb", "single", SINGLE),
    ("asyncpg", "statement", "asyncpg, one statement"),
    ("asyncpg", "transaction", "asyncpg, BEGIN … COMMIT"),
    ("psycopg", "transaction", "psycopg, BEGIN … COMMIT"),
    ("sqlalchemy", "orm", "SQLAlchemy ORM"),
    ("tortoise", "orm", "Tortoise ORM"),
)


def contests(site: Site) -> list[Contest]:
    """Every contestant has sessions of its own, so that none meets another's row versions."""
    made = []
    for name, durable in (("record_turn", True), ("record_turn_without_fsync", False)):
        entries = [
            Entry(
                library=library,
                variant=variant,
                label=label,
                ground=site.ground(
                    conversations=site.new_conversations(f"{name}-{library}-{variant}", _CALLERS)
                ),
            )
            for library, variant, label in _CONTESTANTS
        ]
        made.append(
            Contest(
                name=name,
                title=f"Recording a turn, fsync {'on' if durable else 'off'}",
                work="record_turn",
                entries=entries,
                compared=(GROUPED, SINGLE),
                rounds=site.effort.rounds,
                bursts=[Burst(callers=_CALLERS, seconds=site.effort.burst * 1.5)],
                before=partial(site.server.make_durable, durable),
            )
        )
    return made
