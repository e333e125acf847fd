"""asyncpg: prepared statements on connections of its own, and its pool."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import asyncpg
import msgspec

from clonedb import ConversationSession, ConversationTurn, SessionWithTurns, User
from tests.benchmarks.contestant import (
    IDLE_CONNECTIONS,
    POOL_SIZE,
    Contestant,
    address_of,
    check,
    windows_of,
)
from tests.benchmarks.peers import statements
from tests.benchmarks.peers.material import TURN, bulk_sessions, bulk_users

# Plans over all months cost more than running them; clonedb says so in its query files.
_SETTINGS: Final = {"plan_cache_mode": "force_generic_plan"}
_SESSION_COLUMNS: Final = len(ConversationSession.__struct_fields__)


async def _configure(connection: Any) -> None:
    # The binary format of jsonb is its text after the version, 1.
    await connection.set_type_codec(
        "jsonb",
        schema="pg_catalog",
        format="binary",
        encoder=lambda value: b"\x01" + msgspec.json.encode(value),
        decoder=lambda data: msgspec.json.decode(data[1:]),
    )


class _Pinned(Contestant):
    """A connection for each caller, with its prepared statement."""

    login = "worker"
    statement = ""

    async def open(self) -> None:
        self._address = address_of(getattr(self.ground, self.login))
        self.connections: list[Any] = []
        self.prepared: list[Any] = []

    async def prepare(self, callers: int) -> None:
        while len(self.connections) > callers:
            self.prepared.pop()
            await self.connections.pop().close()
        while len(self.connections) < callers:
            connection = await asyncpg.connect(**self._address, server_settings=_SETTINGS)
            await _configure(connection)
            self.connections.append(connection)
            self.prepared.append(await self.prepare_statements(connection))

    async def release(self) -> None:
        if len(self.connections) > IDLE_CONNECTIONS:
            await self.prepare(IDLE_CONNECTIONS)

    async def prepare_statements(self, connection: Any) -> Any:
        """What a caller executes."""
        return await connection.prepare(self.statement)

    async def close(self) -> None:
        await asyncio.gather(*(connection.close() for connection in self.connections))


class _Pool(Contestant):
    async def open(self) -> None:
        self.pool = await asyncpg.create_pool(
            **address_of(self.ground.worker),
            min_size=POOL_SIZE,
            max_size=POOL_SIZE,
            init=_configure,
            server_settings=_SETTINGS,
        )

    async def close(self) -> None:
        await self.pool.close()


class UserPinned(_Pinned):
    statement = statements.FIND_USER

    async def call(self, caller: int) -> None:
        user_id = self.next_user()
        record = await self.prepared[caller].fetchrow(user_id)
        check(record is not None and User(*record).id == user_id)


class UserInTransaction(_Pinned):
    """What row-level security takes without the context in the same round trip."""

    login = "app"

    async def prepare_statements(self, connection: Any) -> Any:
        return (
            await connection.prepare("SELECT set_config('clonedb.user_id', $1, true)"),
            await connection.prepare(statements.FIND_USER_OF_CONTEXT),
        )

    async def call(self, caller: int) -> None:
        user_id = self.next_user()
        set_context, find = self.prepared[caller]
        async with self.connections[caller].transaction():
            await set_context.fetchval(str(user_id))
            record = await find.fetchrow(user_id, user_id)
        check(record is not None and User(*record).id == user_id)


class UserFromPool(_Pool):
    async def call(self, caller: int) -> None:
        user_id = self.next_user()
        record = await self.pool.fetchrow(statements.FIND_USER, user_id)
        check(record is not None and User(*record).id == user_id)


class TurnPinned(_Pinned):
    statement = statements.FIND_TURN

    async def call(self, caller: int) -> None:
        user_id, session_id, turn_id = self.next_turn()
        record = await self.prepared[caller].fetchrow(user_id, session_id, turn_id)
        check(record is not None and ConversationTurn(*record).id == turn_id)


class _PinnedWithSessions(_Pinned):
    """Has the sessions whose turns it reads."""

    async def open(self) -> None:
        await super().open()
        self.windows = windows_of(self.ground)


class NewestTurnsPinned(_PinnedWithSessions):
    statement = statements.NEWEST_TURNS

    async def call(self, caller: int) -> None:
        user_id, session_id = self.next_conversation()
        window = self.windows[session_id]
        records = await self.prepared[caller].fetch(user_id, session_id, *window, 50)
        turns = [ConversationTurn(*record) for record in records]
        check(len(turns) == self.ground.rows and turns[0].session_id == session_id)


class NewestTurnsFromPool(_Pool):
    async def open(self) -> None:
        await super().open()
        self.windows = windows_of(self.ground)

    async def call(self, caller: int) -> None:
        user_id, session_id = self.next_conversation()
        window = self.windows[session_id]
        records = await self.pool.fetch(statements.NEWEST_TURNS, user_id, session_id, *window, 50)
        turns = [ConversationTurn(*record) for record in records]
        check(len(turns) == self.ground.rows and turns[0].session_id == session_id)


class SessionWithTurnsPinned(_PinnedWithSessions):
    statement = statements.SESSION_WITH_TURNS

    async def call(self, caller: int) -> None:
        user_id, session_id = self.next_conversation()
        window = self.windows[session_id]
        records = await self.prepared[caller].fetch(user_id, session_id, *window, 50)
        first, *turns = (tuple(record) for record in records)
        found = SessionWithTurns(
            ConversationSession(*first[:_SESSION_COLUMNS]),
            [ConversationTurn(*turn[_SESSION_COLUMNS:]) for turn in turns],
        )
        check(len(found.turns) == self.ground.rows)


class RecordTurnInTransaction(_Pinned):
    """BEGIN, lock, insert, update, COMMIT."""

    async def prepare_statements(self, connection: Any) -> Any:
        return (
            await connection.prepare(statements.LOCK_SESSION),
            await connection.prepare(statements.INSERT_TURN),
            await connection.prepare(statements.ADD_TOTALS),
        )

    async def call(self, caller: int) -> None:
        user_id, session_id = self.ground.conversations[caller]
        lock, insert, add = self.prepared[caller]
        async with self.connections[caller].transaction():
            session = await lock.fetchrow(user_id, session_id)
            check(session is not None and session["ended_at"] is None)
            number = session["total_turns"] + 1
            record = await insert.fetchrow(
                *statements.insert_values(user_id, session_id, session["started_at"], number, TURN)
            )
            stored = ConversationTurn(*record)
            await add.fetch(
                user_id,
                session_id,
                number,
                session["total_latency_ms"] + stored.total_latency_ms,
                session["total_cost"] + stored.total_cost,
            )
        check(stored.session_id == session_id)


class RecordTurnInOneStatement(_Pinned):
    """clonedb's own statement."""

    statement = statements.RECORD_TURN

    async def call(self, caller: int) -> None:
        user_id, session_id = self.ground.conversations[caller]
        outcome, _, *columns = await self.prepared[caller].fetchrow(
            *statements.record_values(user_id, session_id, TURN)
        )
        check(outcome == "recorded" and ConversationTurn(*columns).session_id == session_id)


