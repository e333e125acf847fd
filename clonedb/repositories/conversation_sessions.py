"""Conversation sessions, and through them their turns."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import msgspec
from msgspec import UNSET, UnsetType

from clonedb import queries
from clonedb.errors import InvalidInput, InvalidTransition, NotFound, SessionEnded
from clonedb.ids import check_id, id_at
from clonedb.pages import DEFAULT_LIMIT, Page, check_limit, filter_arguments, find_page
from clonedb.repositories.conversation_turns import (
    ConversationTurn,
    NewTurn,
    SessionTurn,
)
from clonedb.repositories.vocabulary import LlmProvider, SessionState, TtsProvider
from clonedb.repositories.writing import (
    all_same_as_stored,
    changes_of,
    check_ids,
    columns_of,
    found,
    rows_of,
    same_as_stored,
    validated_rows,
)
from clonedb.validation import Count, Moment, convert, validated

if TYPE_CHECKING:
    from clonedb.scope import Scope


class ConversationSession(msgspec.Struct, frozen=True):
    """A stored session; `average_latency_ms` is per turn, None before the first."""

    id: UUID
    started_at: datetime
    ended_at: datetime | None
    state: SessionState
    llm_provider: LlmProvider
    tts_provider: TtsProvider
    voice_model_id: UUID | None
    face_model_id: UUID | None
    total_turns: int
    total_latency_ms: int
    average_latency_ms: float | None
    total_cost: Decimal
    created_at: datetime
    updated_at: datetime
    deleted_at: datetime | None


class NewSession(msgspec.Struct, frozen=True, kw_only=True):
    """A session to start; without an id or a start the database gives them."""

    id: UUID | None = None
    started_at: Moment | None = None
    llm_provider: LlmProvider = "gpt-4-turbo"
    tts_provider: TtsProvider = "xtts-v2"
    voice_model_id: UUID | None = None
    face_model_id: UUID | None = None


class SessionPatch(msgspec.Struct, frozen=True, kw_only=True):
    """What to change: UNSET leaves a field, None clears it; state and totals have own calls."""

    llm_provider: LlmProvider | UnsetType = UNSET
    tts_provider: TtsProvider | UnsetType = UNSET
    voice_model_id: UUID | UnsetType | None = UNSET
    face_model_id: UUID | UnsetType | None = UNSET


class SessionFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which sessions; UNSET fields do not narrow. `active` is one that has not ended."""

    active: bool | UnsetType = UNSET
    state: SessionState | UnsetType = UNSET
    llm_provider: LlmProvider | UnsetType = UNSET
    started_from: Moment | UnsetType = UNSET
    started_before: Moment | UnsetType = UNSET


class TurnFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which turns of a session, by their number; both ends are included."""

    turn_from: Count | UnsetType = UNSET
    turn_to: Count | UnsetType = UNSET


class Period(msgspec.Struct, frozen=True, kw_only=True):
    """Which sessions a statistic covers, by their start; `started_before` is exclusive."""

    started_from: Moment | UnsetType = UNSET
    started_before: Moment | UnsetType = UNSET


class SessionEnding(msgspec.Struct, frozen=True, kw_only=True):
    """A session to end in `end_many`; without a moment it ends now."""

    id: UUID
    ended_at: Moment | None = None


class SessionWithTurns(msgspec.Struct, frozen=True):
    """A session and its newest turns, in their order."""

    session: ConversationSession
    turns: list[ConversationTurn]


class SessionStatistics(msgspec.Struct, frozen=True):
    """Sums over a user's sessions; the average is latency over turns, None without turns."""

    sessions: int
    active_sessions: int
    turns: int
    total_latency_ms: int
    average_latency_ms: float | None
    total_cost: Decimal
    conversation_seconds: float


class ProviderStatistics(msgspec.Struct, frozen=True):
    """The same for one pair of providers."""

    llm_provider: LlmProvider
    tts_provider: TtsProvider
    sessions: int
    turns: int
    average_latency_ms: float | None
    total_cost: Decimal


# Those of clonedb.session_window_start and session_window_end, which never change.
_WINDOW_BEFORE: Final = timedelta(minutes=5)
_WINDOW_AFTER: Final = timedelta(days=7)

_SESSION_COLUMNS = len(ConversationSession.__struct_fields__)


