"""Users."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, TypeVar
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, UnsetType

from clonedb import queries
from clonedb.errors import AlreadyExists, InvalidInput, TransactionAborted
from clonedb.ids import check_id
from clonedb.pages import DEFAULT_LIMIT, Page, filter_arguments, find_page
from clonedb.repositories.vocabulary import LlmProvider, SubscriptionTier, TtsProvider
from clonedb.repositories.writing import (
    all_same_as_stored,
    changes_of,
    check_ids,
    columns_of,
    found,
    rows_of,
    same_as_stored,
    validated_rows,
)
from clonedb.validation import Label, Moment, convert, validated

if TYPE_CHECKING:
    from clonedb.scope import Scope

# A local part and a domain: more than this only a message to the address can find out.
Email = Annotated[str, Meta(min_length=3, max_length=320, pattern=r"^[^@\s]+@[^@\s]+\Z")]
Traits = Annotated[list[Label], Meta(max_length=100)]
SpeakingStyle = Annotated[str, Meta(max_length=2_000)]
Settings = dict[str, Any]

R = TypeVar("R")


class User(msgspec.Struct, frozen=True):
    """A stored user."""

    id: UUID
    email: str
    name: str | None
    personality_traits: list[str]
    speaking_style: str | None
    preferred_llm_provider: LlmProvider
    preferred_tts_provider: TtsProvider
    subscription_tier: SubscriptionTier
    conversation_minutes_used: Decimal
    settings: Settings
    created_at: datetime
    updated_at: datetime
    deleted_at: datetime | None


class Login(msgspec.Struct, frozen=True):
    """What a service may know of an e-mail before the person has proved who they are."""

    id: UUID
    subscription_tier: SubscriptionTier


class SignUp(msgspec.Struct, frozen=True, kw_only=True):
    """A person who signs up; without an id the database makes one. The tier is free."""

    email: Email
    id: UUID | None = None
    name: Label | None = None
    personality_traits: Traits = []
    speaking_style: SpeakingStyle | None = None
    preferred_llm_provider: LlmProvider = "gpt-4-turbo"
    preferred_tts_provider: TtsProvider = "xtts-v2"
    settings: Settings = {}


class NewUser(SignUp, frozen=True, kw_only=True):
    """A user to store, of any tier."""

    subscription_tier: SubscriptionTier = "free"


class UserPatch(msgspec.Struct, frozen=True, kw_only=True):
    """What to change: UNSET leaves a field, None clears it."""

    email: Email | UnsetType = UNSET
    name: Label | UnsetType | None = UNSET
    personality_traits: Traits | UnsetType = UNSET
    speaking_style: SpeakingStyle | UnsetType | None = UNSET
    preferred_llm_provider: LlmProvider | UnsetType = UNSET
    preferred_tts_provider: TtsProvider | UnsetType = UNSET
    settings: Settings | UnsetType = UNSET


class UserFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which users; UNSET fields do not narrow. `created_before` is exclusive."""

    subscription_tier: SubscriptionTier | UnsetType = UNSET
    preferred_llm_provider: LlmProvider | UnsetType = UNSET
    created_from: Moment | UnsetType = UNSET
    created_before: Moment | UnsetType = UNSET


