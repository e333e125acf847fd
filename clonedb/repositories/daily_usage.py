"""Daily usage: what users have used of their tier's quota, by day in UTC. It survives a crash."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, UnsetType

from clonedb import queries
from clonedb.errors import AlreadyExists, InvalidInput, NotFound
from clonedb.ids import check_id, new_id
from clonedb.pages import DEFAULT_LIMIT, Page, filter_arguments, find_page
from clonedb.repositories.rate_limits import DEFAULT_BATCH, check_batch
from clonedb.repositories.vocabulary import SubscriptionTier
from clonedb.repositories.writing import found
from clonedb.validation import convert

if TYPE_CHECKING:
    from clonedb.scope import Scope

SECONDS_OF_A_DAY: Final = 86_400
Turns = Annotated[int, Meta(ge=0, le=1_000_000)]


class DayUsage(msgspec.Struct, frozen=True):
    """What was used on one day."""

    day: date
    conversation_seconds: Decimal
    turns: int


class QuotaUsage(msgspec.Struct, frozen=True):
    """What is used of today's quota; `quota` is None for a tier without one.

    `reset_at` is when the next day begins.
    """

    day: date
    quota: Decimal | None
    used_seconds: Decimal
    used_turns: int
    reset_at: datetime

    @property
    def remaining(self) -> Decimal | None:
        """Seconds left today, None for any number; 0 where the quota was lowered below the use."""
        return None if self.quota is None else max(self.quota - self.used_seconds, Decimal(0))


class QuotaDecision(msgspec.Struct, frozen=True):
    """Whether a use was granted, why not, and what is used by now.

    `reservation` is what is to be settled, where seconds were reserved.
    """

    allowed: bool
    reason: Literal["over_quota"] | None
    usage: QuotaUsage
    reservation: UUID | None = None


class UsageFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which days; `day_before` is exclusive."""

    day_from: date | UnsetType = UNSET
    day_before: date | UnsetType = UNSET


class DailyQuota(msgspec.Struct, frozen=True):
    """A tier's quota: seconds of conversation in a day, None for any number."""

    tier: SubscriptionTier
    conversation_seconds: Decimal | None
    created_at: datetime
    updated_at: datetime


