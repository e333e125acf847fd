"""How a Database connects and how patient it is."""

from __future__ import annotations

import os
from typing import Annotated, Any, Final

import msgspec
import psycopg
from msgspec import Meta
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from clonedb.errors import InvalidInput
from clonedb.transport import is_weaker_allowed, protected

_NUMBERS: Final = (
    "port",
    "connect_timeout",
    "keepalives",
    "keepalives_count",
    "keepalives_idle",
    "keepalives_interval",
    "tcp_user_timeout",
)

Seconds = Annotated[float, Meta(gt=0, le=86_400)]


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of one Database; times are in seconds.

    `dsn` is a libpq connection string or URL: TCP, or a unix socket folder such as Cloud SQL's
    `host=/cloudsql/PROJECT:REGION:INSTANCE`. It may hold a password and is never shown. To another
    host it means TLS 1.3 with sslmode=verify-full, and a dsn that asks for less is refused unless
    `allow_weaker_tls`, or CLONEDB_ALLOW_WEAKER_TLS=1 in the environment.
    """

    dsn: str
    minimum_connections: Annotated[int, Meta(ge=0, le=1_000)] = 1
    maximum_connections: Annotated[int, Meta(ge=1, le=1_000)] = 10
    # The architecture's three: connecting, waiting for a free connection, closing an idle one.
    connection_timeout: Seconds = 10.0
    pool_timeout: Seconds = 10.0
    maximum_idle: Seconds = 600.0
    statement_timeout: Seconds = 30.0
    # Pipelined connections for short statements of many callers; none of a kind is the pool alone.
    # A write channel waits for the disk at each commit, a group channel once for a group.
    read_channels: Annotated[int, Meta(ge=0, le=64)] = 2
    write_channels: Annotated[int, Meta(ge=0, le=64)] = 4
    group_channels: Annotated[int, Meta(ge=0, le=64)] = 2
    # For how long a statement may hold up those behind it, running or waiting for a lock, before
    # it is cancelled and sent again on the pool. Commits and neighbours of the same user take
    # milliseconds; a person waits for an answer two seconds.
    channel_statement_timeout: Annotated[float, Meta(ge=0.001, le=86_400)] = 0.2
    channel_lock_timeout: Annotated[float, Meta(ge=0.001, le=86_400)] = 0.025
    # Behind pgbouncer in transaction mode a prepared statement may belong to another server
    # connection, so none is made.
    pgbouncer: bool = False
    # For how long a process may use what it remembers while it is cut off from notifications.
    notification_staleness: Annotated[float, Meta(ge=0.05, le=3_600)] = 2.0
    # Where to LISTEN, if not at the dsn: pgbouncer in transaction mode passes no notification on.
    notification_dsn: str | None = None
    # For a network that is itself encrypted and trusted.
    allow_weaker_tls: bool = False
    application_name: Annotated[str, Meta(min_length=1, max_length=63)] = "clonedb"

    def __post_init__(self) -> None:
        if self.minimum_connections > self.maximum_connections:
            raise InvalidInput(
                f"minimum_connections {self.minimum_connections} is above maximum_connections "
                f"{self.maximum_connections}"
            )

    def __repr__(self) -> str:
        return f"Settings(dsn={self.target!r}, maximum_connections={self.maximum_connections}, …)"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return [("dsn", self.target)]

    @property
    def target(self) -> str:
        """Where the dsn points, without its password."""
        return describe_dsn(self.dsn)


def make_settings(dsn: str | None = None, **options: object) -> Settings:
    """Checked settings; without a dsn the environment's DATABASE_URL is used.

    Raises InvalidInput for an unknown option, a value out of range, or a dsn that is none.
    """
    dsn = dsn or os.environ.get("DATABASE_URL")
    if not dsn:
        raise InvalidInput(
            "no database is named",
            remedy="pass a dsn, or set DATABASE_URL, for example postgresql://clonedb_app@db/clonedb",
        )
    unknown = options.keys() - set(Settings.__struct_fields__)
    if unknown:
        raise InvalidInput(f"unknown settings: {', '.join(sorted(unknown))}")
    weaker = options.get("allow_weaker_tls") is True
    dsn = make_conninfo(**connection_parameters(dsn, allow_weaker_tls=weaker))
    if isinstance(direct := options.get("notification_dsn"), str):
        options["notification_dsn"] = make_conninfo(
            **connection_parameters(direct, allow_weaker_tls=weaker)
        )
    try:
        return msgspec.convert({"dsn": dsn, **options}, Settings)
    except msgspec.ValidationError as error:
        cause = error.__cause__
        raise (cause if isinstance(cause, InvalidInput) else InvalidInput(str(error))) from None


def parse_dsn(dsn: str) -> dict[str, Any]:
    """libpq's parameters of a connection string or a postgresql:// URL.

    Raises InvalidInput without quoting any part of the dsn: a password with an unencoded `@`, `/`
    or `?` shifts what libpq takes for the host, port and database, and libpq would print it.
    """
    malformed = InvalidInput(
        "the dsn is neither a libpq connection string nor a postgresql:// URL",
        remedy="percent-encode special characters of the password in a URL, quote them as "
        "password='…' in a connection string",
    )
    # The scheme by which yoyo and others name the driver; libpq knows none.
    for scheme in ("postgresql+psycopg://", "postgres+psycopg://"):
        if dsn.startswith(scheme):
            dsn = "postgresql://" + dsn.removeprefix(scheme)
    try:
        parameters: dict[str, Any] = dict(conninfo_to_dict(dsn))
    except (psycopg.Error, UnicodeError, ValueError):
        raise malformed from None
    names = f"{parameters.get('host', '')}{parameters.get('dbname', '')}"
    if "://" in dsn and "@" in names:
        raise malformed
    # libpq quotes what stands in the place of a number, and that may be a part of a password.
    for name in _NUMBERS:
        number = str(parameters.get(name) or "0").replace(",", "").strip()
        if not number.removeprefix("-").isdecimal():
            raise malformed
    if not parameters:
        raise malformed
    return parameters


def connection_parameters(dsn: str, *, allow_weaker_tls: bool = False) -> dict[str, Any]:
    """libpq's parameters for connecting to a dsn, with TLS where it leads to another host.

    Raises InvalidInput for what is no dsn, and for one that asks for less, unless that is allowed.
    """
    return protected(parse_dsn(dsn), allow_weaker=allow_weaker_tls or is_weaker_allowed())


def describe_dsn(dsn: str) -> str:
    """Host, port, database and user of a dsn: what may be shown of it."""
    parameters = parse_dsn(dsn)
    return " ".join(
        f"{key}={parameters[key]}"
        for key in ("host", "port", "dbname", "user")
        if parameters.get(key)
    )
