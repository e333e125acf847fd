"""What every repository does around a write: patches, repeated creates, bulk rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import ROUND_HALF_UP, Decimal
from typing import Any, Final, TypeVar
from uuid import UUID

import msgspec
from msgspec import UNSET

from clonedb.errors import AlreadyExists, InvalidInput, NotFound
from clonedb.ids import check_id
from clonedb.validation import validated

S = TypeVar("S", bound=msgspec.Struct)

# One array of JSON travels as one parameter and is held in memory at both ends.
MAXIMUM_ROWS: Final = 10_000
MAXIMUM_BYTES: Final = 64 * 1024 * 1024


def columns_of(checked: msgspec.Struct) -> dict[str, Any]:
    """The fields of a checked `New…`, as the arguments of its create."""
    return {name: getattr(checked, name) for name in checked.__struct_fields__}


def changes_of(patch: msgspec.Struct) -> dict[str, Any]:
    """The arguments of an update: every field of the patch, and in `fields` which of them count.

    Raises InvalidInput for a patch that changes nothing.
    """
    checked = validated(patch)
    arguments: dict[str, Any] = {}
    fields: list[str] = []
    for name in checked.__struct_fields__:
        value = getattr(checked, name)
        if value is UNSET:
            arguments[name] = None
        else:
            arguments[name] = value
            fields.append(name)
    if not fields:
        raise InvalidInput(f"{type(patch).__name__} changes nothing: every field is UNSET")
    return {**arguments, "fields": fields}


def validated_rows(news: Sequence[S]) -> list[S]:
    """Checked `New…` Structs; InvalidInput for too many, or an id that occurs twice."""
    if len(news) > MAXIMUM_ROWS:
        raise InvalidInput(f"{len(news):,} rows at once; at most {MAXIMUM_ROWS:,} are taken")
    checked = [validated(new) for new in news]
    identified = [identifier for new in checked if (identifier := getattr(new, "id", None))]
    if len(set(identified)) != len(identified):
        raise InvalidInput("the same id occurs twice among the rows")
    return checked


def rows_of(checked: Sequence[msgspec.Struct]) -> str:
    """Checked Structs as one JSON array, the parameter of a create_many."""
    encoded = msgspec.json.encode(checked)
    if len(encoded) > MAXIMUM_BYTES:
        raise InvalidInput(f"the rows have {len(encoded):,} bytes; at most {MAXIMUM_BYTES:,}")
    return encoded.decode()


def check_ids(ids: Iterable[UUID | str]) -> list[UUID]:
    """Checked ids; InvalidInput for none at all, or too many."""
    checked = [check_id(identifier) for identifier in ids]
    if not 1 <= len(checked) <= MAXIMUM_ROWS:
        raise InvalidInput(f"between 1 and {MAXIMUM_ROWS:,} ids are taken, not {len(checked):,}")
    return checked


def found(row: S | None, what: str, identifier: object) -> S:
    """The row; NotFound where there is none."""
    if row is None:
        raise NotFound(f"{what} {identifier} does not exist, or not for this user")
    return row


def same_as_stored(new: msgspec.Struct, stored: S, what: str) -> S:
    """What a create has stored, if it is what the caller asked for; `new` is checked.

    A create is repeated when its answer was lost; AlreadyExists when the id belongs to a row of
    other content, or to a deleted one. Fields that the caller left to the database do not count.
    """
    identifier = getattr(stored, "id")  # noqa: B009 - every stored Struct has one
    if getattr(stored, "deleted_at", None) is not None:
        raise AlreadyExists(
            f"{what} {identifier} exists and is deleted", remedy="restore it, or use another id"
        )
    differing = [
        name
        for name in new.__struct_fields__
        if (asked := getattr(new, name)) is not None and not _same(asked, getattr(stored, name))
    ]
    if differing:
        raise AlreadyExists(
            f"{what} {identifier} exists with another {', '.join(differing)}",
            remedy="use another id, or update the stored row",
        )
    return stored


def _same(asked: object, stored: object) -> bool:
    if asked == stored:
        return True
    if isinstance(asked, Decimal) and isinstance(stored, Decimal):
        # The column has rounded it, as numeric does: half away from zero.
        return asked.quantize(stored, ROUND_HALF_UP) == stored
    return False


def all_same_as_stored(news: Sequence[msgspec.Struct], stored: Sequence[S], what: str) -> list[S]:
    """The stored rows in the order of `news`; those without an id of their own follow."""
    by_id = {getattr(row, "id"): row for row in stored}  # noqa: B009
    ordered = [
        same_as_stored(new, by_id.pop(identifier), what)
        for new in news
        if (identifier := getattr(new, "id", None)) is not None
    ]
    return ordered + list(by_id.values())
