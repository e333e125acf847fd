"""What the demonstration tries and is refused, and a turn that it sends twice."""

from __future__ import annotations

from collections.abc import Awaitable

import msgspec

from clonedb.database import Database
from clonedb.demo.service import Held
from clonedb.demo.trail import record
from clonedb.errors import ClonedbError, InvalidTransition, NotFound
from clonedb.repositories.conversation_sessions import ConversationSession
from clonedb.repositories.statistics import SystemTotals


class Refusals(msgspec.Struct, frozen=True):
    """What one person got of another's session, and what else was refused.

    `reader_found` is None when the session does not exist for the reader, as it should be.
    """

    owner: str
    reader: str
    reader_found: ConversationSession | None
    reader_recording: str
    app_without_user: SystemTotals
    leap: str


class RepeatedTurn(msgspec.Struct, frozen=True):
    """A turn that was sent once more after its session had ended."""

    turn_number: int
    turns_before: int
    turns_after: int


async def try_what_is_refused(app: Database, owner: Held, reader: Held) -> Refusals:
    """Another person's session, by both walls; and a leap that the state machine has not."""
    others = app.as_user(reader.user.id).conversation_sessions
    session = owner.session
    own = app.as_user(owner.user.id).conversation_sessions
    fresh = await own.start()
    recording = await _refusal(others.record_turn(session.id, reader.last_turn), NotFound)
    if recording == NotFound.__name__:
        await record(
            app.as_user(reader.user.id),
            "conversation_turn.record",
            f"conversation_sessions/{session.id}",
            succeeded=False,
        )
    leap = await _refusal(own.transition(fresh.id, "speaking"), InvalidTransition)
    await own.hard_delete(fresh.id)
    return Refusals(
        owner=owner.user.name or "",
        reader=reader.user.name or "",
        reader_found=await others.find_by_id(session.id),
        reader_recording=recording,
        # No predicate names a user here: row-level security alone stands before the rows.
        app_without_user=await app.statistics.totals(),
        leap=leap,
    )


async def _refusal(call: Awaitable[object], expected: type[ClonedbError]) -> str:
    """The name of the error that the call raises, or that it was not refused."""
    try:
        await call
    except expected:
        return expected.__name__
    return "not refused"


async def repeat(app: Database, held: Held) -> RepeatedTurn:
    """Send the last turn once more, as a service does whose connection was lost."""
    sessions = app.as_user(held.user.id).conversation_sessions
    turn = await sessions.record_turn(held.session.id, held.last_turn, state="speaking")
    after = await sessions.get_by_id(held.session.id)
    return RepeatedTurn(turn.turn_number, held.session.total_turns, after.total_turns)
