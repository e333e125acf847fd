"""Rows that are over: deleted where the policy is on, once, and nothing else."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from ground import as_superuser
from policies import switched_off, switched_on

from clonedb import (
    Database,
    NewDocument,
    NewFaceModel,
    NewSession,
    NewTurn,
    NewUser,
    NewVoiceModel,
    Resolution,
    User,
    UserScope,
    queries,
)
from clonedb.maintenance import UpkeepStep, maintain, what_is_over
from clonedb.privacy.erasure import erase
from clonedb.retention import delete_expired
from clonedb.testing import IsolatedDatabase

PROCESS = Path(__file__).parent / "deleting_process.py"


async def session_of(user: UserScope) -> UUID:
    session = await user.conversation_sessions.create(NewSession(llm_provider="gpt-4-turbo"))
    turn = NewTurn(user_transcript="Hello", llm_response="Hello to you")
    await user.conversation_sessions.record_turn(session.id, turn)
    return session.id


async def document_of(user: UserScope) -> UUID:
    new = NewDocument(filename="diary.txt", content_type="text/plain", size_bytes=5)
    return (await user.knowledge_documents.create(new)).id


async def voice_of(user: UserScope) -> UUID:
    new = NewVoiceModel(provider="xtts-v2", model_path="voices/1", sample_rate=24_000)
    return (await user.voice_models.create(new)).id


async def face_of(user: UserScope) -> UUID:
    new = NewFaceModel(model_path="faces/1", resolution=Resolution(width=640, height=480))
    return (await user.face_models.create(new)).id


Make = Callable[[UserScope], Awaitable[UUID]]
KINDS: dict[str, tuple[str, Make, str]] = {
    "deleted_conversation_sessions": ("conversation_sessions", session_of, "session.erase"),
    "deleted_knowledge_documents": ("knowledge_documents", document_of, "document.erase"),
    "deleted_voice_models": ("voice_models", voice_of, "voice_model.erase"),
    "deleted_face_models": ("face_models", face_of, "face_model.erase"),
}


async def run(worker: Database, days: int) -> dict[str, UpkeepStep]:
    """What upkeep does in so many days from now."""
    now = datetime.now(UTC) + timedelta(days=days)
    return {step.step: step async for step in maintain(worker, now=now)}


def ids(database: IsolatedDatabase, table: str) -> set[UUID]:
    with as_superuser(database) as connection:
        rows = connection.execute(f"SELECT id FROM clonedb.{table}".encode()).fetchall()
    return {row[0] for row in rows}


def actions(database: IsolatedDatabase, action: str) -> list[str]:
    with as_superuser(database) as connection:
        rows = connection.execute(
            "SELECT resource FROM clonedb.audit_logs WHERE action = %s AND actor_ref IS NULL",
            [action],
        ).fetchall()
    return [row[0] for row in rows]


@pytest.mark.parametrize("subject", KINDS)
async def test_what_was_deleted_long_ago_goes_once_and_nothing_else(
    worker: Database, ada: User, migrated: IsolatedDatabase, subject: str
) -> None:
    table, make, action = KINDS[subject]
    mine = worker.as_user(ada.id)
    repository: Any = getattr(mine, table)
    gone = {await make(mine) for _ in range(3)}
    living = await make(mine)
    for one in gone:
        assert await repository.delete(one)
    long_after = datetime.now(UTC) + timedelta(days=10_000)
    assert subject not in await run(worker, 10_000)
    # Nor for a caller who does not ask the policy.
    assert [rows async for rows in delete_expired(worker, subject, now=long_after)] == [0]
    assert ids(migrated, table) == {*gone, living}
    with switched_on(migrated, subject):
        assert (await run(worker, 29))[subject].rows == 0
        (counted,) = [
            step
            for step in await what_is_over(worker, now=datetime.now(UTC) + timedelta(days=31))
            if step.step == subject
        ]
        assert counted.rows == 3
        runs = await asyncio.gather(run(worker, 31), run(worker, 31))
    assert sum(done[subject].rows for done in runs) == 3
    assert ids(migrated, table) == {living}
    assert sorted(actions(migrated, action)) == sorted(f"{table}/{one}" for one in gone)


@pytest.mark.parametrize("subject", KINDS)
async def test_what_was_hidden_with_its_user_stays_for_them(
    worker: Database, ada: User, migrated: IsolatedDatabase, subject: str
) -> None:
    table, make, _ = KINDS[subject]
    hidden = await make(worker.as_user(ada.id))
    await worker.users.delete(ada.id)
    with switched_on(migrated, subject):
        assert (await run(worker, 365))[subject].rows == 0
    await worker.users.restore(ada.id)
    restored: Any = getattr(worker.as_user(ada.id), table)
    assert await restored.find_by_id(hidden) is not None


async def test_what_is_restored_meanwhile_stays_with_what_refers_to_it(
    worker: Database, ada: User
) -> None:
    mine = worker.as_user(ada.id)
    voice, face = await voice_of(mine), await face_of(mine)
    new = NewSession(llm_provider="gpt-4-turbo", voice_model_id=voice, face_model_id=face)
    session = await mine.conversation_sessions.create(new)
    document = await document_of(mine)
    before = {"deleted_before": datetime.now(UTC) + timedelta(days=1)}
    for query, id in (
        (queries.voice_models.hard_delete, voice),
        (queries.face_models.hard_delete, face),
        (queries.conversation_sessions.hard_delete, session.id),
        (queries.knowledge_documents.hard_delete, document),
    ):
        assert await mine.value(query, id=id, **before) is None
    assert await erase(worker, ada.id, deleted_before=before["deleted_before"]) is None
    kept = await mine.conversation_sessions.get_by_id(session.id)
    assert (kept.voice_model_id, kept.face_model_id) == (voice, face)


async def test_users_go_with_all_that_is_theirs_and_their_objects_are_left_to_the_outbox(
    worker: Database, ada: User, grace: User, migrated: IsolatedDatabase
) -> None:
    mine = worker.as_user(ada.id)
    for make in (session_of, document_of, voice_of, face_of):
        await make(mine)
    with as_superuser(migrated) as connection:
        connection.execute(
            "INSERT INTO clonedb.stored_objects (user_id, kind, name, object_key, size_bytes, "
            "sha256, content_type) VALUES (%s, 'document', 'diary', '00/' || md5('1'), 1, "
            "sha256('1'), 'text/plain')",
            [ada.id],
        )
    await worker.users.delete(ada.id)
    with switched_on(migrated, "deleted_users"):
        assert (await run(worker, 29))["deleted_users"].rows == 0
        runs = await asyncio.gather(run(worker, 31), run(worker, 31))
    assert sum(done["deleted_users"].rows for done in runs) == 1
    assert ids(migrated, "users") == {grace.id}
    for table, _, _ in KINDS.values():
        assert ids(migrated, table) == set()
    assert len(ids(migrated, "object_deletions")) == 1
    assert actions(migrated, "user.erase") == ["users"]


async def test_old_sessions_go_with_their_turns_once_their_week_is_over_too(
    worker: Database, ada: User, migrated: IsolatedDatabase
) -> None:
    mine = worker.as_user(ada.id)
    await session_of(mine)
    with switched_on(migrated, "conversation_sessions", keep_days=100):
        assert (await run(worker, 106))["conversation_sessions"].rows == 0
        assert (await run(worker, 108))["conversation_sessions"].rows == 1
    assert ids(migrated, "conversation_turns") == set()


async def test_failed_documents_go_and_those_that_are_tried_again_stay(
    worker: Database, ada: User, migrated: IsolatedDatabase
) -> None:
    mine = worker.as_user(ada.id)
    failed, retried = await document_of(mine), await document_of(mine)
    for one in (failed, retried):
        await mine.knowledge_documents.set_status(one, "failed", error_message="unreadable")
    await mine.knowledge_documents.set_status(retried, "pending")
    with switched_on(migrated, "failed_documents"):
        assert (await run(worker, 89))["failed_documents"].rows == 0
        assert (await run(worker, 91))["failed_documents"].rows == 1
    assert ids(migrated, "knowledge_documents") == {retried}


async def test_counts_days_figures_and_details_go_by_their_own_time(
    worker: Database, ada: User, migrated: IsolatedDatabase
) -> None:
    # Each as of yesterday, and of 25 days before.
    rows = {
        "rate_limits (user_id, endpoint, window_start)": (
            "%(ada)s, 'talk', date_trunc('minute', now()) - (25 * n + 1) * interval '1 day'"
        ),
        "daily_usage (user_id, day)": "%(ada)s, current_date - 25 * n - 1",
        "daily_reservations (user_id, id, day, reserved_seconds)": (
            "%(ada)s, clonedb.uuid_v7(), current_date - 25 * n - 1, 1"
        ),
        "audit_subjects (user_id, id)": (
            "%(ada)s, clonedb.uuid_v7_floor(now() - (25 * n + 1) * interval '1 day')"
        ),
        "cache_use (hour, cache)": (
            "date_trunc('hour', now(), 'UTC') - (25 * n + 1) * interval '1 day', 'embedding'"
        ),
    }
    with as_superuser(migrated) as connection:
        for columns, values in rows.items():
            statement = (
                f"INSERT INTO clonedb.{columns} SELECT {values} FROM generate_series(0, 1) AS n"
            )
            connection.execute(statement.encode(), {"ada": ada.id})
    subjects = ("rate_limits", "daily_usage", "daily_reservations", "audit_subjects", "cache_use")
    far = datetime(2999, 1, 1, tzinfo=UTC)
    # However old: nothing goes by a policy that is off.
    assert await worker.retention.purge_audit_subjects(now=far) == 0
    with switched_off(migrated, "cache_use"):
        assert await worker.retention.purge_cache_use(now=far) == 0
        counted_off = await worker.retention.count_expired(far)
    assert "cache_use" not in {one.name for one in counted_off}
    with switched_on(migrated, *subjects, keep_days=31):
        for days, rows in ((3, 0), (10, 1), (10, 0), (40, 1)):
            now = datetime.now(UTC) + timedelta(days=days)
            counted = {step.step: step.rows for step in await what_is_over(worker, now=now)}
            done = await run(worker, days)
            assert {name: done[name].rows for name in subjects} == dict.fromkeys(subjects, rows)
            assert {name: counted[name] for name in subjects} == dict.fromkeys(subjects, rows)


async def test_what_is_over_the_database_says_by_its_own_clock(
    worker: Database, migrated: IsolatedDatabase
) -> None:
    retention, moment = worker.retention, datetime(2026, 5, 31, 12, tzinfo=UTC)
    assert await retention.find_cutoff("conversation_sessions", moment) is None
    assert await retention.find_cutoff("no policy", moment) is None
    with (
        switched_on(migrated, "conversation_sessions", keep_days=30),
        as_superuser(migrated) as connection,
    ):
        assert await retention.find_cutoff("conversation_sessions", moment) == moment - timedelta(
            days=30
        )
        (before,) = connection.execute("SELECT clock_timestamp()").fetchone() or ()
        cutoff = await retention.find_cutoff("conversation_sessions")
        (after,) = connection.execute("SELECT clock_timestamp()").fetchone() or ()
    assert cutoff is not None
    assert before <= cutoff + timedelta(days=30) <= after


async def test_what_is_kept_for_longer_than_ids_have_times_is_kept(
    worker: Database, ada: User, migrated: IsolatedDatabase
) -> None:
    with as_superuser(migrated) as connection:
        connection.execute(
            "INSERT INTO clonedb.audit_subjects (user_id, id) VALUES (%s, clonedb.uuid_v7())",
            [ada.id],
        )
    with switched_on(migrated, "audit_subjects", keep_days=36_500):
        counted = {one.name: one.expired for one in await worker.retention.count_expired()}
        assert counted["audit_subjects"] == 0
        assert await worker.retention.purge_audit_subjects() == 0


async def test_killed_half_way_it_has_removed_whole_rows_and_the_next_run_goes_on(
    worker: Database, ada: User, migrated: IsolatedDatabase
) -> None:
    documents = [await document_of(worker.as_user(ada.id)) for _ in range(40)]
    for document in documents:
        await worker.as_user(ada.id).knowledge_documents.delete(document)

    def kill_half_way() -> None:
        with subprocess.Popen(
            [sys.executable, PROCESS, migrated.dsn("clonedb_worker"), "31"],
            stdout=subprocess.PIPE,
        ) as process:
            assert process.stdout is not None
            for _ in range(3):
                assert process.stdout.readline() == b"1\n"
            process.kill()

    with switched_on(migrated, "deleted_knowledge_documents"):
        await asyncio.to_thread(kill_half_way)
        left = ids(migrated, "knowledge_documents")
        assert 0 < len(left) <= 37
        rest = (await run(worker, 31))["deleted_knowledge_documents"].rows
    assert 0 < rest <= len(left)
    assert ids(migrated, "knowledge_documents") == set()
    erased = actions(migrated, "document.erase")
    assert sorted(erased) == sorted(f"knowledge_documents/{one}" for one in documents)


async def test_one_that_is_locked_is_left_to_the_next_run(
    worker: Database, migrated: IsolatedDatabase
) -> None:
    busy = await worker.users.create(NewUser(email="busy@example.com"))
    await worker.users.delete(busy.id)
    with switched_on(migrated, "deleted_users"), as_superuser(migrated) as connection:
        connection.execute("BEGIN")
        connection.execute("SELECT FROM clonedb.users WHERE id = %s FOR UPDATE", [busy.id])
        async with Database(migrated.dsn("clonedb_worker"), statement_timeout=0.5) as hasty:
            step = (await run(hasty, 31))["deleted_users"]
        assert step.rows == 0
        assert step.problem is not None
        assert "the next run goes on" in step.problem
        connection.execute("ROLLBACK")
        assert (await run(worker, 31))["deleted_users"].rows == 1
