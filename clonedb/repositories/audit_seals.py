"""The seals of the audit log: cut by the worker, read by whoever verifies."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Final
from uuid import UUID

import msgspec
from msgspec import Meta

from clonedb import queries
from clonedb.validation import convert

if TYPE_CHECKING:
    from clonedb.scope import Scope

# Sealed in a fifth of a second; its digests are 480 KB.
DEFAULT_BATCH: Final = 10_000
BatchSize = Annotated[int, Meta(ge=1, le=100_000)]

# Above every seal's number.
_NO_BOUND: Final = 2**63 - 1


class AuditSeal(msgspec.Struct, frozen=True):
    """A seal: `str(seal)` is `number:digest`, which is what to keep outside of the database."""

    number: int
    entry_count: int
    digest: bytes
    sealed_at: datetime

    def __str__(self) -> str:
        return f"{self.number}:{self.digest.hex()}"


class CheckedSeal(msgspec.Struct, frozen=True):
    """A seal and what the database finds of it; the times and ids are those of stored entries.

    It covers the transactions of one server from `from_xid` and below `to_xid`.
    """

    number: int
    system_identifier: int
    from_xid: int
    to_xid: int
    entry_count: int
    previous_digest: bytes
    digest: bytes
    sealed_at: datetime
    digest_holds: bool
    entries_hold: bool
    oldest_at: datetime | None
    newest_at: datetime | None
    lowest_id: str | None
    highest_id: str | None


class StoredEntry(msgspec.Struct, frozen=True):
    """An entry as it is stored now, with the SHA-256 of its columns."""

    id: UUID
    digest: bytes
    created_at: datetime


class MovedEntry(msgspec.Struct, frozen=True):
    """Which transaction an entry says it is of."""

    id: UUID
    system_identifier: int
    xid: int


class PendingEntries(msgspec.Struct, frozen=True):
    """What no seal covers yet of a server's transactions; `is_here` is this server."""

    system_identifier: int
    is_here: bool
    entries: int
    implausible: int


class ImplausibleEntry(msgspec.Struct, frozen=True):
    """A pending entry that cannot be one."""

    id: UUID
    created_at: datetime
    of_a_transaction_to_come: bool


class Month(msgspec.Struct, frozen=True):
    """The ids of a month that has a partition: from `floor_id`, below `ceiling_id`."""

    floor_id: UUID
    ceiling_id: UUID


class Horizon(msgspec.Struct, frozen=True):
    """The first transaction of a server that no seal covers."""

    system_identifier: int
    to_xid: int


class AuditSealRepository:
    """Every login but the app's reads seals; the worker login cuts them."""

    __slots__ = ("_scope",)

    def __init__(self, scope: Scope) -> None:
        self._scope = scope

    async def seal(self, *, limit: int = DEFAULT_BATCH) -> AuditSeal | None:
        """Seal the next `limit` entries, or as many as one transaction has written.

        None where there is nothing to seal, or another is sealing. An entry waits for every
        transaction that is older than its own and still open.
        """
        return await self._scope.one(
            queries.audit_seals.seal, AuditSeal, limit=convert(limit, BatchSize, "limit")
        )

    async def find_last(self, *, before: int = _NO_BOUND) -> AuditSeal | None:
        """The newest seal, or the newest whose number is below `before`."""
        return await self._scope.one(queries.audit_seals.find_last, AuditSeal, before_number=before)

    async def check_many(self, *, after: int, limit: int) -> list[CheckedSeal]:
        """The next seals above a number, compared with the entries that are stored."""
        return await self._scope.all(
            queries.audit_seals.check_many, CheckedSeal, after_number=after, limit=limit
        )

    async def find_entries(self, number: int) -> bytes:
        """What a seal says of its entries: 16 bytes of id and 32 of digest for each."""
        entries: bytes | None = await self._scope.value(
            queries.audit_seals.find_entries, number=number
        )
        return entries or b""

    async def find_stored(self, seal: CheckedSeal) -> list[StoredEntry]:
        """The entries that are stored of the transactions that a seal covers."""
        return await self._scope.all(
            queries.audit_seals.find_stored,
            StoredEntry,
            system_identifier=seal.system_identifier,
            from_xid=seal.from_xid,
            to_xid=seal.to_xid,
        )

    async def find_elsewhere(self, ids: Sequence[UUID]) -> list[MovedEntry]:
        """Where entries are, whatever transaction they say they are of."""
        return await self._scope.all(queries.audit_seals.find_elsewhere, MovedEntry, ids=list(ids))

    async def find_horizons(self, *, before: int) -> list[Horizon]:
        """How far the seals below a number cover each server's transactions."""
        return await self._scope.all(
            queries.audit_seals.find_horizons, Horizon, before_number=before
        )

    async def find_months(self) -> list[Month]:
        """The months that have a partition, oldest first."""
        return await self._scope.all(queries.audit_seals.find_months, Month)

    async def find_pending(
        self, horizons: dict[int, int], *, before: datetime | None
    ) -> list[PendingEntries]:
        """What no seal covers yet; implausible is also what is older than `before`."""
        return await self._scope.all(
            queries.audit_seals.find_pending,
            PendingEntries,
            system_identifiers=list(horizons),
            horizons=list(horizons.values()),
            before=before,
        )

    async def find_implausible(
        self, pending: PendingEntries, *, to_xid: int, before: datetime | None, limit: int
    ) -> list[ImplausibleEntry]:
        """The entries that `find_pending` has counted as implausible."""
        return await self._scope.all(
            queries.audit_seals.find_implausible,
            ImplausibleEntry,
            system_identifier=pending.system_identifier,
            is_here=pending.is_here,
            to_xid=to_xid,
            before=before,
            limit=limit,
        )
