"""Where contests take place: the server's databases, seeded when the first contest needs them."""

from __future__ import annotations

from functools import cached_property
from uuid import UUID

import psycopg

from tests.benchmarks import seeding
from tests.benchmarks.effort import Effort
from tests.benchmarks.ground import Ground
from tests.benchmarks.progress import say
from tests.benchmarks.redis_server import RedisServer
from tests.benchmarks.server import BenchmarkServer

_BASE = "bench"


class Site:
    """The databases of one run."""

    def __init__(self, server: BenchmarkServer, redis: RedisServer | None, effort: Effort) -> None:
        self.server = server
        self.redis = redis
        self.effort = effort

    def database(self, name: str) -> seeding.Connection:
        """Make a migrated database; its superuser's connection is ready to seed."""
        self.server.create_database(name)
        connection = self.server.connect(name)
        seeding.prepare(connection)
        return connection

    @cached_property
    def base(self) -> seeding.Connection:
        """The database of all contests that have none of their own."""
        say("making the database")
        connection = self.database(_BASE)
        # One row of everybody would make all callers wait for each other's commits.
        connection.execute("DELETE FROM clonedb.rate_limit_rules WHERE scope = 'everybody'")
        connection.execute(
            "UPDATE clonedb.rate_limit_rules SET capacity = 1e9, refill_per_second = 1e6"
        )
        return connection

    @cached_property
    def users(self) -> list[UUID]:
        """Users without anything, for point reads."""
        users = seeding.add_users(self.base, "reader", self.effort.users)
        seeding.settle(self.base)
        return users

    def new_conversations(self, group: str, count: int) -> list[tuple[UUID, UUID]]:
        """So many users, each with a listening session without turns."""
        users = seeding.add_users(self.base, group, count)
        pairs = seeding.add_sessions(self.base, users, sessions=1)
        seeding.settle(self.base)
        return pairs

    def ground(
        self,
        *,
        database: str = _BASE,
        users: list[UUID] | None = None,
        conversations: list[tuple[UUID, UUID]] | None = None,
        turns: list[tuple[UUID, UUID, UUID]] | None = None,
        rows: int = 0,
        expired: int = 0,
    ) -> Ground:
        """What contestants in a database are told."""
        return Ground(
            app=self.server.dsn("app", database),
            worker=self.server.dsn("worker", database),
            copier=self.server.dsn("superuser", database),
            users=users or [],
            conversations=conversations or [],
            turns=turns or [],
            rows=rows,
            expired=expired,
            redis="" if self.redis is None else self.redis.socket,
        )

    def new_connection(self) -> psycopg.Connection[tuple[object, ...]]:
        """A superuser's connection to the base database."""
        return self.server.connect(_BASE)
