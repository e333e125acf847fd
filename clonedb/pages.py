"""Keyset pages: a bounded list, and an opaque cursor to where the next one begins."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar, get_type_hints

import msgspec

from clonedb.errors import InvalidInput
from clonedb.queries import query_of
from clonedb.validation import check_text, validated

if TYPE_CHECKING:
    from clonedb.scope import QueryFunction, Scope

S = TypeVar("S", bound=msgspec.Struct)

DEFAULT_LIMIT: Final = 50
MAXIMUM_LIMIT: Final = 500

LARGEST_INTEGER: Final = 2_147_483_647  # of PostgreSQL's type integer, as columns of a keyset are


class Page(msgspec.Struct, Generic[S], frozen=True):
    """`items` in the order asked for; `next` is the following page's cursor, None at the end.

    `total` counts all that match, where it was asked for.
    """

    items: list[S]
    next: str | None = None
    total: int | None = None


def check_limit(limit: int) -> int:
    """The page size, if it is between 1 and 500."""
    if isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit <= MAXIMUM_LIMIT:
        raise InvalidInput(f"a page has 1 to {MAXIMUM_LIMIT} items, not {limit!r}")
    return limit


def filter_arguments(filters: msgspec.Struct | None) -> dict[str, Any]:
    """The fields of a filter that are set, checked.

    A field of true or false becomes the flag of its name, or `not_` and its name.
    """
    if filters is None:
        return {}
    checked = validated(filters)
    arguments: dict[str, Any] = {}
    for name in checked.__struct_fields__:
        value = getattr(checked, name)
        if value is msgspec.UNSET:
            continue
        if isinstance(value, bool):
            arguments[name if value else f"not_{name}"] = True
        else:
            arguments[name] = value
    return arguments


async def find_page(
    scope: Scope,
    query: QueryFunction,
    row: type[S],
    *,
    order: str | None = None,
    cursor: str | None = None,
    limit: int = DEFAULT_LIMIT,
    with_total: bool = False,
    include_deleted: bool = False,
    arguments: Mapping[str, Any],
) -> Page[S]:
    """One page of a query that declares `after:` lines; one round trip.

    Raises InvalidInput for a limit out of range, an unknown order, a malformed cursor or one of
    another query or order, and a total asked for after the first page.
    """
    check_limit(limit)
    declared = query_of(query)
    order = order or declared.orders[0]
    if order not in declared.orders:
        raise InvalidInput(
            f"{declared.name} has no order {order!r}; it has {', '.join(declared.orders)}"
        )
    given: dict[str, Any] = {**arguments, "limit": limit + 1, "order": order}
    if include_deleted:
        given["include_deleted"] = True
    if cursor is not None:
        if with_total:
            raise InvalidInput("a total is counted with the first page only")
        given.update(_decode(cursor, declared.name, order, declared.keyset(order), row))
    if with_total:
        given["with_total"] = True
        rows = await scope.rows(query, **given)
        items = [row(*columns[:-1]) for columns in rows]
        total = rows[0][-1] if rows else 0
    else:
        items, total = await scope.all(query, row, **given), None
    following = None
    if len(items) > limit:
        del items[limit:]
        following = _encode(declared.name, order, declared.keyset(order), items[-1])
    return Page(items, following, total)


def _encode(name: str, order: str, columns: tuple[str, ...], last: msgspec.Struct) -> str:
    position = [name, order, *(getattr(last, column) for column in columns)]
    return base64.urlsafe_b64encode(msgspec.json.encode(position)).rstrip(b"=").decode()


def _decode(
    cursor: str, name: str, order: str, columns: tuple[str, ...], row: type[S]
) -> dict[str, Any]:
    """The keyset's arguments. The cursor is not signed: row-level security protects the rows."""
    malformed = InvalidInput(
        "the cursor is malformed, or belongs to another list",
        remedy="pass the `next` of a page of the same list and order, unchanged",
    )
    try:
        position = msgspec.json.decode(
            base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        )
    except (msgspec.DecodeError, ValueError, TypeError, RecursionError):
        raise malformed from None
    if not isinstance(position, list) or position[:2] != [name, order]:
        raise malformed
    if len(position) != 2 + len(columns):
        raise malformed
    types = get_type_hints(row, include_extras=True)
    arguments: dict[str, Any] = {}
    for column, value in zip(columns, position[2:], strict=True):
        try:
            converted = msgspec.convert(value, types[column])
        except msgspec.ValidationError:
            raise malformed from None
        if isinstance(converted, str):
            check_text(converted, "the cursor")
        without_zone = isinstance(converted, datetime) and converted.tzinfo is None
        too_large = isinstance(converted, int) and not 0 <= converted <= LARGEST_INTEGER
        if without_zone or too_large:
            raise malformed
        arguments[f"after_{column}"] = converted
    return arguments
