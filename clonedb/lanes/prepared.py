"""A statement as one connection has prepared it: values to parameters, results to rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from psycopg.adapt import PyFormat, Transformer
from psycopg.pq import Format
from psycopg.pq.abc import PGresult
from psycopg.rows import TupleRow

from clonedb.lanes.lane import Connection, Outcome
from clonedb.query.statements import Statement

# Nanoseconds by which loading a column is faster in binary than in text, with psycopg 3.3 on one
# machine: uuid 38, timestamptz 39, integers 22, double precision 37, arrays of uuid 188, a digest
# of 32 bytes 62, a vector of 6 KB 11,200; text, jsonb and boolean are even. numeric is 520 slower,
# which bytes outweigh. A type that is not here might have no binary loader.
_BINARY: Final = frozenset(
    {
        *(16, 17, 20, 21, 23, 25, 114, 700, 701, 1043, 1082, 1184, 1186, 2950, 3802),
        *(1000, 1001, 1007, 1009, 1016, 1022, 2951),  # arrays of some of them
    }
)
_NUMERIC: Final = 1700
_BYTEA: Final = 17


class Prepared:
    """One statement on one connection.

    Parameters are sent without a type: the statement casts them where it must, so the server infers
    what was meant, and a None does not make another statement of it. The server refuses to
    run a prepared statement whose columns have changed, so loaders are chosen once for each format.
    """

    __slots__ = ("_any_format", "_binary", "_dumper", "_text", "name", "parsed", "result_format")

    def __init__(self, connection: Connection, statement: Statement, number: int) -> None:
        self.name = b"clonedb_%d" % number
        # Whether the server has been told the text; if that failed, it says so by 26000.
        self.parsed = False
        # Text until the first result has shown the types of its columns.
        self.result_format = Format.TEXT
        self._any_format = [PyFormat.AUTO] * len(statement.parameters)
        self._dumper = Transformer(connection)
        self._text = _Loader(connection)
        self._binary = _Loader(connection)

    def encode(self, values: Sequence[Any]) -> tuple[Sequence[Any], Sequence[Any] | None]:
        """The parameters and their formats; raises what psycopg raises for a value it refuses."""
        parameters = self._dumper.dump_sequence(values, self._any_format)
        return parameters, self._dumper.formats

    def load(self, result: PGresult, format: Format) -> Outcome:
        """The rows of a result that was asked for in that format."""
        if not result.nfields:
            return Outcome([], result.command_tuples or 0)
        if format == Format.BINARY:
            rows = self._binary.load(result)
        else:
            first = not self._text.ready
            rows = self._text.load(result)
            if first:
                types = {result.ftype(column) for column in range(result.nfields)}
                if types <= _BINARY or (_BYTEA in types and types <= _BINARY | {_NUMERIC}):
                    self.result_format = Format.BINARY
        return Outcome(rows, len(rows))


class _Loader:
    """The loaders of a result's columns, chosen by its first result."""

    __slots__ = ("_transformer", "ready")

    def __init__(self, connection: Connection) -> None:
        self._transformer = Transformer(connection)
        self.ready = False

    def load(self, result: PGresult) -> list[TupleRow]:
        self._transformer.set_pgresult(result, set_loaders=not self.ready)
        self.ready = True
        rows = self._transformer.load_rows(0, result.ntuples, tuple)
        # Not kept until the next result comes: it may be large, and it is somebody's.
        self._transformer.set_pgresult(None, set_loaders=False)
        return rows
