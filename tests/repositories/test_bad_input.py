"""Bad input: a typed error that names the field, and nothing stored."""

from __future__ import annotations

import base64
import reprlib
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID, uuid1, uuid4

import msgspec
import pytest
import pytest_asyncio
from ground import case, nothing_stored
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clonedb import (
    AlreadyExists,
    ConversationSession,
    ConversationSessionRepository,
    Database,
    DatabaseClosed,
    InvalidInput,
    NewSession,
    NewTurn,
    NewUser,
    NotFound,
    Page,
    Period,
    SessionEnding,
    SessionFilter,
    SessionPatch,
    SessionTurn,
    SignUp,
    TurnFilter,
    User,
    UserFilter,
    UserPatch,
    UserScope,
    id_at,
    new_id,
)
from clonedb.testing import IsolatedDatabase

NAIVE = datetime(2026, 3, 1, 12)
NAN = float("nan")
INFINITY = float("inf")
TEN_YEARS_AHEAD = id_at(datetime.now().astimezone() + timedelta(days=3652), 1)
MEGABYTES = 1024 * 1024

NOT_NUMBERS = (NAN, INFINITY, -INFINITY)
NOT_AMOUNTS = (*NOT_NUMBERS, *map(Decimal, ("NaN", "sNaN", "Infinity", "-1", "-0.000001")), -1)
NOT_COUNTS = (*NOT_NUMBERS, -1, 2**31, 10**30, 1.5, True, "1")
NOT_TEXT = ("nul\0here", "lone \ud800 surrogate", "\udfff", 5, b"bytes")
NOT_IDS = ("not a uuid", "", uuid4(), uuid1(), UUID(int=0), TEN_YEARS_AHEAD, 5, "x" * 10_000)
NOT_LLM = ("gpt-5", "GPT-4-turbo", "", "gpt-4-turbo ", 5, None)
NOT_TTS = ("espeak", "XTTS-V2", "", 5, None)
NOT_STATES = ("ended", "IDLE", "", "idle ", 5)
NOT_TIERS = ("gold", "Free", "", 5, None)
NOT_MOMENTS = (NAIVE, NAIVE.isoformat(), "yesterday", 5)
NOT_EMAILS = (
    *NOT_TEXT,
    "",
    "nobody",
    "@",
    "a@",
    "@b",
    "two@at@signs",
    "a b@example.com",
    " a@example.com",
    "a@example.com ",
    "a@example.com\n",
    "a\u00a0b@example.com",
    "a" * 320 + "@example.com",
)
DEEP: dict[str, Any] = {}
for _ in range(100_000):
    DEEP = {"deeper": DEEP}
NOT_SETTINGS = (
    *({"key": text} for text in NOT_TEXT[:3]),
    *({text: 1} for text in NOT_TEXT[:3]),
    *({"outer": [{"inner": {text: 1}}]} for text in NOT_TEXT[:3]),
    *({"outer": {"inner": [1, text]}} for text in NOT_TEXT[:3]),
    *({"outer": [number]} for number in NOT_NUMBERS),
    {"outer": {5: "a key that is no text"}},
    {5: "a key that is no text"},
    {"outer": {"a", "set"}},
    {"outer": b"bytes"},
    {"outer": object()},
    {"outer": (1, 2)},
    {"outer": Decimal(1)},
    {"outer": uuid4()},
    {"outer": NAIVE},
    {"large": "x" * (64 * 1024 + 1)},
    DEEP,
    [],
    "text",
)


class Victim(NamedTuple):
    """What the calls are tried on."""

    everybody: Database
    scope: UserScope
    sessions: ConversationSessionRepository
    user: User
    session: ConversationSession


Attempt = Callable[[Victim, Any], Awaitable[object]]


class Field(NamedTuple):
    """Calls that take a field, the name that the error has to give, and what is wrong for it."""

    name: str
    values: tuple[Any, ...]
    attempts: tuple[Attempt, ...]


