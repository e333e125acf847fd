"""How a Database connects and how patient it is."""

from __future__ import annotations

import os
from typing import Annotated, Any

import msgspec
import psycopg
from msgspec import Meta

from clonedb.errors import InvalidInput

Seconds = Annotated[float, Meta(gt=0, le=86_400)]


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of one Database; times are in seconds.

    `dsn` is a libpq connection string or URL: TCP, or a unix socket folder such as Cloud SQL's
    `host=/cloudsql/PROJECT:REGION:INSTANCE`. It may hold a password and is never shown.
    """

    dsn: str
    minimum_connections: Annotated[int, Meta(ge=0, le=1_000)] = 1
    maximum_connections: Annotated[int, Meta(ge=1, le=1_000)] = 10
    # The architecture's three: connecting, waiting for a free connection, closing an idle one.
    connection_timeout: Seconds = 10.0
    pool_timeout: Seconds = 10.0
    maximum_idle: Seconds = 600.0
    statement_timeout: Seconds = 30.0
    # Behind pgbouncer in transaction mode a prepared statement may belong to another server
    # connection, so none is made.
    pgbouncer: bool = False
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
    describe_dsn(dsn)
    try:
        return msgspec.convert({"dsn": dsn, **options}, Settings)
    except msgspec.ValidationError as error:
        cause = error.__cause__
        raise (cause if isinstance(cause, InvalidInput) else InvalidInput(str(error))) from None


def describe_dsn(dsn: str) -> str:
    """Host, port, database and user of a dsn: what may be shown of it."""
    try:
        fields = psycopg.conninfo.conninfo_to_dict(dsn)
    except psycopg.ProgrammingError:
        # libpq quotes the part that it did not understand, which may be the password.
        raise InvalidInput(
            "the dsn is neither a libpq connection string nor a postgresql:// URL",
            remedy="percent-encode special characters of a password in a URL",
        ) from None
    return " ".join(
        f"{key}={fields[key]}" for key in ("host", "port", "dbname", "user") if fields.get(key)
    )
