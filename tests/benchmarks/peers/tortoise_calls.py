"""Tortoise ORM on asyncpg, with its own pool."""

from __future__ import annotations

from typing import Any, Final

from tortoise import Tortoise
from tortoise.transactions import in_transaction

from clonedb import new_id
from tests.benchmarks.contestant import POOL_SIZE, Contestant, address_of, check
from tests.benchmarks.peers.material import TURN
from tests.benchmarks.peers.tortoise_models import ConversationSession, ConversationTurn, User


class _OnTortoise(Contestant):
    async def open(self) -> None:
        await Tortoise.init(
            config={
                "connections": {
                    "default": {
                        "engine": "tortoise.backends.asyncpg",
                        "credentials": {
                            **address_of(self.ground.worker),
                            "minsize": POOL_SIZE,
                            "maxsize": POOL_SIZE,
                            "server_settings": {"plan_cache_mode": "force_generic_plan"},
                        },
                    }
                },
                "apps": {"models": {"models": ["tests.benchmarks.peers.tortoise_models"]}},
                "use_tz": True,
                "timezone": "UTC",
            }
        )

    async def close(self) -> None:
        await Tortoise.close_connections()


class OneUser(_OnTortoise):
    async def call(self, caller: int) -> None:
        user_id = self.next_user()
        user = await User.get_or_none(id=user_id, deleted_at=None)
        check(user is not None and user.id == user_id)


class OneTurn(_OnTortoise):
    async def call(self, caller: int) -> None:
        user_id, session_id, turn_id = self.next_turn()
        turn = await ConversationTurn.get_or_none(
            id=turn_id, user_id=user_id, session_id=session_id
        )
        check(turn is not None and turn.id == turn_id)


class NewestTurns(_OnTortoise):
    async def call(self, caller: int) -> None:
        user_id, session_id = self.next_conversation()
        # It has no scalar sub-select in a filter; the session's window costs a query.
        conversation = await ConversationSession.get(
            id=session_id, user_id=user_id, deleted_at=None
        ).only("id", "turn_window_start", "turn_window_end")
        turns = (
            await ConversationTurn.filter(
                user_id=user_id,
                session_id=session_id,
                id__gte=conversation.turn_window_start,
                id__lt=conversation.turn_window_end,
            )
            .order_by("-turn_number", "-id")
            .limit(50)
        )
        check(len(turns) == self.ground.rows and turns[0].user_id == user_id)


class SessionWithTurns(_OnTortoise):
    async def call(self, caller: int) -> None:
        user_id, session_id = self.next_conversation()
        conversation: Any = await ConversationSession.get(
            id=session_id, user_id=user_id, deleted_at=None
        )
        turns = await conversation.turns.filter(
            user_id=user_id,
            id__gte=conversation.turn_window_start,
            id__lt=conversation.turn_window_end,
        ).order_by("turn_number")
        check(len(turns) == self.ground.rows)


class RecordTurn(_OnTortoise):
    async def call(self, caller: int) -> None:
        user_id, session_id = self.ground.conversations[caller]
        async with in_transaction() as connection:
            conversation = (
                await ConversationSession.filter(id=session_id, user_id=user_id)
                .using_db(connection)
                .select_for_update(no_key=True)
                .get()
            )
            check(conversation.ended_at is None)
            turn = await ConversationTurn.create(
                using_db=connection,
                id=new_id(),
                user_id=user_id,
                session_id=session_id,
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
            conversation.total_turns += 1
            conversation.total_latency_ms += turn.total_latency_ms
            conversation.total_cost += turn.asr_cost + turn.llm_cost + turn.tts_cost
            await conversation.save(
                using_db=connection,
                update_fields=["total_turns", "total_latency_ms", "total_cost"],
            )
        check(turn.total_cost is not None)


CONTESTANTS: Final[dict[str, dict[str, type[Contestant]]]] = {
    "point_read": {"orm": OneUser},
    "one_turn": {"orm": OneTurn},
    "newest_turns": {"orm": NewestTurns},
    "session_with_turns": {"orm": SessionWithTurns},
    "record_turn": {"orm": RecordTurn},
}