def user_field(field: str, values: tuple[Any, ...], *, only_patch: tuple[Any, ...] = ()) -> Field:
    async def create(it: Victim, value: Any) -> object:
        return await it.everybody.users.create(
            NewUser(**{"email": "new@example.com", field: value})
        )

    async def create_many(it: Victim, value: Any) -> object:
        good = NewUser(email="good@example.com")
        bad = NewUser(**{"email": "new@example.com", field: value})
        return await it.everybody.users.create_many([good, bad])

    async def sign_up(it: Victim, value: Any) -> object:
        return await it.everybody.users.sign_up(
            SignUp(**{"email": "new@example.com", field: value})
        )

    async def update(it: Victim, value: Any) -> object:
        return await it.scope.users.update(it.user.id, UserPatch(**{field: value}))

    attempts: tuple[Attempt, ...] = (create, create_many)
    if field in SignUp.__struct_fields__:
        attempts += (sign_up,)
    if field in UserPatch.__struct_fields__:
        attempts += (update,)
    return Field(field, values, attempts)


def turn_field(field: str, values: tuple[Any, ...]) -> Field:
    content = {"user_transcript": "Hello", "llm_response": "Hi"}

    async def record(it: Victim, value: Any) -> object:
        return await it.sessions.record_turn(it.session.id, NewTurn(**{**content, field: value}))

    async def record_many(it: Victim, value: Any) -> object:
        good = SessionTurn(session_id=it.session.id, **content)
        bad = SessionTurn(**{"session_id": it.session.id, **content, field: value})
        return await it.sessions.record_many([good, bad])

    return Field(field, values, (record, record_many))


def session_field(field: str, values: tuple[Any, ...]) -> Field:
    async def create(it: Victim, value: Any) -> object:
        return await it.sessions.create(NewSession(**{field: value}))

    async def create_many(it: Victim, value: Any) -> object:
        return await it.sessions.create_many([NewSession(), NewSession(**{field: value})])

    async def update(it: Victim, value: Any) -> object:
        return await it.sessions.update(it.session.id, SessionPatch(**{field: value}))

    attempts: tuple[Attempt, ...] = (create, create_many)
    if field in SessionPatch.__struct_fields__:
        attempts += (update,)
    return Field(field, values, attempts)


async def filter_users(it: Victim, value: dict[str, Any]) -> object:
    return await it.everybody.users.find_many(UserFilter(**value))


