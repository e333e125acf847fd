"""Erasing a person: who is, who is not, when, and what the receipt says."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from canaries import rows_of, stored, where
from ground import as_superuser, someone_waits_for_a_lock

from clonedb import (
    ClonedbError,
    Database,
    NewTurn,
    NotFound,
    ObjectStore,
    PermissionDenied,
    User,
    UserScope,
    new_id,
)
from clonedb.maintenance import maintain
from clonedb.privacy import close_receipts, count_rows, erase_user, export_user
from clonedb.privacy.erasure import erase
from clonedb.testing import IsolatedDatabase

NOW = timedelta(0)


async def test_a_dry_run_counts_what_goes_and_changes_nothing(
    worker: Database, as_ada: UserScope, ada: User, migrated: IsolatedDatabase
) -> None:
    session = await as_ada.conversation_sessions.start()
    for number in range(3):
        turn = NewTurn(user_transcript=str(number), llm_response="yes")
        await as_ada.conversation_sessions.record_turn(session.id, turn)
    before = stored(migrated)
    counts = await count_rows(worker, ada.id)
    assert counts == {"users": 1, "conversation_sessions": 1, "conversation_turns": 3}
    assert stored(migrated) == before
    receipt = await erase_user(worker, ada.id)
    assert receipt.row_counts == counts


async def test_a_receipt_is_given_once_and_remembered(
    worker: Database, ada: User, grace: User, migrated: IsolatedDatabase
) -> None:
    first = await erase_user(worker, ada.id)
    assert first.outcome == "erased"
    assert first.closed_at is not None
    again = await erase_user(worker, str(ada.id).upper())
    assert again.outcome == "already_erased"
    assert (again.id, again.digest, again.erased_at) == (first.id, first.digest, first.erased_at)
    assert again.row_counts == {"users": 1}
    with as_superuser(migrated) as connection:
        # The digest is of what it says it is of, and nothing in it is the person's id.
        assert connection.execute(
            "SELECT digest = clonedb.receipt_digest(id, user_digest, erased_at, row_counts), "
            "user_digest = sha256(uuid_send(%s)), open_user_id FROM clonedb.erasures",
            [ada.id],
        ).fetchall() == [(True, True, None)]
    assert await worker.users.find_by_id(grace.id) is not None


async def test_somebody_who_was_never_there_is_no_erasure(
    worker: Database, ada: User, migrated: IsolatedDatabase
) -> None:
    before = stored(migrated)
    for attempt in (erase_user, count_rows):
        with pytest.raises(NotFound, match="does not exist"):
            await attempt(worker, new_id())
    assert stored(migrated) == before


async def test_a_receipt_is_closed_when_the_objects_are_gone(
    worker: Database, ada: User, tmp_path: Path
) -> None:
    store = ObjectStore(tmp_path / "objects")
    await store.of(worker.as_user(ada.id)).put("document", "a", b"a")
    receipt = await erase_user(worker, ada.id)
    assert receipt.closed_at is None
    assert (await close_receipts(worker)).still_open == 1
    steps = {step.step: step.rows async for step in maintain(worker, object_store=store)}
    assert steps["stored_objects"] == steps["erasure_receipts"] == 1
    assert (await erase_user(worker, ada.id)).closed_at is not None
    assert [path for path in (tmp_path / "objects").rglob("*") if path.is_file()] == []


async def test_a_receipt_waits_for_objects_that_were_deleted_before_too(
    worker: Database, ada: User, tmp_path: Path
) -> None:
    store = ObjectStore(tmp_path / "objects")
    mine = store.of(worker.as_user(ada.id))
    await mine.put("document", "a", b"a")
    assert await mine.delete("document", "a")
    assert (await erase_user(worker, ada.id)).closed_at is None
    assert (await close_receipts(worker)).still_open == 1
    steps = {step.step: step.rows async for step in maintain(worker, object_store=store)}
    assert steps["stored_objects"] == steps["erasure_receipts"] == 1
    assert [path for path in (tmp_path / "objects").rglob("*") if path.is_file()] == []


async def test_an_erasure_while_turns_are_recorded_leaves_none(
    app: Database,
    worker: Database,
    ada: User,
    grace: User,
    migrated: IsolatedDatabase,
) -> None:
    refused: list[ClonedbError] = []
    recorded = asyncio.Event()

    async def converse(user: User, *, until_refused: bool) -> int:
        scope = app.as_user(user.id)
        turns = 0
        try:
            session = await scope.conversation_sessions.start()
            while until_refused or turns < 20:
                turn = NewTurn(user_transcript=f"turn {turns}", llm_response="yes")
                await scope.conversation_sessions.record_turn(session.id, turn)
                await scope.caches.embedding.put(new_id().bytes * 2, embedding=[1.0], model="m")
                await scope.rate_limits.take("talk")
                turns += 1
                if turns == 5:
                    recorded.set()
        except ClonedbError as error:
            refused.append(error)
        return turns

    talks = [asyncio.create_task(converse(ada, until_refused=True)) for _ in range(4)]
    other = asyncio.create_task(converse(grace, until_refused=False))
    await recorded.wait()
    receipt = await erase_user(worker, ada.id)
    turns = await asyncio.gather(*talks)
    assert await other == 20
    assert len(refused) == 4
    assert {type(error) for error in refused} <= {NotFound, PermissionDenied}
    assert receipt.closed_at is not None
    assert 5 <= receipt.row_counts["conversation_turns"] <= sum(turns) + 4
    with as_superuser(migrated) as connection:
        assert [name for name in where(connection, str(ada.id)) if "pg_stat" not in name] == []
        assert len(rows_of(connection, grace.id)["conversation_turns"]) == 20


async def test_what_a_transaction_of_before_stores_afterwards_goes_too(
    app: Database, worker: Database, ada: User, migrated: IsolatedDatabase
) -> None:
    """A snapshot from before sees the person, and a cache has no key that could refuse."""
    async with app.as_user(ada.id).transaction(isolation="repeatable read") as before:
        assert await before.users.find_by_id(ada.id) is not None
        receipt = await erase_user(worker, ada.id, patience=NOW)
        assert receipt.closed_at is None
        await before.caches.embedding.put(bytes(32), embedding=[1.0], model="m")
        assert (await close_receipts(worker)).still_open == 1
    with as_superuser(migrated) as connection:
        assert len(rows_of(connection, ada.id)["embedding_cache"]) == 1
        assert (await close_receipts(worker)).closed == 1
        assert [name for name in where(connection, str(ada.id)) if "pg_stat" not in name] == []


async def test_a_session_that_begins_meanwhile_waits_and_is_refused(
    app: Database, worker: Database, ada: User, migrated: IsolatedDatabase
) -> None:
    async with worker.transaction() as erasing:
        assert await erasing.users.hard_delete(ada.id) is True
        starting = asyncio.create_task(app.as_user(ada.id).conversation_sessions.start())
        await someone_waits_for_a_lock(migrated)
    with pytest.raises((NotFound, PermissionDenied)):
        await starting


async def test_the_app_login_erases_its_own_user_and_nobody_else(
    app: Database, ada: User, grace: User, worker: Database
) -> None:
    for attempt in (erase_user, count_rows):
        with pytest.raises((NotFound, PermissionDenied)):
            await attempt(app, ada.id)
    assert await app.users.hard_delete(ada.id) is False
    assert await app.as_user(grace.id).users.hard_delete(ada.id) is False
    assert await worker.users.find_by_id(ada.id) is not None
    assert await app.as_user(ada.id).users.hard_delete(ada.id) is True
    assert await worker.users.find_by_id(ada.id) is None
    with pytest.raises(PermissionDenied):
        await close_receipts(app)


async def test_one_who_is_restored_at_that_moment_stays(
    worker: Database, ada: User, migrated: IsolatedDatabase
) -> None:
    await worker.users.delete(ada.id)
    async with worker.transaction() as restoring:
        await restoring.users.restore(ada.id)
        over = datetime.now(UTC)
        erasing = asyncio.create_task(erase(worker, ada.id, deleted_before=over))
        await someone_waits_for_a_lock(migrated)
    assert await erasing is None
    assert await worker.users.find_by_id(ada.id) is not None


async def test_a_table_that_is_added_is_erased_and_counted(
    worker: Database, ada: User, grace: User, migrated: IsolatedDatabase
) -> None:
    """Also one without a foreign key, or below one that refuses: the catalogue has the order."""
    with as_superuser(migrated) as connection:
        connection.execute(
            "SET ROLE clonedb_owner;"
            "CREATE UNLOGGED TABLE clonedb.notes (user_id uuid, words json);"
            "CREATE TABLE clonedb.books (owner uuid REFERENCES clonedb.users (id), "
            "name text PRIMARY KEY);"
            "CREATE TABLE clonedb.pages (user_id uuid, book text REFERENCES clonedb.books (name));"
            "RESET ROLE"
        )
        for user in (ada, grace):
            connection.execute("INSERT INTO clonedb.notes VALUES (%s, '[]')", [user.id])
            connection.execute("INSERT INTO clonedb.books VALUES (%s, %s)", [user.id, user.name])
            connection.execute("INSERT INTO clonedb.pages VALUES (%s, %s)", [user.id, user.name])
        receipt = await erase_user(worker, ada.id)
        assert receipt.row_counts == {"users": 1, "notes": 1, "books": 1, "pages": 1}
        for table in ("notes", "books", "pages"):
            assert len(rows_of(connection, grace.id)[table]) == 1


@pytest.mark.parametrize("state", ["detached", "half detached"])
async def test_a_month_that_its_table_does_not_show_is_counted_exported_and_erased(
    state: str,
    worker: Database,
    ada: User,
    grace: User,
    migrated: IsolatedDatabase,
    tmp_path: Path,
) -> None:
    for user in (grace, ada):
        mine = worker.as_user(user.id).conversation_sessions
        session = await mine.start(llm_provider="gpt-4-turbo")
        await mine.record_turn(session.id, NewTurn(user_transcript="Hello", llm_response="Hm"))
    with as_superuser(migrated) as connection:
        month = connection.execute(
            "SELECT DISTINCT t.tableoid::regclass::text FROM clonedb.conversation_turns AS t"
        ).fetchone()
        assert month is not None
        name = str(month[0])
        relation = name.removeprefix("clonedb.")
        connection.execute(
            f"ALTER TABLE clonedb.conversation_turns DETACH PARTITION {name}".encode()
            if state == "detached"
            # As a DETACH CONCURRENTLY leaves it that is killed between its two transactions.
            else f"UPDATE pg_inherits SET inhdetachpending = true "
            f"WHERE inhrelid = '{name}'::regclass".encode()
        )
        assert await mine.count_turns(session) == 0
        counts = await count_rows(worker, ada.id)
        assert (counts[relation], counts["conversation_sessions"]) == (1, 1)
        exported = await export_user(worker, ada.id, tmp_path / "ada.zip")
        assert exported.rows[relation] == 1
        receipt = await erase_user(worker, ada.id)
        assert receipt.row_counts[relation] == 1
        left = connection.execute(f"SELECT user_id FROM {name}".encode()).fetchall()
        assert left == [(grace.id,)]
        connection.execute("UPDATE pg_inherits SET inhdetachpending = false WHERE inhdetachpending")
