"""Retention policies: how long what is kept, and whether it is deleted afterwards."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Final
from uuid import UUID

import msgspec
from msgspec import Meta

from clonedb import queries
from clonedb.errors import InvalidInput
from clonedb.repositories.rate_limits import DEFAULT_BATCH, check_batch
from clonedb.repositories.writing import found
from clonedb.validation import convert

if TYPE_CHECKING:
    from clonedb.scope import Scope

PolicyName = Annotated[str, Meta(min_length=1, max_length=100)]

_DAY: Final = timedelta(days=1)
_MAXIMUM_DAYS: Final = 36_500


class RetentionPolicy(msgspec.Struct, frozen=True):
    """How many days something is kept; it is deleted afterwards only where that is `enabled`."""

    name: str
    keep_days: int
    enabled: bool
    description: str
    updated_at: datetime

    @property
    def keep(self) -> timedelta:
        return timedelta(days=self.keep_days)


class Expired(msgspec.Struct, frozen=True):
    """A row that is over, and the moment that it has to be older than when it is deleted."""

    user_id: UUID
    id: UUID
    before: datetime


class ExpiredCount(msgspec.Struct, frozen=True):
    """How many rows a policy is over for."""

    name: str
    expired: int


class ExpiredMonth(msgspec.Struct, frozen=True):
    """A month that is over: how far it is taken away, and the statement that comes next."""

    month: date
    state: str
    marked: bool
    statement: str


class RetentionRepository:
    """Every login reads the policies; the worker's and the DBA's set them, which is on record."""

    __slots__ = ("_scope",)

    def __init__(self, scope: Scope) -> None:
        self._scope = scope

    async def find_many(self) -> list[RetentionPolicy]:
        """Every policy, also those that are not enabled, by name."""
        return await self._scope.all(queries.retention.find_policies, RetentionPolicy)

    async def put(
        self, name: str, *, keep: timedelta | None = None, enabled: bool | None = None
    ) -> RetentionPolicy:
        """Set how long something is kept, in whole days, and whether it is deleted afterwards.

        What is None stays as it is. `clonedb.maintain` deletes by it from its next batch on. Raises
        NotFound for a policy that there is not, and InvalidInput for too short or too long.
        """
        stored = await self._scope.one(
            queries.retention.set_policy,
            RetentionPolicy,
            name=convert(name, PolicyName, "name"),
            keep_days=None if keep is None else _days(keep),
            enabled=convert(enabled, bool | None, "enabled"),
        )
        return found(stored, "retention policy", name)

    async def count_expired(self, now: datetime | None = None) -> list[ExpiredCount]:
        """How many rows each enabled policy is over for, but for months; for the worker and DBA.

        Reads the tables that are asked about.
        """
        return await self._scope.all(queries.retention.count_expired, ExpiredCount, now=now)

    async def find_cutoff(self, policy: str, now: datetime | None = None) -> datetime | None:
        """What is older than this is over for a policy; None for one that is not enabled.

        By the database's clock, where no `now` is given; for the worker and DBA.
        """
        cutoff: datetime | None = await self._scope.value(
            queries.retention.find_cutoff, policy=policy, now=now
        )
        return cutoff

    async def find_expired_months(
        self, policy: str, now: datetime | None = None
    ) -> list[ExpiredMonth]:
        """The months of `conversation_turns` or `audit_logs` that are over, the next one first."""
        return await self._scope.all(
            queries.partitions.find_expired, ExpiredMonth, policy=policy, now=now
        )

    async def purge_audit_subjects(
        self, *, now: datetime | None = None, limit: int = DEFAULT_BATCH
    ) -> int:
        """Delete up to `limit` details of audit entries that are over, the oldest first.

        Under the worker login. Returns how many; call it again while that is `limit`.
        """
        return await self._scope.count(
            queries.retention.purge_audit_subjects, now=now, limit=check_batch(limit)
        )

    async def purge_cache_use(
        self, *, now: datetime | None = None, limit: int = DEFAULT_BATCH
    ) -> int:
        """The same for the hours of the caches' figures."""
        return await self._scope.count(
            queries.retention.purge_cache_use, now=now, limit=check_batch(limit)
        )


def _days(keep: timedelta) -> int:
    if not isinstance(keep, timedelta) or keep % _DAY or not 1 <= keep // _DAY <= _MAXIMUM_DAYS:
        raise InvalidInput(f"keep: {keep!r} is not a whole number of days from 1 to 36,500")
    return keep // _DAY
