"""Nobody reaches what is another's: every method of the public repositories, on every id.

Ada is the victim, Grace asks. Two walls stand between them, row-level security and the explicit
user in every statement; each has to hold alone.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from decimal import Decimal
from typing import Any, NamedTuple

import msgspec
import psycopg
import pytest
import pytest_asyncio
from ground import as_superuser, nothing_stored
from psycopg import sql

from clonedb import (
    AlreadyExists,
    ClonedbError,
    ConversationSession,
    ConversationSessionRepository,
    ConversationTurn,
    Database,
    NewSession,
    NewTurn,
    NewUser,
    NotFound,
    PermissionDenied,
    SessionEnding,
    SessionFilter,
    SessionPatch,
    SessionTurn,
    SignUp,
    User,
    UserFilter,
    UserPatch,
    UserRepository,
    UserScope,
    new_id,
)
from clonedb.testing import IsolatedDatabase

SECRET = "secret of Ada"
TURN = NewTurn(user_transcript="Hello", llm_response="Hi")


class Victim(NamedTuple):
    user: User
    session: ConversationSession
    hidden: ConversationSession
    turn: ConversationTurn


class Case(NamedTuple):
    """A call that names what is Ada's; `answer` is what it may return, `error` what it raises."""

    call: Callable[[UserScope, Victim], Awaitable[Any]]
    answer: Callable[[Any], bool] = lambda _: False
    error: type[ClonedbError] | tuple[type[ClonedbError], ...] = ()


def is_nothing(answer: object) -> bool:
    return answer in (None, False, 0, [])


def is_empty_page(answer: Any) -> bool:
    return answer.items == [] and not answer.total


async def streamed(scope: UserScope) -> list[ConversationTurn]:
    return [turn async for turn in scope.conversation_sessions.stream_turns()]


LLAMA = SessionFilter(llm_provider="llama-3-70b")  # Ada's sessions alone have it

