"""An audit log with seals, for the tests that tamper with it, and what verifying it finds."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, LiteralString, NamedTuple
from uuid import UUID

import psycopg
from ground import as_superuser

from clonedb import Database
from clonedb.audit import Anchor, AuditReport, seal, verify
from clonedb.repositories.audit_seals import AuditSeal
from clonedb.testing import IsolatedDatabase

APPEND: LiteralString = (
    "INSERT INTO clonedb.audit_logs (action, resource, result) "
    "SELECT 'user.login', 'users', 'success' FROM generate_series(1, %s) RETURNING id"
)


class SealedLog(NamedTuple):
    """Three seals of three entries each, a transaction to a seal, and one entry that is pending."""

    database: IsolatedDatabase
    entries: list[list[UUID]]
    pending: UUID
    last: AuditSeal


def append(database: IsolatedDatabase, *counts: int) -> list[list[UUID]]:
    """Appends entries as the worker, so many in each transaction."""
    with psycopg.connect(database.dsn("clonedb_worker"), autocommit=True) as worker:
        return [[row[0] for row in worker.execute(APPEND, [count]).fetchall()] for count in counts]


async def sealed_log(database: IsolatedDatabase) -> SealedLog:
    """A log in the state that SealedLog says, behind a seal of what was there before."""
    await seal_all(database)
    entries = append(database, 3, 3, 3)
    seals = await seal_all(database, limit=3)
    assert [one.entry_count for one in seals] == [3, 3, 3]
    return SealedLog(database, entries, append(database, 1)[0][0], seals[-1])


async def seal_all(database: IsolatedDatabase, *, limit: int = 10_000) -> list[AuditSeal]:
    async with Database(database.dsn("clonedb_worker")) as worker:
        return [one async for one in seal(worker, limit=limit)]


async def verified(database: IsolatedDatabase, last: AuditSeal | None = None) -> AuditReport:
    """What clonedb_readonly finds, given a seal that was kept."""
    anchor = None if last is None else Anchor.of_seal(str(last))
    async with Database(database.dsn("clonedb_readonly")) as readonly:
        return await verify(readonly, anchor=anchor)


@contextmanager
def tampering(database: IsolatedDatabase) -> Iterator[psycopg.Connection[Any]]:
    """A superuser's connection; what it changes of the schema, the test's end puts right."""
    with as_superuser(database) as connection:
        connection.execute("SET session_replication_role = replica")
        yield connection
