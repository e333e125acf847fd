"""Database: one login's connections, opened, watched and closed."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Any, Final, Self

import msgspec
import psycopg
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from clonedb import queries, resources
from clonedb.errors import (
    ClonedbError,
    DatabaseClosed,
    NotMigrated,
    PermissionDenied,
    ServerTooOld,
)
from clonedb.lanes.channel import ChannelStatistics
from clonedb.lanes.channel_lane import ChannelLane
from clonedb.lanes.lane import Connection, Context, connection_arguments
from clonedb.lanes.pool import PoolLane, make_pool
from clonedb.notifications import Notifications
from clonedb.scopes import DatabaseScope
from clonedb.settings import Settings, make_settings
from clonedb.sqlstates import translate

OLDEST_SERVER: Final = 150_000  # PostgreSQL 15, as libpq counts

# Attaching a month waits for open writers, so it must not become urgent.
MONTHS_AHEAD_WARNING: Final = 2


# The migration from which on the logins may read the list of those that are applied.
_READABLE_FROM: Final = "0019_grant_migrations_table"


class PoolStatistics(msgspec.Struct, frozen=True):
    """Connections now, and calls since opening; waiting is in milliseconds."""

    size: int
    available: int
    waiting: int
    requests: int
    requests_queued: int
    requests_wait_ms: int
    requests_errors: int
    connections_made: int
    connections_lost: int


class Health(msgspec.Struct, frozen=True):
    """What `Database.health` found; `problems` is empty when all is well."""

    reachable: bool
    round_trip_ms: float | None
    in_recovery: bool | None
    missing_migrations: list[str]
    turn_months_ahead: int | None
    audit_months_ahead: int | None
    half_detached_months: list[str] | None
    retention_enabled: list[str] | None
    pool: PoolStatistics
    channels: list[ChannelStatistics]
    problems: list[str]

    @property
    def ok(self) -> bool:
        return not self.problems


class _HealthRow(msgspec.Struct, frozen=True):
    in_recovery: bool
    turn_months_ahead: int
    audit_months_ahead: int
    half_detached_months: list[str]
    retention_enabled: list[str]
    login: str


class _Applied(msgspec.Struct, frozen=True):
    migration_id: str


class Database(DatabaseScope):
    """The connections of one login.

    `Database(dsn, **settings)`, or without a dsn the environment's DATABASE_URL; see Settings.
    Use it as `async with Database(...) as db:` or call `open` and `close`.
    """

    __slots__ = ("_pool", "notifications", "settings")

    def __init__(self, dsn: str | None = None, **options: Any) -> None:
        self.settings: Settings = make_settings(dsn, **options)
        self.notifications: Notifications = Notifications(self.settings)
        self._pool: AsyncConnectionPool[Connection] | None = None
        context = Context(None, round(self.settings.statement_timeout * 1000))
        super().__init__(_ClosedLane(), context)  # pyright: ignore[reportArgumentType]

    def __repr__(self) -> str:
        state = "closed" if self._pool is None else "open"
        return f"<Database {self.settings.target} {state}>"

    async def open(self, *, check_migrations: bool = True) -> Self:
        """Connect and make sure that this release fits the database.

        Raises Unavailable when the server cannot be reached or refuses the login, ServerTooOld,
        and NotMigrated with the migrations that are missing.
        """
        if self._pool is not None:
            return self
        await self._probe()
        pool = make_pool(self.settings)
        await pool.open()
        self._pool = pool
        self._lane = lane = PoolLane(pool, prepare=not self.settings.pgbouncer)
        try:
            if not self.settings.pgbouncer:
                # Channels set their session, which behind pgbouncer is not their own.
                self._lane = channels = ChannelLane(self.settings, lane)
                await channels.open()
            if check_migrations and (missing := await self.missing_migrations()):
                raise NotMigrated(
                    f"the database lacks {len(missing)} of this release's migrations: "
                    f"{', '.join(missing[:3])}{' …' if len(missing) > 3 else ''}",
                    remedy="run `clonedb migrate` as the migrator",
                )
        except BaseException:
            await self.close()
            raise
        return self

    async def _probe(self) -> None:
        """One connection by itself: its failure says why, where a pool would only time out."""
        try:
            connection = await AsyncConnection.connect(
                self.settings.dsn,
                **connection_arguments(self.settings),
            )
        except psycopg.Error as error:
            raise translate(error) from None
        version = connection.info.server_version
        await connection.close()
        if version < OLDEST_SERVER:
            raise ServerTooOld(
                f"the server is PostgreSQL {version // 10_000}; clonedb needs 15 or newer"
            )

    async def close(self) -> None:
        """Wait for calls under way, then close every connection; again is a no-op."""
        pool, self._pool = self._pool, None
        lane, self._lane = self._lane, _ClosedLane()
        await self.notifications.close()
        if pool is not None and isinstance(lane, PoolLane | ChannelLane):
            await lane.drain()
            await pool.close(timeout=self.settings.pool_timeout)

    async def __aenter__(self) -> Self:
        return await self.open()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    def channel_statistics(self) -> list[ChannelStatistics]:
        """The figures of each channel; empty while the Database is closed or has none."""
        return self._lane.statistics() if isinstance(self._lane, ChannelLane) else []

    async def missing_migrations(self) -> list[str]:
        """The ids of this release's migrations that the database does not have."""
        shipped = sorted(
            path.stem
            for path in resources.migrations_directory().glob("*.sql")
            if not path.name.endswith(".rollback.sql")
        )
        try:
            rows = await self.all(queries.database.applied_migrations, _Applied)
        except NotMigrated:
            return shipped
        except PermissionDenied:
            # At least these: the first of them lets the logins read which are applied.
            return shipped[shipped.index(_READABLE_FROM) :]
        applied = {row.migration_id for row in rows}
        return [migration for migration in shipped if migration not in applied]

    async def health(self) -> Health:
        """Whether the server answers, is migrated and writable, and has months ahead.

        Never raises a ClonedbError: what is wrong is in `problems`, each with what to do.
        """
        problems: list[str] = []
        row: _HealthRow | None = None
        missing: list[str] = []
        round_trip: float | None = None
        try:
            missing = await self.missing_migrations()
            if missing:
                problems.append(
                    f"migrations are missing: {', '.join(missing)}; run `clonedb migrate`"
                )
            else:
                started = time.perf_counter()
                row = await self.one(queries.database.health, _HealthRow)
                round_trip = (time.perf_counter() - started) * 1000
        except ClonedbError as error:
            problems.append(str(error))
        if row is not None:
            if row.in_recovery:
                problems.append("the server is a standby and takes no writes; find the primary")
            for what, ahead in (("turn", row.turn_months_ahead), ("audit", row.audit_months_ahead)):
                if ahead < MONTHS_AHEAD_WARNING:
                    problems.append(
                        f"{what} partitions reach only {ahead} months ahead; run "
                        "`clonedb maintain` as the worker"
                    )
            problems.extend(
                f"{month} is half detached, its rows are not seen; run `clonedb maintain` with "
                "CLONEDB_MIGRATOR_URL, or as the owner ALTER TABLE … DETACH PARTITION … FINALIZE"
                for month in row.half_detached_months
            )
        channels = self.channel_statistics()
        problems.extend(
            f"channel {channel.name} cannot connect, its calls take the pool: {channel.failure}"
            for channel in channels
            if channel.failure is not None
        )
        if self.notifications.failure is not None:
            problems.append(
                "notifications are not received, and what caches hold in memory is not used: "
                f"{self.notifications.failure}"
            )
        return Health(
            reachable=row is not None or bool(missing),
            round_trip_ms=round_trip,
            in_recovery=None if row is None else row.in_recovery,
            missing_migrations=missing,
            turn_months_ahead=None if row is None else row.turn_months_ahead,
            audit_months_ahead=None if row is None else row.audit_months_ahead,
            half_detached_months=None if row is None else row.half_detached_months,
            retention_enabled=None if row is None else row.retention_enabled,
            pool=self.pool_statistics(),
            channels=channels,
            problems=problems,
        )

    def pool_statistics(self) -> PoolStatistics:
        """The pool's figures; all zero while the Database is closed."""
        figures = {} if self._pool is None else self._pool.get_stats()
        return PoolStatistics(
            size=figures.get("pool_size", 0),
            available=figures.get("pool_available", 0),
            waiting=figures.get("requests_waiting", 0),
            requests=figures.get("requests_num", 0),
            requests_queued=figures.get("requests_queued", 0),
            requests_wait_ms=figures.get("requests_wait_ms", 0),
            requests_errors=figures.get("requests_errors", 0),
            connections_made=figures.get("connections_num", 0),
            connections_lost=figures.get("connections_lost", 0),
        )


class _ClosedLane:
    """The lane of a Database that is not open."""

    def __getattr__(self, name: str) -> Any:
        raise DatabaseClosed(
            "the Database is not open", remedy="use `async with Database(...) as db:`"
        )