SESSION_CASES: dict[str, list[Case]] = {
    "find_by_id": [
        Case(
            lambda scope, ada: scope.conversation_sessions.find_by_id(
                ada.session.id, include_deleted=True
            ),
            is_nothing,
        )
    ],
    "get_by_id": [
        Case(
            lambda scope, ada: scope.conversation_sessions.get_by_id(ada.session.id),
            error=NotFound,
        )
    ],
    "find_many": [
        Case(
            lambda scope, _: scope.conversation_sessions.find_many(
                LLAMA, with_total=True, include_deleted=True
            ),
            is_empty_page,
        )
    ],
    "find_one": [Case(lambda scope, _: scope.conversation_sessions.find_one(LLAMA), is_nothing)],
    "find_active": [
        Case(
            lambda scope, _: scope.conversation_sessions.find_active(),
            lambda page: len(page.items) == 1,
        )
    ],
    "count": [
        Case(
            lambda scope, _: scope.conversation_sessions.count(include_deleted=True),
            lambda count: count == 1,
        )
    ],
    "exists": [
        Case(
            lambda scope, _: scope.conversation_sessions.exists(LLAMA, include_deleted=True),
            is_nothing,
        )
    ],
    # The id of another's session is free in one's own key: it says nothing about hers.
    "create": [
        Case(
            lambda scope, ada: scope.conversation_sessions.create(NewSession(id=ada.session.id)),
            lambda session: session.total_turns == 0 and session.llm_provider == "gpt-4-turbo",
        )
    ],
    "create_many": [
        Case(
            lambda scope, ada: scope.conversation_sessions.create_many(
                [NewSession(id=ada.hidden.id)]
            ),
            lambda sessions: sessions[0].deleted_at is None,
        )
    ],
    "start": [
        Case(
            lambda scope, _: scope.conversation_sessions.start(),
            lambda session: session.total_turns == 0,
        )
    ],
    "update": [
        Case(
            lambda scope, ada: scope.conversation_sessions.update(
                ada.session.id, SessionPatch(llm_provider="claude-3-opus")
            ),
            error=NotFound,
        )
    ],
    "update_many": [
        Case(
            lambda scope, ada: scope.conversation_sessions.update_many(
                [ada.session.id, ada.hidden.id], SessionPatch(llm_provider="claude-3-opus")
            ),
            is_nothing,
        )
    ],
    "transition": [
        Case(
            lambda scope, ada: scope.conversation_sessions.transition(ada.session.id, "listening"),
            error=NotFound,
        )
    ],
    "end": [
        Case(lambda scope, ada: scope.conversation_sessions.end(ada.session.id), error=NotFound)
    ],
    "end_many": [
        Case(
            lambda scope, ada: scope.conversation_sessions.end_many(
                [SessionEnding(id=ada.session.id)]
            ),
            is_nothing,
        )
    ],
    "delete": [
        Case(lambda scope, ada: scope.conversation_sessions.delete(ada.session.id), is_nothing)
    ],
    "hard_delete": [
        Case(
            lambda scope, ada: scope.conversation_sessions.hard_delete(ada.session.id), is_nothing
        ),
        Case(lambda scope, ada: scope.conversation_sessions.hard_delete(ada.hidden.id), is_nothing),
    ],
    "restore": [
        Case(lambda scope, ada: scope.conversation_sessions.restore(ada.hidden.id), error=NotFound)
    ],
    "record_turn": [
        Case(
            lambda scope, ada: scope.conversation_sessions.record_turn(ada.session.id, TURN),
            error=NotFound,
        ),
        Case(
            lambda scope, ada: scope.conversation_sessions.record_turn(
                ada.session.id,
                NewTurn(id=ada.turn.id, user_transcript=SECRET, llm_response=SECRET),
                state="listening",
            ),
            error=NotFound,
        ),
    ],
    "record_many": [
        Case(
            lambda scope, ada: scope.conversation_sessions.record_many(
                [
                    SessionTurn(
                        session_id=ada.session.id,
                        id=ada.turn.id,
                        user_transcript="Hello",
                        llm_response="Hi",
                    )
                ]
            ),
            error=NotFound,
        )
    ],
    "find_turn": [
        Case(
            lambda scope, ada: scope.conversation_sessions.find_turn(ada.session.id, ada.turn.id),
            is_nothing,
        )
    ],
    "find_turns": [
        Case(
            lambda scope, ada: scope.conversation_sessions.find_turns(ada.session.id),
            is_empty_page,
        )
    ],
    "count_turns": [
        Case(lambda scope, ada: scope.conversation_sessions.count_turns(ada.session.id), is_nothing)
    ],
    "with_turns": [
        Case(lambda scope, ada: scope.conversation_sessions.with_turns(ada.session.id), is_nothing)
    ],
    "stream_turns": [Case(lambda scope, _: streamed(scope), lambda turns: len(turns) == 1)],
    "statistics": [
        Case(
            lambda scope, _: scope.conversation_sessions.statistics(),
            lambda row: (row.sessions, row.turns) == (1, 1),
        )
    ],
    "statistics_by_provider": [
        Case(
            lambda scope, _: scope.conversation_sessions.statistics_by_provider(),
            lambda rows: [row.turns for row in rows] == [1],
        )
    ],
}

