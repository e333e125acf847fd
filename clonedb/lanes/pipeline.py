"""One connection in libpq's pipeline mode, from its opening until it is lost or closed.

Many units are in flight at once; their answers come back in order. The socket is written once for
each tick of the event loop and read when it is readable, on the loop, without a thread.
"""

from __future__ import annotations

import asyncio
import select
from collections import deque
from collections.abc import Callable
from typing import Final, Self

import psycopg
from psycopg import AsyncConnection
from psycopg.pq import DiagnosticField, ExecStatus, Format
from psycopg.pq.abc import PGresult
from psycopg.rows import tuple_row

from clonedb.lanes.calls import Call, Group, Unit
from clonedb.lanes.lane import PREPARED_STATEMENTS, SET_CONTEXT, connection_arguments
from clonedb.lanes.libpq import send_sync
from clonedb.lanes.prepared import Prepared
from clonedb.query.statements import Statement
from clonedb.settings import Settings

SET_USER: Final = "SELECT set_config('clonedb.user_id', $1, true)"

# Of the session, so that a statement which is content with them needs no context. A channel is
# never behind a pooler that would hand its session to somebody else.
_SET_SESSION: Final = (
    "SELECT set_config('clonedb.user_id', '', false), "
    "set_config('statement_timeout', $1, false), "
    "set_config('lock_timeout', $2, false)"
)
# Sessions that write keep what the server says: an operator may have stopped all writes.
_SET_READ_ONLY: Final = ", set_config('default_transaction_read_only', 'on', false)"

_USER: Final = b"clonedb_user"
_CONTEXT: Final = b"clonedb_context"
_ONE_TEXT: Final = (Format.TEXT,)
_THREE_TEXTS: Final = (Format.TEXT,) * 3