FIELDS = [
    user_field("email", NOT_EMAILS),
    user_field("id", NOT_IDS),
    user_field("name", (*NOT_TEXT, "", "x" * 201)),
    user_field(
        "personality_traits",
        (
            ["trait"] * 100_000,
            ["trait"] * 101,
            ["x" * 201],
            [""],
            [None],
            *([text] for text in NOT_TEXT),
            "one",
            None,
        ),
    ),
    user_field("speaking_style", (*NOT_TEXT, "x" * 2001)),
    user_field("preferred_llm_provider", NOT_LLM),
    user_field("preferred_tts_provider", NOT_TTS),
    user_field("subscription_tier", NOT_TIERS),
    user_field("settings", NOT_SETTINGS),
    session_field("id", NOT_IDS),
    session_field(
        "started_at",
        (
            *NOT_MOMENTS,
            datetime.fromisoformat("0001-01-01T00:00:00+14:00"),
            datetime.fromisoformat("1969-12-31T23:59:59+00:00"),
            datetime.fromisoformat("9999-12-31T23:59:59-12:00"),
        ),
    ),
    session_field("llm_provider", NOT_LLM),
    session_field("tts_provider", NOT_TTS),
    session_field("voice_model_id", NOT_IDS),
    session_field("face_model_id", NOT_IDS),
    turn_field("id", NOT_IDS),
    *(
        turn_field(field, (*NOT_TEXT, "x" * (50 * MEGABYTES), None))
        for field in ("user_transcript", "llm_response")
    ),
    turn_field("retrieved_chunks", (["x"] * 1001, *([text] for text in NOT_TEXT), [None], "x")),
    turn_field("transcript_confidence", (*NOT_NUMBERS, -0.1, 1.1, "0.5", True)),
    *(
        turn_field(field, NOT_COUNTS)
        for field in NewTurn.__struct_fields__
        if field.endswith("_ms")
    ),
    *(
        turn_field(field, (*NOT_AMOUNTS, Decimal("1e300"), Decimal(1_000_000), None))
        for field in NewTurn.__struct_fields__
        if field.endswith("_cost")
    ),
    Field(
        "session_id",
        NOT_IDS,
        (
            lambda it, value: it.sessions.record_turn(
                value, NewTurn(user_transcript="Hello", llm_response="Hi")
            ),
            lambda it, value: it.sessions.record_many(
                [SessionTurn(session_id=value, user_transcript="Hello", llm_response="Hi")]
            ),
            lambda it, value: it.sessions.find_turn(value, new_id()),
        ),
    ),
    Field(
        "session",
        NOT_IDS,
        (
            lambda it, value: it.sessions.find_turns(value),
            lambda it, value: it.sessions.count_turns(value),
            lambda it, value: it.sessions.with_turns(value),
        ),
    ),
    Field(
        "id",
        NOT_IDS,
        (
            lambda it, value: it.sessions.find_by_id(value),
            lambda it, value: it.sessions.get_by_id(value),
            lambda it, value: it.sessions.update(value, SessionPatch(llm_provider="llama-3-70b")),
            lambda it, value: it.sessions.update_many(
                [it.session.id, value], SessionPatch(llm_provider="llama-3-70b")
            ),
            lambda it, value: it.sessions.transition(value, "listening"),
            lambda it, value: it.sessions.end(value),
            lambda it, value: it.sessions.end_many([SessionEnding(id=value)]),
            lambda it, value: it.sessions.delete(value),
            lambda it, value: it.sessions.hard_delete(value),
            lambda it, value: it.sessions.restore(value),
            lambda it, value: it.sessions.find_turn(it.session.id, value),
            lambda it, value: it.everybody.users.find_by_id(value),
            lambda it, value: it.everybody.users.update(value, UserPatch(name="Eve")),
            lambda it, value: it.everybody.users.update_many(
                [it.user.id, value], UserPatch(name="Eve")
            ),
            lambda it, value: it.everybody.users.merge_settings(value, {"a": 1}),
            lambda it, value: it.everybody.users.add_minutes(value, Decimal(1)),
            lambda it, value: it.everybody.users.set_tier(value, "pro"),
            lambda it, value: it.everybody.users.delete(value),
            lambda it, value: it.everybody.users.hard_delete(value),
            lambda it, value: it.everybody.users.restore(value),
        ),
    ),
    Field(
        "state",
        NOT_STATES,
        (
            lambda it, value: it.sessions.transition(it.session.id, value),
            lambda it, value: it.sessions.record_turn(
                it.session.id,
                NewTurn(user_transcript="Hello", llm_response="Hi"),
                state=value,
            ),
            lambda it, value: it.sessions.find_many(SessionFilter(state=value)),
            lambda it, value: it.sessions.count(SessionFilter(state=value)),
        ),
    ),
    Field("tier", NOT_TIERS, (lambda it, value: it.everybody.users.set_tier(it.user.id, value),)),
    Field(
        "minutes",
        (*NOT_AMOUNTS, Decimal("1e300"), Decimal(10) ** 9, None, "many"),
        (lambda it, value: it.scope.users.add_minutes(it.user.id, value),),
    ),
    Field(
        "email",
        NOT_EMAILS,
        (
            lambda it, value: it.everybody.users.find_by_email(value),
            lambda it, value: it.everybody.users.find_login(value),
        ),
    ),
    Field(
        "settings",
        tuple(value for value in NOT_SETTINGS if isinstance(value, dict)),
        (lambda it, value: it.scope.users.merge_settings(it.user.id, value),),
    ),
    Field(
        "ended_at",
        NOT_MOMENTS,
        (
            lambda it, value: it.sessions.end(it.session.id, ended_at=value),
            lambda it, value: it.sessions.end_many(
                [SessionEnding(id=it.session.id, ended_at=value)]
            ),
        ),
    ),
    Field(
        "started_from",
        NOT_MOMENTS,
        (
            lambda it, value: it.sessions.find_many(SessionFilter(started_from=value)),
            lambda it, value: it.sessions.exists(SessionFilter(started_from=value)),
            lambda it, value: it.sessions.statistics(Period(started_from=value)),
            lambda it, value: it.sessions.statistics_by_provider(Period(started_from=value)),
            lambda it, value: it.everybody.statistics.by_provider(Period(started_from=value)),
        ),
    ),
    Field(
        "created_before",
        NOT_MOMENTS,
        (lambda it, value: it.everybody.users.count(UserFilter(created_before=value)),),
    ),
    Field(
        "turn_from",
        NOT_COUNTS,
        (lambda it, value: it.sessions.find_turns(it.session.id, TurnFilter(turn_from=value)),),
    ),
    Field(
        "active",
        (1, "true", None),
        (lambda it, value: it.sessions.find_many(SessionFilter(active=value)),),
    ),
    Field(
        "page",
        (0, -1, 501, 10_000_000, 2**70, True, "50", 50.0, None, NAN),
        (
            lambda it, value: it.sessions.find_many(limit=value),
            lambda it, value: it.sessions.find_active(limit=value),
            lambda it, value: it.sessions.find_turns(it.session.id, limit=value),
            lambda it, value: it.sessions.with_turns(it.session.id, limit=value),
            lambda it, value: it.everybody.users.find_many(limit=value),
        ),
    ),
    Field(
        "order",
        ("best", "NEWEST", "id; DROP TABLE", "newest\0"),
        (
            lambda it, value: it.sessions.find_many(order=value),
            lambda it, value: it.sessions.find_turns(it.session.id, order=value),
            lambda it, value: it.everybody.users.find_one(order=value),
        ),
    ),
]


