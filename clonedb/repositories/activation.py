"""Making one of a user's models the active one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar
from uuid import UUID

import msgspec

from clonedb.errors import AlreadyExists, ConcurrencyConflict, TransactionAborted
from clonedb.ids import check_id
from clonedb.repositories.writing import found

if TYPE_CHECKING:
    from clonedb.scope import QueryFunction, Scope

S = TypeVar("S", bound=msgspec.Struct)

# Each further attempt needs another model to be stored and activated while this one waits.
ATTEMPTS: Final = 5


async def activate(
    scope: Scope, query: QueryFunction, row: type[S], id: UUID | str, what: str
) -> S:
    """Run the statement, again where a model that its snapshot lacks was activated meanwhile.

    Raises NotFound, and ConcurrencyConflict where that happened inside a transaction.
    """
    overtaken: AlreadyExists | None = None
    for _ in range(ATTEMPTS):
        try:
            return found(await scope.one(query, row, id=check_id(id)), what, id)
        except AlreadyExists as refused:
            overtaken = refused
        except TransactionAborted:
            if overtaken is None:
                raise
            break
    raise ConcurrencyConflict(
        f"another {what} was activated at the same time",
        remedy="nothing was stored; the whole transaction may be tried again",
    ) from overtaken
