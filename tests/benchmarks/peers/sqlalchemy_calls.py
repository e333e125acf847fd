"""SQLAlchemy's ORM on asyncio with asyncpg: a session for each call, as its documentation says."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy import URL, func, insert, select
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import joinedload, selectinload

from clonedb import new_id
from tests.benchmarks.contestant import POOL_SIZE, Contestant, check
from tests.benchmarks.peers.mapped import ConversationSession, ConversationTurn, User
from tests.benchmarks.peers.material import TURN, bulk_sessions, bulk_users


def _encode(value: Any) -> str:
    return msgspec.json.encode(value).decode()


class _OnEngine(Contestant):
    async def open(self) -> None:
        fields: dict[str, Any] = conninfo_to_dict(self.ground.worker)
        self.engine = create_async_engine(
            URL.create(
                "postgresql+asyncpg",
                username=fields["user"],
                database=fields["dbname"],
                query={"host": fields["host"], "port": str(fields.get("port") or 5432)},
            ),
            pool_size=POOL_SIZE,
            max_overflow=0,
            json_serializer=_encode,
            json_deserializer=msgspec.json.decode,
            connect_args={"server_settings": {"plan_cache_mode": "force_generic_plan"}},
        )
        self.sessions = async_sessionmaker(self.engine, expire_on_commit=False)

    async def close(self) -> None:
        await self.engine.dispose()


class OneUser(_OnEngine):
    async def call(self, caller: int) -> None:
        user_id = self.next_user()
        async with self.sessions() as session:
            user = await session.get(User, user_id)
        check(user is not None and user.id == user_id)


class OneTurn(_OnEngine):
    async def call(self, caller: int) -> None:
        user_id, session_id, turn_id = self.next_turn()
        async with self.sessions() as session:
            turn = await session.get(ConversationTurn, (user_id, session_id, turn_id))
        check(turn is not None and turn.id == turn_id)


class NewestTurns(_OnEngine):
    async def call(self, caller: int) -> None:
        user_id, session_id = self.next_conversation()
        owner = (
            ConversationSession.user_id == user_id,
            ConversationSession.id == session_id,
            ConversationSession.deleted_at.is_(None),
        )
        first = select(ConversationSession.turn_window_start).where(*owner).scalar_subquery()
        end = select(ConversationSession.turn_window_end).where(*owner).scalar_subquery()
        async with self.sessions() as session:
            found = await session.scalars(
                select(ConversationTurn)
                .where(
                    ConversationTurn.user_id == user_id,
                    ConversationTurn.session_id == session_id,
                    ConversationTurn.id >= first,
                    ConversationTurn.id < end,
                )
                .order_by(ConversationTurn.turn_number.desc(), ConversationTurn.id.desc())
                .limit(50)
            )
            turns = found.all()
        check(len(turns) == self.ground.rows and turns[0].session_id == session_id)


class _WithTurns(_OnEngine):
    loading: Any

    async def call(self, caller: int) -> None:
        user_id, session_id = self.next_conversation()
        async with self.sessions() as session:
            found = await session.scalars(
                select(ConversationSession)
                .where(
                    ConversationSession.user_id == user_id,
                    ConversationSession.id == session_id,
                    ConversationSession.deleted_at.is_(None),
                )
                .options(self.loading)
            )
            conversation: Any = found.unique().one()
        check(len(conversation.turns) == self.ground.rows)


class WithTurnsSelected(_WithTurns):
    loading = selectinload(ConversationSession.turns)


class WithTurnsJoined(_WithTurns):
    loading = joinedload(ConversationSession.turns)


class RecordTurn(_OnEngine):
    async def call(self, caller: int) -> None:
        user_id, session_id = self.ground.conversations[caller]
        async with self.sessions.begin() as session:
            conversation = await session.get_one(
                ConversationSession,
                (user_id, session_id),
                with_for_update={"key_share": True},
            )
            check(conversation.ended_at is None)
            turn = ConversationTurn(
                user_id=user_id,
                session_id=session_id,
                id=new_id(),
                session_started_at=conversation.started_at,
                turn_number=conversation.total_turns + 1,
                user_transcript=TURN.user_transcript,
                transcript_confidence=TURN.transcript_confidence,
                user_audio_duration_ms=TURN.user_audio_duration_ms,
                retrieved_chunks=TURN.retrieved_chunks,
                llm_response=TURN.llm_response,
                response_audio_duration_ms=TURN.response_audio_duration_ms,
                asr_latency_ms=TURN.asr_latency_ms,
                rag_latency_ms=TURN.rag_latency_ms,
                llm_latency_ms=TURN.llm_latency_ms,
                tts_latency_ms=TURN.tts_latency_ms,
                total_latency_ms=TURN.total_latency_ms,
                asr_cost=TURN.asr_cost,
                llm_cost=TURN.llm_cost,
                tts_cost=TURN.tts_cost,
            )
            session.add(turn)
            conversation.total_turns += 1
            conversation.total_latency_ms += turn.total_latency_ms
            conversation.total_cost += turn.asr_cost + turn.llm_cost + turn.tts_cost
            conversation.updated_at = func.now()
        check(turn.session_id == session_id and turn.created_at is not None)


class AddUsers(_OnEngine):
    async def open(self) -> None:
        await super().open()
        self._rows = bulk_users(self.ground.rows)

    async def call(self, caller: int) -> None:
        users = [User(**row) for row in self._rows]
        async with self.sessions.begin() as session:
            session.add_all(users)
        check(users[-1].created_at is not None)


class InsertUsers(AddUsers):
    async def call(self, caller: int) -> None:
        async with self.sessions.begin() as session:
            await session.execute(insert(User), self._rows)


class AddSessions(_OnEngine):
    async def open(self) -> None:
        await super().open()
        user_id = self.ground.users[0]
        self._rows = [{"user_id": user_id, **row} for row in bulk_sessions(self.ground.rows)]

    async def call(self, caller: int) -> None:
        conversations = [ConversationSession(**row) for row in self._rows]
        async with self.sessions.begin() as session:
            session.add_all(conversations)
        check(conversations[-1].created_at is not None)


class InsertSessions(AddSessions):
    async def call(self, caller: int) -> None:
        async with self.sessions.begin() as session:
            await session.execute(insert(ConversationSession), self._rows)


CONTESTANTS: Final[dict[str, dict[str, type[Contestant]]]] = {
    "point_read": {"orm": OneUser},
    "one_turn": {"orm": OneTurn},
    "newest_turns": {"orm": NewestTurns},
    "session_with_turns": {"selectinload": WithTurnsSelected, "joinedload": WithTurnsJoined},
    "record_turn": {"orm": RecordTurn},
    "bulk_users": {"add_all": AddUsers, "insert": InsertUsers},
    "bulk_sessions": {"add_all": AddSessions, "insert": InsertSessions},
}
