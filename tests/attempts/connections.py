"""Attempts to find what somebody has left on a connection that is used again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress
from typing import Any

import psycopg
import pytest
from bouncing import IS_INSTALLED, running_pgbouncer, through
from channels import ONE_OF_EACH, PATIENT, POOL_ALONE, ask, connected, reading

from attempts.scene import Scene
from clonedb import ClonedbError, Database, InvalidInput, UserPatch, UserScope, new_id

WHO = reading("SELECT current_setting('clonedb.user_id', true), count(*) FROM clonedb.users")
BREAK = reading("SELECT 1 / $1::int", "by")
SLEEP = reading("SELECT pg_sleep(10)::text")

NOBODY = ([("", 0)], [(None, 0)])


async def _follows(database: Database, scene: Scene, calls: Any) -> bool:
    """Whether a call without a user finds one after each of the calls as Ada."""
    hers = database.as_user(scene.ada)
    for call in calls:
        with suppress(ClonedbError, TimeoutError):
            await call(hers)
        if await ask(database, WHO) not in NOBODY:
            return True
        if await database.as_user(scene.grace).users.find_by_id(scene.ada) is not None:
            return True
    return False


async def _reads(hers: UserScope) -> None:
    assert (await ask(hers, WHO))[0][1] == 1


async def _writes(hers: UserScope) -> None:
    # Nothing is changed: a patch of nothing but the time of no row of hers.
    assert not await hers.conversation_sessions.delete(new_id())


async def _transacts(hers: UserScope) -> None:
    async with hers.transaction() as tx:
        assert await tx.users.count() == 1


async def _fails(hers: UserScope) -> None:
    await ask(hers, BREAK, 0)


async def _is_invalid(hers: UserScope) -> None:
    with pytest.raises(InvalidInput):
        await hers.users.update(hers.user_id or new_id(), UserPatch(email="nobody"))


async def _times_out(hers: UserScope) -> None:
    await ask(hers.within(0.02), SLEEP)


async def _is_cancelled(hers: UserScope) -> None:
    async with asyncio.timeout(0.02):
        await ask(hers, SLEEP)


async def _breaks_off(hers: UserScope) -> None:
    async with hers.transaction() as tx:
        await ask(tx, BREAK, 0)


async def _streams(hers: UserScope) -> None:
    async with aclosing(hers.conversation_sessions.stream_turns()) as turns:
        async for _ in turns:
            break


WELL = (_reads, _writes, _transacts, _streams)
BADLY = (_fails, _is_invalid, _times_out, _is_cancelled, _breaks_off)


async def left_on_the_pool(scene: Scene) -> bool:
    async with connected(
        scene.database.dsn(), **POOL_ALONE, minimum_connections=1, maximum_connections=1
    ) as database:
        return await _follows(database, scene, WELL)


async def left_on_a_channel(scene: Scene) -> bool:
    async with connected(scene.database.dsn(), **ONE_OF_EACH, **PATIENT) as database:
        if await _follows(database, scene, WELL):
            return True
        # Many at once, under one write to the socket.
        scopes = [database.as_user(scene.ada), database, database.as_user(scene.grace)] * 50
        found = await asyncio.gather(*(ask(each, WHO) for each in scopes))
        counts = [rows[0][1] for rows in found]
        users = [rows[0][0] or "" for rows in found]
        return counts != [1, 0, 1] * 50 or users != [str(scene.ada), "", str(scene.grace)] * 50


async def left_after_an_error(scene: Scene) -> bool:
    for lanes in (POOL_ALONE, ONE_OF_EACH):
        async with connected(scene.database.dsn(), **lanes, maximum_connections=1) as database:
            if await _follows(database, scene, BADLY):
                return True
    return False


@asynccontextmanager
async def _bounced(scene: Scene) -> AsyncIterator[tuple[str, Database]]:
    """A raw way through a pgbouncer with one server connection, and the library's."""
    if not IS_INSTALLED:
        pytest.skip("pgbouncer is not installed")
    with running_pgbouncer(scene.database, connections=1) as folder:
        dsn = through(folder, scene.database, "clonedb_app")
        async with Database(dsn, pgbouncer=True, maximum_connections=2) as database:
            yield dsn, database


RAW = "SELECT current_setting('clonedb.user_id', true), count(*) FROM clonedb.users"


async def left_behind_pgbouncer(scene: Scene) -> bool:
    async with _bounced(scene) as (dsn, database):
        hers = database.as_user(scene.ada)
        # Not the cancelled one: a cancel may come before what it is to end, which then goes on.
        for call in (*WELL, *(call for call in BADLY if call is not _is_cancelled)):
            with suppress(ClonedbError, TimeoutError):
                await call(hers)
            if await asyncio.to_thread(_ask_raw, dsn) not in NOBODY:
                return True
        return await _follows(database, scene, WELL)


# Both in a thread: the library may have the only server connection, and needs the loop to end.


def _ask_raw(dsn: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(dsn, prepare_threshold=None) as stranger:
        return stranger.execute(RAW).fetchall()


def _set_session(scene: Scene, dsn: str) -> None:
    with psycopg.connect(dsn, prepare_threshold=None, autocommit=True) as careless:
        careless.execute("SELECT set_config('clonedb.user_id', %s, false)", [str(scene.ada)])


async def careless_neighbour(scene: Scene) -> bool:
    async with _bounced(scene) as (dsn, database):
        await asyncio.to_thread(_set_session, scene, dsn)
        async with database.transaction() as tx:
            inside = await ask(tx, WHO)
        return (
            await ask(database, WHO) not in NOBODY
            or inside not in NOBODY
            or await database.users.count() != 0
            or await database.as_user(scene.grace).users.find_by_id(scene.ada) is not None
        )


async def careless_itself(scene: Scene) -> bool:
    async with _bounced(scene) as (dsn, _):
        await asyncio.to_thread(_set_session, scene, dsn)
        return await asyncio.to_thread(_ask_raw, dsn) == [(str(scene.ada), 1)]


def plan_of_another(scene: Scene) -> bool:
    """Custom and generic plans, and a cursor's, made for Ada and asked as Grace."""
    for mode in ("force_generic_plan", "force_custom_plan", "auto"):
        with scene.session(scene.ada) as app:
            app.execute("SELECT set_config('plan_cache_mode', %s, true)", [mode])
            app.execute("PREPARE hers AS SELECT t::text FROM clonedb.conversation_turns AS t")
            for _ in range(7):
                assert app.execute("EXECUTE hers").rowcount == 1
            app.execute("SELECT set_config('clonedb.user_id', %s, true)", [str(scene.grace)])
            if scene.is_hers(app.execute("EXECUTE hers").fetchall()):
                return True
            app.execute("SELECT set_config('clonedb.user_id', '', true)")
            if app.execute("EXECUTE hers").fetchall():
                return True
            app.execute("DEALLOCATE hers")
    return False
