"""Callers share a channel and nothing else: no failure, no user, no setting."""

from __future__ import annotations

import asyncio
from typing import Any

from channels import (
    ONE_OF_EACH,
    PATIENT,
    ask,
    ask_one,
    connected,
    reading,
    through_channels_alone,
    writing,
)
from crowd import crowd
from ground import nothing_stored

from clonedb import (
    AlreadyExists,
    ConversationSession,
    Database,
    InvalidInput,
    NewSession,
    NewUser,
    NotFound,
    NotMigrated,
    Unavailable,
    UnexpectedDatabaseError,
    User,
    UserPatch,
    new_id,
)
from clonedb.testing import IsolatedDatabase

PATIENT_ONES = {**PATIENT, **ONE_OF_EACH}

ECHO = reading("SELECT $1::text, current_setting('clonedb.user_id')", "said")
DIVIDE = reading("SELECT 1 / $1::int", "by")


async def test_a_failing_read_fails_its_caller_alone(migrated: IsolatedDatabase, ada: User) -> None:
    async with connected(migrated.dsn(), **PATIENT_ONES) as database:
        scope = database.as_user(ada.id)
        with through_channels_alone(database):
            for _ in range(3):
                outcomes = await asyncio.gather(
                    *(
                        ask(scope, ECHO, str(number)) if number % 2 else ask(scope, DIVIDE, 0)
                        for number in range(60)
                    ),
                    return_exceptions=True,
                )
                for number, outcome in enumerate(outcomes):
                    if number % 2:
                        assert outcome == [(str(number), str(ada.id))]
                    else:
                        assert isinstance(outcome, InvalidInput)
                        assert outcome.sqlstate == "22012"


async def test_a_statement_that_cannot_be_prepared_fails_its_callers_alone(
    migrated: IsolatedDatabase, ada: User
) -> None:
    # Those behind the first one find that the server has not got the statement; see 26000.
    broken = reading("SELECT no_such_column")
    async with connected(migrated.dsn(), **PATIENT_ONES) as database:
        scope = database.as_user(ada.id)
        for _ in range(3):
            outcomes = await asyncio.gather(
                *(
                    ask(scope, ECHO, str(number)) if number % 2 else ask(scope, broken)
                    for number in range(20)
                ),
                return_exceptions=True,
            )
            for number, outcome in enumerate(outcomes):
                if number % 2:
                    assert outcome == [(str(number), str(ada.id))]
                else:
                    assert isinstance(outcome, NotMigrated)
                    assert "no_such_column" in str(outcome)


async def test_a_failing_write_fails_its_caller_alone(
    migrated: IsolatedDatabase, ada: User, worker: Database
) -> None:
    async with connected(migrated.dsn("clonedb_worker"), **PATIENT_ONES) as database:
        scope = database.as_user(ada.id)
        ids = [new_id() for _ in range(40)]
        calls: list[Any] = []
        for number, id in enumerate(ids):
            kind = number % 4
            if kind == 0:
                calls.append(scope.conversation_sessions.create(NewSession(id=id)))
            elif kind == 1:
                calls.append(
                    scope.conversation_sessions.create(NewSession(id=id, voice_model_id=new_id()))
                )
            elif kind == 2:
                calls.append(database.users.create(NewUser(email="ADA@example.com")))
            else:
                calls.append(scope.users.update(ada.id, UserPatch(name=f"Ada {number}")))
        with through_channels_alone(database):
            outcomes = await asyncio.gather(*calls, return_exceptions=True)
        for number, outcome in enumerate(outcomes):
            expected = (ConversationSession, NotFound, AlreadyExists, User)[number % 4]
            assert isinstance(outcome, expected), (number, outcome)
        found = await worker.as_user(ada.id).conversation_sessions.find_many(limit=100)
        assert {session.id for session in found.items} == set(ids[::4])
        assert (await worker.users.get_by_id(ada.id)).name == "Ada 39"


async def test_a_value_that_cannot_be_sent_fails_its_caller_alone(
    migrated: IsolatedDatabase, ada: User
) -> None:
    async with connected(migrated.dsn(), **PATIENT_ONES) as database:
        scope = database.as_user(ada.id)
        with through_channels_alone(database):
            good, null, none, better = await asyncio.gather(
                ask(scope, ECHO, "good"),
                ask(scope, ECHO, "with \x00 in it"),
                ask(scope, ECHO, object()),
                ask(scope, ECHO, "better"),
                return_exceptions=True,
            )
        assert [good, better] == [[("good", str(ada.id))], [("better", str(ada.id))]]
        assert isinstance(null, InvalidInput)
        assert isinstance(none, InvalidInput | UnexpectedDatabaseError | TypeError)


