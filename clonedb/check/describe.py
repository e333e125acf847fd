"""Preparing every variant of every query, and what PostgreSQL answers: types, columns, trees."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

import psycopg
from psycopg.pq import ExecStatus

from clonedb.check.tree import Node, read_tree
from clonedb.errors import ClonedbError
from clonedb.query.statements import Statement

# So many statements under way at once: what both sides have sent still fits their buffers.
_BATCH: Final = 32


@dataclass(frozen=True, slots=True)
class ResultColumn:
    """A column of a result; `table` and `number` are where it comes from, 0 for an expression."""

    name: str
    type: int
    table: int
    number: int


@dataclass(frozen=True, slots=True)
class Description:
    """A statement as PostgreSQL has understood it."""

    parameters: tuple[int, ...]
    columns: tuple[ResultColumn, ...]


@dataclass(frozen=True, slots=True)
class Refused:
    """PostgreSQL's reason for not preparing a statement, and the character it points at."""

    message: str
    sqlstate: str
    offset: int
    hint: str | None


def describe_all(
    connection: psycopg.Connection[Any], statements: Iterable[Statement]
) -> Iterator[tuple[Statement, Description | Refused]]:
    """Prepare every statement, many at a time; nothing is run."""
    pgconn = connection.pgconn
    pgconn.enter_pipeline_mode()
    waiting = iter(statements)
    try:
        while batch := list(islice(waiting, _BATCH)):
            for statement in batch:
                pgconn.send_prepare(b"", statement.text.encode())
                pgconn.send_describe_prepared(b"")
                pgconn.pipeline_sync()
            pgconn.flush()
            for statement in batch:
                yield statement, _answer(pgconn)
    finally:
        pgconn.exit_pipeline_mode()


def _answer(pgconn: Any) -> Description | Refused:
    refused: Refused | None = None
    description: Description | None = None
    ended = 0
    while True:
        result = pgconn.get_result()
        if result is None:
            ended += 1
            if ended > 8:  # each result is followed by one None
                raise ClonedbError("the scratch server has gone away")
            continue
        if result.status == ExecStatus.PIPELINE_SYNC:
            break
        if result.status == ExecStatus.FATAL_ERROR:
            refused = _refused(result)
        elif result.nparams or result.nfields or result.status == ExecStatus.COMMAND_OK:
            description = _description(result)
    if refused is not None:
        return refused
    if description is None:
        raise ClonedbError("the scratch server has gone away")
    return description


def _description(result: Any) -> Description:
    return Description(
        tuple(result.param_type(number) for number in range(result.nparams)),
        tuple(
            ResultColumn(
                result.fname(number).decode(),
                result.ftype(number),
                result.ftable(number),
                result.ftablecol(number),
            )
            for number in range(result.nfields)
        ),
    )


def _refused(result: Any) -> Refused:
    def field(name: str) -> str | None:
        content = result.error_field(getattr(psycopg.pq.DiagnosticField, name))
        return content.decode() if content else None

    return Refused(
        field("MESSAGE_PRIMARY") or "no reason was given",
        field("SQLSTATE") or "",
        int(field("STATEMENT_POSITION") or 1) - 1,
        field("MESSAGE_HINT"),
    )


class TreeReader:
    """Asks the server for parse trees, on a connection that nothing else uses."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection
        self._printed: list[str] = []
        connection.add_notice_handler(self._listen)
        connection.execute(b"SET client_min_messages = log")
        connection.execute(b"SET debug_pretty_print = off")
        connection.execute(b"SET debug_print_parse = on")
        self._printed.clear()

    def tree(self, text: str) -> Node | None:
        """The tree of a statement that can be prepared; None for one that has none, as SHOW."""
        self._printed.clear()
        result = self._connection.pgconn.prepare(b"", text.encode())
        if result.status != ExecStatus.COMMAND_OK or len(self._printed) != 1:
            return None
        root = read_tree(self._printed[0])
        return root if root.tag == "QUERY" and root.node("utilityStmt") is None else None

    def _listen(self, notice: psycopg.errors.Diagnostic) -> None:
        if (notice.message_primary or "").startswith("parse tree"):
            self._printed.append(notice.message_detail or "")
