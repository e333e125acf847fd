"""Every error that clonedb raises.

ClonedbError
├── InvalidInput            the caller's arguments; nothing was sent or nothing was stored
├── NotFound                a `get_*` or a write named a row that does not exist for this user
├── AlreadyExists           the id, or what must be unique, is taken
├── StillReferenced         a hard delete of something that other rows need
├── InvalidTransition       the session's state does not allow this
├── SessionEnded            the session has ended: it takes no turns and moves no more
├── ClaimLost               the document that a worker had claimed is no longer its own
├── PermissionDenied        the login, or row-level security, refuses
├── PartitionMissing        no partition for that month
├── ConcurrencyConflict     serialization failure, deadlock or lock timeout: safe to try again
├── TransactionAborted      an earlier statement of the transaction failed
├── Timeout                 the statement took longer than it was given
├── Unavailable             no server, no connection in time, or it went away
│   ├── OutcomeUnknown      it went away after a write was sent: it may have been stored
│   ├── ServerTooOld        PostgreSQL older than 15
│   ├── DatabaseClosed      the Database was closed, or not opened yet
│   └── ObjectStoreUnavailable  the object store cannot be reached, or refuses
│       └── ObjectStoreFull     it has no space left, or not for an object of that size
├── ObjectDamaged           an object is missing in the store, or is not what was stored
├── NotMigrated             the schema lacks migrations that this release needs
├── MigrationError          a migration could not be applied
│   ├── MigrationDrift      an applied migration was edited afterwards
│   └── MigrationLocked     another deployer holds the lock
├── QueryFileError          a `.sql` file cannot be loaded
├── EmbeddedError           the embedded server cannot be started or stopped
└── UnexpectedDatabaseError anything else that PostgreSQL reports
"""

from __future__ import annotations


class ClonedbError(Exception):
    """What happened, in `args[0]`; the fields say where and what to do.

    `query` is the query's name, file and line; `remedy` what to do; `constraint` and `sqlstate`
    what PostgreSQL reported. A field that does not apply is None.
    """

    def __init__(
        self,
        message: str,
        *,
        query: str | None = None,
        remedy: str | None = None,
        constraint: str | None = None,
        sqlstate: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.query = query
        self.remedy = remedy
        self.constraint = constraint
        self.sqlstate = sqlstate

    def __str__(self) -> str:
        parts = [self.message]
        if self.query is not None:
            parts.append(f"[{self.query}]")
        if self.remedy is not None:
            parts.append(f"- {self.remedy}")
        return " ".join(parts)


class InvalidInput(ClonedbError):
    """The caller's arguments are refused; nothing was stored."""


class NotFound(ClonedbError):
    """The row does not exist, or not for this user."""


class AlreadyExists(ClonedbError):
    """The id, or a value that must be unique, is taken."""


class StillReferenced(ClonedbError):
    """Other rows refer to what was to be deleted."""


class InvalidTransition(ClonedbError):
    """The session's present state does not allow the change."""


class SessionEnded(ClonedbError):
    """The session has ended: it takes no new turns and changes state no more."""


class ClaimLost(ClonedbError):
    """The worker's claim of a document is over: claimed again, given back, or deleted."""


class PermissionDenied(ClonedbError):
    """The login, or row-level security, does not allow the statement."""


class PartitionMissing(ClonedbError):
    """No partition exists for the month of the row."""


class ConcurrencyConflict(ClonedbError):
    """A serialization failure, deadlock or lock timeout; the whole transaction may be retried."""


class TransactionAborted(ClonedbError):
    """An earlier statement of the transaction failed, so nothing of it is or will be stored."""


class Timeout(ClonedbError):
    """The statement was cancelled by its timeout; nothing of it was stored."""


class Unavailable(ClonedbError):
    """The server cannot be reached, has no connection to give in time, or went away."""


class OutcomeUnknown(Unavailable):
    """The connection was lost after a write was sent: it may or may not have been stored.

    Sending it again is safe where the caller brought the row's id.
    """


class ServerTooOld(Unavailable):
    """The server is older than PostgreSQL 15."""


class DatabaseClosed(Unavailable):
    """The Database was closed, or has not been opened."""


class ObjectStoreUnavailable(Unavailable):
    """The object store cannot be reached, or refuses what was asked of it."""


class ObjectStoreFull(ObjectStoreUnavailable):
    """The object store has no space left, or not for an object of that size."""


class ObjectDamaged(ClonedbError):
    """An object is missing in the store, or its bytes are not those that were stored."""


class NotMigrated(ClonedbError):
    """The schema lacks migrations that this release of clonedb needs."""


class MigrationError(ClonedbError):
    """A migration could not be applied or rolled back; the message names its file."""


class MigrationDrift(MigrationError):
    """A migration was edited after it had been applied."""


class MigrationLocked(MigrationError):
    """Another deployer holds the migration lock."""


class QueryFileError(ClonedbError):
    """A `.sql` file cannot be loaded; the message begins with file and line."""

    def __init__(self, path: str, line: int, message: str) -> None:
        super().__init__(f"{path}:{line}: {message}")
        self.path = path
        self.line = line


class EmbeddedError(ClonedbError):
    """The embedded server cannot be started or stopped."""


class UnexpectedDatabaseError(ClonedbError):
    """PostgreSQL reported something that no caller is expected to handle."""