class ConversationSessionRepository:
    """A user's sessions and turns; exists in a user's scope only."""

    __slots__ = ("_scope",)

    def __init__(self, scope: Scope) -> None:
        self._scope = scope

    async def find_by_id(
        self, id: UUID | str, *, include_deleted: bool = False
    ) -> ConversationSession | None:
        return await self._scope.one(
            queries.conversation_sessions.find_by_id,
            ConversationSession,
            id=check_id(id),
            include_deleted=include_deleted,
        )

    async def get_by_id(
        self, id: UUID | str, *, include_deleted: bool = False
    ) -> ConversationSession:
        """Raises NotFound."""
        return found(await self.find_by_id(id, include_deleted=include_deleted), "session", id)

    async def find_many(
        self,
        filters: SessionFilter | None = None,
        *,
        order: str = "newest",
        cursor: str | None = None,
        limit: int = DEFAULT_LIMIT,
        with_total: bool = False,
        include_deleted: bool = False,
    ) -> Page[ConversationSession]:
        """A page, ordered `newest` or `oldest` by start."""
        return await find_page(
            self._scope,
            queries.conversation_sessions.find_many,
            ConversationSession,
            order=order,
            cursor=cursor,
            limit=limit,
            with_total=with_total,
            include_deleted=include_deleted,
            arguments=filter_arguments(filters),
        )

    async def find_one(
        self, filters: SessionFilter | None = None, *, order: str = "newest"
    ) -> ConversationSession | None:
        """The first in the order."""
        page = await self.find_many(filters, order=order, limit=1)
        return page.items[0] if page.items else None

    async def find_active(
        self, *, cursor: str | None = None, limit: int = DEFAULT_LIMIT
    ) -> Page[ConversationSession]:
        """A page of the sessions that have not ended, newest first."""
        return await self.find_many(SessionFilter(active=True), cursor=cursor, limit=limit)

    async def count(
        self, filters: SessionFilter | None = None, *, include_deleted: bool = False
    ) -> int:
        total: int = await self._scope.value(
            queries.conversation_sessions.count,
            include_deleted=include_deleted,
            **filter_arguments(filters),
        )
        return total

    async def exists(
        self, filters: SessionFilter | None = None, *, include_deleted: bool = False
    ) -> bool:
        any_at_all: bool = await self._scope.value(
            queries.conversation_sessions.exists,
            include_deleted=include_deleted,
            **filter_arguments(filters),
        )
        return any_at_all

    async def create(self, new: NewSession) -> ConversationSession:
        """Store a session; a repeat with the same id returns the stored row.

        Raises AlreadyExists when the id belongs to other content or a deleted session, NotFound
        when a model is not the user's.
        """
        new = validated(new)
        stored = await self._scope.one(
            queries.conversation_sessions.create, ConversationSession, **columns_of(new)
        )
        return same_as_stored(new, found(stored, "session", new.id), "session")

    async def start(
        self,
        *,
        llm_provider: LlmProvider = "gpt-4-turbo",
        tts_provider: TtsProvider = "xtts-v2",
        voice_model_id: UUID | None = None,
        face_model_id: UUID | None = None,
    ) -> ConversationSession:
        """Start a session now: idle, without turns, under an id that the database makes."""
        return await self.create(
            NewSession(
                llm_provider=llm_provider,
                tts_provider=tts_provider,
                voice_model_id=voice_model_id,
                face_model_id=face_model_id,
            )
        )

    async def create_many(self, news: Sequence[NewSession]) -> list[ConversationSession]:
        """Store up to 10,000 sessions in one statement, all or none; like `create` for each."""
        if not news:
            return []
        checked = validated_rows(news)
        stored = await self._scope.all(
            queries.conversation_sessions.create_many, ConversationSession, rows=rows_of(checked)
        )
        return all_same_as_stored(checked, stored, "session")

    async def update(self, id: UUID | str, patch: SessionPatch) -> ConversationSession:
        """Raises NotFound, also for a model that is not the user's; InvalidInput if empty."""
        updated = await self._scope.one(
            queries.conversation_sessions.update,
            ConversationSession,
            id=check_id(id),
            **changes_of(patch),
        )
        return found(updated, "session", id)

    async def update_many(
        self, ids: Iterable[UUID | str], patch: SessionPatch
    ) -> list[ConversationSession]:
        """Change several sessions alike; ids that do not exist are left out of the answer."""
        return await self._scope.all(
            queries.conversation_sessions.update_many,
            ConversationSession,
            ids=check_ids(ids),
            **changes_of(patch),
        )

    async def transition(self, id: UUID | str, to_state: SessionState) -> ConversationSession:
        """Move the session to a state; the state it is in already is a no-op.

        Raises NotFound, SessionEnded, or InvalidTransition where `session_transitions` has no
        such step.
        """
        state = convert(to_state, SessionState, "to_state")
        rows = await self._scope.rows(
            queries.conversation_sessions.transition, id=check_id(id), to_state=state
        )
        outcome, session = rows[0][0], rows[0][1:]
        if outcome in ("moved", "unchanged"):
            return ConversationSession(*session)
        from_state = None if outcome == "no_session" else ConversationSession(*session).state
        raise refusal(outcome, id, from_state, state)

    async def end(self, id: UUID | str, *, ended_at: datetime | None = None) -> ConversationSession:
        """End the session, now or at a moment not before its start; again is a no-op.

        Raises NotFound, or InvalidInput for an end before the start.
        """
        moment = None if ended_at is None else convert(ended_at, Moment, "ended_at")
        rows = await self._scope.rows(
            queries.conversation_sessions.end, id=check_id(id), ended_at=moment
        )
        outcome, session = rows[0][0], rows[0][1:]
        if outcome in ("ended", "already_ended"):
            return ConversationSession(*session)
        raise refusal(outcome, id, None, "idle")

    async def end_many(self, endings: Sequence[SessionEnding]) -> int:
        """End up to 10,000 sessions in one statement; returns how many had not ended before."""
        if not endings:
            return 0
        ended = await self._scope.rows(
            queries.conversation_sessions.end_many, rows=rows_of(validated_rows(endings))
        )
        return len(ended)

    async def delete(self, id: UUID | str) -> bool:
        """Hide the session and its turns; False if there was none."""
        stamp = await self._scope.value(queries.conversation_sessions.delete, id=check_id(id))
        return stamp is not None

    async def hard_delete(self, id: UUID | str) -> bool:
        """Remove the session, living or deleted, and its turns; False if there was none."""
        removed = await self._scope.value(
            queries.conversation_sessions.hard_delete, id=check_id(id)
        )
        return removed is not None

    async def restore(self, id: UUID | str) -> ConversationSession:
        """Bring a deleted session back; one that is not deleted is returned as it is."""
        restored = await self._scope.one(
            queries.conversation_sessions.restore, ConversationSession, id=check_id(id)
        )
        return found(restored, "session", id)

    async def record_turn(
        self, session_id: UUID | str, new: NewTurn, *, state: SessionState | None = None
    ) -> ConversationTurn:
        """Store a turn, add it to the session's totals and, where asked, move its state.

        One statement that locks the session: turns are numbered without gaps under any
        concurrency. A repeat with the same id returns the stored turn, also after the end.
        Raises NotFound, SessionEnded, InvalidTransition, AlreadyExists when the id belongs to a
        turn of other content, InvalidInput for an id outside the session's 7 days, and
        PartitionMissing for a month that has no partition.
        """
        new = validated(new)
        moved = None if state is None else convert(state, SessionState, "state")
        rows = await self._scope.rows(
            queries.conversation_turns.record,
            session_id=check_id(session_id, "session_id"),
            state=moved,
            **columns_of(new),
        )
        outcome, from_state, turn = rows[0][0], rows[0][1], rows[0][2:]
        if outcome == "recorded":
            return same_as_stored(new, ConversationTurn(*turn), "turn")
        if outcome != "no_session" and new.id is not None:
            # The first call with this id may have been stored before the session ended or moved
            # on, or while this one waited for it: no reason to refuse.
            stored = await self.find_turn(session_id, new.id)
            if stored is not None:
                return same_as_stored(new, stored, "turn")
        raise refusal(outcome, session_id, from_state, moved)

    async def record_many(self, turns: Sequence[SessionTurn]) -> list[ConversationTurn]:
        """Store up to 10,000 turns of this user's sessions in one statement, in the order given.

        Turns that are stored already are left as they are. Nothing is stored when any turn's
        session is missing (NotFound) or has ended (SessionEnded).
        """
        if not turns:
            return []
        checked = validated_rows(turns)
        record = queries.conversation_turns.record_many
        rows = await self._scope.rows(record, rows=(encoded := rows_of(checked)))
        if any(row[0] == "overtaken" for row in rows):
            # Once the sessions are locked, nobody overtakes: the second statement sees all turns.
            async with self._scope.transaction() as locking:
                await locking.rows(record, rows=encoded)
                rows = await locking.rows(record, rows=encoded)
        for outcome, session_id, *_ in rows:
            if outcome in ("no_session", "ended", "outside_window"):
                raise refusal(outcome, session_id, None, None)
        stored = [ConversationTurn(*turn) for _, *turn in rows]
        return all_same_as_stored(checked, stored, "turn")

    async def find_turn(self, session_id: UUID | str, id: UUID | str) -> ConversationTurn | None:
        return await self._scope.one(
            queries.conversation_turns.find_by_id,
            ConversationTurn,
            session_id=check_id(session_id, "session_id"),
            id=check_id(id),
        )

    async def find_turns(
        self,
        session: ConversationSession | UUID | str,
        filters: TurnFilter | None = None,
        *,
        order: str = "oldest",
        cursor: str | None = None,
        limit: int = DEFAULT_LIMIT,
        with_total: bool = False,
    ) -> Page[ConversationTurn]:
        """A page of a session's turns, ordered `oldest` or `newest` by number.

        A session instead of its id halves the server's time, since it tells which months to look
        in. The total is the session's number of turns, whatever the filter.
        """
        return await find_page(
            self._scope,
            queries.conversation_turns.find_many,
            ConversationTurn,
            order=order,
            cursor=cursor,
            limit=limit,
            with_total=with_total,
            arguments={
                "session_id": _id_of(session),
                **_window_of(session),
                **filter_arguments(filters),
            },
        )

    async def count_turns(self, session: ConversationSession | UUID | str) -> int:
        """How many turns a session, best given whole, has stored."""
        total: int = await self._scope.value(
            queries.conversation_turns.count, session_id=_id_of(session), **_window_of(session)
        )
        return total

    async def with_turns(
        self, session: ConversationSession | UUID | str, *, limit: int = DEFAULT_LIMIT
    ) -> SessionWithTurns | None:
        """A session as it is now and its newest turns, at most 500, in one statement.

        A session instead of its id halves the server's time.
        """
        rows = await self._scope.rows(
            queries.conversation_sessions.find_with_turns,
            id=_id_of(session),
            **_window_of(session),
            limit=check_limit(limit),
        )
        if not rows:
            return None
        first, *turns = rows
        return SessionWithTurns(
            ConversationSession(*first[:_SESSION_COLUMNS]),
            [ConversationTurn(*columns[_SESSION_COLUMNS:]) for columns in turns],
        )

    def stream_turns(self) -> AsyncGenerator[ConversationTurn, None]:
        """Every turn of every living session, session by session, in constant memory.

        Leave it early through `contextlib.aclosing`.
        """
        return self._scope.stream(queries.conversation_turns.stream, ConversationTurn)

    async def statistics(self, period: Period | None = None) -> SessionStatistics:
        """What the living sessions add up to, computed by the database."""
        row = await self._scope.one(
            queries.conversation_sessions.statistics,
            SessionStatistics,
            **filter_arguments(period),
        )
        return found(row, "statistics", self._scope.user_id)

    async def statistics_by_provider(
        self, period: Period | None = None
    ) -> list[ProviderStatistics]:
        """The same for each pair of providers, most turns first."""
        return await self._scope.all(
            queries.conversation_sessions.statistics_by_provider,
            ProviderStatistics,
            **filter_arguments(period),
        )


