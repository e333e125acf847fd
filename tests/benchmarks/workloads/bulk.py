"""Ten thousand rows at once, from dictionaries to stored rows: users, and sessions of a user."""

from __future__ import annotations

from uuid import UUID

from tests.benchmarks import seeding
from tests.benchmarks.bursts import Burst
from tests.benchmarks.contest import Contest, Entry
from tests.benchmarks.peers.material import BULK_GROUP
from tests.benchmarks.site import Site

_PEERS = (
    ("asyncpg", "copy", "asyncpg, copy_records_to_table"),
    ("psycopg", "encoded", "psycopg, COPY of encoded data"),
    ("sqlalchemy", "add_all", "SQLAlchemy ORM, add_all"),
    ("sqlalchemy", "insert", "SQLAlchemy ORM, bulk insert"),
)
_USERS = (("clonedb", "worker", "clonedb, worker login"), *_PEERS)
_SESSIONS = (
    ("clonedb", "app", "clonedb, app login"),
    ("clonedb", "worker", "clonedb, worker login"),
    *_PEERS,
)


def contests(site: Site) -> list[Contest]:
    """Each burst is one call on tables without the rows of the burst before."""
    owner = seeding.add_users(site.base, "owner-of-bulk", 1)
    made = []
    for name, title, contestants in (
        ("bulk_users", "users", _USERS),
        ("bulk_sessions", "sessions", _SESSIONS),
    ):
        ground = site.ground(users=owner, rows=site.effort.bulk_rows)
        made.append(
            Contest(
                name=name,
                title=f"{site.effort.bulk_rows:,} {title} at once",
                work=name,
                entries=[
                    Entry(library=library, variant=variant, label=label, ground=ground)
                    for library, variant, label in contestants
                ],
                rounds=site.effort.long_rounds,
                bursts=[Burst(callers=1, calls=1)],
                unit="batches",
                compared=tuple(label for library, _, label in contestants if library == "clonedb"),
                before=_Cleaning(site, owner[0]),
            )
        )
    return made


class _Cleaning:
    """Removes what the burst before has stored, and its dead row versions."""

    def __init__(self, site: Site, owner: UUID) -> None:
        self._site = site
        self._owner = owner

    def __call__(self) -> None:
        self._site.server.make_durable(True)
        connection = self._site.base
        connection.execute("DELETE FROM clonedb.users WHERE email LIKE %s", (f"{BULK_GROUP}-_%@%",))
        connection.execute(
            "DELETE FROM clonedb.conversation_sessions WHERE user_id = %s", (self._owner,)
        )
        connection.execute("VACUUM clonedb.users, clonedb.conversation_sessions")
        self._site.server.checkpoint()
