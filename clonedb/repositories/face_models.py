"""Face models: the faces made for a user."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, TypedDict
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, UnsetType

from clonedb import queries
from clonedb.ids import check_id
from clonedb.pages import DEFAULT_LIMIT, Page, filter_arguments, find_page
from clonedb.repositories.activation import activate
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
from clonedb.validation import Fraction, validated

if TYPE_CHECKING:
    from clonedb.scope import Scope

ModelPath = Annotated[str, Meta(min_length=1, max_length=1_024)]
# 16,384 is the largest side that graphics hardware commonly takes.
Pixels = Annotated[int, Meta(ge=1, le=16_384)]
Metadata = dict[str, Any]


class Resolution(TypedDict):
    """The size of the picture, in pixels."""

    width: Pixels
    height: Pixels


class FaceModel(msgspec.Struct, frozen=True):
    """A stored face; `quality_score` is 0 to 1, None until it was judged."""

    id: UUID
    model_path: str
    resolution: Resolution
    quality_score: float | None
    is_active: bool
    metadata: Metadata
    created_at: datetime
    updated_at: datetime
    deleted_at: datetime | None


class NewFaceModel(msgspec.Struct, frozen=True, kw_only=True):
    """A face to store, inactive; without an id the database makes one."""

    model_path: ModelPath
    resolution: Resolution
    id: UUID | None = None
    quality_score: Fraction | None = None
    metadata: Metadata = {}


class FaceModelPatch(msgspec.Struct, frozen=True, kw_only=True):
    """What to change: UNSET leaves a field, None clears it; `activate` is a call of its own."""

    model_path: ModelPath | UnsetType = UNSET
    resolution: Resolution | UnsetType = UNSET
    quality_score: Fraction | UnsetType | None = UNSET
    metadata: Metadata | UnsetType = UNSET


class FaceModelFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which faces; UNSET fields do not narrow. Both ends of the quality are included."""

    active: bool | UnsetType = UNSET
    quality_from: Fraction | UnsetType = UNSET
    quality_to: Fraction | UnsetType = UNSET


class FaceModelRepository:
    """A user's face models; exists in a user's scope only."""

    __slots__ = ("_scope",)

    def __init__(self, scope: Scope) -> None:
        self._scope = scope

    async def find_by_id(
        self, id: UUID | str, *, include_deleted: bool = False
    ) -> FaceModel | None:
        return await self._scope.one(
            queries.face_models.find_by_id,
            FaceModel,
            id=check_id(id),
            include_deleted=include_deleted,
        )

    async def get_by_id(self, id: UUID | str, *, include_deleted: bool = False) -> FaceModel:
        """Raises NotFound."""
        return found(await self.find_by_id(id, include_deleted=include_deleted), "face model", id)

    async def find_many(
        self,
        filters: FaceModelFilter | None = None,
        *,
        order: str = "newest",
        cursor: str | None = None,
        limit: int = DEFAULT_LIMIT,
        with_total: bool = False,
        include_deleted: bool = False,
    ) -> Page[FaceModel]:
        """A page, ordered `newest` or `oldest` by creation."""
        return await find_page(
            self._scope,
            queries.face_models.find_many,
            FaceModel,
            order=order,
            cursor=cursor,
            limit=limit,
            with_total=with_total,
            include_deleted=include_deleted,
            arguments=filter_arguments(filters),
        )

    async def find_one(
        self, filters: FaceModelFilter | None = None, *, order: str = "newest"
    ) -> FaceModel | None:
        """The first in the order."""
        page = await self.find_many(filters, order=order, limit=1)
        return page.items[0] if page.items else None

    async def find_active(self) -> FaceModel | None:
        """The model that new sessions use."""
        return await self._scope.one(queries.face_models.find_active, FaceModel)

    async def count(
        self, filters: FaceModelFilter | None = None, *, include_deleted: bool = False
    ) -> int:
        total: int = await self._scope.value(
            queries.face_models.count,
            include_deleted=include_deleted,
            **filter_arguments(filters),
        )
        return total

    async def exists(
        self, filters: FaceModelFilter | None = None, *, include_deleted: bool = False
    ) -> bool:
        any_at_all: bool = await self._scope.value(
            queries.face_models.exists,
            include_deleted=include_deleted,
            **filter_arguments(filters),
        )
        return any_at_all

    async def create(self, new: NewFaceModel) -> FaceModel:
        """Store an inactive model; a repeat with the same id returns the stored row.

        Raises AlreadyExists when the id belongs to other content or a deleted model.
        """
        new = validated(new)
        stored = await self._scope.one(queries.face_models.create, FaceModel, **columns_of(new))
        return same_as_stored(new, found(stored, "face model", new.id), "face model")

    async def create_many(self, news: Sequence[NewFaceModel]) -> list[FaceModel]:
        """Store up to 10,000 models in one statement, all or none; like `create` for each."""
        if not news:
            return []
        checked = validated_rows(news)
        stored = await self._scope.all(
            queries.face_models.create_many, FaceModel, rows=rows_of(checked)
        )
        return all_same_as_stored(checked, stored, "face model")

    async def update(self, id: UUID | str, patch: FaceModelPatch) -> FaceModel:
        """Raises NotFound, and InvalidInput for an empty patch."""
        updated = await self._scope.one(
            queries.face_models.update, FaceModel, id=check_id(id), **changes_of(patch)
        )
        return found(updated, "face model", id)

    async def update_many(
        self, ids: Iterable[UUID | str], patch: FaceModelPatch
    ) -> list[FaceModel]:
        """Change several models alike; ids that do not exist are left out of the answer."""
        return await self._scope.all(
            queries.face_models.update_many, FaceModel, ids=check_ids(ids), **changes_of(patch)
        )

    async def activate(self, id: UUID | str) -> FaceModel:
        """Make a living model the only active one; again is a no-op.

        Locks all of the user's living models, so that of several calls at once each takes its
        turn and the last one stays. Raises NotFound, and then nothing was changed.
        """
        return await activate(
            self._scope, queries.face_models.activate, FaceModel, id, "face model"
        )

    async def deactivate(self) -> bool:
        """Leave the user without an active model; False if there was none."""
        deactivated = await self._scope.value(queries.face_models.deactivate)
        return deactivated is not None

    async def delete(self, id: UUID | str) -> bool:
        """Hide the model, which is active no more; False if there was none."""
        stamp = await self._scope.value(queries.face_models.delete, id=check_id(id))
        return stamp is not None

    async def hard_delete(self, id: UUID | str) -> bool:
        """Remove the model, living or deleted, and take it off its sessions; False if none was.

        Raises StillReferenced where a session took it up at that moment: call again.
        """
        removed = await self._scope.value(queries.face_models.hard_delete, id=check_id(id))
        return removed is not None

    async def restore(self, id: UUID | str) -> FaceModel:
        """Bring a deleted model back, inactive; one that is not deleted is returned as it is."""
        restored = await self._scope.one(queries.face_models.restore, FaceModel, id=check_id(id))
        return found(restored, "face model", id)