class Pipeline:
    """Sends units and settles them; says by `on_settled` and `on_lost` what has become of them."""

    def __init__(
        self,
        connection: AsyncConnection[tuple[object, ...]],
        on_settled: Callable[[], None],
        on_lost: Callable[[psycopg.Error], None],
    ) -> None:
        self._connection = connection
        self._pgconn = connection.pgconn
        self._loop = asyncio.get_running_loop()
        self._on_settled = on_settled
        self._on_lost = on_lost
        self._socket = connection.fileno()
        self._encrypted = bool(self._pgconn.ssl_in_use)
        self._prepared: dict[Statement, Prepared] = {}
        self._made = 0
        self._writing = False
        self.in_flight: deque[Unit] = deque()
        self.bytes_in_flight = 0
        # By the loop's time: when the server has said anything, or was asked without being busy.
        self.heard_at = self._loop.time()
        self._closed = False
        self._loop.add_reader(self._socket, self.read)

    @classmethod
    async def connect(
        cls,
        settings: Settings,
        *,
        read_only: bool,
        on_settled: Callable[[], None],
        on_lost: Callable[[psycopg.Error], None],
    ) -> Self:
        """Connect and prepare the session; raises psycopg.Error."""
        connection = await AsyncConnection.connect(
            settings.dsn,
            **connection_arguments(settings),
            row_factory=tuple_row,
            prepare_threshold=None,
        )
        pgconn = connection.pgconn
        pgconn.nonblocking = 1
        pgconn.enter_pipeline_mode()
        pipeline = cls(connection, on_settled, on_lost)
        try:
            # Nobody waits for it: what is sent next comes after it.
            pgconn.send_query_params(
                (_SET_SESSION + _SET_READ_ONLY if read_only else _SET_SESSION).encode(),
                [
                    str(round(seconds * 1000)).encode()
                    for seconds in (
                        settings.channel_statement_timeout,
                        settings.channel_lock_timeout,
                    )
                ],
            )
            pgconn.send_prepare(_USER, SET_USER.encode())
            pgconn.send_prepare(_CONTEXT, SET_CONTEXT.encode())
            pipeline._sync(_Preparation())
            pipeline.flush()
        except psycopg.Error:
            pipeline.close()
            raise
        return pipeline

    @property
    def full(self) -> bool:
        """Whether the server holds as many prepared statements as a connection should."""
        return len(self._prepared) >= PREPARED_STATEMENTS

    def encode(self, call: Call) -> None:
        """Make parameters of a call's values; raises what psycopg raises for them."""
        prepared = self._prepared.get(call.statement)
        if prepared is None:
            self._made += 1
            prepared = Prepared(self._connection, call.statement, self._made)
            self._prepared[call.statement] = prepared
        call.prepared = prepared
        call.format = prepared.result_format
        call.parameters, call.parameter_formats = prepared.encode(call.values)
        call.size = sum(map(len, filter(None, call.parameters)))

    def send(self, call: Call) -> None:
        """Queue an encoded call; raises psycopg.OperationalError where the connection is gone."""
        self._queue(call)
        self._sync(call)

    def send_group(self, group: Group) -> None:
        """Queue encoded calls, all of which have a context, under one Sync."""
        commands = 0
        for call in group.calls:
            commands += self._queue(call)
            group.positions.append(commands - 1)
        self._sync(group)

    def _queue(self, call: Call) -> int:
        """Queue the commands of a call, its own last; returns how many there are."""
        pgconn, prepared, session = self._pgconn, call.prepared, call.session
        commands = 1
        if not prepared.parsed:
            pgconn.send_prepare(prepared.name, call.statement.text.encode())
            prepared.parsed = True
            commands += 1
        if session is not None:
            commands += 1
            if isinstance(session, str):
                pgconn.send_query_prepared(_USER, (session.encode(),), _ONE_TEXT)
            else:
                values = [value.encode() for value in session]
                pgconn.send_query_prepared(_CONTEXT, values, _THREE_TEXTS)
        pgconn.send_query_prepared(
            prepared.name, call.parameters, call.parameter_formats, call.format
        )
        return commands

    def _sync(self, unit: Unit) -> None:
        send_sync(self._pgconn)
        unit.sent_at = self._loop.time()
        if not self.in_flight:
            self.heard_at = unit.sent_at
        self.in_flight.append(unit)
        self.bytes_in_flight += unit.size

    def forget(self, call: Call) -> None:
        """Prepare the statement anew next time: what the server has no longer fits."""
        if self._prepared.get(call.statement) is call.prepared:
            del self._prepared[call.statement]

    def flush(self) -> None:
        """Write what is queued, as far as the socket takes it, and the rest when it can."""
        try:
            rest = self._pgconn.flush()
        except psycopg.OperationalError as error:
            self._on_lost(error)
            return
        if rest and not self._writing:
            self._loop.add_writer(self._socket, self.flush)
        elif not rest and self._writing:
            self._loop.remove_writer(self._socket)
        self._writing = bool(rest)

    def read(self) -> None:
        """Take in what the server has sent, and settle the units that are complete."""
        pgconn, in_flight = self._pgconn, self.in_flight
        settled = silent = False
        try:
            pgconn.consume_input()
            if self._encrypted:
                # OpenSSL hands out a record in parts, and its socket is quiet about the rest.
                pgconn.consume_input()
            # Also without a unit in flight: messages of the server's own are taken in by it.
            while not pgconn.is_busy() and in_flight:
                result = pgconn.get_result()
                if result is None:
                    # The end of a command's answers. Twice without any, the two ends disagree.
                    if silent:
                        raise psycopg.OperationalError("the server's answers have lost their order")
                    silent = True
                    continue
                silent = False
                status = result.status
                if status != ExecStatus.PIPELINE_SYNC:
                    in_flight[0].take(result, status)
                    if status == ExecStatus.FATAL_ERROR:
                        _check_alive(result)
                    continue
                unit = in_flight.popleft()
                self.bytes_in_flight -= unit.size
                unit.settle()
                settled = True
        except psycopg.Error as error:
            self._on_lost(error)
            return
        self.heard_at = self._loop.time()
        if settled:
            self._on_settled()

    def look(self) -> None:
        """Read without being called: the answers may be there, and this process was busy.

        Where nothing is there, the server has not been heard.
        """
        heard_at = self.heard_at
        poller = select.poll()
        poller.register(self._socket, select.POLLIN)
        readable = poller.poll(0)
        self.read()
        if not readable:
            self.heard_at = heard_at

    def close(self) -> None:
        """Give the connection up, whatever is in flight."""
        if not self._closed:
            self._closed = True
            self._loop.remove_reader(self._socket)
            self._loop.remove_writer(self._socket)
            # Callers whose answers have just come load them in the next tick, and need it for that.
            self._loop.call_soon(self._finish)

    def _finish(self) -> None:
        self._pgconn.finish()


class _Preparation:
    """The connection's own first unit, for which nobody waits: its session and its statements."""

    size = 0
    sent_at = 0.0

    def take(self, result: PGresult, status: int) -> None:
        if status == ExecStatus.FATAL_ERROR:
            # Without its timeouts a channel is nothing that others may share.
            raise psycopg.errors.error_from_result(result)

    def settle(self) -> None: ...

    def lose(self, error: Exception) -> None: ...

    def step_aside(self) -> None: ...


def _check_alive(result: PGresult) -> None:
    """Raise where the error is the server's goodbye."""
    if result.error_field(DiagnosticField.SEVERITY_NONLOCALIZED) in (b"FATAL", b"PANIC"):
        raise psycopg.errors.error_from_result(result)
