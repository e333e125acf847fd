"""The demonstration's audit trail: entries about what no statement records by itself."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import TypeVar
from uuid import UUID

import msgspec

from clonedb.errors import ClonedbError
from clonedb.repositories.audit_logs import (
    ActionStatistics,
    AuditEntry,
    AuditPeriod,
    AuditStatistics,
    NewAuditEntry,
)
from clonedb.repositories.users import User
from clonedb.scopes import DatabaseScope, UserScope

T = TypeVar("T")


class AuditFigures(msgspec.Struct, frozen=True):
    """What the log says about this demonstration, by the worker and by one of the people.

    `reader_found` is None when the owner's entry does not exist for the reader, as it should be.
    """

    statistics: AuditStatistics
    actions: list[ActionStatistics]
    owner: str
    owner_entries: int
    owner_last: AuditEntry | None
    reader: str
    reader_found: AuditEntry | None


async def record(scope: UserScope, action: str, resource: str, *, succeeded: bool = True) -> None:
    """An entry about a person's own deed, under the app login."""
    await scope.audit_logs.append(_entry(action, resource, succeeded))


async def record_work(
    worker: DatabaseScope, user_id: UUID, action: str, resource: str, *, succeeded: bool
) -> None:
    """An entry about what the system has done for a person, under the worker login."""
    new = _entry(action, resource, succeeded)
    await worker.audit_logs.append_for(new, subject_id=user_id)


async def recorded(
    scope: UserScope, action: str, resource: str, deed: Callable[[UserScope], Awaitable[T]]
) -> T:
    """Do what records itself where it succeeds; what is refused leaves an entry of a failure.

    That entry is not of the same statement, which is rolled back.
    """
    try:
        return await deed(scope)
    except ClonedbError:
        await record(scope, action, resource, succeeded=False)
        raise


async def read_trail(
    app: DatabaseScope, worker: DatabaseScope, owner: User, reader: User, since: datetime
) -> AuditFigures:
    """The entries since then, as the worker, their owner and somebody else read them."""
    period = AuditPeriod(created_from=since)
    own = app.as_user(owner.id).audit_logs
    last = await own.find_one()
    return AuditFigures(
        statistics=await worker.audit_logs.statistics(period),
        actions=await worker.audit_logs.top_actions(period),
        owner=owner.name or "",
        owner_entries=(await own.statistics(period)).entries,
        owner_last=last,
        reader=reader.name or "",
        reader_found=last and await app.as_user(reader.id).audit_logs.find_by_id(last.id),
    )


def _entry(action: str, resource: str, succeeded: bool) -> NewAuditEntry:
    return NewAuditEntry(
        action=action, resource=resource, result="success" if succeeded else "failure"
    )
