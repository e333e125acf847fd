"""Callers who stop waiting, and statements that take too long, disturb nobody in the channel."""

from __future__ import annotations

import asyncio

import pytest
from channels import (
    ONE_OF_EACH,
    PATIENT,
    POOL_ALONE,
    ask_one,
    channels_of,
    connected,
    figures,
    reading,
    through_channels_alone,
    until,
    writing,
)
from observed import ObservedSocket, observe, server_socket

from clonedb import NewUser, Timeout, User, UserPatch
from clonedb.testing import IsolatedDatabase

ECHO = reading("SELECT $1::bigint", "number")
SLEEP = reading("SELECT pg_sleep($1::double precision)::text", "seconds")
SLEEPING_WRITE = writing("SELECT pg_sleep($1::double precision)::text", "seconds")


async def test_callers_who_are_cancelled_disturb_nobody_and_cancel_nothing(
    observed: ObservedSocket, migrated: IsolatedDatabase, ada: User
) -> None:
    async with connected(observed.through(migrated.dsn()), **PATIENT, **ONE_OF_EACH) as database:
        connections = observed.connections()
        scope = database.as_user(ada.id)
        with through_channels_alone(database):
            # All in flight behind one that takes a moment, so that every other one is cancelled
            # between its neighbours.
            slow = asyncio.create_task(ask_one(scope, SLEEP, 0.2))
            calls = [asyncio.create_task(ask_one(scope, ECHO, number)) for number in range(60)]
            await until(lambda: figures(database, "read")[0].in_flight == 61)
            for call in (slow, *calls[::2]):
                call.cancel()
            outcomes = await asyncio.gather(slow, *calls, return_exceptions=True)
            for gone in (outcomes[0], *outcomes[1::2]):
                assert isinstance(gone, asyncio.CancelledError)
            assert outcomes[2::2] == list(range(1, 60, 2))
            assert await ask_one(scope, ECHO, 99) == 99
        assert observed.cancel_requests() == 0
        assert observed.connections() == connections


async def test_the_observer_would_see_a_cancel_request(
    observed: ObservedSocket, migrated: IsolatedDatabase, ada: User
) -> None:
    async with connected(observed.through(migrated.dsn()), **POOL_ALONE) as database:
        before = len(observed.writes())
        slow = asyncio.create_task(ask_one(database, SLEEP, 30))
        await until(lambda: len(observed.writes()) > before)
        slow.cancel()
        await asyncio.gather(slow, return_exceptions=True)
        await until(lambda: observed.cancel_requests() == 1)


async def test_callers_whose_time_is_up_disturb_nobody(
    migrated: IsolatedDatabase, ada: User
) -> None:
    async with connected(migrated.dsn(), **PATIENT, **ONE_OF_EACH) as database:
        scope = database.as_user(ada.id)

        async def impatient(number: int) -> int:
            async with asyncio.timeout(0.02):
                return int(await ask_one(scope, ECHO, number))

        with through_channels_alone(database):
            slow = asyncio.create_task(ask_one(scope, SLEEP, 0.3))
            outcomes = await asyncio.gather(
                *(
                    impatient(number) if number % 2 else ask_one(scope, ECHO, number)
                    for number in range(60)
                ),
                return_exceptions=True,
            )
            assert slow.done()
        for number, outcome in enumerate(outcomes):
            if number % 2:
                assert isinstance(outcome, TimeoutError)
            else:
                assert outcome == number


async def test_a_write_that_is_cancelled_before_it_is_sent_is_never_sent(
    migrated: IsolatedDatabase, ada: User
) -> None:
    async with connected(migrated.dsn(), **PATIENT, **ONE_OF_EACH) as database:
        scope = database.as_user(ada.id)
        for own in (scope, scope.group_commit()):
            write = asyncio.create_task(own.users.update(ada.id, UserPatch(name="never")))
            await asyncio.sleep(0)
            assert sum(channel.load for channel in channels_of(database)) == 1
            write.cancel()
            with pytest.raises(asyncio.CancelledError):
                await write
        await scope.users.get_by_id(ada.id)
        sent = (*figures(database, "write"), *figures(database, "group commit"))
        assert [channel.syncs for channel in sent] == [0, 0]
        assert (await scope.users.get_by_id(ada.id)).name == "Ada"


async def test_a_cancelled_write_in_a_group_does_not_take_its_neighbours_along(
    migrated: IsolatedDatabase,
) -> None:
    async with connected(migrated.dsn("clonedb_worker"), **PATIENT, **ONE_OF_EACH) as database:
        grouping = database.group_commit()
        first = asyncio.create_task(ask_one(grouping, SLEEPING_WRITE, 0.1))
        await until(lambda: figures(database, "group commit")[0].in_flight == 1)
        calls = [
            asyncio.create_task(grouping.users.create(NewUser(email=f"{number}@example.com")))
            for number in range(20)
        ]
        await asyncio.sleep(0)
        # Half of them while they wait, a quarter when they are in flight.
        for call in calls[::2]:
            call.cancel()
        await first
        await asyncio.sleep(0)
        for call in calls[1::4]:
            call.cancel()
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        assert all(isinstance(outcome, asyncio.CancelledError) for outcome in outcomes[::2])
        assert [user.email for user in outcomes[3::4]] == [  # type: ignore[union-attr]
            f"{number}@example.com" for number in range(3, 20, 4)
        ]
        stored = {user.email for user in (await database.users.find_many(limit=100)).items}
        assert not stored & {f"{number}@example.com" for number in range(0, 20, 2)}