def _id_of(session: ConversationSession | UUID | str) -> UUID:
    if isinstance(session, ConversationSession):
        return session.id
    return check_id(session, "session")


def _window_of(session: ConversationSession | UUID | str) -> dict[str, Any]:
    """The ids that a session's turns may have, as arguments; none where only its id is known."""
    if not isinstance(session, ConversationSession):
        return {}
    return {
        "window": True,
        "first_id": id_at(session.started_at - _WINDOW_BEFORE, 0),
        "end_id": id_at(session.started_at + _WINDOW_AFTER, 0),
    }


def refusal(
    outcome: str, session_id: object, from_state: str | None, to_state: str | None
) -> Exception:
    """The typed error for the outcome that a statement gave as its reason."""
    if outcome == "no_session":
        return NotFound(f"session {session_id} does not exist, or not for this user")
    if outcome == "ended":
        return SessionEnded(f"session {session_id} has ended", remedy="start another session")
    if outcome == "outside_window":
        return InvalidInput(
            f"the turn's id lies outside of the window of session {session_id}: from 5 minutes "
            "before its start until 7 days after it",
            remedy="start another session; give an imported turn an id of its own time, id_at(…)",
        )
    if outcome == "before_start":
        return InvalidInput(f"session {session_id} cannot end before it started")
    return InvalidTransition(
        f"session {session_id} is {from_state} and cannot become {to_state}",
        remedy="clonedb.session_transitions lists what is allowed",
    )
