"""Where a conversation of a file goes: the rule of `clonedb load`, without a database.

The SHA-256 of a conversation's id decides everything that the file does not say. It belongs to
one of N users, `conversations-000@load.example` and so on; it began at that second of the first
27 days of the month; a turn follows every 8 seconds, and the session ends 8 seconds after the
last. Ids are UUIDv7 of those moments, so the same file, N and month name the same rows for ever.
Providers are the user's, measurements are drawn from the texts (simulation), and every turn has
the conversation's services as its retrieved chunks.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, date, datetime, timedelta
from typing import Final, NamedTuple
from uuid import UUID

from clonedb.demo.simulation import measure, providers_for
from clonedb.errors import InvalidInput
from clonedb.ids import id_at
from clonedb.loading.conversations import GoodLine
from clonedb.repositories.conversation_sessions import NewSession, SessionEnding
from clonedb.repositories.conversation_turns import SessionTurn
from clonedb.repositories.users import NewUser

DEFAULT_USERS: Final = 100
DEFAULT_MONTH: Final = date(2026, 1, 1)

# As many as one create_many takes.
MAXIMUM_USERS: Final = 10_000

TURN: Final = timedelta(seconds=8)

# The longest conversation, 10,000 turns, takes less than a day: every turn is in the month, and
# only one partition is needed.
_STARTS_WITHIN: Final = timedelta(days=27)

# The moment in the ids of the users, whatever the month of their conversations.
_USERS_SINCE: Final = datetime(2026, 1, 1, tzinfo=UTC)


class PlacedConversation(NamedTuple):
    """A line of the file as rows of one user."""

    line: int
    user: NewUser
    session: NewSession
    turns: list[SessionTurn]
    ending: SessionEnding
    characters: int


class Placement:
    """The rule, for a number of users and a month.

    Raises InvalidInput for a month that is not over: ids do not lie in the future.
    """

    def __init__(self, *, users: int = DEFAULT_USERS, month: date = DEFAULT_MONTH) -> None:
        if not 1 <= users <= MAXIMUM_USERS:
            raise InvalidInput(f"{users:,} users; a load has 1 to {MAXIMUM_USERS:,}")
        self.month = month.replace(day=1)
        self._start = datetime(month.year, month.month, 1, tzinfo=UTC)
        if self._start + _STARTS_WITHIN + timedelta(days=1) > datetime.now(UTC):
            raise InvalidInput(
                f"the month {month:%Y-%m} is not over, and nothing is stored in the future",
                remedy="choose an earlier month",
            )
        self._users = [_user(number) for number in range(users)]

    def place(self, good: GoodLine) -> PlacedConversation:
        conversation = good.conversation
        user = self._users[_number(conversation.id) % len(self._users)]
        started_at = self._start + timedelta(
            seconds=_number("start", conversation.id) % int(_STARTS_WITHIN.total_seconds())
        )
        session_id = id_at(started_at, _number("session", conversation.id))
        session = NewSession(
            id=session_id,
            started_at=started_at,
            llm_provider=user.preferred_llm_provider,
            tts_provider=user.preferred_tts_provider,
        )
        turns = [
            SessionTurn(
                session_id=session_id,
                id=_turn_id(conversation.id, started_at, position),
                user_transcript=turn.user,
                llm_response=turn.system,
                retrieved_chunks=conversation.services,
                **measure(turn, session.llm_provider, session.tts_provider)._asdict(),
            )
            for position, turn in enumerate(conversation.turns)
        ]
        return PlacedConversation(
            line=good.line,
            user=user,
            session=session,
            turns=turns,
            ending=SessionEnding(id=session_id, ended_at=started_at + TURN * len(turns)),
            characters=sum(len(turn.user) + len(turn.system) for turn in conversation.turns),
        )


def _user(number: int) -> NewUser:
    email = f"conversations-{number:03}@load.example"
    llm_provider, tts_provider = providers_for(email)
    return NewUser(
        id=id_at(_USERS_SINCE, _number("user", email)),
        email=email,
        name=f"Conversations {number:03}",
        preferred_llm_provider=llm_provider,
        preferred_tts_provider=tts_provider,
    )


def _turn_id(conversation: str, started_at: datetime, position: int) -> UUID:
    return id_at(started_at + TURN * position, _number("turn", str(position), conversation))


def _number(*texts: str) -> int:
    digest = hashlib.sha256("\0".join(texts).encode()).digest()
    return int.from_bytes(digest, "big")