class DailyUsageRepository:
    """A user's use of the daily quota."""

    __slots__ = ("_scope",)

    def __init__(self, scope: Scope) -> None:
        self._scope = scope

    async def use(self, seconds: Decimal | float, *, turns: int = 0) -> QuotaDecision:
        """Use seconds of today's quota, all or none, exactly under any concurrency.

        Once it is granted it is stored: it survives a crash. Seconds count to the thousandth,
        rounded up. A refusal writes nothing. Raises NotFound for a user who does not exist.
        """
        rows = await self._scope.rows(
            queries.daily_usage.use,
            seconds=_check_seconds(seconds),
            turns=convert(turns, Turns, "turns"),
        )
        outcome, *usage = rows[0]
        return self._decision(outcome, usage, None)

    async def reserve(self, seconds: Decimal | float, *, id: UUID | None = None) -> QuotaDecision:
        """Use the most seconds that a conversation may take, before it begins; `settle` it after.

        All or none, durable, and exact like `use`. What nobody settles stays used. Repeated with
        the same id it has reserved once; with other seconds it raises AlreadyExists. Raises
        NotFound for a user who does not exist.
        """
        given = _check_seconds(seconds)
        reservation = new_id() if id is None else check_id(id, "id")
        rows = await self._scope.rows(queries.daily_usage.reserve, id=reservation, seconds=given)
        outcome, *usage = rows[0]
        if outcome == "other_seconds":
            raise AlreadyExists(f"reservation {reservation} is of other seconds than {given}")
        return self._decision(outcome, usage, reservation)

    async def settle(
        self, reservation: UUID, *, seconds: Decimal | float, turns: int = 0
    ) -> QuotaUsage:
        """Give back what of a reservation was not used, to the day that it was reserved on.

        Once: again it does nothing, with other seconds it raises AlreadyExists. 0 seconds give all
        of it back. Raises InvalidInput for more than was reserved, NotFound for no reservation of
        this user.
        """
        given = convert(seconds, Decimal, "seconds")
        if not 0 <= given <= SECONDS_OF_A_DAY:
            raise InvalidInput(f"seconds must be at least 0 and at most {SECONDS_OF_A_DAY:,}")
        rows = await self._scope.rows(
            queries.daily_usage.settle,
            id=check_id(reservation, "reservation"),
            seconds=given,
            turns=convert(turns, Turns, "turns"),
        )
        outcome, *usage = rows[0]
        if outcome == "no_reservation":
            raise NotFound(f"user {self._scope.user_id} has no reservation {reservation}")
        if outcome == "other_seconds":
            raise AlreadyExists(f"reservation {reservation} was settled with other seconds")
        if outcome == "not_reserved":
            raise InvalidInput(
                f"seconds: {given} are more than reservation {reservation} has",
                remedy="reserve what it takes beyond that, before it is taken",
            )
        return QuotaUsage(*usage)

    def _decision(self, outcome: str, usage: list[Any], reservation: UUID | None) -> QuotaDecision:
        if outcome == "no_user":
            raise NotFound(f"user {self._scope.user_id} does not exist")
        if outcome == "used":
            return QuotaDecision(True, None, QuotaUsage(*usage), reservation)
        return QuotaDecision(False, "over_quota", QuotaUsage(*usage))

    async def today(self) -> QuotaUsage:
        """What is used of today's quota; raises NotFound for a user who does not exist."""
        usage = await self._scope.one(queries.daily_usage.today, QuotaUsage)
        return found(usage, "user", self._scope.user_id)

    async def find_many(
        self,
        filters: UsageFilter | None = None,
        *,
        order: str = "newest",
        cursor: str | None = None,
        limit: int = DEFAULT_LIMIT,
        with_total: bool = False,
    ) -> Page[DayUsage]:
        """A page of the days on which something was used, ordered `newest` or `oldest`."""
        return await find_page(
            self._scope,
            queries.daily_usage.find_many,
            DayUsage,
            order=order,
            cursor=cursor,
            limit=limit,
            with_total=with_total,
            arguments=filter_arguments(filters),
        )


class DailyQuotaRepository:
    """The quotas; every login reads them, the worker's changes them. A change counts at once."""

    __slots__ = ("_scope",)

    def __init__(self, scope: Scope) -> None:
        self._scope = scope

    async def find_many(self) -> list[DailyQuota]:
        """The quota of each tier; a tier that is missing has none to keep to."""
        return await self._scope.all(queries.daily_usage.find_quotas, DailyQuota)

    async def put(
        self, tier: SubscriptionTier, conversation_seconds: Decimal | float | None
    ) -> DailyQuota:
        """Set a tier's quota in seconds; 0 allows no conversation, None any number."""
        seconds = convert(conversation_seconds, Decimal | None, "conversation_seconds")
        stored = await self._scope.one(
            queries.daily_usage.put_quota,
            DailyQuota,
            tier=convert(tier, SubscriptionTier, "tier"),
            conversation_seconds=seconds,
        )
        return found(stored, "quota", tier)

    async def purge(self, *, before: date, limit: int = DEFAULT_BATCH) -> int:
        """Delete up to `limit` rows of days before one, never of today, the oldest first.

        Under the worker login. Returns how many; call it again while that is `limit`.
        """
        day = convert(before, date, "before")
        return await self._scope.count(
            queries.daily_usage.purge, before=day, limit=check_batch(limit)
        )

    async def purge_reservations(self, *, before: date, limit: int = DEFAULT_BATCH) -> int:
        """Delete up to `limit` reservations of days before one, never of today, the oldest first.

        Under the worker login. Returns how many; call it again while that is `limit`.
        """
        day = convert(before, date, "before")
        return await self._scope.count(
            queries.daily_usage.purge_reservations, before=day, limit=check_batch(limit)
        )


def _check_seconds(seconds: Decimal | float) -> Decimal:
    given: Decimal = convert(seconds, Decimal, "seconds")
    if not 0 < given <= SECONDS_OF_A_DAY:
        raise InvalidInput(f"seconds must be above 0 and at most {SECONDS_OF_A_DAY:,}")
    return given
