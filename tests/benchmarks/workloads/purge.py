"""Dropping what has expired, of everybody, while fresh entries are read."""

from __future__ import annotations

from uuid import UUID

from tests.benchmarks import seeding
from tests.benchmarks.bursts import Burst
from tests.benchmarks.contest import Contest, Entry
from tests.benchmarks.peers.cached_material import entries_of
from tests.benchmarks.peers.material import EMBEDDING_MODEL
from tests.benchmarks.progress import say
from tests.benchmarks.site import Site

_DATABASE = "bench_purge"


def contests(site: Site) -> list[Contest]:
    """Each burst is one purge of a table that was filled before."""
    rows = site.effort.purged_rows
    connection = site.database(_DATABASE)
    users = seeding.add_users(connection, "purged", site.effort.cache_users)
    ground = site.ground(
        database=_DATABASE, users=users, rows=site.effort.cache_entries, expired=rows
    )
    fresh = [
        (
            each.user_id,
            each.embedding_key().digest(),
            each.answer_key().digest(),
            each.embedding().packed,
            each.answer().response,
        )
        for each in entries_of(ground)
    ]
    return [
        Contest(
            name="purge",
            title=f"Purge of {rows:,} expired entries",
            work="purge",
            entries=[Entry(library="clonedb", variant="worker", label="clonedb", ground=ground)],
            rounds=min(3, site.effort.long_rounds),
            bursts=[Burst(callers=1, calls=1)],
            unit="rows",
            before=_Filling(connection, users, fresh, rows),
        )
    ]


class _Filling:
    """Fills the table anew, unless it is full, with fresh entries among the expired."""

    def __init__(
        self,
        connection: seeding.Connection,
        users: list[UUID],
        fresh: list[tuple[UUID, bytes, bytes, bytes, str]],
        rows: int,
    ) -> None:
        self._connection = connection
        self._users = users
        self._fresh = fresh
        self._rows = rows

    def __call__(self) -> None:
        if self._is_full():
            return
        say(f"seeding {self._rows:,} expired entries")
        self._connection.execute(
            "TRUNCATE clonedb.embedding_cache, clonedb.llm_response_cache, clonedb.cache_changes"
        )
        seeding.add_expired_answers(self._connection, self._users, self._rows)
        seeding.add_cached_values(self._connection, self._fresh, EMBEDDING_MODEL)
        seeding.settle(self._connection)

    def _is_full(self) -> bool:
        found = self._connection.execute(
            "SELECT count(*) FROM clonedb.llm_response_cache WHERE expires_at < now()"
        ).fetchone()
        return found is not None and found[0] == self._rows