@pytest_asyncio.fixture
async def victim(worker: Database, ada: User) -> Victim:
    scope = worker.as_user(ada.id)
    session = await scope.conversation_sessions.start()
    return Victim(worker, scope, scope.conversation_sessions, ada, session)


async def test_bad_input_is_refused_with_the_fields_name_and_nothing_is_stored(
    victim: Victim, migrated: IsolatedDatabase
) -> None:
    wrong: list[str] = []
    for field in FIELDS:
        with case(field.name), nothing_stored(migrated):
            for value in field.values:
                for attempt in field.attempts:
                    try:
                        await attempt(victim, value)
                        happened = f"was taken by {attempt.__qualname__}"
                    except InvalidInput as error:
                        if field.name in str(error) and len(str(error)) < 1_000:
                            continue
                        happened = f"was refused without the field's name: {error!s:.200}"
                    except Exception as error:
                        happened = f"raised {type(error).__name__}: {error!s:.200}"
                    wrong.append(f"{field.name}: {reprlib.repr(value)} {happened}")
    assert wrong == []


async def test_an_empty_patch_is_refused(victim: Victim, migrated: IsolatedDatabase) -> None:
    with nothing_stored(migrated):
        for call in (
            victim.scope.users.update(victim.user.id, UserPatch()),
            victim.scope.users.update_many([victim.user.id], UserPatch()),
            victim.sessions.update(victim.session.id, SessionPatch()),
            victim.sessions.update_many([victim.session.id], SessionPatch()),
        ):
            with pytest.raises(InvalidInput, match=r"Patch changes nothing"):
                await call
        with pytest.raises(InvalidInput, match="settings changes nothing"):
            await victim.scope.users.merge_settings(victim.user.id, {})


async def test_no_ids_and_too_many_rows_are_refused(
    victim: Victim, migrated: IsolatedDatabase
) -> None:
    with nothing_stored(migrated):
        for call in (
            victim.sessions.update_many([], SessionPatch(llm_provider="llama-3-70b")),
            victim.everybody.users.update_many([], UserPatch(name="Eve")),
            victim.sessions.create_many([NewSession()] * 10_001),
            victim.everybody.users.create_many([NewUser(email="a@example.com")] * 10_001),
        ):
            with pytest.raises(InvalidInput, match="10,00"):
                await call


async def test_a_settings_object_that_outgrows_its_bound_by_merging_is_refused(
    victim: Victim, migrated: IsolatedDatabase
) -> None:
    await victim.scope.users.merge_settings(victim.user.id, {"first": "x" * 40_000})
    with nothing_stored(migrated), pytest.raises(InvalidInput, match="settings"):
        await victim.scope.users.merge_settings(victim.user.id, {"second": "x" * 40_000})


