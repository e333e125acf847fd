"""Sealing goes on beside writers, beside itself and after a kill, and no alarm is false."""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
from ground import as_superuser
from psycopg.errors import InsufficientPrivilege
from sealed import APPEND, append, seal_all, sealed_log, verified

from clonedb import Database, InvalidInput, PermissionDenied
from clonedb.audit import seal, verify
from clonedb.embedded import EmbeddedServer
from clonedb.testing import SUPERUSER, IsolatedDatabase

WRITERS = 8
SECONDS = 4.0


async def write(database: IsolatedDatabase, until: float, chance: random.Random) -> int:
    """Transactions of one to three statements, some of them open for a while, some rolled back."""
    committed = 0
    connection = await psycopg.AsyncConnection.connect(database.dsn("clonedb_worker"))
    async with connection:
        while time.monotonic() < until:
            entries = 0
            for _ in range(chance.randint(1, 3)):
                count = chance.randint(1, 4)
                await connection.execute(APPEND, [count])
                entries += count
                if chance.random() < 0.3:
                    await asyncio.sleep(chance.random() * 0.1)
            if chance.random() < 0.2:
                await connection.rollback()
            else:
                await connection.commit()
                committed += entries
    return committed


async def hold_open(database: IsolatedDatabase, until: float) -> int:
    """Transactions that write, and end long after others that began later."""
    committed = 0
    connection = await psycopg.AsyncConnection.connect(database.dsn("clonedb_worker"))
    async with connection:
        while time.monotonic() < until:
            await connection.execute(APPEND, [1])
            await asyncio.sleep(SECONDS / 5)
            await connection.execute(APPEND, [1])
            await connection.commit()
            committed += 2
    return committed


async def keep_sealing(database: IsolatedDatabase, until: float) -> int:
    sealed = 0
    async with Database(database.dsn("clonedb_worker")) as worker:
        while time.monotonic() < until:
            async for cut in seal(worker, limit=20):
                sealed += cut.entry_count
            await asyncio.sleep(0.02)
    return sealed


async def keep_verifying(database: IsolatedDatabase, until: float) -> int:
    """Each time with the last seal of the time before."""
    runs, last = 0, None
    async with Database(database.dsn("clonedb_worker")) as worker:
        while time.monotonic() < until:
            report = await verified(database, last)
            assert report.findings == []
            last = await worker.audit_seals.find_last()
            runs += 1
            await asyncio.sleep(0.05)
    return runs


async def test_no_alarm_is_false_while_others_write_and_seal(migrated: IsolatedDatabase) -> None:
    until = time.monotonic() + SECONDS
    writers = [write(migrated, until, random.Random(seed)) for seed in range(WRITERS)]
    sealers = [keep_sealing(migrated, until) for _ in range(2)]
    *written, runs, first, second = await asyncio.gather(
        *writers,
        hold_open(migrated, until),
        keep_verifying(migrated, until),
        *sealers,
    )
    assert runs >= 3
    assert first + second > 0
    rest = sum(cut.entry_count for cut in await seal_all(migrated))
    assert first + second + rest == sum(written)
    report = await verified(migrated)
    assert (report.ok, report.entries, report.pending) == (True, sum(written), 0)


async def test_entries_wait_for_every_older_transaction_that_is_open(
    migrated: IsolatedDatabase,
) -> None:
    with psycopg.connect(migrated.dsn("clonedb_worker")) as late:
        (entry,) = late.execute(APPEND, [1]).fetchone() or (None,)
        append(migrated, 2, 2)
        assert await seal_all(migrated) == []
        assert (await verified(migrated)).pending == 4
        late.commit()
    (cut,) = await seal_all(migrated)
    assert cut.entry_count == 5
    async with Database(migrated.dsn("clonedb_readonly")) as readonly:
        assert entry.bytes in await readonly.audit_seals.find_entries(cut.number)
    assert (await verified(migrated, cut)).ok


async def test_a_reader_that_is_open_for_long_holds_nothing_up(migrated: IsolatedDatabase) -> None:
    with psycopg.connect(migrated.dsn("clonedb_worker")) as reader:
        reader.execute("SELECT count(*) FROM clonedb.audit_logs")
        append(migrated, 2)
        assert [cut.entry_count for cut in await seal_all(migrated)] == [2]


async def test_a_batch_ends_with_a_transaction(migrated: IsolatedDatabase) -> None:
    append(migrated, 2, 3, 7, 1)
    assert [cut.entry_count for cut in await seal_all(migrated, limit=4)] == [5, 7, 1]
    assert [cut.number for cut in await seal_all(migrated, limit=4)] == []
    assert (await verified(migrated)).entries == 13


async def test_nothing_is_sealed_where_nothing_was_appended(migrated: IsolatedDatabase) -> None:
    assert await seal_all(migrated) == []
    report = await verified(migrated)
    assert (report.ok, report.seals, report.last_seal, report.last_digest) == (True, 0, None, None)


