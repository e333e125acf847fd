"""The audit log: who did what to whom, kept when the people in it are gone."""

from __future__ import annotations

import ipaddress
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, UnsetType

from clonedb import queries
from clonedb.errors import AlreadyExists, InvalidInput, NotFound
from clonedb.ids import check_id
from clonedb.pages import DEFAULT_LIMIT, Page, check_limit, filter_arguments, find_page
from clonedb.repositories.writing import columns_of, found, same_as_stored
from clonedb.validation import Moment, validated

if TYPE_CHECKING:
    from clonedb.scope import QueryFunction, Scope

# The column's bound, in bytes of JSON.
MAXIMUM_METADATA_BYTES: Final = 64 * 1024

AuditResult = Literal["success", "failure"]
# The columns' bounds: in neither of the two fits an address or a sentence.
Action = Annotated[
    str, Meta(min_length=1, max_length=100, pattern=r"\A[a-z][a-z_]*(\.[a-z][a-z_]*)*\Z")
]
Resource = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=100,
        pattern=r"\A[a-z][a-z_]*(/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})?\Z",
    ),
]
UserAgent = Annotated[str, Meta(max_length=1_000)]


class AuditEntry(msgspec.Struct, frozen=True):
    """A stored entry.

    `actor_ref` and `subject_ref` stand for people, None for the system or somebody unknown; they
    outlive the people, and nobody can tell whose they were. `subject_id` is None, and address,
    user agent and metadata are gone, once the subject was deleted for good.
    """

    id: UUID
    action: str
    resource: str
    result: AuditResult
    created_at: datetime
    actor_ref: UUID | None
    subject_ref: UUID | None
    subject_id: UUID | None
    ip_address: str | None
    user_agent: str | None
    metadata: dict[str, Any]


class NewAuditEntry(msgspec.Struct, frozen=True, kw_only=True):
    """An entry to append; without an id the database makes one.

    `action` and `resource` are kept for good, so they are names of the system's own: an action of
    small letters, underscores and dots (`document.export`), a resource of small letters and
    underscores, and behind a slash an id (`knowledge_documents/0190…`). What is personal belongs
    into the other three, which can be erased.
    """

    action: Action
    resource: Resource
    result: AuditResult = "success"
    id: UUID | None = None
    ip_address: str | None = None
    user_agent: UserAgent | None = None
    metadata: dict[str, Any] = {}


class AuditPeriod(msgspec.Struct, frozen=True, kw_only=True):
    """Which entries a statistic covers; `created_before` is exclusive."""

    created_from: Moment | UnsetType = UNSET
    created_before: Moment | UnsetType = UNSET


class AuditFilter(AuditPeriod, frozen=True, kw_only=True):
    """Which entries; UNSET fields do not narrow.

    `subject_id` and `actor_id` are users that are not deleted for good; others match nothing.
    """

    subject_id: UUID | UnsetType = UNSET
    actor_id: UUID | UnsetType = UNSET
    action: Action | UnsetType = UNSET
    resource: Resource | UnsetType = UNSET
    result: AuditResult | UnsetType = UNSET


class AuditStatistics(msgspec.Struct, frozen=True):
    """What entries add up to; `subjects` are the known people that they are about."""

    entries: int
    failures: int
    subjects: int
    first_at: datetime | None
    last_at: datetime | None


class ActionStatistics(msgspec.Struct, frozen=True):
    """How often an action was recorded, and how often it had failed."""

    action: str
    entries: int
    failures: int
    last_at: datetime


class FailureStatistics(msgspec.Struct, frozen=True):
    """How often an action on a resource failed."""

    action: str
    resource: str
    failures: int
    last_at: datetime


