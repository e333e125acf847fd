"""What a transaction promises."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress

import pytest

from clonedb import (
    Database,
    InvalidInput,
    NewSession,
    NewTurn,
    NewUser,
    NotFound,
    PermissionDenied,
    TransactionAborted,
    User,
    UserFilter,
    UserPatch,
    UserScope,
    new_id,
)


async def test_a_transaction_that_raises_stores_nothing(as_ada: UserScope) -> None:
    with pytest.raises(ZeroDivisionError):
        async with as_ada.transaction() as tx:
            await tx.conversation_sessions.start()
            raise ZeroDivisionError
    assert await as_ada.conversation_sessions.count() == 0


async def test_a_transaction_is_invisible_to_others_until_it_ends(
    app: Database, as_ada: UserScope
) -> None:
    async with as_ada.transaction() as tx:
        session = await tx.conversation_sessions.start()
        assert await tx.conversation_sessions.find_by_id(session.id) == session
        assert await as_ada.conversation_sessions.find_by_id(session.id) is None
    assert await as_ada.conversation_sessions.find_by_id(session.id) == session


async def test_a_savepoint_is_undone_alone(as_ada: UserScope) -> None:
    async with as_ada.transaction() as tx:
        kept = await tx.conversation_sessions.start()
        with pytest.raises(NotFound):
            async with tx.transaction() as inner:
                await inner.conversation_sessions.start()
                await inner.conversation_sessions.record_turn(
                    new_id(), NewTurn(user_transcript="?", llm_response="!")
                )
        # The savepoint took its own context with it; the transaction's goes on.
        later = await tx.conversation_sessions.start()
    page = await as_ada.conversation_sessions.find_many(order="oldest")
    assert [session.id for session in page.items] == [kept.id, later.id]


async def test_a_server_error_inside_a_savepoint_leaves_the_transaction_usable(
    as_ada: UserScope,
) -> None:
    async with as_ada.transaction() as tx:
        with pytest.raises(NotFound):
            async with tx.transaction() as inner:
                await inner.conversation_sessions.create(NewSession(voice_model_id=new_id()))
        await tx.conversation_sessions.start()
    assert await as_ada.conversation_sessions.count() == 1


async def test_a_swallowed_error_is_not_committed_as_if_nothing_had_happened(
    as_ada: UserScope,
) -> None:
    with pytest.raises(TransactionAborted):
        async with as_ada.transaction() as tx:
            await tx.conversation_sessions.start()
            with pytest.raises(NotFound):
                await tx.conversation_sessions.create(NewSession(voice_model_id=new_id()))
    assert await as_ada.conversation_sessions.count() == 0


async def test_after_a_swallowed_error_every_call_says_so(as_ada: UserScope) -> None:
    with pytest.raises(TransactionAborted):
        async with as_ada.transaction() as tx:
            with pytest.raises(NotFound):
                await tx.conversation_sessions.create(NewSession(voice_model_id=new_id()))
            await tx.conversation_sessions.count()


async def test_repeatable_read_sees_one_moment(as_ada: UserScope) -> None:
    async with as_ada.transaction(isolation="repeatable read") as tx:
        before = await tx.conversation_sessions.count()
        await as_ada.conversation_sessions.start()
        assert await tx.conversation_sessions.count() == before


async def test_read_only_refuses_writes(as_ada: UserScope) -> None:
    with pytest.raises(PermissionDenied, match="read-only"):
        async with as_ada.transaction(read_only=True) as tx:
            await tx.conversation_sessions.start()


async def test_a_savepoint_has_no_isolation_of_its_own(as_ada: UserScope) -> None:
    async with as_ada.transaction() as tx:
        with pytest.raises(InvalidInput, match="savepoint"):
            async with tx.transaction(isolation="serializable"):
                pass


async def test_a_transaction_changes_user_without_mixing_them(worker: Database) -> None:
    async with worker.transaction() as tx:
        ada = await tx.users.create(NewUser(email="ada@example.com"))
        grace = await tx.users.create(NewUser(email="grace@example.com"))
        of_ada = await tx.as_user(ada.id).conversation_sessions.start()
        of_grace = await tx.as_user(grace.id).conversation_sessions.start()
        assert await tx.as_user(grace.id).conversation_sessions.find_by_id(of_ada.id) is None
        assert await tx.as_user(ada.id).conversation_sessions.find_by_id(of_grace.id) is None
        assert await tx.users.count() == 2


async def test_calls_gathered_in_one_transaction_take_turns(as_ada: UserScope) -> None:
    async with as_ada.transaction() as tx:
        sessions = await asyncio.gather(*(tx.conversation_sessions.start() for _ in range(20)))
        assert await tx.conversation_sessions.count() == 20
    assert len({session.id for session in sessions}) == 20


async def test_a_scope_is_dead_after_its_transaction(as_ada: UserScope) -> None:
    async with as_ada.transaction() as tx:
        pass
    with pytest.raises(InvalidInput, match="has ended"):
        await tx.conversation_sessions.count()


async def test_a_call_during_a_stream_on_the_same_transaction_is_refused(
    as_ada: UserScope,
) -> None:
    session = await as_ada.conversation_sessions.start()
    for _ in range(3):
        await as_ada.conversation_sessions.record_turn(
            session.id, NewTurn(user_transcript="a", llm_response="b")
        )
    async with as_ada.transaction() as tx:
        numbers = []
        async for turn in tx.conversation_sessions.stream_turns():
            numbers.append(turn.turn_number)
            with pytest.raises(InvalidInput, match="stream"):
                await tx.conversation_sessions.count()
        assert numbers == [1, 2, 3]
        assert await tx.conversation_sessions.count() == 1


async def test_a_cancelled_caller_rolls_back_and_gives_its_connection_back(
    ada: User, app: Database
) -> None:
    async with Database(app.settings.dsn, maximum_connections=1) as single:
        scope = single.as_user(ada.id)
        inside = asyncio.Event()

        async def hold() -> None:
            async with scope.transaction() as tx:
                await tx.conversation_sessions.start()
                inside.set()
                await asyncio.Event().wait()

        task = asyncio.create_task(hold())
        await inside.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await scope.conversation_sessions.count() == 0


async def test_the_login_of_the_app_may_not_raise_a_tier(app: Database, ada: User) -> None:
    scope = app.as_user(ada.id)
    with pytest.raises(PermissionDenied):
        await app.users.set_tier(ada.id, "enterprise")
    await scope.users.update(ada.id, UserPatch(name="Ada L."))
    found = await scope.users.find_one(UserFilter())
    assert found is not None
    assert (found.name, found.subscription_tier) == ("Ada L.", "free")


async def test_a_cancelled_call_of_one_user_leaves_no_context_for_another(
    app: Database, ada: User, grace: User
) -> None:
    chance = random.Random(7)
    cancelled = 0
    for _ in range(150):
        # The cancelled call may have aborted the transaction; that is an error, and no wrong row.
        with suppress(TransactionAborted):
            async with app.transaction() as tx:
                assert await tx.as_user(ada.id).users.find_by_id(ada.id) == ada
                try:
                    async with asyncio.timeout(chance.uniform(0, 0.0015)):
                        await tx.as_user(grace.id).users.get_by_id(grace.id)
                except TimeoutError:
                    cancelled += 1
                assert await tx.as_user(ada.id).users.find_by_id(ada.id) == ada
    assert cancelled, "no call was cancelled: the test has shown nothing"


@pytest.mark.parametrize("round_", range(3))
async def test_calls_gathered_with_one_that_fails_are_undone_with_it(
    app: Database, ada: User, round_: int
) -> None:
    async with Database(app.settings.dsn, maximum_connections=1) as single:
        scope = single.as_user(ada.id)
        for _ in range(15):
            with pytest.raises(NotFound):
                async with scope.transaction() as tx:
                    sessions = tx.conversation_sessions
                    await asyncio.gather(
                        sessions.create(NewSession(voice_model_id=new_id())),
                        *(sessions.start() for _ in range(6)),
                    )
            assert await scope.conversation_sessions.count() == 0


async def test_calls_gathered_in_a_failed_savepoint_do_not_land_in_the_transaction(
    as_ada: UserScope,
) -> None:
    for _ in range(15):
        async with as_ada.transaction() as tx:
            with pytest.raises(NotFound):
                async with tx.transaction() as inner:
                    sessions = inner.conversation_sessions
                    await asyncio.gather(
                        sessions.create(NewSession(voice_model_id=new_id())),
                        *(sessions.start() for _ in range(6)),
                    )
            assert await tx.conversation_sessions.count() == 0
    assert await as_ada.conversation_sessions.count() == 0


async def test_gathered_calls_that_time_out_leave_the_pool_whole(app: Database, ada: User) -> None:
    chance = random.Random(11)
    async with Database(app.settings.dsn, maximum_connections=2) as database:
        scope = database.as_user(ada.id)
        for _ in range(60):
            with suppress(TimeoutError):
                async with asyncio.timeout(chance.uniform(0, 0.01)), scope.transaction() as tx:
                    await asyncio.gather(*(tx.conversation_sessions.start() for _ in range(5)))
                    raise TimeoutError
            assert await scope.conversation_sessions.count() == 0


async def test_a_stream_left_unfinished_ends_its_transaction(as_ada: UserScope) -> None:
    session = await as_ada.conversation_sessions.start()
    for _ in range(3):
        await as_ada.conversation_sessions.record_turn(
            session.id, NewTurn(user_transcript="a", llm_response="b")
        )
    with pytest.raises(TransactionAborted, match="stream"):
        async with as_ada.transaction() as tx:
            await tx.conversation_sessions.start()
            left = tx.conversation_sessions.stream_turns()
            await anext(left)
    await left.aclose()
    assert await as_ada.conversation_sessions.count() == 1
