"""A crowd of users on a few channels, whose every answer says whose it is."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Coroutine
from decimal import Decimal
from typing import Any

import msgspec
import psycopg
from channels import POOL_ALONE, ask, ask_one, connected, reading, writing

from clonedb import (
    Database,
    DatabaseScope,
    InvalidInput,
    NewUser,
    OutcomeUnknown,
    Timeout,
    Unavailable,
    UserScope,
)
from clonedb.testing import SUPERUSER, IsolatedDatabase

_WHO = "current_setting('clonedb.user_id')"
# Rows of different number, shape and format: an answer that is another's cannot pass for one's own.
ECHO = reading(f"SELECT {_WHO}, $1::bigint, $1::bigint::text", "said")
ROWS = reading(
    f"SELECT {_WHO}, $1::bigint, n, repeat('x', 20 * n::int) FROM generate_series(1, $2::bigint) n",
    "said",
    "rows",
)
NUMERIC = reading(f"SELECT {_WHO}, $1::bigint, $1::numeric / 2", "said")
OWN_ROW = reading("SELECT u.id::text, $1::bigint, u.email FROM clonedb.users AS u", "said")
DIVIDE = reading(f"SELECT {_WHO}, $1::bigint, 1 / $2::int", "said", "by")
SLEEP = reading(f"SELECT {_WHO}, $1::bigint, pg_sleep(1)::text", "said")
WRITE = writing(
    "UPDATE clonedb.users AS u SET name = $1::bigint::text, "
    "settings = jsonb_set(u.settings, '{n}', to_jsonb(coalesce((u.settings->>'n')::int, 0) + 1)) "
    "RETURNING u.id::text, $1::bigint, u.name",
    "said",
)
BREAK = writing(
    "UPDATE clonedb.users AS u SET name = repeat('x', 300) RETURNING u.id::text, $1::bigint",
    "said",
)


class Report(msgspec.Struct):
    """What became of the calls; `wrong` holds the first answers that were not one's own."""

    calls: int = 0
    right: int = 0
    grouped: int = 0
    cancelled: int = 0
    refused: int = 0
    timed_out: int = 0
    unavailable: int = 0
    unknown: int = 0
    killed: int = 0
    pooled: int = 0
    # Writes: those acknowledged, those whose caller does not know, and what the server counted.
    written: int = 0
    perhaps_written: int = 0
    stored: int = 0
    seconds: float = 0
    wrong: list[str] = []

    def __str__(self) -> str:
        parts = [f"{name} {getattr(self, name):,}" for name in self.__struct_fields__[:-2]]
        return f"{', '.join(parts)}, wrong {len(self.wrong)}, in {self.seconds:.1f} s"