class AuditLogRepository:
    """Entries about oneself in a user's scope.

    Entries are appended and never changed. Deleting a user for good erases the details of the
    entries about them and leaves the entries.
    """

    __slots__ = ("_scope",)

    def __init__(self, scope: Scope) -> None:
        self._scope = scope

    async def append(self, new: NewAuditEntry) -> UUID:
        """Record a deed and return the entry's id.

        In a user's scope actor and subject are that user, and a repeat with the same id and
        content records nothing new. Outside of one they are unknown, as of a failed login, for
        either login. Raises NotFound when the user is deleted, AlreadyExists when the id is taken.
        """
        query: QueryFunction = queries.audit_logs.append_unknown
        if self._scope.user_id is not None:
            query = queries.audit_logs.append
        return await self._append(query, new)

    async def _append(
        self, query: QueryFunction, new: NewAuditEntry, **people: UUID | None
    ) -> UUID:
        new = _checked(new)
        arguments = columns_of(new)
        # Without any detail there is nothing personal, and no row to erase.
        arguments["metadata"] = new.metadata or None
        rows = await self._scope.rows(query, **arguments, **people)
        if not rows:
            raise NotFound(f"user {self._scope.user_id} does not exist, or is deleted")
        identifier: UUID = rows[0][0]
        appended: bool = rows[0][1]
        if not appended:
            stored = await self.find_by_id(identifier)
            if stored is None:
                raise AlreadyExists(
                    f"audit entry {identifier} exists and is not this user's",
                    remedy="use another id",
                )
            same_as_stored(new, stored, "audit entry")
        return identifier

    async def find_by_id(self, id: UUID | str) -> AuditEntry | None:
        return await self._scope.one(queries.audit_logs.find_by_id, AuditEntry, id=check_id(id))

    async def get_by_id(self, id: UUID | str) -> AuditEntry:
        """Raises NotFound."""
        return found(await self.find_by_id(id), "audit entry", id)

    async def find_many(
        self,
        filters: AuditFilter | None = None,
        *,
        order: str = "newest",
        cursor: str | None = None,
        limit: int = DEFAULT_LIMIT,
        with_total: bool = False,
    ) -> Page[AuditEntry]:
        """A page, ordered `newest` or `oldest` by id, which is by time."""
        return await find_page(
            self._scope,
            queries.audit_logs.find_many,
            AuditEntry,
            order=order,
            cursor=cursor,
            limit=limit,
            with_total=with_total,
            arguments=filter_arguments(filters),
        )

    async def find_one(
        self, filters: AuditFilter | None = None, *, order: str = "newest"
    ) -> AuditEntry | None:
        """The first in the order."""
        page = await self.find_many(filters, order=order, limit=1)
        return page.items[0] if page.items else None

    async def count(self, filters: AuditFilter | None = None) -> int:
        total: int = await self._scope.value(queries.audit_logs.count, **filter_arguments(filters))
        return total

    async def statistics(self, period: AuditPeriod | None = None) -> AuditStatistics:
        """What the entries add up to, computed by the database."""
        row = await self._scope.one(
            queries.audit_logs.statistics, AuditStatistics, **filter_arguments(period)
        )
        return found(row, "statistics", self._scope.user_id)

    async def top_actions(
        self, period: AuditPeriod | None = None, *, limit: int = DEFAULT_LIMIT
    ) -> list[ActionStatistics]:
        """The most frequent actions, most entries first."""
        return await self._scope.all(
            queries.audit_logs.top_actions,
            ActionStatistics,
            limit=check_limit(limit),
            **filter_arguments(period),
        )

    async def top_failures(
        self, period: AuditPeriod | None = None, *, limit: int = DEFAULT_LIMIT
    ) -> list[FailureStatistics]:
        """What failed, most failures first."""
        return await self._scope.all(
            queries.audit_logs.top_failures,
            FailureStatistics,
            limit=check_limit(limit),
            **filter_arguments(period),
        )


class SystemAuditLogRepository(AuditLogRepository):
    """The audit log outside a user's scope: everybody's for the worker login."""

    __slots__ = ()

    async def append_for(
        self,
        new: NewAuditEntry,
        *,
        subject_id: UUID | str | None = None,
        actor_id: UUID | str | None = None,
    ) -> UUID:
        """Record what somebody, or the system, did to somebody, under the worker login.

        An id that no user has stands for somebody unknown. A repeat as in `append`.
        """
        return await self._append(
            queries.audit_logs.append_for,
            new,
            subject_id=None if subject_id is None else check_id(subject_id, "subject_id"),
            actor_id=None if actor_id is None else check_id(actor_id, "actor_id"),
        )


def _checked(new: NewAuditEntry) -> NewAuditEntry:
    """The entry with its address in the one spelling that the database gives back."""
    new = validated(new)
    size = len(msgspec.json.encode(new.metadata))
    if size > MAXIMUM_METADATA_BYTES:
        raise InvalidInput(
            f"NewAuditEntry.metadata: {size:,} bytes; at most {MAXIMUM_METADATA_BYTES:,} are stored"
        )
    if new.ip_address is None:
        return new
    return msgspec.structs.replace(new, ip_address=_canonical_address(new.ip_address))


def _canonical_address(text: str) -> str:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        raise InvalidInput(f"NewAuditEntry.ip_address: {text[:100]!r} is no address") from None
    if isinstance(address, ipaddress.IPv6Address):
        if address.scope_id is not None:
            raise InvalidInput(
                f"NewAuditEntry.ip_address: {text[:100]!r} names an interface of its own machine"
            )
        # The same person comes as ::ffff:192.0.2.7 through a socket of both families.
        address = address.ipv4_mapped or address
    return str(address)
