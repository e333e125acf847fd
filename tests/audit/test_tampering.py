"""Whatever is done to a sealed log by somebody who may do anything is found, and named."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
import pytest
import pytest_asyncio
from sealed import SealedLog, append, seal_all, sealed_log, tampering, verified

from clonedb import new_id
from clonedb.audit import Anchor
from clonedb.testing import IsolatedDatabase

Connection = psycopg.Connection[Any]
Found = list[tuple[str, int | None, Any]]
COLUMNS = "actor_ref, subject_ref, action, resource, result, system_identifier, xid, created_at"


@pytest_asyncio.fixture
async def log(migrated: IsolatedDatabase) -> SealedLog:
    return await sealed_log(migrated)


async def findings(log: SealedLog, *, anchored: bool = True) -> Found:
    report = await verified(log.database, log.last if anchored else None)
    return sorted(
        ((one.kind, one.seal, one.entry) for one in report.findings),
        key=lambda one: (one[0], one[1] or 0, str(one[2])),
    )


async def test_a_log_that_nobody_touched_holds(log: SealedLog) -> None:
    report = await verified(log.database, log.last)
    assert report.ok
    assert (report.seals, report.entries, report.pending) == (3, 9, 1)
    assert f"{report.last_seal}:{report.last_digest}" == str(log.last)
    assert report.expired == []


@pytest.mark.parametrize(
    "change",
    [
        "action = 'user.erase'",
        "resource = 'users/' || id",
        "result = 'failure'",
        "actor_ref = gen_random_uuid()",
        "subject_ref = gen_random_uuid()",
        "created_at = created_at + interval '1 microsecond'",
        "system_identifier = 1",
        # into no seal's range
        "xid = (xid::text::bigint + 1000000000)::text::xid8",
    ],
)
async def test_an_entry_that_is_changed_is_named(log: SealedLog, change: str) -> None:
    entry = log.entries[1][0]
    with tampering(log.database) as connection:
        connection.execute(
            f"UPDATE clonedb.audit_logs SET {change} WHERE id = %s".encode(), [entry]
        )
    found = await findings(log)
    assert ("changed", 2, entry) in found
    assert {one[0] for one in found} <= {"changed", "impossible"}


async def test_an_entry_that_is_moved_to_another_seals_transactions_is_named_in_both(
    log: SealedLog,
) -> None:
    entry, other = log.entries[1][0], log.entries[2][0]
    with tampering(log.database) as connection:
        connection.execute(
            "UPDATE clonedb.audit_logs SET xid = "
            "(SELECT xid FROM clonedb.audit_logs WHERE id = %s) WHERE id = %s",
            [other, entry],
        )
    assert await findings(log) == [("changed", 2, entry), ("inserted", 3, entry)]


async def test_an_entry_that_bears_another_id_is_gone_and_put_in(log: SealedLog) -> None:
    entry, other = log.entries[1][0], new_id()
    with tampering(log.database) as connection:
        connection.execute("UPDATE clonedb.audit_logs SET id = %s WHERE id = %s", [other, entry])
    assert await findings(log) == [("deleted", 2, entry), ("inserted", 2, other)]


async def test_an_entry_that_is_deleted_is_named(log: SealedLog) -> None:
    entry = log.entries[2][1]
    with tampering(log.database) as connection:
        connection.execute("DELETE FROM clonedb.audit_logs WHERE id = %s", [entry])
    assert await findings(log) == [("deleted", 3, entry)]


async def test_a_month_that_is_emptied_is_no_month_that_is_dropped(log: SealedLog) -> None:
    with tampering(log.database) as connection:
        connection.execute("TRUNCATE clonedb.audit_logs")
    assert [one[0] for one in await findings(log)] == ["deleted"] * 9


async def test_a_late_commit_is_named(log: SealedLog) -> None:
    """An entry of a sealed transaction that nobody saw when it was sealed."""
    entry = new_id()
    with tampering(log.database) as connection:
        connection.execute(
            f"INSERT INTO clonedb.audit_logs (id, {COLUMNS}) SELECT %s, {COLUMNS} "
            "FROM clonedb.audit_logs WHERE id = %s".encode(),
            [entry, log.entries[0][0]],
        )
    assert await findings(log) == [("inserted", 1, entry)]


@pytest.mark.parametrize("sealed_later", [False, True], ids=["pending", "sealed"])
async def test_an_entry_of_a_time_long_before_is_named(
    log: SealedLog, *, sealed_later: bool
) -> None:
    with tampering(log.database) as connection:
        (entry,) = connection.execute(
            "INSERT INTO clonedb.audit_logs (id, action, resource, result, created_at) "
            "SELECT clonedb.uuid_v7_floor(t), 'user.login', 'users', 'success', t "
            "FROM (SELECT now() - interval '10 days') AS long_ago (t) RETURNING id"
        ).fetchone() or (None,)
    if sealed_later:
        await seal_all(log.database)
    assert await findings(log) == [("misdated", 4 if sealed_later else None, entry)]


async def test_an_entry_of_a_time_to_come_is_named(log: SealedLog) -> None:
    with tampering(log.database) as connection:
        (entry,) = connection.execute(
            "INSERT INTO clonedb.audit_logs (id, action, resource, result, created_at) "
            "SELECT clonedb.uuid_v7_floor(t), 'user.login', 'users', 'success', t "
            "FROM (SELECT now() + interval '10 days') AS to_come (t) RETURNING id"
        ).fetchone() or (None,)
    assert await findings(log) == [("misdated", None, entry)]
    await seal_all(log.database)
    assert await findings(log) == [("misdated", 4, entry)]


async def test_an_entry_whose_id_is_of_another_time_is_named(log: SealedLog) -> None:
    with tampering(log.database) as connection:
        connection.execute(
            "ALTER TABLE clonedb.audit_logs DROP CONSTRAINT audit_logs_id_is_of_its_time"
        )
        (entry,) = connection.execute(
            "INSERT INTO clonedb.audit_logs (id, action, resource, result) "
            "SELECT clonedb.uuid_v7_floor(now() - interval '10 days'), 'user.login', 'users', "
            "'success' RETURNING id"
        ).fetchone() or (None,)
    await seal_all(log.database)
    assert await findings(log) == [("misdated", 4, entry)]


async def test_an_entry_of_a_transaction_to_come_is_named(log: SealedLog) -> None:
    with tampering(log.database) as connection:
        (entry,) = connection.execute(
            "INSERT INTO clonedb.audit_logs (action, resource, result, xid) VALUES "
            "('user.login', 'users', 'success', '99999999999') RETURNING id"
        ).fetchone() or (None,)
    assert await findings(log) == [("impossible", None, entry)]


# Seals.

# The digest of a seal as it is now, as whoever tampers would compute it.
DIGEST = (
    "sha256(record_send(ROW(number, system_identifier, from_xid, to_xid, entry_count, entries, "
    "previous_digest, sealed_at)))"
)


@pytest.mark.parametrize(
    "change",
    [
        "sealed_at = sealed_at + interval '1 second'",
        "system_identifier = 1",
        "to_xid = (to_xid::text::bigint + 1)::text::xid8",
        "entry_count = 2, entries = substring(entries FROM 49)",
        "entries = substring(entries FROM 49) || substring(entries FOR 48)",
        "previous_digest = digest",
        "digest = sha256(digest)",
    ],
)
async def test_a_seal_that_is_changed_is_named(log: SealedLog, change: str) -> None:
    with tampering(log.database) as connection:
        connection.execute(f"UPDATE clonedb.audit_seals SET {change} WHERE number = 2".encode())
    assert ("seal_changed", 2, None) in await findings(log)


async def test_a_seal_that_is_changed_with_its_digest_is_no_longer_what_the_next_goes_on_from(
    log: SealedLog,
) -> None:
    entry = log.entries[1][2]
    with tampering(log.database) as connection:
        connection.execute("DELETE FROM clonedb.audit_logs WHERE id = %s", [entry])
        connection.execute(
            "UPDATE clonedb.audit_seals SET entry_count = 2, entries = (SELECT "
            "string_agg(substring(entries FROM at FOR 48), '' ORDER BY at) "
            "FROM unnest('{1,49,97}'::integer[]) AS at "
            "WHERE substring(entries FROM at FOR 16) <> uuid_send(%s::uuid)) WHERE number = 2",
            [entry],
        )
        connection.execute(
            f"UPDATE clonedb.audit_seals SET digest = {DIGEST} WHERE number = 2".encode()
        )
    assert await findings(log) == [("seal_unlinked", 3, None)]


@pytest.mark.parametrize(
    ("removal", "expected"),
    [
        ("number = 1", [("seal_missing", 1, None), ("seal_missing", 2, None)]),
        ("number = 2", [("seal_missing", 2, None), ("seal_missing", 3, None)]),
        ("number = 3", [("anchor_missing", 3, None)]),
        ("true", [("anchor_missing", 3, None)]),
    ],
)
async def test_a_seal_that_is_removed_is_missed(
    log: SealedLog, removal: str, expected: Found
) -> None:
    """The second finding for a removed seal is the gap in the transactions."""
    with tampering(log.database) as connection:
        connection.execute(f"DELETE FROM clonedb.audit_seals WHERE {removal}".encode())
    assert await findings(log) == expected


async def test_seals_in_another_order_are_found(log: SealedLog) -> None:
    with tampering(log.database) as connection:
        for change in ("9 WHERE number = 1", "1 WHERE number = 2", "2 WHERE number = 9"):
            connection.execute(f"UPDATE clonedb.audit_seals SET number = {change}".encode())
    found = await findings(log)
    assert {("seal_changed", 1, None), ("seal_changed", 2, None)} <= set(found)
    assert ("seal_unlinked", 1, None) in found


def cut_off_the_end(log: SealedLog, connection: Connection) -> None:
    connection.execute("DELETE FROM clonedb.audit_seals WHERE number = 3")
    connection.execute("DELETE FROM clonedb.audit_logs WHERE id = ANY(%s)", [log.entries[2]])


def forget_one(log: SealedLog, connection: Connection) -> None:
    connection.execute("DELETE FROM clonedb.audit_seals")
    connection.execute("DELETE FROM clonedb.audit_logs WHERE id = %s", [log.entries[0][0]])


@pytest.mark.parametrize("rewrite", [cut_off_the_end, forget_one])
@pytest.mark.parametrize("kept", ["seal", "digest"])
async def test_a_history_that_is_rewritten_as_a_whole_is_found_with_what_was_kept_outside(
    log: SealedLog, rewrite: Callable[[SealedLog, Connection], None], kept: str
) -> None:
    """Without it nothing can be found: whoever rewrites all of it seals it anew."""
    from clonedb import Database
    from clonedb.audit import verify

    with tampering(log.database) as connection:
        rewrite(log, connection)
    append(log.database, 3)
    await seal_all(log.database, limit=3)
    assert await findings(log, anchored=False) == []
    anchor = Anchor.of_seal(str(log.last))
    if kept == "digest":
        anchor = Anchor.of_digest(log.last.digest.hex())
    async with Database(log.database.dsn("clonedb_readonly")) as readonly:
        report = await verify(readonly, anchor=anchor)
    assert [one.kind for one in report.findings] == ["anchor_missing"]


async def test_what_is_before_a_seal_may_be_left_out(log: SealedLog) -> None:
    from clonedb import Database
    from clonedb.audit import verify

    with tampering(log.database) as connection:
        connection.execute("DELETE FROM clonedb.audit_logs WHERE id = %s", [log.entries[0][0]])
    async with Database(log.database.dsn("clonedb_readonly")) as readonly:
        assert [one.seal for one in (await verify(readonly)).findings] == [1]
        report = await verify(readonly, from_seal=2, anchor=Anchor.of_seal(str(log.last)))
        assert (report.ok, report.seals, report.entries, report.pending) == (True, 2, 6, 1)
        beyond = await verify(readonly, from_seal=5)
        assert [(one.kind, one.seal) for one in beyond.findings] == [("seal_missing", 4)]


async def test_many_findings_are_counted_and_not_kept(migrated: IsolatedDatabase) -> None:
    append(migrated, 1_500)
    await seal_all(migrated)
    with tampering(migrated) as connection:
        connection.execute("DELETE FROM clonedb.audit_logs")
    report = await verified(migrated)
    assert (len(report.findings), report.further_findings) == (1_000, 500)