USER_CASES: dict[str, list[Case]] = {
    "find_by_id": [
        Case(
            lambda scope, ada: scope.users.find_by_id(ada.user.id, include_deleted=True),
            is_nothing,
        )
    ],
    "get_by_id": [Case(lambda scope, ada: scope.users.get_by_id(ada.user.id), error=NotFound)],
    "find_by_email": [
        Case(lambda scope, ada: scope.users.find_by_email(ada.user.email), is_nothing)
    ],
    "find_login": [Case(lambda scope, ada: scope.users.find_login(ada.user.email), is_nothing)],
    "find_many": [
        Case(
            lambda scope, _: scope.users.find_many(with_total=True, include_deleted=True),
            lambda page: page.total == len(page.items) == 1,
        )
    ],
    "find_one": [
        Case(
            lambda scope, ada: scope.users.find_one(order="oldest"),
            lambda user: user.name == "Grace",
        )
    ],
    "count": [
        Case(lambda scope, _: scope.users.count(include_deleted=True), lambda count: count == 1)
    ],
    "exists": [
        Case(
            lambda scope, ada: scope.users.exists(
                UserFilter(subscription_tier="pro"),  # Ada's, and not Grace's
                include_deleted=True,
            ),
            is_nothing,
        )
    ],
    "sign_up": [
        Case(
            lambda scope, ada: scope.users.sign_up(SignUp(id=ada.user.id, email="eve@example.com")),
            error=AlreadyExists,
        ),
        Case(
            lambda scope, ada: scope.users.sign_up(SignUp(email=ada.user.email)),
            error=AlreadyExists,
        ),
    ],
    "create": [
        Case(
            lambda scope, ada: scope.users.create(NewUser(id=ada.user.id, email="eve@example.com")),
            error=(AlreadyExists, PermissionDenied),
        )
    ],
    "create_many": [
        Case(
            lambda scope, ada: scope.users.create_many(
                [NewUser(id=ada.user.id, email="eve@example.com")]
            ),
            error=(AlreadyExists, PermissionDenied),
        )
    ],
    "update": [
        Case(
            lambda scope, ada: scope.users.update(ada.user.id, UserPatch(name="Eve")),
            error=NotFound,
        ),
        Case(
            lambda scope, ada: scope.users.update(
                scope.user_id or ada.user.id, UserPatch(email=ada.user.email)
            ),
            error=AlreadyExists,
        ),
    ],
    "update_many": [
        Case(
            lambda scope, ada: scope.users.update_many([ada.user.id], UserPatch(name="Eve")),
            is_nothing,
        )
    ],
    "merge_settings": [
        Case(lambda scope, ada: scope.users.merge_settings(ada.user.id, {"a": 1}), error=NotFound)
    ],
    "add_minutes": [
        Case(lambda scope, ada: scope.users.add_minutes(ada.user.id, Decimal(1)), error=NotFound)
    ],
    "set_tier": [
        Case(
            lambda scope, ada: scope.users.set_tier(ada.user.id, "enterprise"),
            error=(NotFound, PermissionDenied),
        )
    ],
    "delete": [Case(lambda scope, ada: scope.users.delete(ada.user.id), is_nothing)],
    "hard_delete": [Case(lambda scope, ada: scope.users.hard_delete(ada.user.id), is_nothing)],
    "restore": [Case(lambda scope, ada: scope.users.restore(ada.user.id), error=NotFound)],
}


def public_methods(repository: type) -> set[str]:
    return {name for name in vars(repository) if not name.startswith("_")}


def test_every_method_of_the_repositories_has_a_case() -> None:
    assert USER_CASES.keys() == public_methods(UserRepository)
    assert SESSION_CASES.keys() == public_methods(ConversationSessionRepository)


@pytest_asyncio.fixture
async def victim(worker: Database) -> Victim:
    user = await worker.users.create(
        NewUser(
            email="ada.secret@example.com",
            name=SECRET,
            personality_traits=[SECRET],
            speaking_style=SECRET,
            subscription_tier="pro",
            settings={"note": SECRET},
        )
    )
    sessions = worker.as_user(user.id).conversation_sessions
    hidden = await sessions.create(NewSession(llm_provider="llama-3-70b"))
    session = await sessions.create(NewSession(llm_provider="llama-3-70b"))
    turn = await sessions.record_turn(
        session.id,
        NewTurn(user_transcript=SECRET, llm_response=SECRET, retrieved_chunks=[SECRET]),
    )
    await sessions.record_turn(hidden.id, TURN)
    await sessions.delete(hidden.id)
    return Victim(user, await sessions.get_by_id(session.id), hidden, turn)


@pytest_asyncio.fixture
async def attacker(grace: User, worker: Database) -> User:
    """Grace, with one session of one turn of her own."""
    sessions = worker.as_user(grace.id).conversation_sessions
    session = await sessions.start()
    await sessions.record_turn(session.id, TURN)
    return grace


def every_table(database: IsolatedDatabase, command: str) -> None:
    with as_superuser(database) as connection:
        tables = connection.execute(
            "SELECT c.oid::regclass::text FROM pg_class AS c "
            "WHERE c.relnamespace = 'clonedb'::regnamespace AND c.relrowsecurity"
        ).fetchall()
        assert tables
        for (table,) in tables:
            connection.execute(f"ALTER TABLE {table} {command}")


@pytest_asyncio.fixture(params=["app", "app without row-level security", "app unforced", "worker"])
async def as_attacker(
    request: pytest.FixtureRequest,
    app: Database,
    worker: Database,
    attacker: User,
    migrated: IsolatedDatabase,
) -> AsyncIterator[UserScope]:
    if request.param == "app without row-level security":
        every_table(migrated, "DISABLE ROW LEVEL SECURITY")
    elif request.param == "app unforced":
        every_table(migrated, "NO FORCE ROW LEVEL SECURITY")
    yield (worker if request.param == "worker" else app).as_user(attacker.id)


