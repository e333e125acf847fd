"""Tokens of one bucket that is empty, and of as many buckets as there are users."""

from __future__ import annotations

from tests.benchmarks import seeding
from tests.benchmarks.bursts import Burst
from tests.benchmarks.contest import Contest, Entry
from tests.benchmarks.peers.clonedb_limits import DENIED_ENDPOINT, MANY_ENDPOINT, has_front
from tests.benchmarks.site import Site

USER = "clonedb, a user"
ADDRESS = "clonedb, an address"
FRONT = "clonedb, front"
REMEMBERING = "clonedb, front, denials remembered"
LUA = "redis-py, Lua"
CALLERS = 16
MANY_CALLERS = 64  # who share calls

_MINUTES = 10  # of which users have called before, longer than the contests take

_PEERS = (
    ("redis", "lua", LUA),
    ("limits", "fixed", "limits, fixed window"),
    ("limits", "moving", "limits, moving window"),
)
_DENIED = (
    ("clonedb", "front", FRONT),
    ("clonedb", "remembering", REMEMBERING),
    ("clonedb", "user", USER),
    ("clonedb", "address", ADDRESS),
    *_PEERS,
)
_MANY = (("clonedb", "front", FRONT), ("clonedb", "user", USER), *_PEERS)


def contests(site: Site) -> list[Contest]:
    """One rule concerns each request, and nobody calls for the first time or in a new minute."""
    _add_rules(site)
    users = seeding.add_users(site.base, "limited", site.effort.limited_users)
    seeding.add_limited_calls(site.base, users, MANY_ENDPOINT, _MINUTES)
    seeding.settle(site.base)
    return [
        Contest(
            name=name,
            title=title,
            work=name,
            entries=[
                Entry(
                    library=library, variant=variant, label=label, ground=site.ground(users=whose)
                )
                for library, variant, label in contestants
                if variant not in ("front", "remembering") or has_front()
            ],
            compared=(FRONT, USER) if has_front() else (USER,),
            rounds=site.effort.rounds,
            bursts=[
                Burst(callers=callers, seconds=site.effort.burst)
                for callers in (CALLERS, MANY_CALLERS)
            ],
            before=lambda: _vacuum(site),
        )
        for name, title, contestants, whose in (
            ("limit_denied", "Rate limit: one bucket, denied", _DENIED, users[:1]),
            ("limit_many", f"Rate limit: {len(users):,} buckets, admitted", _MANY, users),
        )
    ]


def _vacuum(site: Site) -> None:
    """What the burst before has left, as autovacuum would remove it."""
    site.base.execute("VACUUM clonedb.rate_limit_buckets, clonedb.rate_limits")


def _add_rules(site: Site) -> None:
    with site.base.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO clonedb.rate_limit_rules "
            "(tier, scope, endpoint, capacity, refill_per_second) VALUES ('*', %s, %s, %s, %s)",
            [
                ("user", DENIED_ENDPOINT, 1, 1e-9),
                ("address", DENIED_ENDPOINT, 1, 1e-9),
                ("user", MANY_ENDPOINT, 1e9, 1e6),
            ],
        )
