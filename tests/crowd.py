"""A crowd of users on a few channels, whose every answer says whose it is."""

from __future__ import annotations

import asyncio
import random
import time
from typing import Any

import msgspec
from channels import ask, connected, reading, writing

from clonedb import Database, DatabaseScope, InvalidInput, NewUser, Timeout, Unavailable, UserScope
from clonedb.testing import IsolatedDatabase

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
    killed: int = 0
    pooled: int = 0
    seconds: float = 0
    wrong: list[str] = []

    def __str__(self) -> str:
        parts = [f"{name} {getattr(self, name):,}" for name in self.__struct_fields__[:-2]]
        return f"{', '.join(parts)}, wrong {len(self.wrong)}, in {self.seconds:.1f} s"


class _Caller:
    """Makes one call after the other as users drawn by lot, and looks at every answer."""

    def __init__(self, database: Database, users: list[UserScope], report: Report, seed: int):
        self._database = database
        self._users = users
        self._report = report
        self._random = random.Random(seed)
        self._said = seed << 32

    async def call(self) -> None:
        rnd, report = self._random, self._report
        report.calls += 1
        self._said += 1
        said, lot = self._said, rnd.random()
        scope: UserScope | DatabaseScope = rnd.choice(self._users)
        who = str(scope.user_id)
        expected: list[tuple[Any, ...]]
        if lot < 0.30:
            if rnd.random() < 0.2:
                scope, who = self._database, ""
            coroutine, expected = ask(scope, ECHO, said), [(who, said, str(said))]
        elif lot < 0.45:
            rows = rnd.randrange(40)
            coroutine = ask(scope, ROWS, said, rows)
            expected = [(who, said, n, "x" * 20 * n) for n in range(1, rows + 1)]
        elif lot < 0.55:
            coroutine, expected = ask(scope, NUMERIC, said), [(who, said, said / 2)]
        elif lot < 0.70:
            coroutine, expected = ask(scope, OWN_ROW, said), [(who, said, f"{who}@example.com")]
        elif lot < 0.90:
            if rnd.random() < 0.7:
                scope = scope.group_commit()
                report.grouped += 1
            coroutine, expected = ask(scope, WRITE, said), [(who, said, str(said))]
        elif lot < 0.94:
            coroutine, expected = ask(scope, DIVIDE, said, 0), []
        elif lot < 0.96:
            scope = scope.group_commit() if rnd.random() < 0.5 else scope
            coroutine, expected = ask(scope, BREAK, said), []
        elif lot < 0.965:
            coroutine, expected = ask(scope.within(0.001), SLEEP, said), []
        else:
            await self._cancelled(ask(scope, ECHO, said), [(who, said, str(said))])
            return
        await self._look(coroutine, expected)

    async def _look(self, coroutine: Any, expected: list[tuple[Any, ...]]) -> None:
        report = self._report
        try:
            found = await coroutine
        except InvalidInput:
            report.refused += 1
            expected and report.wrong.append(f"refused instead of {expected}")
        except Timeout:
            report.timed_out += 1
            expected and report.wrong.append(f"timed out instead of {expected}")
        except Unavailable:
            report.unavailable += 1
        else:
            if (found == expected and expected) or found == expected:
                report.right += 1
            elif len(report.wrong) < 10:
                report.wrong.append(f"{found} instead of {expected}")

    async def _cancelled(self, coroutine: Any, expected: list[tuple[Any, ...]]) -> None:
        """Cancel before it is sent, while it is in flight, or when its answer has come."""
        task = asyncio.ensure_future(coroutine)
        for _ in range(self._random.randrange(6)):
            await asyncio.sleep(0)
        if self._random.random() < 0.5:
            await asyncio.sleep(self._random.random() * 0.004)
        task.cancel()
        try:
            found = await task
        except asyncio.CancelledError:
            self._report.cancelled += 1
        except Unavailable:
            self._report.unavailable += 1
        else:
            self._report.right += 1
            if found != expected:
                self._report.wrong.append(f"{found} instead of {expected}")


async def crowd(
    migrated: IsolatedDatabase, *, users: int, calls: int, callers: int, seed: int, **settings: Any
) -> Report:
    """So many calls, by so many callers at a time, as so many users."""
    report = Report()
    started = time.monotonic()
    async with connected(migrated.dsn("clonedb_worker")) as worker:
        created = await worker.users.create_many(
            [NewUser(email=f"{number}@example.com") for number in range(users)]
        )
        await ask(
            worker,
            writing("UPDATE clonedb.users SET email = id::text || '@example.com' RETURNING id"),
        )
    async with connected(migrated.dsn("clonedb_app"), **settings) as database:
        scopes = [database.as_user(user.id) for user in created]
        before = database.pool_statistics().requests

        async def call_on(number: int) -> None:
            caller = _Caller(database, scopes, report, seed * 1_000 + number)
            while report.calls < calls:
                await caller.call()

        await asyncio.gather(*(call_on(number) for number in range(callers)))
        report.pooled = database.pool_statistics().requests - before
        report.seconds = time.monotonic() - started
        # Whatever happened, every channel is as good as new.
        assert all(channel.in_flight == 0 for channel in database.channel_statistics())
    return report