async def test_nothing_is_stored_in_another_users_session(
    victim: Victim, as_grace: UserScope, migrated: IsolatedDatabase
) -> None:
    hers = await as_grace.conversation_sessions.start()
    turn = NewTurn(user_transcript="Hello", llm_response="Hi")
    with nothing_stored(migrated), pytest.raises(NotFound, match=str(hers.id)):
        await victim.sessions.record_turn(hers.id, turn)


async def test_an_unknown_users_session_is_not_found(
    worker: Database, migrated: IsolatedDatabase
) -> None:
    with nothing_stored(migrated), pytest.raises(NotFound):
        await worker.as_user(new_id()).conversation_sessions.start()


async def test_an_email_in_another_case_is_refused_everywhere(
    victim: Victim, app: Database, grace: User, migrated: IsolatedDatabase
) -> None:
    other_case = victim.user.email.swapcase()
    with nothing_stored(migrated):
        for call in (
            victim.everybody.users.create(NewUser(email=other_case)),
            victim.everybody.users.create_many([NewUser(email=other_case)]),
            victim.everybody.users.create_many(
                [NewUser(email="two@example.com"), NewUser(email="TWO@example.com")]
            ),
            victim.everybody.users.update(grace.id, UserPatch(email=other_case)),
            app.users.sign_up(SignUp(email=other_case)),
        ):
            with pytest.raises(AlreadyExists) as refused:
                await call
            assert refused.value.constraint == "users_email_key_living"
            assert "sql/users.sql" in str(refused.value)


async def test_restoring_into_a_taken_email_is_refused_and_restores_nothing(
    victim: Victim, migrated: IsolatedDatabase
) -> None:
    await victim.everybody.users.delete(victim.user.id)
    await victim.everybody.users.create(NewUser(email=victim.user.email.upper()))
    with nothing_stored(migrated), pytest.raises(AlreadyExists, match="users_email_key_living"):
        await victim.everybody.users.restore(victim.user.id)


async def test_a_closed_database_says_so(migrated: IsolatedDatabase, ada: User) -> None:
    database = Database(migrated.dsn("clonedb_worker"))
    never_opened = database.as_user(ada.id)
    await database.open()
    before_closing = database.as_user(ada.id)
    await database.close()
    await database.close()
    with nothing_stored(migrated):
        for scope in (never_opened, before_closing, database.as_user(ada.id)):
            for call in (
                scope.conversation_sessions.start(),
                scope.conversation_sessions.find_many(),
                scope.conversation_sessions.statistics(),
                scope.users.get_by_id(ada.id),
                anext(scope.conversation_sessions.stream_turns()),
                in_a_transaction(scope),
            ):
                with pytest.raises(DatabaseClosed):
                    await call
        with pytest.raises(DatabaseClosed):
            await database.users.count()
    assert (await database.health()).ok is False


async def in_a_transaction(scope: UserScope) -> None:
    async with scope.transaction() as transaction:
        await transaction.conversation_sessions.start()


@pytest.mark.parametrize("seconds", [0, -1, NAN, INFINITY, 10**9, 0.0001])
async def test_a_timeout_out_of_range_is_refused(victim: Victim, seconds: float) -> None:
    with pytest.raises(InvalidInput, match="timeout"):
        victim.scope.within(seconds)


async def test_a_database_scope_takes_a_timeout(worker: Database, ada: User) -> None:
    assert await worker.within(5).users.find_by_id(ada.id) == ada


# Cursors.


def encoded(position: object) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode(position)).rstrip(b"=").decode()


def decoded(cursor: str) -> list[Any]:
    position: list[Any] = msgspec.json.decode(base64.urlsafe_b64decode(cursor + "=="))
    return position


async def three_lists(victim: Victim) -> dict[str, Callable[[Any], Awaitable[Page[Any]]]]:
    """Lists of three kinds and orders, each of more than one page."""
    await victim.sessions.start()
    await victim.everybody.users.create(NewUser(email="second@example.com"))
    for _ in range(2):
        await victim.sessions.record_turn(
            victim.session.id, NewTurn(user_transcript="Hello", llm_response="Hi")
        )
    return {
        "sessions": lambda cursor: victim.sessions.find_many(limit=1, cursor=cursor),
        "oldest": lambda cursor: victim.sessions.find_many(limit=1, order="oldest", cursor=cursor),
        "turns": lambda cursor: victim.sessions.find_turns(
            victim.session.id, limit=1, cursor=cursor
        ),
        "users": lambda cursor: victim.everybody.users.find_many(limit=1, cursor=cursor),
    }