async def test_several_sealers_at_once_seal_each_entry_once(migrated: IsolatedDatabase) -> None:
    append(migrated, *[1] * 60)
    runs = await asyncio.gather(*(seal_all(migrated, limit=1) for _ in range(4)))
    seals = sorted(cut.number for run in runs for cut in run)
    rest = await seal_all(migrated, limit=1)
    assert seals + [cut.number for cut in rest] == list(range(1, 61))
    assert (await verified(migrated)).entries == 60


async def test_a_sealer_that_is_killed_leaves_whole_seals(migrated: IsolatedDatabase) -> None:
    append(migrated, *[1] * 400)
    command = [sys.executable, str(Path(__file__).with_name("sealing_process.py"))]
    with subprocess.Popen(  # noqa: ASYNC220
        [*command, migrated.dsn("clonedb_worker")], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        said = [process.stdout.readline().strip() for _ in range(3)]
        process.kill()
    report = await verified(migrated)
    assert report.ok
    assert 3 <= report.seals < 400
    assert said[0].startswith("1:")
    rest = await seal_all(migrated)
    assert report.entries + sum(cut.entry_count for cut in rest) == 400
    assert (await verified(migrated, rest[-1])).entries == 400


async def test_a_seal_that_is_rolled_back_was_not_cut(migrated: IsolatedDatabase) -> None:
    append(migrated, 2)
    with psycopg.connect(migrated.dsn("clonedb_worker")) as worker:
        worker.execute("SELECT clonedb.seal_audit_logs(10)")
        assert await seal_all(migrated) == []  # another is sealing
        worker.rollback()
    assert [cut.number for cut in await seal_all(migrated)] == [1]


@pytest.mark.parametrize("limit", [0, -1, 100_001, None, "ten", True, 1.5])
async def test_a_batch_of_another_size_is_refused(worker: Database, limit: object) -> None:
    with pytest.raises(InvalidInput):
        await worker.audit_seals.seal(limit=limit)  # type: ignore[arg-type]


@pytest.mark.parametrize("role", ["app", "readonly", "backup", "dba"])
async def test_the_worker_alone_seals(migrated: IsolatedDatabase, role: str) -> None:
    append(migrated, 1)
    async with Database(migrated.dsn(f"clonedb_{role}")) as database:
        with pytest.raises(PermissionDenied):
            await database.audit_seals.seal()


@pytest.mark.parametrize("role", ["app", "worker", "readonly", "backup", "dba"])
async def test_nobody_writes_seals_by_hand(migrated: IsolatedDatabase, role: str) -> None:
    await sealed_log(migrated)
    for command in (
        "INSERT INTO clonedb.audit_seals SELECT a.* FROM clonedb.audit_seals AS a",
        "UPDATE clonedb.audit_seals SET sealed_at = now()",
        "DELETE FROM clonedb.audit_seals",
        "TRUNCATE clonedb.audit_seals",
        "COPY clonedb.audit_seals FROM STDIN",
    ):
        with (
            psycopg.connect(migrated.dsn(f"clonedb_{role}")) as connection,
            pytest.raises(InsufficientPrivilege),
        ):
            connection.execute(command.encode())


# Elsewhere, and later.


def dump(database: IsolatedDatabase, path: Path) -> None:
    """As the operator's guide says: by the login for backups, under row-level security."""
    subprocess.run(
        [
            database.server.binaries / "pg_dump",
            "--enable-row-security",
            "--no-sync",
            f"--file={path}",
            database.dsn("clonedb_backup"),
        ],
        check=True,
    )


def restore(database: IsolatedDatabase, path: Path) -> None:
    subprocess.run(
        [
            database.server.binaries / "psql",
            "--quiet",
            "--no-psqlrc",
            "--set=ON_ERROR_STOP=1",
            f"--file={path}",
            database.dsn(SUPERUSER),
        ],
        check=True,
        stdout=subprocess.DEVNULL,
    )


async def test_a_dump_holds_where_it_is_restored_and_goes_on_there(
    migrated: IsolatedDatabase, empty_database: IsolatedDatabase, tmp_path: Path
) -> None:
    log = await sealed_log(migrated)
    dump(migrated, tmp_path / "dump.sql")
    restore(empty_database, tmp_path / "dump.sql")
    report = await verified(empty_database, log.last)
    assert (report.findings, report.entries, report.pending) == ([], 9, 1)
    append(empty_database, 2)
    assert sum(cut.entry_count for cut in await seal_all(empty_database)) == 3
    report = await verified(empty_database, log.last)
    assert (report.findings, report.entries, report.pending) == ([], 12, 0)


async def test_another_server_numbers_its_transactions_anew_and_that_is_no_alarm(
    migrated: IsolatedDatabase, tmp_path: Path
) -> None:
    with as_superuser(migrated) as connection:
        # So that those of the new server are below.
        connection.execute(
            "DO $$ BEGIN FOR i IN 1..5000 LOOP "
            "PERFORM pg_current_xact_id(); COMMIT; END LOOP; END $$"
        )
    log = await sealed_log(migrated)
    dump(migrated, tmp_path / "dump.sql")
    with (
        tempfile.TemporaryDirectory(prefix="clonedb-") as folder,
        EmbeddedServer(Path(folder), durable=False) as server,
    ):
        elsewhere = IsolatedDatabase(server, "restored")
        server.create_database("restored")
        restore(elsewhere, tmp_path / "dump.sql")
        append(elsewhere, 2, 2)
        with as_superuser(elsewhere) as connection:
            below = connection.execute(
                "SELECT count(*) FROM clonedb.audit_logs AS l "
                "WHERE l.xid < (SELECT s.from_xid FROM clonedb.audit_seals AS s WHERE number = 2)"
                " AND l.system_identifier = (pg_control_system()).system_identifier"
            ).fetchone()
        assert below == (4,)
        report = await verified(elsewhere, log.last)
        assert (report.findings, report.entries, report.pending) == ([], 9, 5)
        # What was pending there, of a server that is gone; then what was written here.
        assert [cut.entry_count for cut in await seal_all(elsewhere)] == [1, 4]
        report = await verified(elsewhere, log.last)
        assert (report.findings, report.entries, report.pending) == ([], 14, 0)
        with as_superuser(elsewhere) as connection:
            connection.execute("DELETE FROM clonedb.audit_logs WHERE id = %s", [log.pending])
        assert [
            (one.kind, one.seal, one.entry) for one in (await verified(elsewhere)).findings
        ] == [("deleted", 4, log.pending)]


async def month_before(database: IsolatedDatabase) -> None:
    """Four entries of the month before, in a seal with one of this month."""
    with as_superuser(database) as connection:
        connection.execute(
            "INSERT INTO clonedb.audit_logs (id, action, resource, result, created_at) "
            "SELECT clonedb.uuid_v7_floor(t), 'user.login', 'users', 'success', t FROM ("
            "SELECT date_trunc('month', now(), 'UTC') - interval '1 second' * n "
            "FROM generate_series(1, 4) AS n) AS past (t)"
        )
    append(database, 1)
    assert [cut.entry_count for cut in await seal_all(database)] == [5]
    append(database, 3)
    assert [cut.entry_count for cut in await seal_all(database)] == [3]


def drop_month(database: IsolatedDatabase, months_back: int) -> str:
    with as_superuser(database) as connection:
        row = connection.execute(
            "SELECT to_char(date_trunc('month', now() AT TIME ZONE 'UTC') "
            "- make_interval(months => %s), 'YYYY-MM')",
            [months_back],
        ).fetchone()
        assert row is not None
        month: str = row[0]
        name = f"audit_logs_{month.replace('-', '_')}"
        connection.execute(
            f"ALTER TABLE clonedb.audit_logs DETACH PARTITION clonedb.{name}".encode()
        )
        connection.execute(f"DROP TABLE clonedb.{name}".encode())
    return month


async def test_a_month_that_has_expired_is_no_alarm_and_one_entry_of_another_is(
    migrated: IsolatedDatabase,
) -> None:
    await month_before(migrated)
    month = drop_month(migrated, 1)
    report = await verified(migrated)
    assert report.findings == []
    assert [(one.month, one.entries) for one in report.expired] == [(month, 4)]
    assert (report.seals, report.entries) == (2, 4)
    append(migrated, 1)
    (cut,) = await seal_all(migrated)
    assert (await verified(migrated, cut)).ok
    with as_superuser(migrated) as connection:
        (entry,) = connection.execute(
            "DELETE FROM clonedb.audit_logs WHERE id = "
            "(SELECT id FROM clonedb.audit_logs ORDER BY id LIMIT 1) RETURNING id"
        ).fetchone() or (None,)
    found = (await verified(migrated, cut)).findings
    assert [(one.kind, one.seal, one.entry) for one in found] == [("deleted", 1, entry)]


async def test_a_month_that_should_be_there_is_missed(migrated: IsolatedDatabase) -> None:
    await month_before(migrated)
    month = drop_month(migrated, 0)
    (finding,) = (await verified(migrated)).findings  # an older one is there
    assert finding.kind == "month_missing"
    assert month in finding.detail
    drop_month(migrated, 1)
    assert (await verified(migrated)).ok
    async with Database(migrated.dsn("clonedb_dba")) as dba:
        report = await verify(dba, kept_from=datetime.strptime(month, "%Y-%m").replace(tzinfo=UTC))
    assert [one.kind for one in report.findings] == ["month_missing"]
