"""The query modules: `sql/<entity>.sql` is `queries.<entity>`, loaded once at import.

    row = await queries.users.find_by_id(scope.target, id=user_id)

What each takes and returns is in queries.pyi, which `clonedb check` writes from what PostgreSQL
says about the statements; type checkers and editors read that file instead of this one.
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

from clonedb.errors import QueryFileError
from clonedb.query.modules import Target, all_queries, load_directory, query_of
from clonedb.resources import sql_directory

__all__ = ["Target", "all_queries", "load_directory", "modules", "query_of"]


def _publish(modules: SimpleNamespace) -> None:
    for name, module in vars(modules).items():
        if name in globals():
            raise QueryFileError(f"sql/{name}.sql", 1, f"{name} is taken in queries.py: rename it")
        globals()[name] = module


def _load() -> SimpleNamespace:
    try:
        modules = load_directory(sql_directory())
        _publish(modules)
    except QueryFileError as error:
        # The command line cannot catch what happens before it is imported.
        if Path((getattr(sys, "argv", None) or [""])[0]).name in ("clonedb", "-m"):
            sys.stderr.write(f"clonedb: {error}\n")
            sys.exit(2)
        raise
    return modules


modules = _load()
