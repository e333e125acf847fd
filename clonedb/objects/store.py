"""ObjectStore: where large objects lie, and whose they are in which scope."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from clonedb import queries
from clonedb.errors import InvalidInput
from clonedb.objects.backend import Backend, Missing
from clonedb.objects.description import StoredObject
from clonedb.objects.outbox import OutboxStatistics, WorkedOff, work_off
from clonedb.objects.reader import ObjectReader, damaged, verified
from clonedb.objects.stored import StoredObjects
from clonedb.repositories.rate_limits import check_batch
from clonedb.repositories.writing import found
from clonedb.scope import Scope
from clonedb.scopes import DatabaseScope
from clonedb.validation import Moment, convert

# A second's work for a store that answers in 50 ms and is asked eight times at once.
DEFAULT_BATCH: Final = 100


class ObjectStore:
    """A folder, `gs://bucket/path` or `s3://bucket/path` for large objects.

    `ObjectStore(location, **options)`, or without a location the environment's
    CLONEDB_OBJECT_STORE, or else a folder clonedb-objects beside the embedded server's data. The
    first write makes a folder that is missing, closed to everybody else. The options are obstore's,
    such as `access_key_id=…`, `endpoint=…` or `client_options={…}`; without credentials among them
    the platform's own are used. They are never shown. Raises InvalidInput, and
    ObjectStoreUnavailable without the extra `objects`.
    """

    __slots__ = ("_backend",)

    def __init__(self, location: str | os.PathLike[str] | None = None, **options: Any) -> None:
        if location is None:
            location = os.environ.get("CLONEDB_OBJECT_STORE") or _default_folder()
        if not isinstance(location, str | os.PathLike) or not os.fspath(location):
            raise InvalidInput(f"an object store is a folder or a URL, not {location!r:.40}")
        self._backend = Backend(os.fspath(location), options)

    def __repr__(self) -> str:
        return f"<ObjectStore {self._backend.location}>"

    def of(self, scope: Scope) -> StoredObjects:
        """What a scope has: `db.as_user(id)` that user's objects, `db` those that all may read.

        The latter are written by the worker login alone.
        """
        return StoredObjects(scope, self._backend)

    @asynccontextmanager
    async def open_stored(self, stored: StoredObject) -> AsyncIterator[ObjectReader]:
        """The bytes of an object whose row the caller has; see `StoredObjects.open`.

        Raises ObjectDamaged where it is missing, as it is when it was replaced since.
        """
        try:
            pieces = await self._backend.read(stored.object_key)
        except Missing:
            raise damaged(stored, "is missing") from None
        async with aclosing(pieces), aclosing(verified(stored, pieces)) as checked:
            yield ObjectReader(stored, checked)

    async def work_off(
        self, database: DatabaseScope, *, limit: int = DEFAULT_BATCH, now: datetime | None = None
    ) -> WorkedOff:
        """Delete up to `limit` objects that have lost their row, under the worker login.

        Uploads that were not kept within 24 hours count among them. Safe to run at once in several
        processes and to be killed: an entry ends when its object is gone. One that fails is tried
        again after a minute, then twice as long each time, at most six hours. Call it again while
        `claimed` is `limit`. `now` replaces the database's clock.
        """
        return await work_off(
            _whole(database),
            self._backend,
            limit=check_batch(limit),
            now=None if now is None else convert(now, Moment, "now"),
        )

    async def outbox_statistics(
        self, database: DatabaseScope, *, now: datetime | None = None
    ) -> OutboxStatistics:
        """How much is still to be deleted, under the worker login."""
        statistics = await _whole(database).one(
            queries.object_deletions.statistics,
            OutboxStatistics,
            now=None if now is None else convert(now, Moment, "now"),
        )
        return found(statistics, "statistics", "")


def _whole(database: DatabaseScope) -> DatabaseScope:
    if not isinstance(database, DatabaseScope):
        raise InvalidInput(
            "the outbox is everybody's: pass the worker's Database, not a user's scope"
        )
    return database


def _default_folder() -> Path:
    from clonedb.embedded import default_data_directory

    # Not inside: the server takes no folder that holds something else.
    return default_data_directory().with_name("clonedb-objects")
