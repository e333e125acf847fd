"""A deployer's connection: reading its dsn, connecting, and saying what PostgreSQL reported."""

from __future__ import annotations

import os
import socket
from typing import Any, Final

import psycopg

from clonedb.errors import (
    ClonedbError,
    MigrationError,
    ServerTooOld,
    Unavailable,
)

OLDEST_SERVER: Final = 15

# Seconds until connecting is given up, where the dsn does not say.
_CONNECT_TIMEOUT: Final = 10

_INSUFFICIENT_PRIVILEGE: Final = "42501"
_WHO_MAY: Final = (
    "log in as clonedb_migrator; where another role began, migrate once more as that role, which "
    "then shares its tables"
)

Parameters = dict[str, Any]


def connect(parameters: Parameters) -> psycopg.Connection[Any]:
    """An autocommit connection to a server that is new enough."""
    defaults = {
        "connect_timeout": _CONNECT_TIMEOUT,
        "application_name": f"clonedb migrate, {socket.gethostname()[:30]}, pid {os.getpid()}",
    }
    try:
        connection = psycopg.connect(**{**defaults, **parameters}, autocommit=True)
    except (psycopg.Error, UnicodeError) as error:
        raise _unreachable(error, parameters) from None
    if connection.info.server_version < OLDEST_SERVER * 10_000:
        version = connection.info.parameter_status("server_version")
        connection.close()
        raise ServerTooOld(
            f"the server is PostgreSQL {version}",
            remedy=f"clonedb needs PostgreSQL {OLDEST_SERVER} or newer",
        )
    return connection


def explain(error: psycopg.Error, place: str) -> ClonedbError:
    """What PostgreSQL reported at `place`: a migration's file and line, or what was being done."""
    state = error.sqlstate
    diagnostic = error.diag
    if state is None or state.startswith(("08", "57P")):
        first_line = next(iter(str(error).strip().splitlines()), type(error).__name__)
        if isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
            return Unavailable(
                f"{place}: the connection was lost: {first_line}",
                sqlstate=state,
                remedy="run the migration again: it goes on after the last one that was marked",
            )
        return MigrationError(f"{place}: {first_line}")
    parts = [diagnostic.message_primary or str(error), diagnostic.message_detail]
    message = f"{place}: " + "; ".join(part for part in parts if part)
    if state == "25006":
        return Unavailable(
            message, sqlstate=state, remedy="the server is a standby: connect to the primary"
        )
    return MigrationError(
        message,
        sqlstate=state,
        constraint=diagnostic.constraint_name,
        remedy=diagnostic.message_hint or (_WHO_MAY if state == _INSUFFICIENT_PRIVILEGE else None),
    )


def _unreachable(error: Exception, parameters: Parameters) -> Unavailable:
    message = " ".join(str(error).split()) or type(error).__name__
    for secret in ("password", "sslpassword"):
        if parameters.get(secret):
            message = message.replace(str(parameters[secret]), "…")
    state = error.sqlstate if isinstance(error, psycopg.Error) else None
    return Unavailable(
        message,
        sqlstate=state,
        remedy="check that the server runs, and the dsn's host, port, database, user and password",
    )
