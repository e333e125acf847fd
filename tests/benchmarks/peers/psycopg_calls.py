"""psycopg 3: prepared statements on connections of its own, its pool, its pipeline, COPY."""

from __future__ import annotations

from typing import Any, Final

from psycopg import AsyncConnection
from psycopg.rows import args_row, tuple_row
from psycopg.types.json import Jsonb
from psycopg_pool import AsyncConnectionPool

from clonedb import (
    ConversationSession,
    ConversationTurn,
    SessionWithTurns,
    User,
)
from tests.benchmarks.contestant import POOL_SIZE, Contestant, check, windows_of
from tests.benchmarks.peers import statements
from tests.benchmarks.peers.material import (
    TURN,
    bulk_sessions,
    bulk_users,
)
from tests.benchmarks.peers.psycopg_connections import CONNECTION, Pinned, one
from tests.benchmarks.peers.psycopg_whole_turn import WholeTurn

_SESSION_COLUMNS: Final = len(ConversationSession.__struct_fields__)


class UserPinned(Pinned):
    async def call(self, caller: int) -> None:
        user_id = self.next_user()
        cursor = self.connections[caller].cursor(row_factory=args_row(User))
        await cursor.execute(statements.FIND_USER, (user_id,))
        user = await cursor.fetchone()
        check(user is not None and user.id == user_id)


class UserFromPool(Contestant):
    async def open(self) -> None:
        self.pool = AsyncConnectionPool(
            self.ground.worker,
            kwargs=CONNECTION,
            min_size=POOL_SIZE,
            max_size=POOL_SIZE,
            open=False,
        )
        await self.pool.open(wait=True)

    async def call(self, caller: int) -> None:
        user_id = self.next_user()
        async with self.pool.connection() as connection:
            cursor = connection.cursor(row_factory=args_row(User))
            await cursor.execute(statements.FIND_USER, (user_id,))
            user = await cursor.fetchone()
        check(user is not None and user.id == user_id)

    async def close(self) -> None:
        await self.pool.close()


class TurnPinned(Pinned):
    async def call(self, caller: int) -> None:
        user_id, session_id, turn_id = self.next_turn()
        cursor = self.connections[caller].cursor(row_factory=args_row(ConversationTurn))
        await cursor.execute(statements.FIND_TURN, (user_id, session_id, turn_id))
        turn = await cursor.fetchone()
        check(turn is not None and turn.id == turn_id)


class _PinnedWithSessions(Pinned):
    """Has the sessions whose turns it reads."""

    async def open(self) -> None:
        await super().open()
        self.windows = windows_of(self.ground)


class NewestTurnsPinned(_PinnedWithSessions):
    async def call(self, caller: int) -> None:
        user_id, session_id = self.next_conversation()
        cursor = self.connections[caller].cursor(row_factory=args_row(ConversationTurn))
        values = (user_id, session_id, *self.windows[session_id], 50)
        await cursor.execute(statements.NEWEST_TURNS, values)
        turns = await cursor.fetchall()
        check(len(turns) == self.ground.rows and turns[0].session_id == session_id)


class SessionWithTurnsPinned(_PinnedWithSessions):
    async def call(self, caller: int) -> None:
        user_id, session_id = self.next_conversation()
        cursor = self.connections[caller].cursor(row_factory=tuple_row)
        values = (user_id, session_id, *self.windows[session_id], 50)
        await cursor.execute(statements.SESSION_WITH_TURNS, values)
        first, *turns = await cursor.fetchall()
        found = SessionWithTurns(
            ConversationSession(*first[:_SESSION_COLUMNS]),
            [ConversationTurn(*turn[_SESSION_COLUMNS:]) for turn in turns],
        )
        check(len(found.turns) == self.ground.rows)


class RecordTurnInTransaction(Pinned):
    """BEGIN, lock, insert, update, COMMIT."""

    async def call(self, caller: int) -> None:
        user_id, session_id = self.ground.conversations[caller]
        connection = self.connections[caller]
        async with connection.transaction():
            cursor = await connection.execute(statements.LOCK_SESSION, (user_id, session_id))
            started_at, ended_at, turns, latency, cost = await one(cursor)
            check(ended_at is None)
            cursor = await connection.execute(
                statements.INSERT_TURN,
                statements.insert_values(user_id, session_id, started_at, turns + 1, TURN),
            )
            stored = ConversationTurn(*await one(cursor))
            await connection.execute(
                statements.ADD_TOTALS,
                (
                    user_id,
                    session_id,
                    turns + 1,
                    latency + stored.total_latency_ms,
                    cost + stored.total_cost,
                ),
            )
        check(stored.session_id == session_id)


class CopyEncodedUsers(Pinned):
    """The floor: nothing but sending, since the rows were encoded before."""

    login = "copier"
    table = "clonedb.users"

    async def open(self) -> None:
        await super().open()
        rows = self.rows()
        self._count = len(rows)
        names = ", ".join(rows[0])
        self._copy = f"COPY {self.table} ({names}) FROM STDIN (FORMAT BINARY)"
        places = ", ".join(f"${number}" for number in range(1, len(rows[0]) + 1))
        insert = f"INSERT INTO {self.table} ({names}) VALUES ({places})"
        async with (
            await AsyncConnection.connect(self.ground.copier, **CONNECTION) as connection,
            connection.transaction(force_rollback=True),
        ):
            cursor = connection.cursor()
            await cursor.executemany(insert, [tuple(row.values()) for row in rows])
            ids = [row["id"] for row in rows]
            encoded = [bytes(block) async for block in self._encoded(connection, names, ids)]
        self._data = b"".join(encoded)

    def rows(self) -> list[dict[str, Any]]:
        """What is stored."""
        return [{**row, "settings": Jsonb(row["settings"])} for row in bulk_users(self.ground.rows)]

    async def _encoded(self, connection: Any, names: str, ids: list[Any]) -> Any:
        listed = ", ".join(f"'{identifier}'" for identifier in ids)
        copy = (
            f"COPY (SELECT {names} FROM {self.table} WHERE id IN ({listed})) "
            "TO STDOUT (FORMAT BINARY)"
        )
        async with connection.cursor().copy(copy) as blocks:
            async for block in blocks:
                yield block

    async def call(self, caller: int) -> None:
        cursor = self.connections[caller].cursor()
        async with cursor.copy(self._copy) as copy:
            await copy.write(self._data)
        check(cursor.rowcount == self._count)


class CopyEncodedSessions(CopyEncodedUsers):
    table = "clonedb.conversation_sessions"

    def rows(self) -> list[dict[str, Any]]:
        user_id = self.ground.users[0]
        return [{"user_id": user_id, **row} for row in bulk_sessions(self.ground.rows)]


CONTESTANTS: Final[dict[str, dict[str, type[Contestant]]]] = {
    "point_read": {"pinned": UserPinned, "pool": UserFromPool},
    "one_turn": {"pinned": TurnPinned},
    "newest_turns": {"pinned": NewestTurnsPinned},
    "session_with_turns": {"pinned": SessionWithTurnsPinned},
    "record_turn": {"transaction": RecordTurnInTransaction},
    "whole_turn": {"pipeline": WholeTurn},
    "bulk_users": {"encoded": CopyEncodedUsers},
    "bulk_sessions": {"encoded": CopyEncodedSessions},
}
