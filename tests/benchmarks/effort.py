"""How much of everything: the whole run, the quick one that proves that it works, the long one."""

from __future__ import annotations

from typing import Final

import msgspec


class Effort(msgspec.Struct, frozen=True):
    """Rounds, the length of a burst in seconds, and sizes.

    `minutes` is what a run may take: rounds are left out where they would take longer.
    `growth` are the numbers of turns at which rates are compared, the smallest first. Each of
    `cache_users` has `cache_entries` in a cache.
    """

    minutes: float
    rounds: int
    burst: float
    long_rounds: int
    users: int
    list_sessions: int
    callers: tuple[int, ...]
    conversations: tuple[int, ...]
    bulk_rows: int
    stream_sessions: int
    stream_turns: int
    growth: tuple[int, ...]
    cache_users: int
    cache_entries: int
    purged_rows: int
    limited_users: int
    loops: tuple[str, ...]


DEFAULT: Final = Effort(
    minutes=20,
    rounds=7,
    burst=0.3,
    long_rounds=5,
    users=2_000,
    list_sessions=200,
    callers=(1, 16, 100),
    conversations=(16, 100),
    bulk_rows=10_000,
    stream_sessions=1_000,
    stream_turns=1_000,
    growth=(10_000, 100_000, 1_000_000),
    cache_users=200,
    cache_entries=10,
    purged_rows=1_000_000,
    limited_users=10_000,
    loops=("asyncio", "uvloop"),
)

FULL: Final = msgspec.structs.replace(DEFAULT, minutes=45, growth=(*DEFAULT.growth, 10_000_000))

SMOKE: Final = Effort(
    minutes=2,
    rounds=1,
    burst=0.02,
    long_rounds=1,
    users=400,
    list_sessions=20,
    callers=(1, 16),
    conversations=(16,),
    bulk_rows=200,
    stream_sessions=10,
    stream_turns=100,
    growth=(1_000, 2_000),
    cache_users=20,
    cache_entries=5,
    purged_rows=5_000,
    limited_users=200,
    loops=("uvloop",),
)