class UserRepository:
    """Users: every one of them for the worker login, oneself in a user's scope."""

    __slots__ = ("_scope",)

    def __init__(self, scope: Scope) -> None:
        self._scope = scope

    async def find_by_id(self, id: UUID | str, *, include_deleted: bool = False) -> User | None:
        return await self._scope.one(
            queries.users.find_by_id, User, id=check_id(id), include_deleted=include_deleted
        )

    async def get_by_id(self, id: UUID | str, *, include_deleted: bool = False) -> User:
        """Raises NotFound."""
        return found(await self.find_by_id(id, include_deleted=include_deleted), "user", id)

    async def find_by_email(self, email: str) -> User | None:
        """The living user with this e-mail, in whatever case it is written."""
        address = convert(email, Email, "email")
        return await self._scope.one(queries.users.find_by_email, User, email=address)

    async def find_login(self, email: str) -> Login | None:
        """The id behind an e-mail, under the app login and before any user is known."""
        address = convert(email, Email, "email")
        return await self._scope.one(queries.users.find_login, Login, email=address)

    async def find_many(
        self,
        filters: UserFilter | None = None,
        *,
        order: str = "newest",
        cursor: str | None = None,
        limit: int = DEFAULT_LIMIT,
        with_total: bool = False,
        include_deleted: bool = False,
    ) -> Page[User]:
        """A page, ordered `newest` or `oldest` by creation."""
        return await find_page(
            self._scope,
            queries.users.find_many,
            User,
            order=order,
            cursor=cursor,
            limit=limit,
            with_total=with_total,
            include_deleted=include_deleted,
            arguments=filter_arguments(filters),
        )

    async def find_one(
        self, filters: UserFilter | None = None, *, order: str = "newest"
    ) -> User | None:
        """The first in the order."""
        page = await self.find_many(filters, order=order, limit=1)
        return page.items[0] if page.items else None

    async def count(
        self, filters: UserFilter | None = None, *, include_deleted: bool = False
    ) -> int:
        total: int = await self._scope.value(
            queries.users.count, include_deleted=include_deleted, **filter_arguments(filters)
        )
        return total

    async def exists(
        self, filters: UserFilter | None = None, *, include_deleted: bool = False
    ) -> bool:
        any_at_all: bool = await self._scope.value(
            queries.users.exists, include_deleted=include_deleted, **filter_arguments(filters)
        )
        return any_at_all

    async def sign_up(self, new: SignUp) -> User:
        """Store a user of the free tier, under the app login; a repeat returns the stored row.

        Raises AlreadyExists when the e-mail, in any case, or the id is taken.
        """
        new = validated(new)
        stored = await self._scope.one(queries.users.sign_up, User, **columns_of(new))
        return same_as_stored(new, found(stored, "user", new.id), "user")

    async def create(self, new: NewUser) -> User:
        """Store a user, under the worker login; a repeat with the same id returns the stored row.

        Raises AlreadyExists when the e-mail, in any case, is taken, or the id by other content.
        """
        new = validated(new)
        columns = columns_of(new)
        stored = await self._unless_overtaken(
            lambda: self._scope.one(queries.users.create, User, **columns),
            repeatable=new.id is not None,
        )
        return same_as_stored(new, found(stored, "user", new.id), "user")

    async def create_many(self, news: Sequence[NewUser]) -> list[User]:
        """Store up to 10,000 users in one statement, all or none; like `create` for each."""
        if not news:
            return []
        checked = validated_rows(news)
        rows = rows_of(checked)
        stored = await self._unless_overtaken(
            lambda: self._scope.all(queries.users.create_many, User, rows=rows),
            repeatable=any(new.id is not None for new in checked),
        )
        return all_same_as_stored(checked, stored, "user")

    async def _unless_overtaken(self, send: Callable[[], Awaitable[R]], *, repeatable: bool) -> R:
        """What `send` returns; once more where its own repeat was stored at the same moment.

        ON CONFLICT watches the id. A race of two equal users that the e-mail's index notices first
        is reported as a taken e-mail; the second time, the other is stored and found by its id.
        """
        try:
            return await send()
        except AlreadyExists as taken:
            if not repeatable or taken.constraint != "users_email_key_living":
                raise
            try:
                return await send()
            except TransactionAborted:
                raise taken from None

    async def update(self, id: UUID | str, patch: UserPatch) -> User:
        """Raises NotFound, AlreadyExists for a taken e-mail, InvalidInput for an empty patch."""
        updated = await self._scope.one(
            queries.users.update, User, id=check_id(id), **changes_of(patch)
        )
        return found(updated, "user", id)

    async def update_many(self, ids: Iterable[UUID | str], patch: UserPatch) -> list[User]:
        """Change several users alike; ids that do not exist are left out of the answer."""
        if patch.email is not UNSET:
            raise InvalidInput("several users cannot share an e-mail")
        changes = changes_of(patch)
        del changes["email"]
        return await self._scope.all(queries.users.update_many, User, ids=check_ids(ids), **changes)

    async def merge_settings(self, id: UUID | str, settings: Mapping[str, Any]) -> User:
        """Set the given top-level keys and leave the others; a key of None is removed."""
        given = convert(settings, Settings, "settings")
        if not given:
            raise InvalidInput("settings changes nothing: it has no key")
        merged = await self._scope.one(
            queries.users.merge_settings,
            User,
            id=check_id(id),
            settings={key: value for key, value in given.items() if value is not None},
            removed=[key for key, value in given.items() if value is None],
        )
        return found(merged, "user", id)

    async def add_minutes(self, id: UUID | str, minutes: Decimal) -> User:
        """Add conversation minutes, at least 0, to what the user has used."""
        added = convert(minutes, Decimal, "minutes")
        user = await self._scope.one(
            queries.users.add_minutes, User, id=check_id(id), minutes=added
        )
        return found(user, "user", id)

    async def set_tier(self, id: UUID | str, tier: SubscriptionTier) -> User:
        """Move a user to another tier, under the worker login."""
        chosen = convert(tier, SubscriptionTier, "tier")
        user = await self._scope.one(
            queries.users.set_tier, User, id=check_id(id), subscription_tier=chosen
        )
        return found(user, "user", id)

    async def delete(self, id: UUID | str) -> bool:
        """Hide the user and all that they own, and drop their caches; False if there was none."""
        stamp = await self._scope.value(queries.users.delete, id=check_id(id))
        return stamp is not None

    async def hard_delete(self, id: UUID | str) -> bool:
        """Erase the user: every row that is theirs, in every table and cache. False for nobody.

        What they have in the object store is deleted by its `work_off`. They are in the ledger of
        erased people then, with a receipt that upkeep closes: see `clonedb.privacy.erase_user`.
        """
        removed = await self._scope.value(queries.users.hard_delete, id=check_id(id))
        return removed is not None

    async def restore(self, id: UUID | str) -> User:
        """Bring a deleted user back with exactly what was hidden by the same deletion.

        Raises NotFound when no deleted user has the id, AlreadyExists when the e-mail is taken.
        """
        restored = await self._scope.one(queries.users.restore, User, id=check_id(id))
        return found(restored, "deleted user", id)
