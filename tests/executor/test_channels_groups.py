"""Group commit: many writes, one commit, and for each caller an answer of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from decimal import Decimal
from typing import Any

import pytest
from channels import (
    ONE_OF_EACH,
    PATIENT,
    ask,
    ask_one,
    connected,
    figures,
    reading,
    through_channels_alone,
    until,
    writing,
)
from ground import as_superuser, someone_waits_for_a_lock

from clonedb import (
    AlreadyExists,
    ConversationSession,
    Database,
    InvalidInput,
    NewRateLimitRule,
    NewSession,
    NewTurn,
    NewUser,
    NotFound,
    SessionPatch,
    User,
    UserPatch,
    UserScope,
    new_id,
)
from clonedb.testing import IsolatedDatabase


def transactions(migrated: IsolatedDatabase) -> int:
    """How many transactions of the server have written so far."""
    with as_superuser(migrated) as connection:
        row = connection.execute("SELECT pg_snapshot_xmax(pg_current_snapshot())::text").fetchone()
        assert row is not None
        return int(row[0])


async def test_many_writes_are_few_commits(migrated: IsolatedDatabase, ada: User) -> None:
    async with connected(migrated.dsn(), **PATIENT, **ONE_OF_EACH) as database:
        scope = database.as_user(ada.id).group_commit()
        before = transactions(migrated)
        with through_channels_alone(database):
            sessions = await asyncio.gather(
                *(scope.conversation_sessions.start() for _ in range(200))
            )
        commits = transactions(migrated) - before
        group = figures(database, "group commit")[0]
        assert group.calls == 200
        # Those that are asked for at once go together, 64 at most; autovacuum may write too.
        assert group.syncs == 4
        assert commits < 20
        assert len({session.id for session in sessions}) == 200
        assert await scope.conversation_sessions.count() == 200


async def test_without_asking_every_write_is_a_commit_of_its_own(
    migrated: IsolatedDatabase, ada: User
) -> None:
    async with connected(migrated.dsn(), **PATIENT, **ONE_OF_EACH) as database:
        scope = database.as_user(ada.id)
        before = transactions(migrated)
        await asyncio.gather(*(scope.conversation_sessions.start() for _ in range(50)))
        assert transactions(migrated) - before >= 50
        assert figures(database, "group commit")[0].calls == 0


async def test_writes_that_are_asked_for_during_a_commit_go_together_after_it(
    migrated: IsolatedDatabase, ada: User
) -> None:
    slow = writing("SELECT pg_sleep(0.1)::text")
    async with connected(migrated.dsn(), **PATIENT, **ONE_OF_EACH) as database:
        scope = database.as_user(ada.id).group_commit()
        first = asyncio.create_task(ask(scope, slow))
        await until(lambda: figures(database, "group commit")[0].in_flight == 1)
        writes = []
        for _ in range(20):
            # Each in a tick of its own.
            writes.append(asyncio.create_task(scope.conversation_sessions.start()))
            await asyncio.sleep(0)
        await asyncio.gather(first, *writes)
        assert figures(database, "group commit")[0].syncs == 2


async def test_a_failing_member_fails_alone(migrated: IsolatedDatabase, ada: User) -> None:
    async with connected(migrated.dsn("clonedb_worker"), **PATIENT, **ONE_OF_EACH) as database:
        grouping = database.group_commit()
        scope = grouping.as_user(ada.id)
        ids = [new_id() for _ in range(40)]
        calls: list[Any] = []
        for number, id in enumerate(ids):
            kind = number % 10
            session = NewSession(id=id, voice_model_id=new_id() if kind == 3 else None)
            if kind == 5:
                calls.append(grouping.users.create(NewUser(email="ADA@example.com")))
            elif kind == 7:
                calls.append(ask(scope, writing("SELECT 1 / 0")))
            else:
                calls.append(scope.conversation_sessions.create(session))
        with through_channels_alone(database):
            outcomes = await asyncio.gather(*calls, return_exceptions=True)
        kinds = {3: NotFound, 5: AlreadyExists, 7: InvalidInput}
        for number, outcome in enumerate(outcomes):
            assert isinstance(outcome, kinds.get(number % 10, ConversationSession)), outcome
            if isinstance(outcome, ConversationSession):
                assert outcome.id == ids[number]
        found = await scope.conversation_sessions.find_many(limit=100)
        assert {session.id for session in found.items} == {
            id for number, id in enumerate(ids) if number % 10 not in kinds
        }


async def test_a_member_that_fails_at_the_commit_fails_alone(
    migrated: IsolatedDatabase, ada: User
) -> None:
    with as_superuser(migrated) as connection:
        connection.execute(
            "CREATE TABLE clonedb.deferred (id int PRIMARY KEY, n int, "
            "CONSTRAINT n_is_unique UNIQUE (n) DEFERRABLE INITIALLY DEFERRED)"
        )
        connection.execute("GRANT SELECT, INSERT ON clonedb.deferred TO clonedb_worker")
    insert = writing(
        "INSERT INTO clonedb.deferred VALUES ($1::int, $2::int) RETURNING id", "id", "n"
    )
    async with connected(migrated.dsn("clonedb_worker"), **PATIENT, **ONE_OF_EACH) as database:
        for scope in (database, database.group_commit()):
            base = 100 if scope is database else 200
            outcomes = await asyncio.gather(
                *(
                    ask_one(scope, insert, base + number, base if number == 5 else base + number)
                    for number in range(10)
                ),
                return_exceptions=True,
            )
            assert isinstance(outcomes[5], AlreadyExists)
            assert [outcome for outcome in outcomes if isinstance(outcome, int)] == [
                base + number for number in range(10) if number != 5
            ]
        stored = await ask_one(database, reading("SELECT count(*) FROM clonedb.deferred"))
        assert stored == 18


async def test_a_member_that_meets_a_locked_row_does_not_doom_the_others(
    migrated: IsolatedDatabase, ada: User, grace: User
) -> None:
    async with connected(migrated.dsn("clonedb_worker"), **ONE_OF_EACH) as database:
        grouping = database.group_commit()
        with as_superuser(migrated) as locker, locker.transaction():
            locker.execute("SELECT FROM clonedb.users WHERE id = %s FOR UPDATE", [ada.id])
            blocked = asyncio.create_task(grouping.users.update(ada.id, UserPatch(name="late")))
            others = await asyncio.gather(
                *(grouping.users.create(NewUser(email=f"{n}@example.com")) for n in range(10)),
                *(grouping.users.update(grace.id, UserPatch(name="Grace H.")) for _ in range(5)),
            )
            # Answered means stored.
            stored = locker.execute("SELECT count(*) FROM clonedb.users").fetchone()
            assert stored == (12,)
            assert {user.name for user in others[10:]} == {"Grace H."}
            await someone_waits_for_a_lock(migrated)
            assert not blocked.done()
        assert (await blocked).name == "late"


async def test_every_member_gets_its_own_answer_as_its_own_user(
    migrated: IsolatedDatabase, worker: Database
) -> None:
    users = await worker.users.create_many(
        [NewUser(email=f"{number}@example.com") for number in range(20)]
    )
    async with connected(migrated.dsn(), **PATIENT, **ONE_OF_EACH) as database:
        scopes = [database.as_user(user.id).group_commit() for user in users]
        sessions = await asyncio.gather(*(scope.conversation_sessions.start() for scope in scopes))

        async def record(scope: UserScope, session: ConversationSession, text: str) -> None:
            turn = await scope.conversation_sessions.record_turn(
                session.id, NewTurn(user_transcript=text, llm_response="b")
            )
            assert turn.user_transcript == text

        with through_channels_alone(database):
            await asyncio.gather(
                *(
                    record(scope, session, f"{scope.user_id} {number}")
                    for number in range(5)
                    for scope, session in zip(scopes, sessions, strict=True)
                )
            )
            # Nobody writes for another: row-level security is on in a group too.
            refused = await asyncio.gather(
                *(
                    record(scope, session, "stolen")
                    for scope, session in zip(scopes, sessions[1:], strict=False)
                ),
                return_exceptions=True,
            )
        assert all(isinstance(outcome, NotFound) for outcome in refused)
        for scope, session in zip(scopes, sessions, strict=True):
            found = await scope.conversation_sessions.with_turns(session.id)
            assert found is not None
            assert sorted(turn.user_transcript for turn in found.turns) == [
                f"{scope.user_id} {number}" for number in range(5)
            ]


async def test_groups_of_two_processes_over_the_same_rows_do_not_deadlock(
    migrated: IsolatedDatabase, worker: Database
) -> None:
    users = await worker.users.create_many(
        [NewUser(email=f"{number}@example.com") for number in range(15)]
    )
    sessions = {
        user.id: await worker.as_user(user.id).conversation_sessions.start() for user in users
    }
    dsn = migrated.dsn("clonedb_worker")

    def writes(database: Database, kind: int) -> list[Awaitable[Any]]:
        """Of each user, or each key, one; different statements that lock the same rows."""
        scopes = [database.as_user(user.id).group_commit() for user in users]
        if kind == 0:
            return [scope.users.update(scope.user_id, UserPatch(name="new")) for scope in scopes]
        if kind == 1:
            return [scope.users.add_minutes(scope.user_id, Decimal(1)) for scope in scopes]
        if kind == 2:
            return [
                scope.conversation_sessions.update(
                    sessions[scope.user_id].id, SessionPatch(llm_provider="claude-3-opus")
                )
                for scope in scopes
            ]
        if kind == 3:
            new = NewTurn(user_transcript="a", llm_response="b")
            return [
                scope.conversation_sessions.record_turn(sessions[scope.user_id].id, new)
                for scope in scopes
            ]
        if kind == 4:
            embedding = database.group_commit().caches.embedding
            return [
                embedding.put(bytes([n] * 32), embedding=[1.0], model="small") for n in range(15)
            ]
        return [scope.rate_limits.take("talk") for scope in scopes]

    await worker.rate_limit_rules.put(
        NewRateLimitRule(scope="user", endpoint="talk", capacity=1000, refill_per_second=1)
    )
    # Two Databases have no connection in common, like two processes.
    async with (
        connected(dsn, **PATIENT, **ONE_OF_EACH) as one,
        connected(dsn, **PATIENT, **ONE_OF_EACH) as two,
    ):

        async def write(database: Database, kinds: tuple[int, int], backwards: bool) -> None:
            for time in range(4):
                calls = writes(database, kinds[time % 2])
                await asyncio.gather(*(calls[::-1] if backwards else calls))

        for kinds in ((0, 1), (2, 3), (4, 4), (5, 5)):
            await asyncio.gather(write(one, kinds, False), write(two, kinds[::-1], True))
            for database in (one, two):
                alone = sum(channel.calls for channel in figures(database, "write"))
                assert alone == 0, f"{kinds}: a group was broken up"
        for database in (one, two):
            assert figures(database, "group commit")[0].syncs == 16


async def test_inside_a_transaction_nothing_is_grouped(
    migrated: IsolatedDatabase, ada: User
) -> None:
    async with connected(migrated.dsn(), **PATIENT, **ONE_OF_EACH) as database:
        scope = database.as_user(ada.id).group_commit()
        with pytest.raises(ZeroDivisionError):
            async with scope.transaction() as transaction:
                await asyncio.gather(*(transaction.conversation_sessions.start() for _ in range(5)))
                raise ZeroDivisionError
        assert figures(database, "group commit")[0].calls == 0
        assert await scope.conversation_sessions.count() == 0