async def test_a_value_that_cannot_be_loaded_fails_its_caller_alone(
    migrated: IsolatedDatabase, ada: User
) -> None:
    # Python's dates end with the year 9999.
    date = reading("SELECT $1::text::timestamptz", "date")
    async with connected(migrated.dsn(), **PATIENT_ONES) as database:
        for _ in range(2):
            outcomes = await asyncio.gather(
                ask_one(database, date, "2026-01-01 00:00+00"),
                ask_one(database, date, "20260-01-01 00:00+00"),
                ask_one(database, date, "2027-01-01 00:00+00"),
                return_exceptions=True,
            )
            assert [getattr(outcome, "year", None) for outcome in outcomes] == [2026, None, 2027]
            assert isinstance(outcomes[1], Exception)


async def test_the_context_of_a_call_is_not_that_of_the_next(
    migrated: IsolatedDatabase, ada: User, grace: User
) -> None:
    context = (
        "SELECT current_setting('clonedb.user_id'), current_setting('statement_timeout'), "
        "current_setting('plan_cache_mode'), $1::int"
    )
    async with connected(
        migrated.dsn(),
        read_channels=1,
        write_channels=1,
        channel_statement_timeout=5,
        channel_lock_timeout=5,
    ) as database:
        for statement in (reading(context, "fail"), writing(context, "fail")):
            failing = reading if statement.access == "read" else writing
            fail = failing("SELECT 1 / $1::int", "fail")
            outcomes = await asyncio.gather(
                ask(database.as_user(ada.id), statement, 0),
                ask(database, statement, 0),
                ask(database.as_user(grace.id).within(2), statement, 0),
                ask(database.as_user(ada.id).within(3), fail, 0),
                ask(database, statement, 0),
                ask(database.within(2), statement, 0),
                ask(database, statement, 0),
                return_exceptions=True,
            )
            assert isinstance(outcomes.pop(3), InvalidInput)
            assert [outcome[0][:3] for outcome in outcomes] == [  # type: ignore[index]
                (str(ada.id), "5s", "auto"),
                ("", "5s", "auto"),
                (str(grace.id), "2s", "auto"),
                ("", "5s", "auto"),
                ("", "2s", "auto"),
                ("", "5s", "auto"),
            ]


async def test_a_statement_misdeclared_as_a_read_stores_nothing(
    migrated: IsolatedDatabase, ada: User
) -> None:
    liar = reading(
        "UPDATE clonedb.users SET name = 'changed' WHERE id = $1::uuid RETURNING id", "id"
    )
    async with connected(migrated.dsn("clonedb_worker"), **PATIENT_ONES) as database:
        with nothing_stored(migrated):
            outcomes = await asyncio.gather(
                database.users.get_by_id(ada.id),
                ask(database, liar, ada.id),
                database.users.get_by_id(ada.id),
                return_exceptions=True,
            )
        assert outcomes[::2] == [ada, ada]
        assert isinstance(outcomes[1], Unavailable)
        assert outcomes[1].sqlstate == "25006"
        # Nor does it cost anybody a connection.
        assert all(channel.connections_lost == 0 for channel in database.channel_statistics())


async def test_an_answer_is_never_anothers(migrated: IsolatedDatabase) -> None:
    report = await crowd(
        migrated,
        users=30,
        calls=25_000,
        callers=60,
        seed=4,
        read_channels=2,
        write_channels=2,
        group_channels=1,
    )
    assert report.wrong == []
    assert report.right > 15_000
    assert min(report.cancelled, report.refused, report.timed_out, report.grouped) > 50
    assert report.unavailable == report.unknown == 0


async def test_an_answer_is_never_anothers_while_connections_are_killed(
    migrated: IsolatedDatabase,
) -> None:
    report = await crowd(
        migrated, users=30, calls=10_000, callers=60, seed=5, seconds_between_kills=0.05
    )
    assert report.wrong == []
    assert report.killed > 2
    assert report.right > 5_000
