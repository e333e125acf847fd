"""Turns of a conversation: what each method of the repository promises."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from ground import as_superuser, nothing_stored

from clonedb import (
    AlreadyExists,
    ConversationSession,
    ConversationSessionRepository,
    Database,
    InvalidInput,
    InvalidTransition,
    NewSession,
    NewTurn,
    NotFound,
    PartitionMissing,
    SessionEnded,
    SessionTurn,
    TurnFilter,
    UserScope,
    id_at,
    new_id,
)
from clonedb.testing import IsolatedDatabase

FULL = {
    "user_transcript": "Wie heißt du? 你好 \N{GRINNING FACE}",
    "transcript_confidence": 0.875,
    "user_audio_duration_ms": 1200,
    "retrieved_chunks": ["one", "", 'quo"te', "com,ma", "{brace}", "NULL"],
    "llm_response": "Ada.\nUnd du?",
    "response_audio_duration_ms": 900,
    "asr_latency_ms": 100,
    "rag_latency_ms": 50,
    "llm_latency_ms": 300,
    "tts_latency_ms": 150,
    "total_latency_ms": 480,
    "asr_cost": Decimal("0.000100"),
    "llm_cost": Decimal("0.012345"),
    "tts_cost": Decimal("0.5"),
}
LONG_AGO = datetime(2001, 9, 9, tzinfo=UTC)


@pytest.fixture
def sessions(as_ada: UserScope) -> ConversationSessionRepository:
    return as_ada.conversation_sessions


@pytest.fixture
async def session(sessions: ConversationSessionRepository) -> ConversationSession:
    return await sessions.start()


def said(text: str = "Hello", **fields: object) -> NewTurn:
    return NewTurn(user_transcript=text, llm_response="Hi", **fields)  # type: ignore[arg-type]


async def test_a_recorded_turn_is_read_back_field_by_field(
    sessions: ConversationSessionRepository, session: ConversationSession
) -> None:
    identifier = new_id()
    turn = await sessions.record_turn(session.id, NewTurn(id=identifier, **FULL))
    assert (turn.session_id, turn.id, turn.turn_number) == (session.id, identifier, 1)
    assert {name: getattr(turn, name) for name in FULL} == FULL
    assert turn.total_cost == Decimal("0.512445")
    assert await sessions.find_turn(session.id, identifier) == turn
    assert (await sessions.find_turns(session.id)).items == [turn]
    assert [found async for found in sessions.stream_turns()] == [turn]
    both = await sessions.with_turns(session.id)
    assert both is not None
    assert both.turns == [turn]
    assert both.session == await sessions.get_by_id(session.id)


async def test_the_sessions_totals_are_the_sums_of_its_turns(
    sessions: ConversationSessionRepository, session: ConversationSession
) -> None:
    for number in range(1, 8):
        await sessions.record_turn(
            session.id, said(total_latency_ms=number, llm_cost=Decimal("0.1"))
        )
    stored = await sessions.get_by_id(session.id)
    assert (stored.total_turns, stored.total_latency_ms) == (7, 28)
    assert stored.average_latency_ms == 4
    assert stored.total_cost == Decimal("0.7")
    assert await sessions.count_turns(session.id) == 7


async def test_without_a_total_the_latency_is_the_sum_of_the_stages(
    sessions: ConversationSessionRepository, session: ConversationSession
) -> None:
    turn = await sessions.record_turn(session.id, said(asr_latency_ms=5, tts_latency_ms=7))
    assert turn.total_latency_ms == 12
    assert (await sessions.record_turn(session.id, said())).total_latency_ms == 0
    (bulk,) = await sessions.record_many(
        [
            SessionTurn(
                session_id=session.id, user_transcript="a", llm_response="b", rag_latency_ms=3
            )
        ]
    )
    assert bulk.total_latency_ms == 3


async def test_costs_are_rounded_to_six_decimals_and_still_repeat(
    sessions: ConversationSessionRepository, session: ConversationSession
) -> None:
    new = said(id=new_id(), llm_cost=Decimal("0.0000005"), asr_cost=Decimal("1.00000049"))
    turn = await sessions.record_turn(session.id, new)
    assert (turn.llm_cost, turn.asr_cost) == (Decimal("0.000001"), Decimal(1))
    assert await sessions.record_turn(session.id, new) == turn
    assert (await sessions.get_by_id(session.id)).total_cost == turn.total_cost


async def test_a_turn_may_move_the_state_and_only_as_allowed(
    sessions: ConversationSessionRepository, session: ConversationSession
) -> None:
    await sessions.record_turn(session.id, said(), state="listening")
    moved = await sessions.get_by_id(session.id)
    assert (moved.state, moved.total_turns) == ("listening", 1)
    with pytest.raises(InvalidTransition, match="listening and cannot become speaking"):
        await sessions.record_turn(session.id, said(), state="speaking")
    assert await sessions.get_by_id(session.id) == moved
    assert await sessions.count_turns(session.id) == 1
    await sessions.record_turn(session.id, said(), state="listening")
    assert (await sessions.get_by_id(session.id)).total_turns == 2


async def test_a_repeated_turn_returns_the_stored_one_and_counts_once(
    sessions: ConversationSessionRepository, session: ConversationSession
) -> None:
    new = said(id=new_id(), total_latency_ms=100, llm_cost=Decimal("0.25"))
    turn = await sessions.record_turn(session.id, new, state="listening")
    await sessions.record_turn(session.id, said(), state="processing")
    before = await sessions.get_by_id(session.id)
    assert await sessions.record_turn(session.id, new, state="listening") == turn
    assert await sessions.record_turn(session.id, new, state="speaking") == turn
    assert await sessions.get_by_id(session.id) == before


async def test_a_repeated_turn_returns_the_stored_one_also_after_the_end(
    sessions: ConversationSessionRepository, session: ConversationSession
) -> None:
    new = said(id=new_id())
    turn = await sessions.record_turn(session.id, new)
    ended = await sessions.end(session.id)
    assert await sessions.record_turn(session.id, new) == turn
    assert new.id is not None
    bulk = SessionTurn(session_id=session.id, id=new.id, user_transcript="Hello", llm_response="Hi")
    assert await sessions.record_many([bulk]) == [turn]
    assert await sessions.get_by_id(session.id) == ended


@pytest.mark.parametrize(
    "other",
    [
        {"user_transcript": "Goodbye"},
        {"llm_response": "Bye"},
        {"retrieved_chunks": ["chunk"]},
        {"total_latency_ms": 2},
        {"llm_cost": Decimal("0.000001")},
    ],
)
async def test_a_repeat_with_other_content_is_refused_and_names_the_field(
    sessions: ConversationSessionRepository,
    session: ConversationSession,
    other: dict[str, object],
) -> None:
    content: dict[str, object] = {
        "id": new_id(),
        "user_transcript": "Hello",
        "llm_response": "Hi",
        "total_latency_ms": 1,
    }
    await sessions.record_turn(session.id, NewTurn(**content))  # type: ignore[arg-type]
    before = await sessions.with_turns(session.id)
    with pytest.raises(AlreadyExists, match=next(iter(other))):
        await sessions.record_turn(session.id, NewTurn(**{**content, **other}))  # type: ignore[arg-type]
    assert await sessions.with_turns(session.id) == before


async def test_record_many_stores_turns_of_several_sessions_in_the_order_given(
    sessions: ConversationSessionRepository,
) -> None:
    first, second = await sessions.create_many([NewSession(id=new_id()) for _ in range(2)])
    await sessions.record_turn(first.id, said("zero", total_latency_ms=1))
    turns = [
        SessionTurn(
            session_id=(first, second)[number % 2].id,
            # Ids of falling time: the order is the one given, not that of the ids.
            id=id_at(first.started_at + timedelta(seconds=100 - number), number),
            **{**FULL, "user_transcript": f"turn {number}"},
        )
        for number in range(10)
    ]
    stored = await sessions.record_many(turns)
    assert [turn.id for turn in stored] == [turn.id for turn in turns]
    assert [turn.turn_number for turn in stored] == [2, 1, 3, 2, 4, 3, 5, 4, 6, 5]
    for turn, new in zip(stored, turns, strict=True):
        assert {name: getattr(turn, name) for name in FULL} == {
            name: getattr(new, name) for name in FULL
        }
    after = await sessions.get_by_id(first.id)
    assert (after.total_turns, after.total_latency_ms) == (6, 1 + 5 * 480)
    assert after.total_cost == 5 * Decimal("0.512445")
    texts = [turn.user_transcript for turn in (await sessions.find_turns(second.id)).items]
    assert texts == [f"turn {number}" for number in (1, 3, 5, 7, 9)]


async def test_a_repeated_record_many_changes_nothing_and_a_longer_one_adds_the_rest(
    sessions: ConversationSessionRepository, session: ConversationSession
) -> None:
    turns = [SessionTurn(session_id=session.id, id=new_id(), **FULL) for _ in range(6)]
    stored = await sessions.record_many(turns[:4])
    before = await sessions.get_by_id(session.id)
    assert await sessions.record_many(turns[:4]) == stored
    assert await sessions.get_by_id(session.id) == before
    longer = await sessions.record_many(turns)
    assert longer[:4] == stored
    assert [turn.turn_number for turn in longer] == [1, 2, 3, 4, 5, 6]
    assert (await sessions.get_by_id(session.id)).total_turns == 6
    assert await sessions.record_many([]) == []


async def test_record_many_stores_none_when_one_is_refused(
    as_ada: UserScope, as_grace: UserScope, migrated: IsolatedDatabase
) -> None:
    sessions = as_ada.conversation_sessions
    open_session, ended, deleted = await sessions.create_many(
        [NewSession(id=new_id()) for _ in range(3)]
    )
    await sessions.end(ended.id)
    await sessions.delete(deleted.id)
    hers = await as_grace.conversation_sessions.start()
    with nothing_stored(migrated):
        for refused, error in (
            (ended.id, SessionEnded),
            (deleted.id, NotFound),
            (hers.id, NotFound),
            (new_id(), NotFound),
        ):
            with pytest.raises(error, match=str(refused)):
                await sessions.record_many(
                    [
                        SessionTurn(session_id=open_session.id, id=new_id(), **FULL),
                        SessionTurn(session_id=refused, id=new_id(), **FULL),
                    ]
                )
        same = SessionTurn(session_id=open_session.id, id=new_id(), **FULL)
        with pytest.raises(InvalidInput, match="twice"):
            await sessions.record_many([same, same])


async def test_an_id_outside_the_sessions_seven_days_is_refused(
    sessions: ConversationSessionRepository, migrated: IsolatedDatabase
) -> None:
    # All of it within one month, so that it is the window and not a partition that refuses.
    middle = datetime.now(UTC).replace(day=1, hour=0) - timedelta(days=17)
    session = await sessions.create(NewSession(started_at=middle))
    lowest = middle - timedelta(minutes=5)
    highest = middle + timedelta(days=7) - timedelta(milliseconds=1)
    for outside in (lowest - timedelta(milliseconds=2), highest + timedelta(milliseconds=2)):
        with nothing_stored(migrated):
            with pytest.raises(InvalidInput, match="window"):
                await sessions.record_turn(session.id, said(id=id_at(outside, 1)))
            with pytest.raises(InvalidInput, match="window"):
                await sessions.record_many(
                    [SessionTurn(session_id=session.id, id=id_at(outside, 1), **FULL)]
                )
    for inside in (lowest + timedelta(milliseconds=1), highest - timedelta(milliseconds=1)):
        turn = await sessions.record_turn(session.id, said(id=id_at(inside, 1)))
        assert await sessions.find_turn(session.id, turn.id) == turn
    assert await sessions.count_turns(session.id) == 2


async def test_a_month_without_a_partition_says_how_to_make_it_and_stores_nothing(
    sessions: ConversationSessionRepository, worker: Database, migrated: IsolatedDatabase
) -> None:
    session = await sessions.create(NewSession(started_at=LONG_AGO))
    new = said(id=id_at(LONG_AGO + timedelta(minutes=1), 1))
    with nothing_stored(migrated), pytest.raises(PartitionMissing) as missing:
        await sessions.record_turn(session.id, new)
    assert "create_turn_partitions" in str(missing.value)
    assert "conversation_turns.record at sql/conversation_turns.sql" in str(missing.value)
    with as_superuser(migrated) as connection:
        connection.execute("SELECT clonedb.create_turn_partitions('2001-09-01', 1)")
    turn = await sessions.record_turn(session.id, new)
    assert (await sessions.find_turns(session.id)).items == [turn]


async def test_a_session_over_two_months_keeps_its_turns_together(
    sessions: ConversationSessionRepository,
) -> None:
    midnight = datetime.now(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    session = await sessions.create(NewSession(started_at=midnight - timedelta(minutes=3)))
    turns = [
        await sessions.record_turn(
            session.id, said(id=id_at(midnight + timedelta(minutes=minutes), minutes + 10))
        )
        for minutes in (-2, -1, 0, 1, 2)
    ]
    assert (await sessions.find_turns(session.id)).items == turns
    assert [turn.turn_number for turn in turns] == [1, 2, 3, 4, 5]


async def test_turns_are_ordered_by_number_where_clocks_disagree(
    sessions: ConversationSessionRepository, session: ConversationSession
) -> None:
    late = id_at(session.started_at + timedelta(minutes=2), 1)
    early = id_at(session.started_at - timedelta(minutes=2), 2)
    first = await sessions.record_turn(session.id, said(id=late))
    second = await sessions.record_turn(session.id, said(id=early))
    assert (await sessions.find_turns(session.id)).items == [first, second]
    both = await sessions.with_turns(session.id)
    assert both is not None
    assert both.turns == [first, second]


async def test_a_filter_takes_turns_between_two_numbers(
    sessions: ConversationSessionRepository, session: ConversationSession
) -> None:
    await sessions.record_many(
        [SessionTurn(session_id=session.id, id=new_id(), **FULL) for _ in range(9)]
    )
    for filters, numbers in (
        (TurnFilter(), range(1, 10)),
        (TurnFilter(turn_from=7), range(7, 10)),
        (TurnFilter(turn_to=2), range(1, 3)),
        (TurnFilter(turn_from=3, turn_to=5), range(3, 6)),
        (TurnFilter(turn_from=5, turn_to=3), range(0)),
    ):
        page = await sessions.find_turns(session.id, filters)
        assert [turn.turn_number for turn in page.items] == list(numbers)


async def test_with_turns_gives_the_newest_oldest_first(
    sessions: ConversationSessionRepository, session: ConversationSession
) -> None:
    empty = await sessions.with_turns(session.id)
    assert empty is not None
    assert (empty.session, empty.turns) == (session, [])
    for _ in range(7):
        await sessions.record_turn(session.id, said())
    newest = await sessions.with_turns(session.id, limit=3)
    assert newest is not None
    assert [turn.turn_number for turn in newest.turns] == [5, 6, 7]


async def test_the_stream_gives_every_turn_of_the_user_session_by_session(
    as_ada: UserScope, as_grace: UserScope
) -> None:
    sessions = as_ada.conversation_sessions
    created = await sessions.create_many([NewSession(id=new_id()) for _ in range(3)])
    for session in created:
        await sessions.record_many(
            [SessionTurn(session_id=session.id, id=new_id(), **FULL) for _ in range(400)]
        )
    hers = await as_grace.conversation_sessions.start()
    await as_grace.conversation_sessions.record_turn(hers.id, said())
    streamed = [(turn.session_id, turn.turn_number) async for turn in sessions.stream_turns()]
    expected = [(session.id, number) for session in created for number in range(1, 401)]
    assert streamed == sorted(expected)


async def test_a_transcript_of_one_mebibyte_is_stored_and_one_byte_more_is_not(
    sessions: ConversationSessionRepository,
    session: ConversationSession,
    migrated: IsolatedDatabase,
) -> None:
    largest = "é" * (1024 * 1024 // 2)
    turn = await sessions.record_turn(session.id, said(largest))
    assert (await sessions.find_turns(session.id)).items == [turn]
    with nothing_stored(migrated), pytest.raises(InvalidInput, match="user_transcript"):
        await sessions.record_turn(session.id, said(largest + "x"))


@pytest.mark.parametrize("started", ["now", "month", "year"])
async def test_a_session_given_whole_has_the_turns_that_its_id_has(
    as_ada: UserScope, as_grace: UserScope, started: str
) -> None:
    """Turns at both ends of the window, with other sessions' turns in the same months."""
    sessions = as_ada.conversation_sessions
    moment = {
        "now": datetime.now(UTC) - timedelta(days=6, hours=23),
        # The window goes over the end of a month.
        "month": datetime.now(UTC).replace(day=1, hour=0, minute=0) - timedelta(minutes=1),
        "year": datetime.now(UTC) - timedelta(days=6, microseconds=1),
    }[started]
    session = await sessions.create(NewSession(started_at=moment))
    other = await sessions.create(NewSession(started_at=moment))
    ends = [
        session.started_at - timedelta(minutes=5) + timedelta(milliseconds=1),
        session.started_at,
        min(session.started_at + timedelta(days=7, milliseconds=-1), datetime.now(UTC)),
    ]
    for number, end in enumerate(ends):
        for each in (session, other):
            await sessions.record_turn(
                each.id,
                NewTurn(id=id_at(end, number), user_transcript=f"{number}", llm_response=""),
            )
    by_id = await sessions.find_turns(session.id, with_total=True)
    assert [turn.user_transcript for turn in by_id.items] == ["0", "1", "2"]
    assert await sessions.find_turns(session, with_total=True) == by_id
    assert await sessions.with_turns(session) == await sessions.with_turns(session.id)
    assert await sessions.count_turns(session) == 3
    newest = await sessions.find_turns(session, order="newest", limit=2)
    rest = await sessions.find_turns(session, order="newest", cursor=newest.next)
    assert [turn.turn_number for turn in (*newest.items, *rest.items)] == [3, 2, 1]
    # The session of another, or one that is deleted meanwhile, has none.
    assert (await as_grace.conversation_sessions.find_turns(session)).items == []
    assert await as_grace.conversation_sessions.with_turns(session) is None
    await sessions.delete(session.id)
    assert (await sessions.find_turns(session)).items == []
    assert await sessions.with_turns(session) is None
    assert await sessions.count_turns(session) == 0