async def test_no_method_finds_or_changes_what_is_anothers(
    as_attacker: UserScope, victim: Victim, migrated: IsolatedDatabase
) -> None:
    cases = {f"users.{name}": cases for name, cases in USER_CASES.items()} | SESSION_CASES
    # The attacker may have sessions of her own under Ada's ids, so these come last.
    names = sorted(cases, key=lambda name: (name in ("create", "create_many", "start"), name))
    calls = [(name, case) for name in names for case in cases[name]]
    with nothing_stored(migrated, but_for=as_attacker.user_id):
        learnt = [await outcome(name, case, as_attacker, victim) for name, case in calls]
    for text in learnt:
        assert SECRET not in text
        assert "ada.secret" not in text


async def outcome(name: str, case: Case, scope: UserScope, victim: Victim) -> str:
    """What the caller has learnt, in text."""
    if case.error:
        with pytest.raises(case.error) as refused:
            await case.call(scope, victim)
        return str(refused.value)
    answer = await case.call(scope, victim)
    assert case.answer(answer), f"{name} returned {answer!r}"
    return msgspec.json.encode(answer).decode()


async def test_a_deleted_user_sees_nothing_and_writes_nothing(
    app: Database, victim: Victim, migrated: IsolatedDatabase
) -> None:
    scope = app.as_user(victim.user.id)
    await scope.users.delete(victim.user.id)
    sessions, users = scope.conversation_sessions, scope.users
    with nothing_stored(migrated):
        assert await users.find_by_id(victim.user.id, include_deleted=True) is None
        assert await users.count(include_deleted=True) == 0
        assert await users.delete(victim.user.id) is False
        assert await users.hard_delete(victim.user.id) is False
        assert await sessions.find_by_id(victim.session.id, include_deleted=True) is None
        assert (await sessions.find_many(include_deleted=True)).items == []
        assert await sessions.find_turn(victim.session.id, victim.turn.id) is None
        assert await streamed(scope) == []
        assert (await sessions.statistics()).sessions == 0
        assert await sessions.delete(victim.session.id) is False
        assert await sessions.hard_delete(victim.session.id) is False
        for refused in (
            sessions.start(),
            sessions.create(NewSession(id=victim.session.id)),
            sessions.create_many([NewSession()]),
        ):
            with pytest.raises(PermissionDenied):
                await refused
        for refused in (
            users.restore(victim.user.id),
            users.update(victim.user.id, UserPatch(name="Eve")),
            users.add_minutes(victim.user.id, Decimal(1)),
            sessions.restore(victim.session.id),
            sessions.transition(victim.session.id, "listening"),
            sessions.end(victim.session.id),
            sessions.record_turn(victim.session.id, TURN),
            sessions.update(victim.session.id, SessionPatch(llm_provider="claude-3-opus")),
        ):
            with pytest.raises(NotFound):
                await refused


async def test_a_user_that_never_was_sees_nothing_and_writes_nothing(
    app: Database, victim: Victim, migrated: IsolatedDatabase
) -> None:
    scope = app.as_user(new_id())
    with nothing_stored(migrated):
        assert await scope.users.count(include_deleted=True) == 0
        assert await scope.conversation_sessions.count(include_deleted=True) == 0
        with pytest.raises(PermissionDenied):
            await scope.conversation_sessions.start()
        with pytest.raises(NotFound):
            await scope.conversation_sessions.record_turn(victim.session.id, TURN)


async def test_without_a_context_the_app_login_sees_nothing_and_changes_nothing(
    app: Database, victim: Victim, migrated: IsolatedDatabase
) -> None:
    with nothing_stored(migrated):
        assert await app.users.find_by_id(victim.user.id, include_deleted=True) is None
        assert await app.users.find_by_email(victim.user.email) is None
        assert (await app.users.find_many(include_deleted=True, with_total=True)).total == 0
        assert await app.users.count(include_deleted=True) == 0
        assert await app.users.delete(victim.user.id) is False
        assert await app.users.hard_delete(victim.user.id) is False
        assert await app.users.update_many([victim.user.id], UserPatch(name="Eve")) == []
        totals = await app.statistics.totals()
        assert (totals.users, totals.sessions, totals.turns) == (0, 0, 0)
        assert await app.statistics.by_provider() == []
        for refused in (
            app.users.update(victim.user.id, UserPatch(name="Eve")),
            app.users.merge_settings(victim.user.id, {"a": 1}),
            app.users.add_minutes(victim.user.id, Decimal(1)),
            app.users.restore(victim.user.id),
        ):
            with pytest.raises(NotFound):
                await refused