class _Caller:
    """Makes one call after the other as users drawn by lot, and looks at every answer."""

    def __init__(
        self, database: Database, users: list[UserScope], report: Report, seed: int
    ) -> None:
        self._database = database
        self._users = users
        self._report = report
        self._random = random.Random(seed)
        self._said = seed << 32

    async def call(self) -> None:
        lots, report = self._random, self._report
        report.calls += 1
        self._said += 1
        said, lot = self._said, lots.random()
        scope: UserScope | DatabaseScope = lots.choice(self._users)
        who = str(scope.user_id)
        if lot < 0.30:
            if lots.random() < 0.2:
                scope, who = self._database, ""
            await self._look(ask(scope, ECHO, said), [(who, said, str(said))])
        elif lot < 0.45:
            rows = lots.randrange(40)
            expected = [(who, said, n, "x" * 20 * n) for n in range(1, rows + 1)]
            await self._look(ask(scope, ROWS, said, rows), expected)
        elif lot < 0.55:
            await self._look(ask(scope, NUMERIC, said), [(who, said, Decimal(said) / 2)])
        elif lot < 0.70:
            await self._look(ask(scope, OWN_ROW, said), [(who, said, f"{who}@example.com")])
        elif lot < 0.90:
            scope = self._perhaps_grouped(scope)
            await self._look(ask(scope, WRITE, said), [(who, said, str(said))], writes=True)
        elif lot < 0.93:
            await self._look(ask(scope, DIVIDE, said, 0), None)
        elif lot < 0.95:
            await self._look(ask(self._perhaps_grouped(scope), BREAK, said), None)
        elif lot < 0.955:
            await self._look(ask(scope.within(0.001), SLEEP, said), None)
        elif lot < 0.98:
            await self._look(self._cancelled(ask(scope, ECHO, said)), [(who, said, str(said))])
        else:
            write = ask(self._perhaps_grouped(scope), WRITE, said)
            await self._look(self._cancelled(write), [(who, said, str(said))], writes=True)

    def _perhaps_grouped(self, scope: UserScope) -> UserScope:
        if self._random.random() < 0.3:
            return scope
        self._report.grouped += 1
        return scope.group_commit()

    async def _look(
        self, call: Awaitable[Any], expected: list[tuple[Any, ...]] | None, *, writes: bool = False
    ) -> None:
        """Compare the answer with what is expected; None is that there must be none."""
        report = self._report
        try:
            found = await call
        except asyncio.CancelledError:
            report.cancelled += 1
            report.perhaps_written += writes
        except (InvalidInput, Timeout) as error:
            report.refused += isinstance(error, InvalidInput)
            report.timed_out += isinstance(error, Timeout)
            if expected is not None:
                report.wrong.append(f"{error} instead of {expected}")
        except OutcomeUnknown:
            report.unknown += 1
            report.perhaps_written += writes
            if expected is not None and not writes:
                report.wrong.append(f"the outcome of a read is not known: {expected}")
        except Unavailable:
            report.unavailable += 1
        else:
            report.written += writes
            if found == expected:
                report.right += 1
            elif len(report.wrong) < 10:
                report.wrong.append(f"{found} instead of {expected}")

    async def _cancelled(self, call: Coroutine[Any, Any, Any]) -> Any:
        """Cancel it before it is sent, while it is in flight, or when its answer has come."""
        task = asyncio.create_task(call)
        for _ in range(self._random.randrange(6)):
            await asyncio.sleep(0)
        if self._random.random() < 0.5:
            await asyncio.sleep(self._random.random() * 0.004)
        task.cancel()
        return await task


async def crowd(
    migrated: IsolatedDatabase,
    *,
    users: int,
    calls: int,
    callers: int,
    seed: int,
    seconds: float = 30,
    seconds_between_kills: float | None = None,
    **settings: Any,
) -> Report:
    """So many calls, by so many callers at a time, as so many users; no longer than `seconds`."""
    report = Report()
    started = time.monotonic()
    async with connected(migrated.dsn("clonedb_worker"), **POOL_ALONE) as worker:
        created = await worker.users.create_many(
            [NewUser(email=f"{number}@example.com") for number in range(users)]
        )
        await ask(worker, writing("UPDATE clonedb.users SET email = id::text || '@example.com'"))
        async with connected(migrated.dsn("clonedb_app"), **settings) as database:
            scopes = [database.as_user(user.id) for user in created]
            before = database.pool_statistics().requests

            async def call_on(number: int) -> None:
                caller = _Caller(database, scopes, report, seed * 1_000 + number)
                while report.calls < calls and time.monotonic() < started + seconds:
                    await caller.call()

            killing = asyncio.create_task(_kill(migrated, seconds_between_kills, seed, report))
            await asyncio.gather(*(call_on(number) for number in range(callers)))
            killing.cancel()
            await asyncio.gather(killing, return_exceptions=True)
            report.pooled = database.pool_statistics().requests - before
            report.seconds = time.monotonic() - started
        report.stored = await ask_one(
            worker, reading("SELECT sum((u.settings->>'n')::int) FROM clonedb.users AS u")
        )
    if not report.written <= report.stored <= report.written + report.perhaps_written:
        report.wrong.append(f"{report.written} writes were acknowledged, {report.stored} are there")
    return report


async def _kill(
    migrated: IsolatedDatabase, seconds: float | None, seed: int, report: Report
) -> None:
    """End one connection of the crowd after the other."""
    if seconds is None:
        return
    lots = random.Random(seed)
    connection = await psycopg.AsyncConnection.connect(migrated.dsn(SUPERUSER), autocommit=True)
    async with connection:
        while True:
            await asyncio.sleep(lots.random() * 2 * seconds)
            await connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE usename = 'clonedb_app' AND datname = current_database() "
                "ORDER BY random() LIMIT 1"
            )
            report.killed += 1
