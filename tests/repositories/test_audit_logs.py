"""The audit log: everybody's deeds are on record, also of the unknown and of the erased."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
import pytest_asyncio
from ground import as_superuser, nothing_stored
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clonedb import (
    AlreadyExists,
    AuditEntry,
    AuditFilter,
    AuditPeriod,
    Database,
    InvalidInput,
    NewAuditEntry,
    NotFound,
    PermissionDenied,
    User,
    UserScope,
    id_at,
    new_id,
)
from clonedb.testing import IsolatedDatabase

LOGIN = NewAuditEntry(action="login", resource="users")
FAILED = NewAuditEntry(action="login", resource="users", result="failure")
DETAILED = NewAuditEntry(
    action="login",
    resource="users",
    ip_address="192.0.2.7",
    user_agent="Firefox",
    metadata={"attempt": 1},
)


async def _stored(migrated: IsolatedDatabase, worker: Database, name: str) -> User:
    """A person who came before anything was on record, not even that."""
    with as_superuser(migrated) as connection:
        row = connection.execute(
            "INSERT INTO clonedb.users (email, name) VALUES (%s, %s) RETURNING id",
            [f"{name.lower()}@example.com", name],
        ).fetchone()
    assert row is not None
    return await worker.users.get_by_id(row[0])


@pytest_asyncio.fixture
async def ada(migrated: IsolatedDatabase, worker: Database) -> User:
    return await _stored(migrated, worker, "Ada")


@pytest_asyncio.fixture
async def grace(migrated: IsolatedDatabase, worker: Database) -> User:
    return await _stored(migrated, worker, "Grace")


async def test_a_users_deed_is_recorded_as_theirs_with_its_details(
    as_ada: UserScope, ada: User
) -> None:
    identifier = await as_ada.audit_logs.append(DETAILED)
    entry = await as_ada.audit_logs.get_by_id(identifier)
    assert (entry.id, entry.action, entry.resource, entry.result) == (
        identifier,
        "login",
        "users",
        "success",
    )
    assert entry.actor_ref == entry.subject_ref != ada.id
    assert entry.subject_id == ada.id
    assert (entry.ip_address, entry.user_agent, entry.metadata) == (
        "192.0.2.7",
        "Firefox",
        {"attempt": 1},
    )
    assert abs(datetime.now(UTC) - entry.created_at) < timedelta(minutes=1)


async def test_an_entry_without_details_leaves_nothing_personal(
    as_ada: UserScope, migrated: IsolatedDatabase
) -> None:
    entry = await as_ada.audit_logs.get_by_id(await as_ada.audit_logs.append(LOGIN))
    assert (entry.ip_address, entry.user_agent, entry.metadata) == (None, None, {})
    with as_superuser(migrated) as connection:
        assert connection.execute("SELECT FROM clonedb.audit_subjects").fetchall() == []


@pytest.mark.parametrize("role", ["clonedb_app", "clonedb_worker"])
async def test_a_failed_login_of_somebody_unknown_is_recorded(
    migrated: IsolatedDatabase, worker: Database, role: str
) -> None:
    """The original could not: its rows needed a user."""
    async with Database(migrated.dsn(role)) as database:
        identifier = await database.audit_logs.append(
            NewAuditEntry(
                action="login", resource="users", result="failure", ip_address="2001:db8::1"
            )
        )
    entry = await worker.audit_logs.get_by_id(identifier)
    assert (entry.actor_ref, entry.subject_ref, entry.subject_id) == (None, None, None)
    assert (entry.result, entry.ip_address) == ("failure", "2001:db8::1")


async def test_the_worker_records_who_did_what_to_whom(
    worker: Database, ada: User, grace: User, as_ada: UserScope, as_grace: UserScope
) -> None:
    logs = worker.audit_logs
    both = await logs.append_for(DETAILED, subject_id=ada.id, actor_id=grace.id)
    by_system = await logs.append_for(LOGIN, subject_id=ada.id)
    by_stranger = await logs.append_for(DETAILED, subject_id=ada.id, actor_id=new_id())
    about_stranger = await logs.append_for(DETAILED, subject_id=new_id(), actor_id=grace.id)
    about_nobody = await logs.append_for(LOGIN)

    own = await as_grace.audit_logs.get_by_id(await as_grace.audit_logs.append(LOGIN))
    found = {entry.id: entry for entry in (await logs.find_many()).items}
    assert found[both].subject_id == ada.id
    assert found[both].actor_ref == own.actor_ref
    assert found[both].ip_address == "192.0.2.7"
    assert (found[by_system].subject_id, found[by_system].actor_ref) == (ada.id, None)
    assert (found[by_stranger].subject_id, found[by_stranger].actor_ref) == (ada.id, None)
    assert (found[about_stranger].subject_ref, found[about_stranger].ip_address) == (
        None,
        "192.0.2.7",
    )
    assert found[about_stranger].actor_ref == own.actor_ref
    assert found[about_nobody].subject_ref is found[about_nobody].actor_ref is None
    # Entries are seen by whom they are about.
    assert {entry.id for entry in (await as_ada.audit_logs.find_many()).items} == {
        both,
        by_system,
        by_stranger,
    }
    page = await logs.find_many(AuditFilter(actor_id=grace.id))
    assert {entry.id for entry in page.items} == {both, about_stranger, own.id}


async def test_the_app_login_records_nothing_of_others(
    app: Database, ada: User, grace: User, migrated: IsolatedDatabase
) -> None:
    with nothing_stored(migrated):
        for subject, actor in ((ada.id, None), (None, ada.id), (grace.id, ada.id), (None, None)):
            with pytest.raises(PermissionDenied):
                await app.audit_logs.append_for(LOGIN, subject_id=subject, actor_id=actor)


async def test_a_repeated_append_records_once(
    worker: Database, as_ada: UserScope, as_grace: UserScope, ada: User
) -> None:
    identifier = new_id()
    new = NewAuditEntry(
        action="export", resource="documents", id=identifier, ip_address="::FFFF:192.0.2.7"
    )
    answers = await asyncio.gather(*(as_ada.audit_logs.append(new) for _ in range(8)))
    assert answers == [identifier] * 8
    assert await as_ada.audit_logs.count() == 1
    assert (await as_ada.audit_logs.get_by_id(identifier)).ip_address == "192.0.2.7"
    other = NewAuditEntry(action="delete", resource="documents", id=identifier)
    for append in (as_ada.audit_logs.append, as_grace.audit_logs.append, worker.audit_logs.append):
        with pytest.raises(AlreadyExists):
            await append(other)
    with pytest.raises(AlreadyExists, match="action"):
        await worker.audit_logs.append_for(other, subject_id=ada.id)
    assert await worker.audit_logs.append_for(new, subject_id=ada.id) == identifier
    assert await worker.audit_logs.count() == 1


async def test_a_rolled_back_deed_is_not_recorded(as_ada: UserScope) -> None:
    class Stop(Exception):
        pass

    with pytest.raises(Stop):
        async with as_ada.transaction() as transaction:
            await transaction.audit_logs.append(DETAILED)
            raise Stop
    assert await as_ada.audit_logs.count() == 0


async def entries_of(worker: Database, ada: User, grace: User) -> list[AuditEntry]:
    """Eight entries about two people, oldest first."""
    logs = worker.audit_logs
    for subject in (ada, grace):
        for action, resource, result in (
            ("login", "users", "success"),
            ("login", "users", "failure"),
            ("export", "documents", "failure"),
            ("export", "documents", "failure"),
        ):
            new = NewAuditEntry(action=action, resource=resource, result=result)  # type: ignore[arg-type]
            await logs.append_for(new, subject_id=subject.id)
    return (await logs.find_many(order="oldest")).items


async def test_entries_are_found_by_subject_action_resource_result_and_time(
    worker: Database, ada: User, grace: User, migrated: IsolatedDatabase
) -> None:
    entries = await entries_of(worker, ada, grace)
    assert [entry.id for entry in entries] == sorted(entry.id for entry in entries)
    middle = entries[4].created_at
    cases: list[tuple[AuditFilter, list[AuditEntry]]] = [
        (AuditFilter(subject_id=ada.id), entries[:4]),
        (AuditFilter(subject_id=new_id()), []),
        (AuditFilter(action="login"), [entries[at] for at in (0, 1, 4, 5)]),
        (AuditFilter(resource="documents"), [entries[at] for at in (2, 3, 6, 7)]),
        (AuditFilter(result="failure"), [entries[at] for at in (1, 2, 3, 5, 6, 7)]),
        (AuditFilter(created_from=middle), entries[4:]),
        (AuditFilter(created_before=middle), entries[:4]),
        (AuditFilter(created_from=datetime(1, 1, 2, tzinfo=UTC)), entries),
        (AuditFilter(created_before=datetime(1, 1, 2, tzinfo=UTC)), []),
        (AuditFilter(created_from=datetime(9000, 1, 1, tzinfo=UTC)), []),
        (AuditFilter(created_before=datetime(9000, 1, 1, tzinfo=UTC)), entries),
        (
            AuditFilter(subject_id=grace.id, action="export", result="failure"),
            entries[6:],
        ),
    ]
    for filters, expected in cases:
        page = await worker.audit_logs.find_many(filters, order="oldest", with_total=True)
        assert page.items == expected, filters
        assert page.total == len(expected), filters
        assert await worker.audit_logs.count(filters) == len(expected), filters
        newest = await worker.audit_logs.find_one(filters)
        assert newest == (expected[-1] if expected else None)


@pytest.mark.parametrize("order", ["newest", "oldest"])
async def test_pages_show_every_entry_once(
    worker: Database, ada: User, grace: User, order: str
) -> None:
    entries = await entries_of(worker, ada, grace)
    for filters in (None, AuditFilter(subject_id=ada.id), AuditFilter(result="failure")):
        expected = (await worker.audit_logs.find_many(filters, order=order)).items
        seen: list[AuditEntry] = []
        cursor = None
        while True:
            page = await worker.audit_logs.find_many(filters, order=order, limit=3, cursor=cursor)
            seen += page.items
            if (cursor := page.next) is None:
                break
        assert seen == expected
    assert len(entries) == 8


async def test_statistics_name_the_top_actions_and_failures(
    worker: Database, as_ada: UserScope, ada: User, grace: User
) -> None:
    entries = await entries_of(worker, ada, grace)
    await worker.audit_logs.append(FAILED)
    system = await worker.audit_logs.statistics()
    assert (system.entries, system.failures, system.subjects) == (9, 7, 2)
    assert system.first_at == entries[0].created_at
    own = await as_ada.audit_logs.statistics()
    assert (own.entries, own.failures, own.subjects) == (4, 3, 1)
    actions = await worker.audit_logs.top_actions()
    assert [(row.action, row.entries, row.failures) for row in actions] == [
        ("login", 5, 3),
        ("export", 4, 4),
    ]
    failures = await worker.audit_logs.top_failures()
    assert [(row.action, row.resource, row.failures) for row in failures] == [
        ("export", "documents", 4),
        ("login", "users", 3),
    ]
    assert [row.failures for row in await as_ada.audit_logs.top_failures(limit=1)] == [2]
    later = AuditPeriod(created_from=entries[4].created_at)
    assert (await worker.audit_logs.statistics(later)).entries == 5
    assert [row.entries for row in await as_ada.audit_logs.top_actions(later)] == []
    nothing = await worker.audit_logs.statistics(AuditPeriod(created_before=entries[0].created_at))
    assert (nothing.entries, nothing.first_at, nothing.last_at) == (0, None, None)


# Deletion.


async def test_deleting_a_user_keeps_their_entries(
    worker: Database, as_ada: UserScope, ada: User
) -> None:
    """In the original they went with the user."""
    identifier = await as_ada.audit_logs.append(DETAILED)
    await worker.users.delete(ada.id)
    # Deleted but not erased: it may be restored, so the details are still there.
    assert (await worker.audit_logs.get_by_id(identifier)).ip_address == "192.0.2.7"
    assert await as_ada.audit_logs.find_by_id(identifier) is None
    with pytest.raises(NotFound):
        await as_ada.audit_logs.append(LOGIN)
    on_record = await worker.audit_logs.append_for(
        NewAuditEntry(action="delete", resource="users"), subject_id=ada.id
    )
    assert (await worker.audit_logs.get_by_id(on_record)).subject_id == ada.id


@pytest.mark.parametrize("login", ["clonedb_worker", "clonedb_app"])
async def test_deleting_a_user_for_good_keeps_their_entries_and_erases_the_details(
    worker: Database,
    as_ada: UserScope,
    as_grace: UserScope,
    ada: User,
    grace: User,
    migrated: IsolatedDatabase,
    login: str,
) -> None:
    identifier = await as_ada.audit_logs.append(DETAILED)
    other = await as_grace.audit_logs.append(DETAILED)
    before = await worker.audit_logs.get_by_id(identifier)
    async with Database(migrated.dsn(login)) as database:
        assert await database.as_user(ada.id).users.hard_delete(ada.id) is True
    after = await worker.audit_logs.get_by_id(identifier)
    assert (after.action, after.result, after.created_at, after.subject_ref) == (
        before.action,
        before.result,
        before.created_at,
        before.subject_ref,
    )
    assert (after.subject_id, after.ip_address, after.user_agent, after.metadata) == (
        None,
        None,
        None,
        {},
    )
    assert (await worker.audit_logs.get_by_id(other)).ip_address == "192.0.2.7"
    with as_superuser(migrated) as connection:
        remaining = connection.execute("SELECT user_id FROM clonedb.audit_subjects").fetchall()
    assert remaining == [(grace.id,)]


async def test_details_appended_by_another_are_not_shown_with_an_entry(
    worker: Database, as_ada: UserScope, ada: User, grace: User, migrated: IsolatedDatabase
) -> None:
    identifier = await as_ada.audit_logs.append(LOGIN)
    with as_superuser(migrated) as connection:
        for user in (grace.id, UUID(int=0)):
            connection.execute(
                "INSERT INTO clonedb.audit_subjects (user_id, id, user_agent) "
                "VALUES (%s, %s, 'forged')",
                [user, identifier],
            )
    assert (await worker.audit_logs.get_by_id(identifier)).user_agent is None
    assert len((await worker.audit_logs.find_many()).items) == 1
    await worker.users.hard_delete(ada.id)
    assert (await worker.audit_logs.get_by_id(identifier)).user_agent is None


# Bad input.

NOT_TEXT = ("nul\0here", "lone \ud800 surrogate", 5, b"bytes")
LONG_AGO = id_at(datetime.now(UTC) - timedelta(days=2), 1)
BAD: list[tuple[str, tuple[Any, ...]]] = [
    ("action", (*NOT_TEXT, "", "x" * 101, None)),
    ("resource", (*NOT_TEXT, "", "x" * 201, None)),
    ("result", ("maybe", "", "SUCCESS", None, 5)),
    ("id", ("not a uuid", uuid4(), UUID(int=0), 5, LONG_AGO)),
    (
        "ip_address",
        (
            *NOT_TEXT,
            "",
            "localhost",
            "192.0.2",
            "192.0.2.256",
            "192.0.2.7/24",
            "192.0.2.7 ",
            "2001:db8::g",
            "fe80::1%eth0",
            "x" * 100_000,
        ),
    ),
    ("user_agent", (*NOT_TEXT, "x" * 1_001)),
    (
        "metadata",
        (
            *({"key": text} for text in NOT_TEXT[:2]),
            *({text: 1} for text in NOT_TEXT[:2]),
            {"outer": [{"inner": "nul\0here"}]},
            {"number": float("nan")},
            {"large": "x" * 65_537},
            {"bytes": b"bytes"},
            [],
            "text",
            None,
        ),
    ),
]


@pytest.mark.parametrize(("field", "values"), BAD, ids=[field for field, _ in BAD])
async def test_a_bad_entry_is_refused_with_the_fields_name_and_nothing_is_stored(
    worker: Database,
    app: Database,
    as_ada: UserScope,
    ada: User,
    migrated: IsolatedDatabase,
    field: str,
    values: tuple[Any, ...],
) -> None:
    with nothing_stored(migrated):
        for value in values:
            new = NewAuditEntry(**{"action": "login", "resource": "users", field: value})
            for call in (
                as_ada.audit_logs.append(new),
                app.audit_logs.append(new),
                worker.audit_logs.append_for(new, subject_id=ada.id),
            ):
                with pytest.raises(InvalidInput, match=field) as caught:
                    await call
                assert len(str(caught.value)) < 1_000


async def test_other_calls_check_their_arguments(worker: Database, as_ada: UserScope) -> None:
    logs: Any = worker.audit_logs
    for bad in ("not a uuid", uuid4(), 5):
        for call in (
            logs.find_by_id(bad),
            logs.get_by_id(bad),
            logs.append_for(LOGIN, subject_id=bad),
            logs.append_for(LOGIN, actor_id=bad),
            logs.find_many(AuditFilter(subject_id=bad)),
        ):
            with pytest.raises(InvalidInput):
                await call
    for limit in (0, 501, True, None):
        for call in (
            logs.find_many(limit=limit),
            logs.top_actions(limit=limit),
            logs.top_failures(limit=limit),
        ):
            with pytest.raises(InvalidInput, match="500"):
                await call
    for cursor in ("", "x", "bm90aGluZw"):
        with pytest.raises(InvalidInput, match="cursor"):
            await logs.find_many(cursor=cursor)
    with pytest.raises(NotFound):
        await as_ada.audit_logs.get_by_id(new_id())


@settings(
    deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(address=st.ip_addresses())
async def test_every_address_comes_back(as_ada: UserScope, address: Any) -> None:
    new = NewAuditEntry(action="login", resource="users", ip_address=str(address))
    entry = await as_ada.audit_logs.get_by_id(await as_ada.audit_logs.append(new))
    expected = getattr(address, "ipv4_mapped", None) or address
    assert entry.ip_address is not None
    assert type(expected)(entry.ip_address) == expected
