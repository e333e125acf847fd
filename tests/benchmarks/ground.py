"""What a contestant is told: where the database is, and which rows are there to be found."""

from __future__ import annotations

from uuid import UUID

import msgspec


class Ground(msgspec.Struct, frozen=True, kw_only=True):
    """Connection strings of the logins, and the ids that the work is about.

    `copier` may COPY into the tables, which row-level security keeps from everybody else.

    `conversations` are pairs of a user and a session, one for each caller where it writes; `turns`
    are triples of user, session and turn. `rows` is how many a call handles, or how many entries of
    a cache each user has, `expired` how many are to be purged. `redis` is the path of its socket.
    """

    app: str
    worker: str
    copier: str
    users: list[UUID] = []
    conversations: list[tuple[UUID, UUID]] = []
    turns: list[tuple[UUID, UUID, UUID]] = []
    rows: int = 0
    expired: int = 0
    redis: str = ""
