"""psycopg 3: prepared statements on connections of its own, its pool, its pipeline and COPY."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any, Final

import msgspec
import psycopg
from psycopg import AsyncConnection, AsyncRawCursor
from psycopg.adapt import AdaptersMap
from psycopg.rows import args_row, tuple_row
from psycopg.types.json import Jsonb, set_json_dumps, set_json_loads
from psycopg.types.numeric import Int8Dumper
from psycopg_pool import AsyncConnectionPool

from clonedb import (
    CachedEmbedding,
    CachedResponse,
    CachedVectorSearch,
    ConversationSession,
    ConversationTurn,
    RateLimitDecision,
    RateLimitRuleKey,
    SessionWithTurns,
    User,
    queries,
)
from tests.benchmarks.contestant import IDLE_CONNECTIONS, POOL_SIZE, Contestant, check
from tests.benchmarks.peers import statements
from tests.benchmarks.peers.material import (
    EMBEDDING_MODEL,
    RESULTS,
    TURN,
    VECTOR,
    bulk_sessions,
    bulk_users,
    first_number,
    turn_key,
)

_SESSION_COLUMNS: Final = len(ConversationSession.__struct_fields__)


def _adapters() -> AdaptersMap:
    adapters = AdaptersMap(psycopg.adapters)
    set_json_loads(msgspec.json.decode, adapters)
    set_json_dumps(msgspec.json.encode, adapters)
    # By default the size of an int decides its type, and each type prepares another statement.
    adapters.register_dumper(int, Int8Dumper)
    return adapters


_CONNECTION: Final[dict[str, Any]] = {
    "autocommit": True,
    "prepare_threshold": 0,
    "cursor_factory": AsyncRawCursor,
    "context": _adapters(),
    "options": "-c plan_cache_mode=force_generic_plan",
}


class _Pinned(Contestant):
    """A connection for each caller; every statement is prepared at its first use."""

    login = "worker"

    async def open(self) -> None:
        self.connections: list[AsyncConnection[Any]] = []

    async def prepare(self, callers: int) -> None:
        while len(self.connections) > callers:
            await self.connections.pop().close()
        while len(self.connections) < callers:
            connection = await AsyncConnection.connect(
                getattr(self.ground, self.login), **_CONNECTION
            )
            await self.made(connection, len(self.connections))
            self.connections.append(connection)

    async def release(self) -> None:
        if len(self.connections) > IDLE_CONNECTIONS:
            await self.prepare(IDLE_CONNECTIONS)

    async def made(self, connection: AsyncConnection[Any], caller: int) -> None:
        """What else a new connection needs."""

    async def close(self) -> None:
        await asyncio.gather(*(connection.close() for connection in self.connections))


class UserPinned(_Pinned):
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
            kwargs=_CONNECTION,
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


class TurnPinned(_Pinned):
    async def call(self, caller: int) -> None:
        user_id, session_id, turn_id = self.next_turn()
        cursor = self.connections[caller].cursor(row_factory=args_row(ConversationTurn))
        await cursor.execute(statements.FIND_TURN, (user_id, session_id, turn_id))
        turn = await cursor.fetchone()
        check(turn is not None and turn.id == turn_id)


class NewestTurnsPinned(_Pinned):
    async def call(self, caller: int) -> None:
        user_id, session_id = self.next_conversation()
        cursor = self.connections[caller].cursor(row_factory=args_row(ConversationTurn))
        await cursor.execute(statements.NEWEST_TURNS, (user_id, session_id, 50))
        turns = await cursor.fetchall()
        check(len(turns) == self.ground.rows and turns[0].session_id == session_id)


class SessionWithTurnsPinned(_Pinned):
    async def call(self, caller: int) -> None:
        user_id, session_id = self.next_conversation()
        cursor = self.connections[caller].cursor(row_factory=tuple_row)
        await cursor.execute(statements.SESSION_WITH_TURNS, (user_id, session_id, 50))
        rows = await cursor.fetchall()
        found = SessionWithTurns(
            ConversationSession(*rows[0][:_SESSION_COLUMNS]),
            [ConversationTurn(*row[_SESSION_COLUMNS:]) for row in rows],
        )
        check(len(found.turns) == self.ground.rows)


class RecordTurnInTransaction(_Pinned):
    """BEGIN, lock, insert, update, COMMIT."""

    async def call(self, caller: int) -> None:
        user_id, session_id = self.ground.conversations[caller]
        connection = self.connections[caller]
        async with connection.transaction():
            cursor = await connection.execute(statements.LOCK_SESSION, (user_id, session_id))
            started_at, ended_at, turns, latency, cost = await _one(cursor)
            check(ended_at is None)
            cursor = await connection.execute(
                statements.INSERT_TURN,
                statements.insert_values(user_id, session_id, started_at, turns + 1, TURN),
            )
            stored = ConversationTurn(*await _one(cursor))
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


class WholeTurn(_Pinned):
    """The statements of clonedb's whole turn, those that can go together in one pipeline.

    A connection belongs to one conversation, so that it names its user once and for all.
    """

    async def open(self) -> None:
        await super().open()
        self._numbers = first_number()

    async def release(self) -> None:
        """Nothing: it has no neighbours, and planning its statements anew takes seconds."""

    async def made(self, connection: AsyncConnection[Any], caller: int) -> None:
        user_id, _ = self.ground.conversations[caller]
        await connection.execute("SELECT set_config('clonedb.user_id', $1, false)", (str(user_id),))

    async def call(self, caller: int) -> None:
        user_id, session_id = self.ground.conversations[caller]
        connection, number = self.connections[caller], next(self._numbers)
        embedding_key = turn_key(user_id, number, b"embedding")
        search_key = turn_key(user_id, number, b"search")
        answer_key = turn_key(user_id, number, b"answer")

        async with connection.pipeline():
            taking = await connection.execute(_TAKE, ("chat", 1.0, None))
            moving = await connection.execute(_TRANSITION, (user_id, session_id, "processing"))
            getting = await connection.execute(_GET_EMBEDDING, (user_id, embedding_key))
        decision = _decision(await taking.fetchone())
        session = _session(await moving.fetchone())
        embedding = _entry(CachedEmbedding, await getting.fetchone())
        check(decision.allowed and session.state == "processing" and embedding is None)
        getting = await connection.execute(_GET_SEARCH, (user_id, search_key))
        check(_entry(CachedVectorSearch, await getting.fetchone()) is None)
        getting = await connection.execute(_GET_ANSWER, (user_id, answer_key))
        check(_entry(CachedResponse, await getting.fetchone()) is None)
        async with connection.pipeline():
            recording = await connection.execute(
                statements.RECORD_TURN,
                statements.record_values(user_id, session_id, TURN, "speaking"),
            )
            await connection.execute(
                _PUT_EMBEDDING,
                (user_id, embedding_key, VECTOR, EMBEDDING_MODEL, len(VECTOR) // 4, [], _HOUR),
            )
            await connection.execute(
                _PUT_SEARCH, (user_id, search_key, Jsonb(RESULTS), [], [], _HOUR / 2)
            )
            await connection.execute(
                _PUT_ANSWER,
                (user_id, answer_key, TURN.llm_response, "claude-3-opus", [], [], _HOUR),
            )
        outcome, _, *columns = await _one(recording)
        check(outcome == "recorded" and ConversationTurn(*columns).session_id == session_id)
        moving = await connection.execute(_TRANSITION, (user_id, session_id, "listening"))
        check(_session(await moving.fetchone()).state == "listening")


_HOUR: Final = timedelta(hours=1)
_CACHED: Final = {"user_id": None, "key": None, "tags": None, "ttl": None}
_TAKE: Final = statements.text_of(queries.rate_limits.take, endpoint=None, cost=None, address=None)
_TRANSITION: Final = statements.text_of(
    queries.conversation_sessions.transition, user_id=None, id=None, to_state=None
)
_GET_EMBEDDING: Final = statements.text_of(queries.embedding_cache.get, user_id=None, key=None)
_GET_SEARCH: Final = statements.text_of(queries.vector_search_cache.get, user_id=None, key=None)
_GET_ANSWER: Final = statements.text_of(queries.llm_response_cache.get, user_id=None, key=None)
_PUT_EMBEDDING: Final = statements.text_of(
    queries.embedding_cache.put, **_CACHED, embedding=None, model=None, dimensions=None
)
_PUT_SEARCH: Final = statements.text_of(
    queries.vector_search_cache.put, **_CACHED, results=None, document_ids=None
)
_PUT_ANSWER: Final = statements.text_of(
    queries.llm_response_cache.put, **_CACHED, response=None, provider=None, document_ids=None
)


async def _one(cursor: psycopg.AsyncCursor[Any]) -> tuple[Any, ...]:
    row = await cursor.fetchone()
    check(row is not None)
    return row or ()


def _decision(row: Any) -> RateLimitDecision:
    outcome, scope, endpoint, tier, limit, remaining, retry_after, reset_at = row
    rule = None if scope is None else RateLimitRuleKey(scope, endpoint, tier)
    return RateLimitDecision(outcome != "denied", rule, limit, remaining, retry_after, reset_at)


def _session(row: Any) -> ConversationSession:
    return ConversationSession(*row[1:])


def _entry(kind: Any, row: Any) -> Any:
    return None if row is None else kind(*row)


class CopyEncodedUsers(_Pinned):
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
            await AsyncConnection.connect(self.ground.copier, **_CONNECTION) as connection,
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
