"""Turns of 19 columns: one by its id, the newest 50 of a session, a session with its 50."""

from __future__ import annotations

from tests.benchmarks import seeding
from tests.benchmarks.bursts import Burst
from tests.benchmarks.contest import Contest, Entry
from tests.benchmarks.site import Site

_TURNS = 50
_SAMPLE = 5_000

_ONE = (
    ("clonedb", "app", "clonedb"),
    ("asyncpg", "pinned", "asyncpg, pinned"),
    ("psycopg", "pinned", "psycopg, pinned"),
    ("sqlalchemy", "orm", "SQLAlchemy ORM"),
    ("tortoise", "orm", "Tortoise ORM"),
)
_NEWEST = (
    ("clonedb", "app", "clonedb"),
    ("clonedb", "id", "clonedb, by the session's id alone"),
    ("asyncpg", "pinned", "asyncpg, pinned"),
    ("asyncpg", "pool", "asyncpg, pool"),
    ("psycopg", "pinned", "psycopg, pinned"),
    ("sqlalchemy", "orm", "SQLAlchemy ORM"),
    ("tortoise", "orm", "Tortoise ORM"),
)
_WITH_TURNS = (
    ("clonedb", "app", "clonedb"),
    ("clonedb", "id", "clonedb, by the session's id alone"),
    ("asyncpg", "pinned", "asyncpg, pinned"),
    ("psycopg", "pinned", "psycopg, pinned"),
    ("sqlalchemy", "selectinload", "SQLAlchemy ORM, selectinload"),
    ("sqlalchemy", "joinedload", "SQLAlchemy ORM, joinedload"),
    ("tortoise", "orm", "Tortoise ORM"),
)


def contests(site: Site) -> list[Contest]:
    """One of many, the newest 50 of 100, and all of a session's 50."""
    made = []
    for name, title, contestants, turns in (
        ("one_turn", "Point read: one turn of 19 columns by id", _ONE, 2 * _TURNS),
        ("newest_turns", "The 50 newest of a session's 100 turns", _NEWEST, 2 * _TURNS),
        ("session_with_turns", "A session with its 50 turns", _WITH_TURNS, _TURNS),
    ):
        users = seeding.add_users(site.base, name, site.effort.list_sessions)
        conversations = seeding.add_sessions(site.base, users, sessions=1, turns=turns)
        seeding.settle(site.base)
        ground = site.ground(
            conversations=conversations,
            turns=seeding.sample_turns(site.base, _SAMPLE) if name == "one_turn" else None,
            rows=_TURNS,
        )
        made.append(
            Contest(
                name=name,
                title=title,
                work=name,
                entries=[
                    Entry(library=library, variant=variant, label=label, ground=ground)
                    for library, variant, label in contestants
                ],
                rounds=site.effort.rounds,
                bursts=[Burst(callers=16, seconds=site.effort.burst * 1.5)],
            )
        )
    return made