def tables_of_users(database: IsolatedDatabase) -> list[tuple[str, bool]]:
    """Every table and partition under row-level security, and whether it is a partition."""
    with as_superuser(database) as connection:
        return connection.execute(
            "SELECT c.relname, c.relispartition FROM pg_class AS c "
            "WHERE c.relnamespace = 'clonedb'::regnamespace AND c.relkind IN ('r', 'p') "
            "AND EXISTS (SELECT FROM pg_attribute AS a WHERE a.attrelid = c.oid "
            "AND a.attname = 'user_id' AND NOT a.attisdropped)"
        ).fetchall()


async def test_hand_written_sql_under_the_app_login_reaches_only_the_contexts_user(
    migrated: IsolatedDatabase, victim: Victim, attacker: User
) -> None:
    commands = (
        "SELECT FROM clonedb.users WHERE id = %s",
        "SELECT FROM clonedb.conversation_sessions WHERE user_id = %s",
        "SELECT FROM clonedb.conversation_turns WHERE user_id = %s",
        "UPDATE clonedb.users SET name = 'Eve' WHERE id = %s",
        "UPDATE clonedb.conversation_sessions SET state = 'error' WHERE user_id = %s",
        "UPDATE clonedb.conversation_turns SET id = id WHERE user_id = %s",
        "DELETE FROM clonedb.conversation_sessions WHERE user_id = %s",
        "DELETE FROM clonedb.users WHERE id = %s",
    )
    for context in (attacker.id, None):
        with psycopg.connect(migrated.dsn("clonedb_app")) as connection:
            connection.execute(
                "SELECT set_config('clonedb.user_id', %s, false)", [str(context or "")]
            )
            with nothing_stored(migrated):
                for command in commands:
                    assert connection.execute(command, [victim.user.id]).rowcount == 0, command
                    # The same command does reach what is one's own, so it proves something.
                    reached = connection.execute(command, [attacker.id]).rowcount
                    assert reached == (1 if context else 0), command
            connection.rollback()
            connection.execute(
                "SELECT set_config('clonedb.user_id', %s, false)", [str(context or "")]
            )
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(
                    "INSERT INTO clonedb.conversation_sessions "
                    "(user_id, llm_provider, tts_provider) VALUES (%s, 'gpt-4-turbo', 'xtts-v2')",
                    [victim.user.id],
                )


async def test_no_login_of_services_reaches_a_partition_directly(
    migrated: IsolatedDatabase, victim: Victim
) -> None:
    partitions = [name for name, is_partition in tables_of_users(migrated) if is_partition]
    assert len(partitions) > 20
    for role in ("clonedb_app", "clonedb_worker", "clonedb_readonly"):
        with psycopg.connect(migrated.dsn(role), autocommit=True) as connection:
            for partition in partitions:
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    connection.execute(
                        sql.SQL("SELECT FROM {}").format(sql.Identifier("clonedb", partition))
                    )


async def test_the_readonly_login_sees_neither_words_nor_names(
    migrated: IsolatedDatabase, victim: Victim
) -> None:
    with psycopg.connect(migrated.dsn("clonedb_readonly"), autocommit=True) as connection:
        counted = connection.execute("SELECT count(id) FROM clonedb.conversation_turns").fetchone()
        assert counted == (2,)
        for column, table in (
            ("email", "users"),
            ("name", "users"),
            ("settings", "users"),
            ("speaking_style", "users"),
            ("user_transcript", "conversation_turns"),
            ("llm_response", "conversation_turns"),
            ("retrieved_chunks", "conversation_turns"),
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(f"SELECT {column} FROM clonedb.{table}")
        for table in ("users", "conversation_sessions", "conversation_turns"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(f"DELETE FROM clonedb.{table}")
