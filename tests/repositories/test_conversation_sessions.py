"""Conversation sessions: what each method of the repository promises."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID
from zoneinfo import ZoneInfo

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
    Period,
    ProviderStatistics,
    SessionEnded,
    SessionEnding,
    SessionFilter,
    SessionPatch,
    User,
    UserScope,
    new_id,
)
from clonedb.testing import IsolatedDatabase

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
AN_HOUR_AGO = datetime.now(UTC) - timedelta(hours=1)
TURN = NewTurn(user_transcript="Hello", llm_response="Hi", total_latency_ms=100)

# What DESIGN.md allows; everything else is refused.
ALLOWED = {
    ("idle", "listening"),
    *(("listening", to) for to in ("processing", "interrupted", "idle", "error")),
    *(("processing", to) for to in ("speaking", "interrupted", "idle", "error")),
    *(("speaking", to) for to in ("listening", "interrupted", "idle", "error")),
    *(("interrupted", to) for to in ("listening", "processing", "idle", "error")),
    *(("error", to) for to in ("listening", "idle")),
}
STATES = ("idle", "listening", "processing", "speaking", "interrupted", "error")
# How to reach each state from idle.
PATHS: dict[str, tuple[str, ...]] = {
    "idle": (),
    "listening": ("listening",),
    "processing": ("listening", "processing"),
    "speaking": ("listening", "processing", "speaking"),
    "interrupted": ("listening", "interrupted"),
    "error": ("listening", "error"),
}


@pytest.fixture
def sessions(as_ada: UserScope) -> ConversationSessionRepository:
    return as_ada.conversation_sessions


def a_model(database: IsolatedDatabase, user: User, kind: str) -> UUID:
    columns = {
        "voice_models": "(user_id, provider, model_path, sample_rate) "
        "VALUES (%s, 'xtts-v2', 'voice.bin', 24000)",
        "face_models": "(user_id, model_path, resolution) "
        "VALUES (%s, 'face.bin', '{\"width\": 512, \"height\": 512}')",
    }[kind]
    with as_superuser(database) as connection:
        row = connection.execute(
            f"INSERT INTO clonedb.{kind} {columns} RETURNING id", [user.id]
        ).fetchone()
    assert row is not None
    identifier: UUID = row[0]
    return identifier


async def test_a_started_session_is_idle_and_empty(sessions: ConversationSessionRepository) -> None:
    session = await sessions.start()
    assert session == await sessions.get_by_id(session.id)
    assert (session.state, session.ended_at, session.deleted_at) == ("idle", None, None)
    assert (session.total_turns, session.total_latency_ms, session.total_cost) == (0, 0, 0)
    assert session.average_latency_ms is None
    assert (session.llm_provider, session.tts_provider) == ("gpt-4-turbo", "xtts-v2")
    assert session.id.version == 7
    assert abs(session.started_at - session.created_at) < timedelta(minutes=1)


async def test_a_created_session_is_read_back_field_by_field(
    sessions: ConversationSessionRepository, ada: User, migrated: IsolatedDatabase
) -> None:
    given = {
        "id": new_id(),
        "started_at": NOON + timedelta(microseconds=123456),
        "llm_provider": "llama-3-70b",
        "tts_provider": "google-cloud-tts",
        "voice_model_id": a_model(migrated, ada, "voice_models"),
        "face_model_id": a_model(migrated, ada, "face_models"),
    }
    session = await sessions.create(NewSession(**given))
    found = await sessions.get_by_id(session.id)
    assert found == session
    assert {name: getattr(found, name) for name in given} == given


async def test_a_start_in_another_time_zone_is_the_same_moment(
    sessions: ConversationSessionRepository,
) -> None:
    new = NewSession(id=new_id(), started_at=NOON.astimezone(ZoneInfo("Asia/Kathmandu")))
    session = await sessions.create(new)
    assert session.started_at == NOON
    assert await sessions.create(new) == session


async def test_a_repeated_create_returns_the_stored_session_even_after_it_went_on(
    sessions: ConversationSessionRepository,
) -> None:
    new = NewSession(id=new_id(), started_at=NOON)
    await sessions.create(new)
    assert new.id is not None
    await sessions.transition(new.id, "listening")
    ended = await sessions.end(new.id)
    assert await sessions.create(new) == ended


@pytest.mark.parametrize(
    "other",
    [
        {"started_at": NOON + timedelta(microseconds=1)},
        {"llm_provider": "claude-3-opus"},
        {"tts_provider": "openai-tts"},
    ],
)
async def test_a_repeat_with_other_content_is_refused_and_names_the_field(
    sessions: ConversationSessionRepository, other: dict[str, object]
) -> None:
    given = {"id": new_id(), "started_at": NOON}
    stored = await sessions.create(NewSession(**given))
    with pytest.raises(AlreadyExists, match=next(iter(other))):
        await sessions.create(NewSession(**{**given, **other}))
    assert await sessions.get_by_id(stored.id) == stored


async def test_a_repeat_of_a_deleted_session_is_refused(
    sessions: ConversationSessionRepository,
) -> None:
    new = NewSession(id=new_id())
    stored = await sessions.create(new)
    await sessions.delete(stored.id)
    with pytest.raises(AlreadyExists, match="deleted"):
        await sessions.create(new)


async def test_a_model_that_is_not_the_users_own_is_not_found(
    as_ada: UserScope, grace: User, migrated: IsolatedDatabase
) -> None:
    sessions = as_ada.conversation_sessions
    stored = await sessions.start()
    for field in ("voice_model_id", "face_model_id"):
        hers = a_model(migrated, grace, field.replace("_id", "s"))
        with nothing_stored(migrated):
            for model in (hers, new_id()):
                for call in (
                    sessions.create(NewSession(**{field: model})),
                    sessions.create_many([NewSession(), NewSession(**{field: model})]),
                    sessions.update(stored.id, SessionPatch(**{field: model})),
                    sessions.update_many([stored.id], SessionPatch(**{field: model})),
                ):
                    with pytest.raises(NotFound) as refused:
                        await call
                    assert refused.value.constraint is not None
                    assert field.removesuffix("_id") in refused.value.constraint


async def test_create_many_stores_all_and_returns_them_in_order(
    sessions: ConversationSessionRepository,
) -> None:
    news = [
        NewSession(id=new_id(), started_at=NOON + timedelta(minutes=number))
        for number in range(40, 0, -1)
    ]
    stored = await sessions.create_many(news)
    assert [session.id for session in stored] == [new.id for new in news]
    assert [session.started_at for session in stored] == [new.started_at for new in news]
    assert await sessions.create_many(news) == stored
    assert await sessions.create_many([]) == []
    assert await sessions.count() == 40


async def test_a_patch_changes_what_it_names_and_none_clears(
    sessions: ConversationSessionRepository, ada: User, migrated: IsolatedDatabase
) -> None:
    voice = a_model(migrated, ada, "voice_models")
    stored = await sessions.create(NewSession(voice_model_id=voice))
    changed = await sessions.update(stored.id, SessionPatch(llm_provider="claude-3-sonnet"))
    assert (changed.llm_provider, changed.voice_model_id) == ("claude-3-sonnet", voice)
    cleared = await sessions.update(stored.id, SessionPatch(voice_model_id=None))
    assert (cleared.llm_provider, cleared.voice_model_id) == ("claude-3-sonnet", None)
    untouched = set(ConversationSession.__struct_fields__) - {
        "llm_provider",
        "voice_model_id",
        "updated_at",
    }
    for field in untouched:
        assert getattr(cleared, field) == getattr(stored, field), field


async def test_update_many_changes_the_living_and_leaves_out_the_rest(
    sessions: ConversationSessionRepository,
) -> None:
    first, second, deleted, other = await sessions.create_many(
        [NewSession(id=new_id()) for _ in range(4)]
    )
    await sessions.delete(deleted.id)
    changed = await sessions.update_many(
        [first.id, second.id, deleted.id, new_id()], SessionPatch(tts_provider="openai-tts")
    )
    assert {session.id for session in changed} == {first.id, second.id}
    assert {session.tts_provider for session in changed} == {"openai-tts"}
    assert await sessions.get_by_id(other.id) == other


@pytest.mark.parametrize("from_state", STATES)
async def test_a_session_moves_only_along_the_allowed_transitions(
    sessions: ConversationSessionRepository, from_state: str
) -> None:
    for to_state in STATES:
        session = await sessions.start()
        for step in PATHS[from_state]:
            session = await sessions.transition(session.id, step)  # type: ignore[arg-type]
        if to_state == from_state:
            assert await sessions.transition(session.id, to_state) == session  # type: ignore[arg-type]
        elif (from_state, to_state) in ALLOWED:
            moved = await sessions.transition(session.id, to_state)  # type: ignore[arg-type]
            assert moved == await sessions.get_by_id(session.id)
            assert moved.state == to_state
        else:
            with pytest.raises(
                InvalidTransition, match=f"{from_state} and cannot become {to_state}"
            ):
                await sessions.transition(session.id, to_state)  # type: ignore[arg-type]
            assert await sessions.get_by_id(session.id) == session


async def test_a_row_that_a_dba_adds_to_the_transitions_counts_at_once(
    sessions: ConversationSessionRepository, migrated: IsolatedDatabase
) -> None:
    session = await sessions.start()
    with as_superuser(migrated) as connection:
        connection.execute("INSERT INTO clonedb.session_transitions VALUES ('idle', 'error')")
        try:
            assert (await sessions.transition(session.id, "error")).state == "error"
        finally:
            connection.execute(
                "DELETE FROM clonedb.session_transitions "
                "WHERE (from_state, to_state) = ('idle', 'error')"
            )


@pytest.mark.parametrize("from_state", STATES)
async def test_an_ended_session_is_idle_keeps_its_end_and_moves_no_more(
    sessions: ConversationSessionRepository, from_state: str
) -> None:
    session = await sessions.start()
    for step in PATHS[from_state]:
        await sessions.transition(session.id, step)  # type: ignore[arg-type]
    ended = await sessions.end(session.id)
    assert ended.state == "idle"
    assert ended.ended_at is not None
    assert ended.ended_at >= ended.started_at
    assert await sessions.end(session.id) == ended
    assert await sessions.end(session.id, ended_at=ended.ended_at + timedelta(hours=1)) == ended
    for to_state in STATES:
        with pytest.raises(SessionEnded):
            await sessions.transition(session.id, to_state)  # type: ignore[arg-type]
    with pytest.raises(SessionEnded):
        await sessions.record_turn(session.id, TURN)
    with pytest.raises(SessionEnded):
        await sessions.record_turn(session.id, TURN, state="listening")
    assert await sessions.get_by_id(session.id) == ended
    assert await sessions.count_turns(session.id) == 0


async def test_a_given_end_is_kept_and_cannot_lie_before_the_start(
    sessions: ConversationSessionRepository,
) -> None:
    session = await sessions.create(NewSession(started_at=NOON))
    with pytest.raises(InvalidInput, match="before it started"):
        await sessions.end(session.id, ended_at=NOON - timedelta(microseconds=1))
    assert (await sessions.get_by_id(session.id)).ended_at is None
    assert (await sessions.end(session.id, ended_at=NOON)).ended_at == NOON


async def test_a_session_that_starts_after_the_clock_can_end(
    sessions: ConversationSessionRepository,
) -> None:
    later = datetime.now(UTC) + timedelta(hours=1)
    session = await sessions.create(NewSession(started_at=later))
    assert (await sessions.end(session.id)).ended_at == later


async def test_end_many_ends_what_goes_on_and_says_how_many(
    sessions: ConversationSessionRepository,
) -> None:
    first, second, ended, deleted = await sessions.create_many(
        [NewSession(id=new_id(), started_at=NOON) for _ in range(4)]
    )
    already = await sessions.end(ended.id)
    await sessions.delete(deleted.id)
    moment = NOON + timedelta(minutes=5)
    endings = [
        SessionEnding(id=first.id, ended_at=moment),
        SessionEnding(id=second.id),
        SessionEnding(id=ended.id, ended_at=moment),
        SessionEnding(id=deleted.id),
        SessionEnding(id=new_id()),
    ]
    assert await sessions.end_many(endings) == 2
    assert await sessions.end_many(endings) == 0
    assert await sessions.end_many([]) == 0
    assert (await sessions.get_by_id(first.id)).ended_at == moment
    assert (await sessions.get_by_id(second.id)).ended_at is not None
    assert await sessions.get_by_id(ended.id) == already
    assert (await sessions.get_by_id(deleted.id, include_deleted=True)).ended_at is None


async def test_end_many_ends_none_when_one_end_is_before_its_start(
    sessions: ConversationSessionRepository, migrated: IsolatedDatabase
) -> None:
    first, second = await sessions.create_many(
        [NewSession(id=new_id(), started_at=NOON) for _ in range(2)]
    )
    with nothing_stored(migrated), pytest.raises(InvalidInput, match="ended_at"):
        await sessions.end_many(
            [
                SessionEnding(id=first.id, ended_at=NOON),
                SessionEnding(id=second.id, ended_at=NOON - timedelta(seconds=1)),
            ]
        )


async def test_active_sessions_are_those_that_have_not_ended(
    sessions: ConversationSessionRepository,
) -> None:
    going_on, ended, deleted = await sessions.create_many(
        [NewSession(id=new_id()) for _ in range(3)]
    )
    await sessions.end(ended.id)
    await sessions.delete(deleted.id)
    assert (await sessions.find_active()).items == [going_on]


async def test_filters_narrow_lists_counts_and_existence_alike(
    sessions: ConversationSessionRepository,
) -> None:
    early, late = await sessions.create_many(
        [
            NewSession(id=new_id(), started_at=NOON, llm_provider="llama-3-70b"),
            NewSession(id=new_id(), started_at=NOON + timedelta(hours=1)),
        ]
    )
    await sessions.transition(late.id, "listening")
    await sessions.end(early.id)
    both, neither = {early.id, late.id}, set[UUID]()
    for filters, matching in (
        (SessionFilter(), both),
        (SessionFilter(active=True), {late.id}),
        (SessionFilter(active=False), {early.id}),
        (SessionFilter(state="listening"), {late.id}),
        (SessionFilter(state="speaking"), neither),
        (SessionFilter(llm_provider="llama-3-70b"), {early.id}),
        (SessionFilter(started_from=NOON), both),
        (SessionFilter(started_from=NOON + timedelta(microseconds=1)), {late.id}),
        (SessionFilter(started_before=NOON), neither),
        (SessionFilter(started_before=NOON + timedelta(hours=1)), {early.id}),
        (SessionFilter(active=False, state="idle", llm_provider="llama-3-70b"), {early.id}),
        (SessionFilter(active=True, llm_provider="llama-3-70b"), neither),
    ):
        page = await sessions.find_many(filters, with_total=True)
        assert {session.id for session in page.items} == matching, filters
        assert page.total == len(matching) == await sessions.count(filters)
        assert await sessions.exists(filters) is bool(matching)
        first = await sessions.find_one(filters)
        assert (first.id if first else None) == (page.items[0].id if page.items else None)


async def test_a_deleted_session_is_hidden_everywhere_unless_asked_for(
    sessions: ConversationSessionRepository, migrated: IsolatedDatabase
) -> None:
    stored = await sessions.start()
    turn = await sessions.record_turn(stored.id, TURN)
    assert await sessions.delete(stored.id) is True
    with nothing_stored(migrated):
        assert await sessions.delete(stored.id) is False
        assert await sessions.find_by_id(stored.id) is None
        assert (await sessions.find_many(with_total=True)).total == 0
        assert await sessions.count() == 0
        assert await sessions.exists() is False
        assert await sessions.with_turns(stored.id) is None
        assert (await sessions.find_turns(stored.id)).items == []
        assert await sessions.find_turn(stored.id, turn.id) is None
        assert await sessions.count_turns(stored.id) == 0
        assert [found async for found in sessions.stream_turns()] == []
        assert (await sessions.statistics()).sessions == 0
        assert await sessions.statistics_by_provider() == []
        for refused in writes_on(sessions, stored.id):
            with pytest.raises(NotFound):
                await refused()
    hidden = await sessions.get_by_id(stored.id, include_deleted=True)
    assert hidden.deleted_at is not None
    assert (await sessions.find_many(include_deleted=True)).items == [hidden]
    assert await sessions.count(include_deleted=True) == 1
    assert await sessions.exists(include_deleted=True) is True
    restored = await sessions.restore(stored.id)
    assert restored.deleted_at is None
    assert (await sessions.find_turns(stored.id)).items == [turn]


def writes_on(
    sessions: ConversationSessionRepository, identifier: UUID
) -> list[Callable[[], Awaitable[object]]]:
    return [
        lambda: sessions.update(identifier, SessionPatch(llm_provider="llama-3-70b")),
        lambda: sessions.transition(identifier, "listening"),
        lambda: sessions.end(identifier),
        lambda: sessions.record_turn(identifier, TURN),
    ]


async def test_an_unknown_id_is_reported_by_every_method_and_changes_nothing(
    sessions: ConversationSessionRepository, migrated: IsolatedDatabase
) -> None:
    await sessions.start()
    unknown = new_id()
    with nothing_stored(migrated):
        assert await sessions.find_by_id(unknown) is None
        assert await sessions.with_turns(unknown) is None
        assert await sessions.find_turn(unknown, new_id()) is None
        assert (await sessions.find_turns(unknown)).items == []
        assert await sessions.delete(unknown) is False
        assert await sessions.hard_delete(unknown) is False
        for refused in (
            *writes_on(sessions, unknown),
            lambda: sessions.get_by_id(unknown),
            lambda: sessions.restore(unknown),
        ):
            with pytest.raises(NotFound, match=str(unknown)):
                await refused()


async def test_restoring_a_living_session_returns_it_unchanged(
    sessions: ConversationSessionRepository,
) -> None:
    stored = await sessions.start()
    assert await sessions.restore(stored.id) == stored


async def test_a_hard_delete_removes_a_living_or_deleted_session_and_its_turns(
    sessions: ConversationSessionRepository, migrated: IsolatedDatabase
) -> None:
    kept = await sessions.start()
    await sessions.record_turn(kept.id, TURN)
    with nothing_stored(migrated, on_record=True):
        for deleted_first in (False, True):
            session = await sessions.start()
            await sessions.record_turn(session.id, TURN)
            if deleted_first:
                await sessions.delete(session.id)
            assert await sessions.hard_delete(session.id) is True
            assert await sessions.hard_delete(session.id) is False


async def record_latencies(
    sessions: ConversationSessionRepository, new: NewSession, *latencies: int
) -> None:
    session = await sessions.create(new)
    for latency in latencies:
        await sessions.record_turn(
            session.id,
            NewTurn(
                user_transcript="Hello",
                llm_response="Hi",
                total_latency_ms=latency,
                llm_cost=Decimal("0.01"),
            ),
        )


async def test_averages_are_weighted_by_turns_and_not_averages_of_averages(
    as_ada: UserScope, worker: Database
) -> None:
    # One session of 99 turns at 1,000 ms, one of a single turn at 200: 992, where the average of
    # the two sessions' averages is 600.
    sessions = as_ada.conversation_sessions
    await record_latencies(sessions, NewSession(started_at=AN_HOUR_AGO), *[1000] * 99)
    await record_latencies(sessions, NewSession(started_at=AN_HOUR_AGO), 200)
    await sessions.start()
    statistics = await sessions.statistics()
    assert (statistics.sessions, statistics.active_sessions, statistics.turns) == (3, 3, 100)
    assert statistics.total_latency_ms == 99_200
    assert statistics.average_latency_ms == 992
    assert statistics.total_cost == 1
    (by_provider,) = await sessions.statistics_by_provider()
    assert by_provider == ProviderStatistics("gpt-4-turbo", "xtts-v2", 3, 100, 992, Decimal(1))
    totals = await worker.statistics.totals()
    assert (totals.users, totals.sessions, totals.turns) == (1, 3, 100)
    assert totals.average_latency_ms == 992
    assert await worker.statistics.by_provider() == [by_provider]


async def test_statistics_count_the_period_the_living_and_the_user_alone(
    as_ada: UserScope, as_grace: UserScope, worker: Database
) -> None:
    sessions = as_ada.conversation_sessions
    first, second, deleted = await sessions.create_many(
        [
            NewSession(id=new_id(), started_at=NOON, llm_provider="llama-3-70b"),
            NewSession(id=new_id(), started_at=NOON + timedelta(days=1)),
            NewSession(id=new_id(), started_at=NOON),
        ]
    )
    await sessions.end(first.id, ended_at=NOON + timedelta(seconds=90))
    await sessions.delete(deleted.id)
    await as_grace.conversation_sessions.create(NewSession(started_at=NOON))
    everything = await sessions.statistics()
    assert (everything.sessions, everything.active_sessions) == (2, 1)
    assert everything.conversation_seconds == 90
    assert everything.average_latency_ms is None
    day = Period(started_from=NOON, started_before=NOON + timedelta(days=1))
    assert (await sessions.statistics(day)).sessions == 1
    (provider,) = await sessions.statistics_by_provider(day)
    assert (provider.llm_provider, provider.sessions) == ("llama-3-70b", 1)
    assert sum(row.sessions for row in await worker.statistics.by_provider(day)) == 2
    assert (await worker.statistics.totals()).sessions == 3
    assert (await sessions.get_by_id(second.id)).started_at == NOON + timedelta(days=1)


async def test_no_sessions_at_all_have_statistics_of_zero(
    sessions: ConversationSessionRepository,
) -> None:
    statistics = await sessions.statistics()
    assert (statistics.sessions, statistics.turns, statistics.total_cost) == (0, 0, 0)
    assert (statistics.average_latency_ms, statistics.conversation_seconds) == (None, 0)
    assert await sessions.statistics_by_provider() == []


async def test_deleting_the_user_hides_the_sessions_and_restoring_brings_them_back(
    as_ada: UserScope, ada: User, worker: Database
) -> None:
    sessions = as_ada.conversation_sessions
    living, deleted = await sessions.create_many([NewSession(id=new_id()) for _ in range(2)])
    await sessions.delete(deleted.id)
    assert await as_ada.users.delete(ada.id) is True
    background = worker.as_user(ada.id).conversation_sessions
    stamp = (await worker.users.get_by_id(ada.id, include_deleted=True)).deleted_at
    assert (await background.get_by_id(living.id, include_deleted=True)).deleted_at == stamp
    assert (await background.get_by_id(deleted.id, include_deleted=True)).deleted_at != stamp
    assert await background.count() == 0
    await worker.users.restore(ada.id)
    assert (await sessions.find_many()).items == [living]