async def test_a_cursor_of_another_list_or_order_is_refused(victim: Victim) -> None:
    lists = await three_lists(victim)
    cursors = {name: (await find(None)).next for name, find in lists.items()}
    for name, find in lists.items():
        for other, cursor in cursors.items():
            assert cursor is not None
            if other == name:
                assert len((await find(cursor)).items) == 1
            else:
                with pytest.raises(InvalidInput, match="cursor"):
                    await find(cursor)


async def test_a_cursor_with_wrong_content_is_refused(victim: Victim) -> None:
    lists = await three_lists(victim)
    for find in lists.values():
        cursor = (await find(None)).next
        assert cursor is not None
        name, order, position, identifier = decoded(cursor)
        for wrong in (
            [],
            {},
            None,
            5,
            [name],
            [name, order],
            [name, order, position],
            [name, order, position, identifier, 1],
            [name, order, identifier, position],
            [name, order, None, identifier],
            [name, order, position, None],
            [name, order, position, "not a uuid"],
            [name, order, [position], identifier],
            [name, order, {"a": position}, identifier],
            [name, order, True, identifier],
            [name, order, 1.5, identifier],
            [name, order, "infinity", identifier],
            [name, order, "2026-03-01T12:00:00", identifier],
            [name, order, "' OR true --", identifier],
            [name, order, -1, identifier],
            [name, order, 2**31, identifier],
            [name, order, 2**64, identifier],
            [name, [order], position, identifier],
        ):
            with pytest.raises(InvalidInput, match="cursor"):
                await find(encoded(wrong))
        for wrong in ("", "=", "====", "%%%", cursor[:-1], cursor + "AAAA", "é" * 8, 5, b"AAAA"):
            with pytest.raises(InvalidInput, match="cursor"):
                await find(wrong)
        nested = base64.urlsafe_b64encode(b"[" * 200_000).decode()
        with pytest.raises(InvalidInput, match="cursor"):
            await find(nested)


async def test_a_total_is_counted_with_the_first_page_only(victim: Victim) -> None:
    await three_lists(victim)
    cursor = (await victim.sessions.find_many(limit=1)).next
    with pytest.raises(InvalidInput, match="total"):
        await victim.sessions.find_many(limit=1, cursor=cursor, with_total=True)


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    cursor=st.one_of(
        st.text(max_size=80),
        st.binary(max_size=60).map(lambda raw: base64.urlsafe_b64encode(raw).decode()),
        st.recursive(
            st.none() | st.booleans() | st.floats(allow_nan=False) | st.text() | st.integers(0, 9),
            lambda inner: st.lists(inner, max_size=4),
        ).map(lambda value: encoded(["conversation_sessions.find_many", "newest", value, value])),
    )
)
async def test_a_tampered_cursor_is_refused_or_reads_a_page_of_the_same_user(
    victim: Victim, cursor: str
) -> None:
    try:
        page = await victim.sessions.find_many(cursor=cursor)
    except InvalidInput as error:
        message = str(error)
    else:
        message = "the cursor was taken"
        assert all(session.id == victim.session.id for session in page.items)
    assert "cursor" in message


async def test_what_is_no_struct_level_or_timeout_is_refused_by_name(
    app: Database, ada: User
) -> None:
    scope = app.as_user(ada.id)
    session = await scope.conversation_sessions.start()
    with pytest.raises(InvalidInput, match="NoneType"):
        await scope.conversation_sessions.record_turn(session.id, None)  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match="str"):
        await scope.conversation_sessions.find_many("x")  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match="chaos"):
        async with scope.transaction(isolation="chaos"):  # type: ignore[arg-type]
            pass
    with pytest.raises(InvalidInput, match="'x'"):
        scope.within("x")  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match="settings"):
        await scope.users.merge_settings(ada.id, [1])  # type: ignore[arg-type]
    assert await scope.conversation_sessions.count_turns(session.id) == 0
