"""Whoever stores an entry or fills it locks the lease first, so that they cannot deadlock."""

from __future__ import annotations

import asyncio

import pytest
from cached import KINDS, Kind, key_of
from ground import as_superuser, someone_waits_for_a_lock

from clonedb import Database, User
from clonedb.testing import IsolatedDatabase


@pytest.mark.parametrize("kind", KINDS, ids=[kind.name for kind in KINDS])
async def test_a_put_that_waits_for_the_lease_holds_no_entry(
    kind: Kind, worker: Database, ada: User, migrated: IsolatedDatabase
) -> None:
    mine = worker.as_user(ada.id)
    await kind.put(mine, key_of("a"), 1)
    with as_superuser(migrated) as connection:
        connection.execute(
            "INSERT INTO clonedb.cache_fill_leases (user_id, cache, key, holder, expires_at) "
            "VALUES (%s, %s, %s, clonedb.uuid_v7(), now() + interval '1 minute')",
            [ada.id, kind.name, key_of("a")],
        )
        connection.execute("BEGIN")
        connection.execute("SELECT FROM clonedb.cache_fill_leases FOR UPDATE")
        putting = asyncio.ensure_future(kind.put(mine, key_of("a"), 2))
        await someone_waits_for_a_lock(migrated)
        # What a fill does next; it would wait for the put, which waits for it.
        connection.execute("SET LOCAL lock_timeout = '1s'")
        filled = connection.execute(
            f"UPDATE clonedb.{kind.name}_cache SET updated_at = now() WHERE user_id = %s".encode(),
            [ada.id],
        )
        assert filled.rowcount == 1
        connection.execute("COMMIT")
    await putting
