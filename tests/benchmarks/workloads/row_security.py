"""What row-level security costs: the same calls by the same login, and by one that passes it by.

Both send the user's context and the user in every statement; the one login has BYPASSRLS.
"""

from __future__ import annotations

from functools import partial

import msgspec

from tests.benchmarks import seeding
from tests.benchmarks.bursts import Burst
from tests.benchmarks.contest import Contest, Entry
from tests.benchmarks.ground import Ground
from tests.benchmarks.site import Site

FORCED = "policies forced"
BYPASSED = "BYPASSRLS"

_CALLERS = 16
_TURNS = 50
_SAMPLE = 5_000
_LOGIN = "bypass"


def contests(site: Site) -> list[Contest]:
    """Reads of one row and of many, and a write, with and without policies."""
    site.base.execute(f"CREATE ROLE clonedb_{_LOGIN} LOGIN BYPASSRLS IN ROLE clonedb_app".encode())
    users = seeding.add_users(site.base, "rls", site.effort.list_sessions)
    conversations = seeding.add_sessions(site.base, users, sessions=1, turns=2 * _TURNS)
    seeding.settle(site.base)
    turns = seeding.sample_turns(site.base, _SAMPLE)
    listed = site.ground(conversations=conversations, rows=_TURNS)
    return [
        _contest(site, "point_read", "one user by id", "app", site.ground(users=site.users)),
        _contest(site, "one_turn", "one turn by id", "app", site.ground(turns=turns)),
        _contest(site, "newest_turns", "the 50 newest of 100 turns", "app", listed),
        _contest(site, "record_turn", "recording a turn, fsync off", "single", None),
    ]


def _contest(site: Site, work: str, title: str, variant: str, ground: Ground | None) -> Contest:
    entries = []
    for login, label in (("app", FORCED), (_LOGIN, BYPASSED)):
        # Of one's own where it writes, so that neither meets the other's row versions.
        given = ground or site.ground(
            conversations=site.new_conversations(f"rls-{work}-{login}", _CALLERS)
        )
        dsn = site.server.dsn(login, site.base.info.dbname)
        entries.append(
            Entry(
                library="clonedb",
                variant=variant,
                label=label,
                ground=msgspec.structs.replace(given, app=dsn),
            )
        )
    return Contest(
        name=f"row_security_{work}",
        title=f"Row-level security: {title}",
        work=work,
        entries=entries,
        compared=(FORCED,),
        rounds=site.effort.rounds,
        bursts=[Burst(callers=_CALLERS, seconds=site.effort.burst * 1.5)],
        before=partial(site.server.make_durable, False) if ground is None else None,
    )
