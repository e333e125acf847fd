"""The demonstration's service: it holds conversations through the app login, turn by turn."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar
from uuid import UUID

import msgspec

from clonedb.demo.people import Person
from clonedb.demo.simulation import draw, measure
from clonedb.ids import new_id
from clonedb.loading.conversations import Conversation, Exchange
from clonedb.repositories.conversation_sessions import ConversationSession, NewSession
from clonedb.repositories.conversation_turns import NewTurn
from clonedb.repositories.users import User
from clonedb.repositories.vocabulary import SessionState
from clonedb.scopes import DatabaseScope, UserScope

T = TypeVar("T")

# Of 256 turns, those in which the person cuts in, and those that the model fails at first.
_INTERRUPTED: Final = 40
_FAILED: Final = 10


class Move(msgspec.Struct, frozen=True):
    """How often sessions went from one state to another."""

    from_state: str
    to_state: str
    count: int


class Held(msgspec.Struct, frozen=True):
    """A conversation that was held: what was stored last, to be sent once more."""

    user: User
    session: ConversationSession
    last_turn: NewTurn


class Service:
    """Holds conversations, and counts its calls, their times and the states walked through."""

    def __init__(self, database: DatabaseScope, on_turn: Callable[[], None]) -> None:
        self._database = database
        self._on_turn = on_turn
        self._moves: Counter[tuple[str, str]] = Counter()
        self.turns = 0
        self.call_seconds: list[float] = []

    @property
    def moves(self) -> list[Move]:
        return [Move(*states, count) for states, count in sorted(self._moves.items())]

    async def sign_up(self, person: Person) -> User:
        return await self._call(self._database.users.sign_up(person.sign_up))

    async def hold(self, user: User, conversation: Conversation) -> Held:
        """A whole conversation: start, listen, answer, be interrupted, end."""
        scope = self._database.as_user(user.id)
        session = await self._call(
            scope.conversation_sessions.create(
                NewSession(
                    id=new_id(),
                    llm_provider=user.preferred_llm_provider,
                    tts_provider=user.preferred_tts_provider,
                )
            )
        )
        state = await self._move(scope, session.id, "idle", "listening")
        turn = NewTurn(user_transcript="", llm_response="")
        for exchange in conversation.turns:
            chance = draw(conversation.id, exchange.user)
            state = await self._move(scope, session.id, state, "processing")
            if chance[0] < _FAILED:
                state = await self._move(scope, session.id, state, "error")
                state = await self._move(scope, session.id, state, "listening")
                state = await self._move(scope, session.id, state, "processing")
            turn = _turn(exchange, conversation, session)
            await self._call(
                scope.conversation_sessions.record_turn(session.id, turn, state="speaking")
            )
            self._moves[state, "speaking"] += 1
            state = "speaking"
            self.turns += 1
            self._on_turn()
            if chance[1] < _INTERRUPTED:
                state = await self._move(scope, session.id, state, "interrupted")
            state = await self._move(scope, session.id, state, "listening")
        session = await self._call(scope.conversation_sessions.end(session.id))
        self._moves[state, session.state] += 1
        return Held(user, session, turn)

    async def _move(
        self, scope: UserScope, session_id: UUID, state: SessionState, to_state: SessionState
    ) -> SessionState:
        session = await self._call(scope.conversation_sessions.transition(session_id, to_state))
        self._moves[state, session.state] += 1
        return session.state

    async def _call(self, call: Awaitable[T]) -> T:
        started = time.perf_counter()
        result = await call
        self.call_seconds.append(time.perf_counter() - started)
        return result


def _turn(exchange: Exchange, conversation: Conversation, session: ConversationSession) -> NewTurn:
    # With an id of its own, so that sending it again is not a second turn.
    return NewTurn(
        id=new_id(),
        user_transcript=exchange.user,
        llm_response=exchange.system,
        retrieved_chunks=conversation.services,
        **measure(exchange, session.llm_provider, session.tts_provider)._asdict(),
    )
