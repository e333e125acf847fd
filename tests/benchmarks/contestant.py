"""One way of doing one piece of work, as the process of its library runs it."""

from __future__ import annotations

import itertools
import random
from abc import ABC, abstractmethod
from typing import Any
from uuid import UUID

import psycopg
from psycopg.conninfo import conninfo_to_dict

from tests.benchmarks.ground import Ground

# What a service's pool has by default in this library and in asyncpg.
POOL_SIZE = 10

# What a contestant may keep open between bursts, so that all fit the server's 200 connections.
IDLE_CONNECTIONS = 16


class Contestant(ABC):
    """Opened once, called by many callers at once, closed.

    `batch` is how often a call does the work, one after the other: what takes a microsecond is
    not measured one by one.
    """

    batch = 1

    def __init__(self, ground: Ground) -> None:
        self.ground = ground
        # Every process meets the rows in the same order, which is not the order on disk.
        shuffler = random.Random(7)
        self._users = itertools.cycle(shuffler.sample(ground.users, len(ground.users)) or [None])
        self._conversations = itertools.cycle(
            shuffler.sample(ground.conversations, len(ground.conversations)) or [None]
        )
        self._turns = itertools.cycle(shuffler.sample(ground.turns, len(ground.turns)) or [None])

    def next_user(self) -> Any:
        """The next user's id."""
        return next(self._users)

    def next_conversation(self) -> Any:
        """The next user and session, of whichever caller."""
        return next(self._conversations)

    def next_turn(self) -> Any:
        """The next user, session and turn."""
        return next(self._turns)

    @abstractmethod
    async def open(self) -> None:
        """Connect, with nothing that depends on the number of callers."""

    async def prepare(self, callers: int) -> None:  # noqa: B027
        """Make ready for so many callers; not measured."""

    async def release(self) -> None:  # noqa: B027
        """Give back what others need after a burst of many callers."""

    @abstractmethod
    async def call(self, caller: int) -> None:
        """Do the work once; raises where it did not find or do what it should."""

    async def finish(self) -> None:  # noqa: B027
        """End what a burst has left to do, before its clock stops."""

    def figures(self) -> dict[str, float]:
        """What the last burst has shown beside its rate, by the name in the tables."""
        return {}

    @abstractmethod
    async def close(self) -> None:
        """Disconnect."""


def windows_of(ground: Ground) -> dict[UUID, tuple[UUID, UUID]]:
    """The ids between which each session's turns lie, as a service that has the session knows."""
    with psycopg.connect(ground.copier) as connection:
        rows = connection.execute(
            "SELECT id, turn_window_start, turn_window_end FROM clonedb.conversation_sessions "
            "WHERE id = ANY(%s)",
            [[session for _, session in ground.conversations]],
        )
        return {session: (first, end) for session, first, end in rows}


def address_of(dsn: str) -> dict[str, Any]:
    """Where a dsn points, as asyncpg takes it."""
    fields: dict[str, Any] = conninfo_to_dict(dsn)
    return {
        "host": fields["host"],
        "port": int(fields.get("port") or 5432),
        "user": fields["user"],
        "database": fields["dbname"],
    }


class NotFoundAtAll(AssertionError):
    """A measured call did not find its row, so its time says nothing."""


def check(found: bool) -> None:
    """Raise where a call did not find what it should."""
    if not found:
        raise NotFoundAtAll("a measured call did not find what was seeded for it")
