"""The one table from what PostgreSQL reports to what clonedb raises."""

from __future__ import annotations

from typing import Final

import psycopg
from psycopg_pool import PoolClosed, PoolTimeout, TooManyRequests

from clonedb import errors
from clonedb.errors import ClonedbError
from clonedb.query.statements import Statement

_TRY_AGAIN: Final = "nothing was stored; the whole transaction may be tried again"
_MIGRATE: Final = "run `clonedb migrate`, or deploy the release that fits the schema"

# The first entry whose key is a prefix of the SQLSTATE counts, so a class follows its members.
_TABLE: Final[tuple[tuple[str, type[ClonedbError], str | None], ...]] = (
    ("23505", errors.AlreadyExists, None),
    ("23503", errors.NotFound, "what it refers to does not exist for this user"),
    ("23001", errors.StillReferenced, "delete what refers to it first"),
    ("23", errors.InvalidInput, None),
    ("22", errors.InvalidInput, None),
    ("54", errors.InvalidInput, "the value is larger than PostgreSQL can store or index"),
    ("40003", errors.OutcomeUnknown, None),
    ("40", errors.ConcurrencyConflict, _TRY_AGAIN),
    ("55P03", errors.ConcurrencyConflict, _TRY_AGAIN),
    ("57014", errors.Timeout, "raise the timeout, or look at the statement's plan"),
    ("25P02", errors.TransactionAborted, "catch errors around `async with tx.transaction():`"),
    ("25P03", errors.Unavailable, "the transaction was idle for longer than the server allows"),
    ("25006", errors.Unavailable, "the server is a standby; connect to the primary"),
    ("42501", errors.PermissionDenied, "the login's role, or row-level security, forbids it"),
    ("42P01", errors.NotMigrated, _MIGRATE),
    ("42703", errors.NotMigrated, _MIGRATE),
    ("42883", errors.NotMigrated, _MIGRATE),
    ("42704", errors.NotMigrated, _MIGRATE),
    ("3F000", errors.NotMigrated, _MIGRATE),
    ("28", errors.Unavailable, "check the user, the password and pg_hba.conf"),
    ("3D000", errors.Unavailable, "the database does not exist on that server"),
    ("53", errors.Unavailable, "the server is out of connections, memory or disk"),
    ("57", errors.Unavailable, "the server is restarting or going away; try again"),
    ("58", errors.Unavailable, "the server has an input/output error; look at its log"),
    ("08", errors.Unavailable, "the connection was lost; try again"),
)


def translate(
    error: Exception, statement: Statement | None = None, *, outcome_unknown: bool = False
) -> ClonedbError:
    """The typed error for what psycopg raised while running `statement`.

    `outcome_unknown`: a write had been sent, so that a lost connection leaves it open whether it
    was stored.
    """
    query = None if statement is None else f"{statement.name} at {statement.path}:{statement.line}"
    if isinstance(error, PoolTimeout | TooManyRequests):
        return errors.Unavailable(
            "no connection became free in time", query=query, remedy="the pool or server is busy"
        )
    if isinstance(error, PoolClosed):
        return errors.DatabaseClosed("the Database is closed", query=query, remedy="open it first")
    if isinstance(error, UnicodeEncodeError):
        return errors.InvalidInput(
            "a text is not valid Unicode: it has a lone surrogate", query=query
        )
    if not isinstance(error, psycopg.Error):
        raise error
    state = error.sqlstate
    if state is None:
        return _without_sqlstate(error, query, outcome_unknown)
    diagnostic = error.diag
    kind: type[ClonedbError] = errors.UnexpectedDatabaseError
    remedy = diagnostic.message_hint
    for prefix, candidate, advice in _TABLE:
        if state.startswith(prefix):
            kind, remedy = candidate, advice or remedy
            break
    message = diagnostic.message_primary or str(error)
    constraint = diagnostic.constraint_name
    if state == "23514" and constraint is None:
        # The only check without a name is the partition bound; its text is the server's language.
        kind = errors.PartitionMissing
        remedy = (
            "make the month with `SELECT clonedb.create_turn_partitions(DATE 'YYYY-MM-01', 1)`, "
            "or for the audit log clonedb.create_audit_partitions"
        )
    elif state == "23503" and statement is not None and "hard_delete" in statement.name:
        # PostgreSQL 15 reports RESTRICT like a missing reference; 18 has 23001 for it.
        kind, remedy = errors.StillReferenced, "delete what refers to it first"
    elif kind is errors.Unavailable and outcome_unknown and state[:2] in ("57", "08"):
        kind = errors.OutcomeUnknown
    return kind(message, query=query, remedy=remedy, constraint=constraint, sqlstate=state)


def _without_sqlstate(error: psycopg.Error, query: str | None, unknown: bool) -> ClonedbError:
    """An error of the client library: a connection that was not made, or was lost."""
    # The text never holds the password, but the first line is all that a caller needs.
    message = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    if isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
        kind = errors.OutcomeUnknown if unknown else errors.Unavailable
        return kind(message, query=query, remedy="the server cannot be reached; try again")
    if isinstance(error, psycopg.DataError):
        return errors.InvalidInput(message, query=query)
    return errors.UnexpectedDatabaseError(message, query=query)
