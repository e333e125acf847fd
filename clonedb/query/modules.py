"""Query modules: a folder of `.sql` files becomes callables, with the help of aiosql.

aiosql makes the functions; parsing and binding are ours. A function hands a `Statement` and its
values to the target's method for the query's operator, and returns what that returns. Wrong
arguments raise TypeError before anything is sent. A traceback through a function shows the name
line in the `.sql` file.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final, Protocol

import aiosql
from aiosql.queries import Queries
from aiosql.query_loader import QueryLoader
from aiosql.types import QueryDatum

from clonedb.query.file import parse_queries, read_text
from clonedb.query.headers import check_name
from clonedb.query.statements import Query, Statement

_POSITIONAL: Final = inspect.Parameter.POSITIONAL_ONLY
_KEYWORD: Final = inspect.Parameter.KEYWORD_ONLY


class Target(Protocol):
    """What runs statements. Each method's name says what comes back."""

    def fetch_one(self, statement: Statement, values: tuple[Any, ...]) -> Awaitable[Any]:
        """The row or None: `^` and `<!`."""
        ...

    def fetch_value(self, statement: Statement, values: tuple[Any, ...]) -> Awaitable[Any]:
        """The first column of the row, or None: `$`."""
        ...

    def fetch_all(self, statement: Statement, values: tuple[Any, ...]) -> Awaitable[Any]:
        """All rows: no operator."""
        ...

    def execute(self, statement: Statement, values: tuple[Any, ...]) -> Awaitable[Any]:
        """The number of rows affected: `!`."""
        ...

    def stream(self, statement: Statement, values: tuple[Any, ...]) -> AsyncIterator[Any]:
        """The rows one after another: `<name>_cursor`, which each query without operator has."""
        ...


class StatementAdapter:
    """aiosql's driver adapter for one file: binds the arguments and calls the target."""

    is_aio_driver = False  # the target's awaitable is returned as it is

    def __init__(self, file: Path, module: str, path: str) -> None:
        self.file = file
        self.module = module
        self.path = path
        self.queries: dict[str, Query] = {}

    def process_sql(self, query_name: str, op_type: Any, sql: str) -> str:
        """Part of aiosql's protocol; the loader has rendered the text already."""
        return sql

    def select(
        self, conn: Target, query_name: str, sql: str, parameters: Any, record_class: Any
    ) -> Any:
        return conn.fetch_all(*self.queries[query_name].bind(parameters))

    def select_one(
        self, conn: Target, query_name: str, sql: str, parameters: Any, record_class: Any
    ) -> Any:
        return conn.fetch_one(*self.queries[query_name].bind(parameters))

    def select_value(self, conn: Target, query_name: str, sql: str, parameters: Any) -> Any:
        return conn.fetch_value(*self.queries[query_name].bind(parameters))

    def select_cursor(self, conn: Target, query_name: str, sql: str, parameters: Any) -> Any:
        name = query_name.removesuffix("_cursor")
        return conn.stream(*self.queries[name].bind(parameters))

    def insert_returning(self, conn: Target, query_name: str, sql: str, parameters: Any) -> Any:
        return conn.fetch_one(*self.queries[query_name].bind(parameters))

    def insert_update_delete(self, conn: Target, query_name: str, sql: str, parameters: Any) -> Any:
        return conn.execute(*self.queries[query_name].bind(parameters))

    def insert_update_delete_many(
        self, conn: Target, query_name: str, sql: str, parameters: Any
    ) -> Any:
        raise NotImplementedError("*! is refused when the file is loaded")

    def execute_script(self, conn: Target, sql: str) -> Any:
        raise NotImplementedError("# is refused when the file is loaded")


class StatementLoader(QueryLoader):
    """aiosql's loader with `query_file` in the place of its parser."""

    def load_query_data_from_sql(
        self, sql: str, ns_parts: list[str], fname: Path | str = "<unknown>"
    ) -> list[QueryDatum]:
        """Parse a file's text; which file it is, the adapter knows."""
        adapter = self._driver_adapter
        if not isinstance(adapter, StatementAdapter):
            raise TypeError("StatementLoader needs a StatementAdapter")
        queries = parse_queries(sql, module=adapter.module, path=adapter.path)
        adapter.queries = {query.name: query for query in queries}
        return [
            QueryDatum(
                query_name=query.name,
                doc_comments=query.doc,
                operation_type=query.operation,
                sql=query.full.text,
                record_class=None,
                signature=_signature(query),
                floc=(adapter.file, query.line),
                attributes=None,
                parameters=list(query.parameters),
            )
            for query in queries
        ]


def load_directory(directory: Path) -> SimpleNamespace:
    """Load each `.sql` file of a folder, but not of its sub-folders, under the file's name.

    Raises `QueryFileError` at the first thing that is wrong, with file and line.
    """
    if not directory.is_dir():
        raise NotADirectoryError(f"{directory} is no folder of query files")
    modules = SimpleNamespace()
    for file in sorted(directory.glob("[!.]*.sql")):
        path = f"{directory.name}/{file.name}"
        check_name(file.stem, "query module", path, 1)
        setattr(modules, file.stem, _load_file(file, path))
    return modules


def query_of(function: Callable[..., Any]) -> Query:
    """The Query behind a function of a query module, its `_cursor` included."""
    query = getattr(function, "query", None)
    if not isinstance(query, Query):
        raise TypeError(f"{function!r} is not a function of a query module")
    return query


def all_queries(modules: SimpleNamespace) -> Iterator[Query]:
    """Every query of what `load_directory` returned, file by file, in the files' order."""
    for module in vars(modules).values():
        yield from _queries_of(module).values()


def _queries_of(module: Queries) -> dict[str, Query]:
    adapter: Any = module.driver_adapter
    queries: dict[str, Query] = adapter.queries
    return queries


def _load_file(file: Path, path: str) -> Queries:
    module: Queries = aiosql.from_str(
        read_text(file, path=path),
        StatementAdapter,
        kwargs={"file": file, "module": file.stem, "path": path},
        loader_cls=StatementLoader,
    )
    for name in module.available_queries:
        function = getattr(module, name).__func__
        query = _queries_of(module)[function.__name__.removesuffix("_cursor")]
        function.query = query
        _point_at(function, file, query.line)
    return module


def _point_at(function: Any, file: Path, line: int) -> None:
    # aiosql counts from the function's first line, and gives its cursors no file. A traceback
    # shows the line of the call, which is the next one that has code.
    code = function.__code__
    lines = (found for _, _, found in code.co_lines() if found is not None)
    call_line = next(found for found in lines if found > code.co_firstlineno)
    function.__code__ = code.replace(
        co_filename=str(file),
        co_firstlineno=line - (call_line - code.co_firstlineno),
        co_name=function.__name__,
    )


def _signature(query: Query) -> inspect.Signature:
    needed = [name for name in query.parameters if name in query.required]
    optional = [name for name in query.parameters if name not in query.required]
    choices = [*sorted(query.flags), *(["order"] if query.orders else [])]
    return inspect.Signature(
        [
            *(inspect.Parameter(name, _POSITIONAL) for name in ("self", "conn")),
            *(inspect.Parameter(name, _KEYWORD) for name in needed),
            *(inspect.Parameter(name, _KEYWORD, default=...) for name in (*optional, *choices)),
        ]
    )
