"""clonedb through its public repositories."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import Any, Final
from uuid import UUID

from clonedb import ConversationSession, Database, NewSession, NewUser
from tests.benchmarks.contestant import Contestant, check
from tests.benchmarks.peers import clonedb_caches, clonedb_limits, clonedb_upkeep
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


class _OnDatabase(Contestant):
    """One Database under the app login."""

    login = "app"

    async def open(self) -> None:
        self.db = await Database(getattr(self.ground, self.login)).open()

    async def close(self) -> None:
        await self.db.close()


class _AsWorker(_OnDatabase):
    login = "worker"


class UserOfContext(_OnDatabase):
    async def call(self, caller: int) -> None:
        user_id = self.next_user()
        user = await self.db.as_user(user_id).users.find_by_id(user_id)
        check(user is not None and user.id == user_id)


class UserWithoutContext(_AsWorker):
    async def call(self, caller: int) -> None:
        user_id = self.next_user()
        user = await self.db.users.find_by_id(user_id)
        check(user is not None and user.id == user_id)


class OneTurn(_OnDatabase):
    async def call(self, caller: int) -> None:
        user_id, session_id, turn_id = self.next_turn()
        turn = await self.db.as_user(user_id).conversation_sessions.find_turn(session_id, turn_id)
        check(turn is not None and turn.id == turn_id)


class _WithSessions(_OnDatabase):
    """Has the sessions whose turns it reads, as a service does."""

    async def open(self) -> None:
        await super().open()
        self.sessions: dict[UUID, ConversationSession] = {}
        for user_id, session_id in self.ground.conversations:
            repository = self.db.as_user(user_id).conversation_sessions
            self.sessions[session_id] = await repository.get_by_id(session_id)


class NewestTurns(_WithSessions):
    async def call(self, caller: int) -> None:
        user_id, session_id = self.next_conversation()
        page = await self.db.as_user(user_id).conversation_sessions.find_turns(
            self.sessions[session_id], order="newest", limit=50
        )
        check(len(page.items) == self.ground.rows and page.items[0].session_id == session_id)


class NewestTurnsById(_OnDatabase):
    async def call(self, caller: int) -> None:
        user_id, session_id = self.next_conversation()
        page = await self.db.as_user(user_id).conversation_sessions.find_turns(
            session_id, order="newest", limit=50
        )
        check(len(page.items) == self.ground.rows and page.items[0].session_id == session_id)


class SessionWithTurns(_WithSessions):
    async def call(self, caller: int) -> None:
        user_id, session_id = self.next_conversation()
        session = self.sessions[session_id]
        found = await self.db.as_user(user_id).conversation_sessions.with_turns(session)
        check(found is not None and len(found.turns) == self.ground.rows)


class SessionWithTurnsById(_OnDatabase):
    async def call(self, caller: int) -> None:
        user_id, session_id = self.next_conversation()
        found = await self.db.as_user(user_id).conversation_sessions.with_turns(session_id)
        check(found is not None and len(found.turns) == self.ground.rows)


class RecordTurn(_OnDatabase):
    async def call(self, caller: int) -> None:
        user_id, session_id = self.ground.conversations[caller]
        stored = await self.db.as_user(user_id).conversation_sessions.record_turn(session_id, TURN)
        check(stored.session_id == session_id)


class RecordTurnInGroup(_OnDatabase):
    async def call(self, caller: int) -> None:
        user_id, session_id = self.ground.conversations[caller]
        scope = self.db.as_user(user_id).group_commit()
        stored = await scope.conversation_sessions.record_turn(session_id, TURN)
        check(stored.session_id == session_id)


class WholeTurn(_OnDatabase):
    """Ten statements in five round trips, of which four commit something that must last."""

    grouped = False

    async def open(self) -> None:
        await super().open()
        self._numbers = first_number()

    async def call(self, caller: int) -> None:
        user_id, session_id = self.ground.conversations[caller]
        number = next(self._numbers)
        scope = self.db.as_user(user_id)
        if self.grouped:
            scope = scope.group_commit()
        sessions, caches = scope.conversation_sessions, scope.caches
        embedding_key = turn_key(user_id, number, b"embedding")
        search_key = turn_key(user_id, number, b"search")
        answer_key = turn_key(user_id, number, b"answer")

        decision, session, embedding = await asyncio.gather(
            scope.rate_limits.take("chat"),
            sessions.transition(session_id, "processing"),
            caches.embedding.get(embedding_key),
        )
        check(decision.allowed and session.state == "processing" and embedding is None)
        check(await caches.vector_search.get(search_key) is None)
        check(await caches.llm_response.get(answer_key) is None)
        turn, *_ = await asyncio.gather(
            sessions.record_turn(session_id, TURN, state="speaking"),
            caches.embedding.put(embedding_key, embedding=VECTOR, model=EMBEDDING_MODEL),
            caches.vector_search.put(search_key, results=RESULTS),
            caches.llm_response.put(
                answer_key, response=TURN.llm_response, provider="claude-3-opus"
            ),
        )
        check(turn.session_id == session_id)
        check((await sessions.transition(session_id, "listening")).state == "listening")


class WholeTurnInGroup(WholeTurn):
    grouped = True


class CreateUsers(_AsWorker):
    async def open(self) -> None:
        await super().open()
        self._rows = bulk_users(self.ground.rows)

    async def call(self, caller: int) -> None:
        stored = await self.db.users.create_many([NewUser(**row) for row in self._rows])
        check(len(stored) == len(self._rows))


class CreateSessions(_OnDatabase):
    async def open(self) -> None:
        await super().open()
        self._rows = bulk_sessions(self.ground.rows)

    async def call(self, caller: int) -> None:
        scope = self.db.as_user(self.ground.users[0])
        stored = await scope.conversation_sessions.create_many(
            [NewSession(**row) for row in self._rows]
        )
        check(len(stored) == len(self._rows))


class CreateSessionsAsWorker(CreateSessions):
    login = "worker"


class StreamTurns(_OnDatabase):
    async def open(self) -> None:
        await super().open()
        count = 0
        async with aclosing(self._turns_of_user()) as turns:
            async for _ in turns:
                count += 1
                if count == min(1_000, self.ground.rows):
                    break

    async def call(self, caller: int) -> None:
        count = 0
        async for _ in self._turns_of_user():
            count += 1
        check(count == self.ground.rows)

    def _turns_of_user(self) -> Any:
        return self.db.as_user(self.ground.users[0]).conversation_sessions.stream_turns()


CONTESTANTS: Final[dict[str, dict[str, type[Contestant]]]] = {
    "point_read": {"app": UserOfContext, "worker": UserWithoutContext},
    "one_turn": {"app": OneTurn},
    "newest_turns": {"app": NewestTurns, "id": NewestTurnsById},
    "session_with_turns": {"app": SessionWithTurns, "id": SessionWithTurnsById},
    "record_turn": {"single": RecordTurn, "group": RecordTurnInGroup},
    "whole_turn": {"single": WholeTurn, "group": WholeTurnInGroup},
    "bulk_users": {"worker": CreateUsers},
    "bulk_sessions": {"app": CreateSessions, "worker": CreateSessionsAsWorker},
    "stream": {"app": StreamTurns},
    **clonedb_caches.CONTESTANTS,
    **clonedb_limits.CONTESTANTS,
    **clonedb_upkeep.CONTESTANTS,
}