class CopyUsers(_Pinned):
    login = "copier"

    async def prepare_statements(self, connection: Any) -> Any:
        return None

    async def open(self) -> None:
        await super().open()
        self._rows = bulk_users(self.ground.rows)

    async def call(self, caller: int) -> None:
        done = await self.connections[caller].copy_records_to_table(
            "users",
            schema_name="clonedb",
            columns=list(self._rows[0]),
            records=[tuple(row.values()) for row in self._rows],
        )
        check(done == f"COPY {len(self._rows)}")


class CopySessions(CopyUsers):
    async def open(self) -> None:
        await super().open()
        user_id = self.ground.users[0]
        self._rows = [{"user_id": user_id, **row} for row in bulk_sessions(self.ground.rows)]

    async def call(self, caller: int) -> None:
        done = await self.connections[caller].copy_records_to_table(
            "conversation_sessions",
            schema_name="clonedb",
            columns=list(self._rows[0]),
            records=[tuple(row.values()) for row in self._rows],
        )
        check(done == f"COPY {len(self._rows)}")


CONTESTANTS: Final[dict[str, dict[str, type[Contestant]]]] = {
    "point_read": {
        "pinned": UserPinned,
        "transaction": UserInTransaction,
        "pool": UserFromPool,
    },
    "one_turn": {"pinned": TurnPinned},
    "newest_turns": {"pinned": NewestTurnsPinned, "pool": NewestTurnsFromPool},
    "session_with_turns": {"pinned": SessionWithTurnsPinned},
    "record_turn": {
        "transaction": RecordTurnInTransaction,
        "statement": RecordTurnInOneStatement,
    },
    "bulk_users": {"copy": CopyUsers},
    "bulk_sessions": {"copy": CopySessions},
}
