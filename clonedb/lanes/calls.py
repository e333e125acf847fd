"""What travels through a pipeline under one Sync: a caller's statement, or a group of them.

The answers to a unit's commands come back in their order and are `take`n one by one; once its Sync
has come back the unit is `settle`d, and not before, since a commit can still fail after the rows.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import cache
from typing import Any, Final, Protocol

import psycopg
from psycopg.pq import ExecStatus, Format
from psycopg.pq.abc import PGresult

from clonedb.lanes.lane import Outcome, Session
from clonedb.lanes.prepared import Prepared
from clonedb.query.statements import Statement

# Nothing is sent for a user, a timeout and a plan mode that the connection has by itself.
ChannelSession = Session | str | None


class Detour(Exception):
    """Nothing was stored and nobody waits for the answer: send the statement on the pool."""


class GroupFailed(Exception):
    """The group that the statement was in has stored nothing, since another member failed."""


class Alone(Exception):
    """The group that the statement was in has stored nothing: send it by itself.

    `cause` is what the server said: of this member, or at the commit, when it may be any.
    """

    def __init__(self, cause: psycopg.Error) -> None:
        super().__init__(cause)
        self.cause = cause


# The parameters by which statements name the row that they lock, from the outermost inwards.
_NAMES_OF_ROWS: Final = ("user_id", "session_id", "id", "key", "address", "endpoint")


class Unit(Protocol):
    """All commands before one Sync."""

    size: int
    # By the loop's time.
    sent_at: float

    def take(self, result: PGresult, status: int) -> None:
        """The answer to the next command."""

    def settle(self) -> None:
        """The Sync has come back: what was stored is stored."""

    def lose(self, error: Exception) -> None:
        """The connection is gone; what was stored is not known."""

    def step_aside(self) -> None:
        """Something before it takes too long: let callers who may go elsewhere."""


class Call:
    """One caller's statement, apart from its neighbours."""

    __slots__ = (
        "error",
        "format",
        "future",
        "parameter_formats",
        "parameters",
        "prepared",
        "result",
        "sent_at",
        "session",
        "size",
        "statement",
        "values",
    )

    # Set when the values are encoded, for the connection that it is sent on.
    prepared: Prepared
    parameters: Sequence[Any]
    parameter_formats: Sequence[Any] | None
    format: Format
    sent_at: float
    # Set by the answers, unless `error` is.
    result: PGresult

    def __init__(
        self,
        statement: Statement,
        values: Sequence[Any],
        session: ChannelSession,
        future: asyncio.Future[None],
    ) -> None:
        self.statement = statement
        self.values = values
        self.session = session
        self.future = future
        self.size = 0
        self.error: PGresult | None = None

    def take(self, result: PGresult, status: int) -> None:
        # The statement is the last of the commands, so the last answer is its own.
        if status == ExecStatus.FATAL_ERROR:
            self.error = self.error or result
        elif status != ExecStatus.PIPELINE_ABORTED:
            self.result = result

    def settle(self) -> None:
        # A caller who was cancelled has gone, and gets nothing.
        if not self.future.done():
            self.future.set_result(None)

    def lose(self, error: Exception) -> None:
        self.abandon(Detour() if self.statement.access == "read" else error)

    def step_aside(self) -> None:
        if self.statement.access == "read":
            self.abandon(Detour())

    def abandon(self, reason: Exception) -> None:
        """End it without an answer."""
        if not self.future.done():
            self.future.set_exception(reason)

    def outcome(self) -> Outcome:
        """The rows; the caller loads them, so that a value it cannot have fails it alone."""
        return self.prepared.load(self.result, self.format)


class Group:
    """Writes of several callers in one transaction, and so in one commit: all or none."""

    __slots__ = ("_failed_at", "_results", "calls", "error", "positions", "sent_at", "size")

    sent_at: float

    def __init__(self, calls: list[Call], size: int) -> None:
        self.calls = calls
        self.size = size
        # Where among the answers each call's own is; the others are those of contexts.
        self.positions: list[int] = []
        self.error: PGresult | None = None
        self._failed_at = 0
        self._results: list[PGresult] = []

    def take(self, result: PGresult, status: int) -> None:
        if status == ExecStatus.FATAL_ERROR and self.error is None:
            self.error = result
            self._failed_at = len(self._results)
        self._results.append(result)

    def settle(self) -> None:
        if self.error is None:
            for call, position in zip(self.calls, self.positions, strict=True):
                call.result = self._results[position]
                call.settle()
        elif len(self.calls) == 1:
            self.calls[0].error = self.error
            self.calls[0].settle()
        else:
            cause = psycopg.errors.error_from_result(self.error)
            at_commit = self._failed_at > self.positions[-1]
            before = -1
            for call, position in zip(self.calls, self.positions, strict=True):
                failed = before < self._failed_at <= position
                call.abandon(Alone(cause) if failed or at_commit else GroupFailed())
                before = position

    def lose(self, error: Exception) -> None:
        for call in self.calls:
            call.lose(error)

    def step_aside(self) -> None:
        """Writes that were sent have nowhere else to go."""


def lock_order(call: Call) -> list[str]:
    """Whose row it is, then which one: the same for every statement that locks that row."""
    statement, values, session = call.statement, call.values, call.session
    order = [_comparable(values[position]) for position in _row_positions(statement)]
    if isinstance(session, tuple) and session[0] and "user_id" not in statement.parameters:
        return [session[0], *order]
    return order


@cache
def _row_positions(statement: Statement) -> list[int]:
    parameters = statement.parameters
    return [parameters.index(name) for name in _NAMES_OF_ROWS if name in parameters]


def _comparable(value: object) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)
