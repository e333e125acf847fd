"""A lock that one caller waits for holds up nobody else: there is no deadlock through a channel."""

from __future__ import annotations

import asyncio

import pytest
from channels import ONE_OF_EACH, ask_one, connected, through_channels_alone, writing
from ground import as_superuser, someone_waits_for_a_lock

from clonedb import NewUser, Unavailable, User, UserPatch
from clonedb.testing import IsolatedDatabase

# Nothing but the lock timeout lets a statement go.
LOCKS_ALONE = {**ONE_OF_EACH, "channel_statement_timeout": 600}


@pytest.mark.parametrize("grouping", [False, True], ids=["alone", "grouped"])
async def test_the_holder_of_a_lock_goes_on_while_an_update_of_its_row_is_in_its_channel(
    migrated: IsolatedDatabase, ada: User, grace: User, grouping: bool
) -> None:
    async with connected(migrated.dsn("clonedb_worker"), **LOCKS_ALONE) as database:
        holder, other = database.as_user(ada.id), database.as_user(grace.id)
        blocked_as, other_as = holder, other
        if grouping:
            blocked_as, other_as = holder.group_commit(), other.group_commit()
        async with holder.transaction() as transaction:
            await transaction.users.update(ada.id, UserPatch(name="held"))
            blocked = [
                asyncio.create_task(blocked_as.users.update(ada.id, UserPatch(name=str(number))))
                for number in range(4)
            ]
            await asyncio.sleep(0)
            # All of this is behind the blocked ones in the same channels: what the holder needs
            # before it can commit, and what has nothing to do with any of it.
            session, seen, *renamed = await asyncio.gather(
                holder.conversation_sessions.start(),
                holder.users.get_by_id(ada.id),
                *(other_as.users.update(grace.id, UserPatch(name="Grace H.")) for _ in range(4)),
            )
            assert seen == ada
            assert (await holder.conversation_sessions.get_by_id(session.id)) == session
            assert {user.name for user in renamed} == {"Grace H."}
            assert not any(task.done() for task in blocked)
            await transaction.users.update(ada.id, UserPatch(speaking_style="held"))
        names = {user.name for user in await asyncio.gather(*blocked)}
        assert names == {"0", "1", "2", "3"}
        last = await holder.users.get_by_id(ada.id)
        assert (last.name in names, last.speaking_style) == (True, "held")


async def test_a_read_that_meets_a_locked_table_holds_up_no_other_read(
    migrated: IsolatedDatabase, ada: User
) -> None:
    async with connected(migrated.dsn(), **LOCKS_ALONE) as database:
        scope = database.as_user(ada.id)
        with as_superuser(migrated) as migrator, migrator.transaction():
            migrator.execute("LOCK clonedb.conversation_sessions")
            blocked = asyncio.create_task(scope.conversation_sessions.count())
            found = await asyncio.gather(*(scope.users.get_by_id(ada.id) for _ in range(10)))
            assert found == [ada] * 10
            await someone_waits_for_a_lock(migrated)
            assert await scope.users.get_by_id(ada.id) == ada
            assert not blocked.done()
        assert await blocked == 0


async def test_an_insert_that_waits_for_anothers_unique_value_holds_up_nobody(
    migrated: IsolatedDatabase,
) -> None:
    async with connected(migrated.dsn("clonedb_worker"), **LOCKS_ALONE) as database:
        async with database.transaction() as transaction:
            mine = await transaction.users.create(NewUser(email="ada@example.com"))
            twin = asyncio.create_task(database.users.create(NewUser(email="ADA@example.com")))
            others = await asyncio.gather(
                *(database.users.create(NewUser(email=f"{n}@example.com")) for n in range(10))
            )
            assert len(others) == 10
            assert not twin.done()
            await transaction.users.hard_delete(mine.id)
        assert (await twin).email == "ADA@example.com"


async def test_a_write_that_met_a_lock_is_done_once(migrated: IsolatedDatabase, ada: User) -> None:
    count = writing(
        "UPDATE clonedb.users AS u SET settings = jsonb_set(u.settings, '{n}', "
        "to_jsonb(coalesce((u.settings->>'n')::int, 0) + 1)) RETURNING (u.settings->>'n')::int"
    )
    async with connected(migrated.dsn(), **LOCKS_ALONE) as database:
        scope = database.as_user(ada.id)
        with as_superuser(migrated) as locker, locker.transaction():
            locker.execute("SELECT FROM clonedb.users FOR UPDATE")
            calls = [
                asyncio.create_task(ask_one(own, count))
                for _ in range(10)
                for own in (scope, scope.group_commit())
            ]
            # Each of them has given up in its channel, and waits on the pool.
            await someone_waits_for_a_lock(migrated, waiters=10)
        assert sorted(await asyncio.gather(*calls)) == list(range(1, 21))


async def test_calls_go_on_while_a_transaction_holds_the_pools_last_connection(
    migrated: IsolatedDatabase, ada: User
) -> None:
    async with connected(
        migrated.dsn(), maximum_connections=1, pool_timeout=0.3, **LOCKS_ALONE
    ) as database:
        scope = database.as_user(ada.id)
        async with scope.transaction() as transaction:
            await transaction.users.update(ada.id, UserPatch(name="held"))
            with through_channels_alone(database):
                assert await scope.users.get_by_id(ada.id) == ada
                session = await scope.conversation_sessions.start()
                grouped = await scope.group_commit().conversation_sessions.start()
                assert session != grouped
            with pytest.raises(Unavailable, match="no connection became free"):
                async with scope.transaction():
                    pass
            # It needs the pool because its row is locked, and says so in time.
            with pytest.raises(Unavailable, match="no connection became free"):
                await scope.users.update(ada.id, UserPatch(name="never"))
        assert (await scope.users.get_by_id(ada.id)).name == "held"
        assert await scope.conversation_sessions.count() == 2