@pytest.mark.parametrize("kind", ["read", "write", "group"])
async def test_a_statement_that_outlasts_its_callers_timeout_is_stopped_alone(
    migrated: IsolatedDatabase, ada: User, kind: str
) -> None:
    make = reading if kind == "read" else writing
    sleep = make("SELECT pg_sleep($1::double precision)::text, $2::bigint", "seconds", "number")
    async with connected(migrated.dsn(), **PATIENT, **ONE_OF_EACH) as database:
        scope = database.as_user(ada.id)
        scope = scope.group_commit() if kind == "group" else scope
        with through_channels_alone(database):
            outcomes = await asyncio.gather(
                *(scope._lane.run(sleep, (0, number), scope._context) for number in range(5)),
                scope.within(0.05)._lane.run(sleep, (30, 5), scope.within(0.05)._context),
                # Longer than the neighbour was given.
                scope._lane.run(sleep, (0.1, 6), scope._context),
                *(scope._lane.run(sleep, (0, number), scope._context) for number in range(7, 10)),
                return_exceptions=True,
            )
        assert isinstance(outcomes.pop(5), Timeout)
        assert [outcome.rows[0][1] for outcome in outcomes] == [0, 1, 2, 3, 4, 6, 7, 8, 9]  # type: ignore[union-attr]


async def test_statements_that_are_quick_enough_one_by_one_do_not_add_up(
    migrated: IsolatedDatabase, ada: User
) -> None:
    # 100 of 0.15 s are 15 s in one channel. Closing waits for what is in flight, but no longer.
    async with connected(
        migrated.dsn(),
        read_channels=1,
        minimum_connections=40,
        maximum_connections=40,
        pool_timeout=2,
    ) as database:
        slow = [asyncio.create_task(ask_one(database, SLEEP, 0.15)) for _ in range(100)]
        await asyncio.sleep(0)
        behind = await asyncio.gather(*(ask_one(database, ECHO, n) for n in range(50)))
        assert behind == list(range(50))
        (channel,) = figures(database, "read")
        # By then the server has done but a few of them in the channel.
        assert channel.in_flight > 50
        # And nobody is sent there until it is done with them.
        calls = channel.calls
        assert await ask_one(database, ECHO, 51) == 51
        assert figures(database, "read")[0].calls == calls
        assert set(await asyncio.gather(*slow)) == {""}


@pytest.mark.parametrize("kind", ["read", "write"])
async def test_a_slow_statement_goes_to_the_pool_and_its_neighbours_are_answered_before(
    migrated: IsolatedDatabase, ada: User, kind: str
) -> None:
    make = reading if kind == "read" else writing
    sleep = make("SELECT pg_sleep($1::double precision)::text", "seconds")
    echo = make("SELECT $1::bigint", "number")
    async with connected(migrated.dsn(), **ONE_OF_EACH) as database:
        slow = asyncio.create_task(ask_one(database, sleep, 2))
        neighbours = await asyncio.gather(*(ask_one(database, echo, n) for n in range(10)))
        assert neighbours == list(range(10))
        # The bound is 0.2 s; those who come later are not held up at all.
        assert await ask_one(database, echo, 11) == 11
        assert not slow.done()
        assert await slow == ""


async def test_a_slow_member_of_a_group_goes_to_the_pool_and_the_others_are_stored_before(
    migrated: IsolatedDatabase,
) -> None:
    async with connected(migrated.dsn("clonedb_worker"), **ONE_OF_EACH) as database:
        grouping = database.group_commit()
        slow = asyncio.create_task(ask_one(grouping, SLEEPING_WRITE, 2))
        await asyncio.gather(
            *(grouping.users.create(NewUser(email=f"{n}@example.com")) for n in range(10))
        )
        assert not slow.done()
        assert await database.users.count() == 10
        assert await slow == ""


async def test_a_huge_result_goes_to_the_pool_and_its_neighbours_are_answered_before(
    migrated: IsolatedDatabase, ada: User
) -> None:
    # 32 MB at 16 MB/s.
    huge = reading("SELECT repeat('x', 1048576) FROM generate_series(1, $1::int)", "rows")
    with observe(server_socket(migrated.dsn()), bytes_per_second=16 << 20) as slow_line:
        async with connected(slow_line.through(migrated.dsn()), **ONE_OF_EACH) as database:
            scope = database.as_user(ada.id)
            reading_much = asyncio.create_task(database._lane.run(huge, (32,), database._context))
            neighbours = await asyncio.gather(*(scope.users.get_by_id(ada.id) for _ in range(10)))
            assert neighbours == [ada] * 10
            assert not reading_much.done()
            outcome = await reading_much
            assert sum(len(row[0]) for row in outcome.rows) == 32 << 20
            # And the channel is of use again.
            with through_channels_alone(database):
                assert await scope.users.get_by_id(ada.id) == ada
