"""Users, sessions and turns under real concurrency: what the original system got wrong."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

import pytest
import pytest_asyncio
from ground import as_superuser, someone_waits_for_a_lock

from clonedb import (
    AlreadyExists,
    ClonedbError,
    ConversationSession,
    ConversationSessionRepository,
    Database,
    InvalidTransition,
    NewSession,
    NewTurn,
    NewUser,
    NotFound,
    SessionEnded,
    SessionTurn,
    SignUp,
    User,
    UserScope,
    new_id,
)
from clonedb.testing import IsolatedDatabase

R = TypeVar("R")

CALLERS = 16
TURN = NewTurn(
    user_transcript="Hello", llm_response="Hi", total_latency_ms=7, llm_cost=Decimal("0.000003")
)


@pytest_asyncio.fixture
async def app(migrated: IsolatedDatabase) -> AsyncIterator[Database]:
    """The app login with a connection for every caller, so that they do meet in the server."""
    async with Database(
        migrated.dsn("clonedb_app"), minimum_connections=CALLERS, maximum_connections=CALLERS
    ) as database:
        yield database


@pytest.fixture
def sessions(as_ada: UserScope) -> ConversationSessionRepository:
    return as_ada.conversation_sessions


@pytest_asyncio.fixture
async def session(sessions: ConversationSessionRepository) -> ConversationSession:
    return await sessions.start()


async def at_once(calls: Iterable[Awaitable[R]]) -> list[R | ClonedbError]:
    """What each call returned, or the error of ours that it raised."""
    outcomes: list[Any] = await asyncio.gather(*calls, return_exceptions=True)
    for outcome in outcomes:
        if isinstance(outcome, BaseException) and not isinstance(outcome, ClonedbError):
            raise outcome
    return outcomes


async def whole(sessions: ConversationSessionRepository, session_id: UUID) -> ConversationSession:
    """The session, once its totals are found to be those of its turns, numbered without gaps."""
    session = await sessions.get_by_id(session_id)
    turns = []
    cursor = None
    while True:
        page = await sessions.find_turns(session_id, limit=500, cursor=cursor)
        turns += page.items
        if (cursor := page.next) is None:
            break
    assert [turn.turn_number for turn in turns] == list(range(1, len(turns) + 1))
    assert session.total_turns == len(turns)
    assert session.total_latency_ms == sum(turn.total_latency_ms for turn in turns)
    assert session.total_cost == sum(turn.total_cost for turn in turns)
    return session


# Totals.


async def test_sixteen_writers_of_one_session_lose_no_turn(
    sessions: ConversationSessionRepository, session: ConversationSession
) -> None:
    async def write() -> None:
        for _ in range(40):
            await sessions.record_turn(session.id, TURN)

    await asyncio.gather(*(write() for _ in range(CALLERS)))
    stored = await whole(sessions, session.id)
    assert stored.total_turns == 640
    assert stored.average_latency_ms == 7
    assert stored.total_cost == 640 * TURN.llm_cost


async def test_writers_in_several_processes_lose_no_turn(
    sessions: ConversationSessionRepository,
    session: ConversationSession,
    ada: User,
    migrated: IsolatedDatabase,
) -> None:
    processes = [
        await asyncio.create_subprocess_exec(
            sys.executable,
            str(Path(__file__).with_name("writing_process.py")),
            migrated.dsn("clonedb_app"),
            *map(str, (ada.id, session.id, 4, 15)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        for _ in range(3)
    ]
    for process in processes:
        assert process.stdout is not None
        assert await process.stdout.readline() == b"ready\n"
    # All of them are there: now together.
    await asyncio.gather(*(process.communicate(b"go\n") for process in processes))
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert (await whole(sessions, session.id)).total_turns == 3 * 4 * 15


async def test_batches_and_single_turns_on_the_same_sessions_lose_no_turn(
    sessions: ConversationSessionRepository,
) -> None:
    created = await sessions.create_many([NewSession(id=new_id()) for _ in range(3)])
    identifiers = [session.id for session in created]

    async def write_batches(reverse: bool) -> None:
        for _ in range(6):
            await sessions.record_many(
                [
                    SessionTurn(
                        session_id=identifier,
                        user_transcript="Hello",
                        llm_response="Hi",
                        total_latency_ms=5,
                    )
                    for identifier in sorted(identifiers, reverse=reverse)
                    for _ in range(4)
                ]
            )

    async def write_single() -> None:
        for number in range(12):
            await sessions.record_turn(identifiers[number % 3], TURN)

    await asyncio.gather(
        *(write_batches(number % 2 == 0) for number in range(8)),
        *(write_single() for _ in range(8)),
    )
    for identifier in identifiers:
        assert (await whole(sessions, identifier)).total_turns == 8 * 6 * 4 + 8 * 4


async def test_the_same_batch_sent_by_many_at_once_is_counted_once(
    sessions: ConversationSessionRepository, session: ConversationSession
) -> None:
    batch = [
        SessionTurn(session_id=session.id, id=new_id(), user_transcript="Hello", llm_response="Hi")
        for _ in range(20)
    ]
    stored = await asyncio.gather(*(sessions.record_many(batch) for _ in range(CALLERS)))
    assert all(turns == stored[0] for turns in stored)
    assert (await whole(sessions, session.id)).total_turns == 20


async def test_a_batch_that_waited_for_one_of_its_own_turns_leaves_no_gap(
    as_ada: UserScope, session: ConversationSession, migrated: IsolatedDatabase
) -> None:
    # The batch begins before the turn is committed and goes on after it: it cannot see the turn
    # until it inserts it.
    sessions = as_ada.conversation_sessions
    first = NewTurn(id=new_id(), user_transcript="Hello", llm_response="Hi")
    batch = [
        SessionTurn(
            session_id=session.id, id=identifier, user_transcript="Hello", llm_response="Hi"
        )
        for identifier in (first.id, new_id(), new_id())
    ]
    async with as_ada.transaction() as holder:
        await holder.conversation_sessions.record_turn(session.id, first)
        waiting = asyncio.ensure_future(sessions.record_many(batch))
        await someone_waits_for_a_lock(migrated)
    assert [turn.turn_number for turn in await waiting] == [1, 2, 3]
    await sessions.record_turn(session.id, TURN)
    assert (await whole(sessions, session.id)).total_turns == 4


# Repeats.


async def test_one_id_created_by_thirty_two_callers_is_one_row_that_each_sees(
    as_ada: UserScope, worker: Database, app: Database
) -> None:
    sessions = as_ada.conversation_sessions
    for _ in range(5):
        new_session = NewSession(id=new_id())
        seen = await asyncio.gather(*(sessions.create(new_session) for _ in range(32)))
        assert all(found == seen[0] for found in seen)
        new_user = NewUser(id=new_id(), email=f"{new_id().hex}@example.com")
        users = await asyncio.gather(*(worker.users.create(new_user) for _ in range(32)))
        assert all(found == users[0] for found in users)
        sign_up = SignUp(id=new_id(), email=f"{new_id().hex}@example.com")
        signed_up = await asyncio.gather(*(app.users.sign_up(sign_up) for _ in range(32)))
        assert all(found == signed_up[0] for found in signed_up)
    assert await sessions.count() == 5
    assert await worker.users.count() == 11


async def test_overlapping_batches_of_creations_neither_deadlock_nor_double(
    sessions: ConversationSessionRepository,
) -> None:
    news = [NewSession(id=new_id()) for _ in range(60)]
    batches = [news[:40], news[20:], list(reversed(news)), news[10:50]] * 4
    stored = await asyncio.gather(*(sessions.create_many(batch) for batch in batches))
    for batch, found in zip(batches, stored, strict=True):
        assert [session.id for session in found] == [new.id for new in batch]
    assert await sessions.count() == 60


async def test_one_turn_recorded_by_thirty_two_callers_is_counted_once(
    sessions: ConversationSessionRepository, session: ConversationSession
) -> None:
    for number in range(1, 6):
        new = NewTurn(id=new_id(), user_transcript="Hello", llm_response="Hi", llm_latency_ms=2)
        seen = await asyncio.gather(*(sessions.record_turn(session.id, new) for _ in range(32)))
        assert all(turn == seen[0] for turn in seen)
        assert seen[0].turn_number == number
    assert (await whole(sessions, session.id)).total_turns == 5


async def test_a_repeat_that_waited_while_the_turn_was_stored_and_the_session_ended_returns_it(
    as_ada: UserScope, session: ConversationSession, migrated: IsolatedDatabase
) -> None:
    new = NewTurn(id=new_id(), user_transcript="Hello", llm_response="Hi")
    async with as_ada.transaction() as holder:
        stored = await holder.conversation_sessions.record_turn(session.id, new)
        waiting = asyncio.ensure_future(as_ada.conversation_sessions.record_turn(session.id, new))
        await someone_waits_for_a_lock(migrated)
        await holder.conversation_sessions.end(session.id)
    assert await waiting == stored
    assert (await whole(as_ada.conversation_sessions, session.id)).total_turns == 1


# Ends and states.


async def test_a_session_ended_by_many_at_once_ends_once(
    sessions: ConversationSessionRepository,
) -> None:
    for _ in range(10):
        session = await sessions.start()
        ended = await asyncio.gather(*(sessions.end(session.id) for _ in range(CALLERS)))
        assert all(found == ended[0] for found in ended)
        assert await sessions.get_by_id(session.id) == ended[0]
        assert ended[0].state == "idle"


async def test_no_turn_is_counted_after_the_end_and_no_state_is_entered(
    sessions: ConversationSessionRepository,
) -> None:
    met = Counter[str]()
    for number in range(12):
        session = await sessions.start()
        await sessions.record_turn(session.id, TURN)
        # The end takes another place among the callers each time.
        calls: list[Awaitable[Any]] = [
            *(sessions.record_turn(session.id, TURN, state="listening") for _ in range(8)),
            *(sessions.transition(session.id, "listening") for _ in range(4)),
        ]
        calls.insert(number, sessions.end(session.id))
        outcomes = await at_once(calls)
        ended = outcomes.pop(number)
        assert isinstance(ended, ConversationSession)
        assert all(
            not isinstance(outcome, ClonedbError) or isinstance(outcome, SessionEnded)
            for outcome in outcomes
        )
        recorded = [outcome for outcome in outcomes[:8] if not isinstance(outcome, ClonedbError)]
        after = await whole(sessions, session.id)
        assert after == ended
        assert (after.state, after.total_turns) == ("idle", 1 + len(recorded))
        met["recorded"] += len(recorded)
        met["refused"] += 8 - len(recorded)
    assert met["recorded"] > 0
    assert met["refused"] > 0


async def test_a_turn_that_waited_for_the_end_is_refused(
    as_ada: UserScope, session: ConversationSession, migrated: IsolatedDatabase
) -> None:
    async with as_ada.transaction() as holder:
        ended = await holder.conversation_sessions.end(session.id)
        waiting = [
            asyncio.ensure_future(as_ada.conversation_sessions.record_turn(session.id, TURN)),
            asyncio.ensure_future(as_ada.conversation_sessions.transition(session.id, "listening")),
        ]
        await someone_waits_for_a_lock(migrated, waiters=2)
    for refused in waiting:
        with pytest.raises(SessionEnded):
            await refused
    assert await whole(as_ada.conversation_sessions, session.id) == ended


async def test_an_end_that_waited_for_a_turn_counts_it(
    as_ada: UserScope, session: ConversationSession, migrated: IsolatedDatabase
) -> None:
    async with as_ada.transaction() as holder:
        await holder.conversation_sessions.record_turn(session.id, TURN, state="listening")
        waiting = asyncio.ensure_future(as_ada.conversation_sessions.end(session.id))
        await someone_waits_for_a_lock(migrated)
    ended = await waiting
    assert (ended.total_turns, ended.state) == (1, "idle")
    assert await whole(as_ada.conversation_sessions, session.id) == ended


async def test_the_reason_of_a_refused_transition_is_the_state_that_refused(
    as_ada: UserScope, session: ConversationSession, migrated: IsolatedDatabase
) -> None:
    sessions = as_ada.conversation_sessions
    async with as_ada.transaction() as holder:
        await holder.conversation_sessions.transition(session.id, "listening")
        waiting = asyncio.ensure_future(sessions.transition(session.id, "speaking"))
        await someone_waits_for_a_lock(migrated)
        await holder.conversation_sessions.transition(session.id, "error")
    with pytest.raises(InvalidTransition, match="is error and cannot become speaking"):
        await waiting
    assert (await sessions.get_by_id(session.id)).state == "error"


async def test_of_two_moves_that_exclude_each_other_one_is_made(
    sessions: ConversationSessionRepository,
) -> None:
    for _ in range(10):
        session = await sessions.start()
        await sessions.transition(session.id, "listening")
        # From error nothing leads to processing, and from processing nothing to listening.
        outcomes = await at_once(
            [
                *(sessions.transition(session.id, "error") for _ in range(4)),
                *(sessions.transition(session.id, "processing") for _ in range(4)),
            ]
        )
        stored = await sessions.get_by_id(session.id)
        made = {outcome.state for outcome in outcomes if isinstance(outcome, ConversationSession)}
        assert "error" in made
        assert stored.state == "error"
        for outcome in outcomes:
            if isinstance(outcome, ClonedbError):
                assert isinstance(outcome, InvalidTransition)
                assert "is error and cannot become processing" in str(outcome)


# Users.


async def test_minutes_and_settings_of_many_writers_all_arrive(
    as_ada: UserScope, ada: User
) -> None:
    async def write(number: int) -> None:
        for step in range(10):
            await as_ada.users.add_minutes(ada.id, Decimal("0.125"))
            await as_ada.users.merge_settings(ada.id, {f"{number}-{step}": step})

    await asyncio.gather(*(write(number) for number in range(CALLERS)))
    stored = await as_ada.users.get_by_id(ada.id)
    assert stored.conversation_minutes_used == Decimal("0.125") * 160
    assert len(stored.settings) == 160


async def test_of_many_sign_ups_with_one_email_in_different_cases_one_is_stored(
    app: Database, worker: Database
) -> None:
    for number in range(5):
        email = f"person-number-{number}@example.com"
        spellings = [email[:place].upper() + email[place:] for place in range(CALLERS)]
        outcomes = await at_once(app.users.sign_up(SignUp(email=each)) for each in spellings)
        stored = [outcome for outcome in outcomes if isinstance(outcome, User)]
        refused = [outcome for outcome in outcomes if isinstance(outcome, AlreadyExists)]
        assert (len(stored), len(refused)) == (1, CALLERS - 1)
        assert {error.constraint for error in refused} == {"users_email_key_living"}
        assert await worker.users.find_by_email(email.title()) == stored[0]
    assert await worker.users.count() == 5


async def test_a_freed_email_is_taken_by_one_of_a_restore_and_sign_ups(
    app: Database, worker: Database
) -> None:
    for number in range(5):
        email = f"person-number-{number}@example.com"
        first = await app.users.sign_up(SignUp(email=email))
        await app.as_user(first.id).users.delete(first.id)
        outcomes = await at_once(
            [
                worker.users.restore(first.id),
                *(app.users.sign_up(SignUp(email=email.upper())) for _ in range(6)),
            ]
        )
        living = [outcome for outcome in outcomes if isinstance(outcome, User)]
        assert len(living) == 1
        assert await worker.users.find_by_email(email) == living[0]


async def test_a_turn_recorded_while_its_user_is_deleted_is_counted_or_refused(
    app: Database, worker: Database
) -> None:
    met = Counter[str]()
    for number in range(10):
        user = await worker.users.create(NewUser(email=f"person-{number}@example.com"))
        scope = app.as_user(user.id)
        sessions = scope.conversation_sessions
        session = await sessions.start()
        calls: list[Awaitable[Any]] = [sessions.record_turn(session.id, TURN) for _ in range(10)]
        calls.insert(number, scope.users.delete(user.id))
        outcomes = await at_once(calls)
        assert outcomes.pop(number) is True
        recorded = [outcome for outcome in outcomes if not isinstance(outcome, ClonedbError)]
        assert all(
            not isinstance(outcome, ClonedbError) or isinstance(outcome, NotFound)
            for outcome in outcomes
        )
        met["recorded"] += len(recorded)
        met["refused"] += 10 - len(recorded)
        assert await sessions.find_by_id(session.id, include_deleted=True) is None
        with pytest.raises(NotFound):
            await sessions.record_turn(session.id, TURN)
        await worker.users.restore(user.id)
        assert (await whole(sessions, session.id)).total_turns == len(recorded)
    assert met["recorded"] > 0
    assert met["refused"] > 0


async def test_a_turn_that_waited_for_the_deletion_of_its_user_is_not_found(
    as_ada: UserScope, ada: User, session: ConversationSession, migrated: IsolatedDatabase
) -> None:
    async with as_ada.transaction() as holder:
        await holder.users.delete(ada.id)
        waiting = asyncio.ensure_future(as_ada.conversation_sessions.record_turn(session.id, TURN))
        await someone_waits_for_a_lock(migrated)
    with pytest.raises(NotFound):
        await waiting
    with as_superuser(migrated) as connection:
        assert connection.execute("SELECT FROM clonedb.conversation_turns").rowcount == 0


@pytest.mark.parametrize("delete", ["delete", "hard_delete"])
async def test_deleting_a_user_and_a_batch_of_turns_lock_sessions_in_one_order(
    as_ada: UserScope, ada: User, worker: Database, migrated: IsolatedDatabase, delete: str
) -> None:
    # The table, and the index by start, hold the sessions in falling order of their ids, so that
    # any scan meets the last id first; a batch locks the first id first.
    sessions = as_ada.conversation_sessions
    identifiers = sorted(new_id() for _ in range(6))
    now = datetime.now(UTC)
    for number, identifier in reversed(list(enumerate(identifiers))):
        await sessions.create(
            NewSession(id=identifier, started_at=now + timedelta(milliseconds=number))
        )
    batch = [
        SessionTurn(session_id=identifier, user_transcript="Hello", llm_response="Hi")
        for identifier in identifiers
    ]
    async with worker.as_user(ada.id).transaction() as holder:
        await holder.conversation_sessions.transition(identifiers[0], "listening")
        recording = asyncio.ensure_future(sessions.record_many(batch))
        await someone_waits_for_a_lock(migrated)
        deleting = asyncio.ensure_future(getattr(as_ada.users, delete)(ada.id))
        await someone_waits_for_a_lock(migrated, waiters=2)
    outcomes = await at_once([recording, deleting])
    assert [type(outcome).__name__ for outcome in outcomes] == ["list", "bool"]


async def test_pages_read_while_others_start_and_delete_sessions_keep_every_lasting_one(
    sessions: ConversationSessionRepository,
) -> None:
    lasting = {
        session.id
        for session in await sessions.create_many([NewSession(id=new_id()) for _ in range(200)])
    }
    reading = True

    async def come_and_go() -> int:
        made = 0
        while reading:
            session = await sessions.start()
            await sessions.delete(session.id)
            await sessions.start()
            made += 1
        return made

    async def read(order: str) -> None:
        seen: list[UUID] = []
        cursor = None
        while True:
            page = await sessions.find_many(order=order, limit=9, cursor=cursor)
            seen += [session.id for session in page.items]
            cursor = page.next
            # Towards the newest there is no end while others write; the lasting ones are read.
            if cursor is None or lasting <= set(seen):
                break
        assert len(seen) == len(set(seen))
        assert lasting <= set(seen)

    writers = [asyncio.ensure_future(come_and_go()) for _ in range(4)]
    try:
        await asyncio.gather(*(read(order) for order in ("newest", "oldest") * 3))
    finally:
        reading = False
        made = await asyncio.gather(*writers)
    assert sum(made) > 0
