"""Running the checks: all of them in one pipeline, in a transaction that is rolled back.

Synchronous, as deployments are: from a coroutine call `asyncio.to_thread(examine, dsn)`.
"""

from __future__ import annotations

from functools import cache
from types import SimpleNamespace
from typing import Any, Final

import psycopg
from psycopg.rows import dict_row

from clonedb.doctor.check import Need, all_checks
from clonedb.doctor.findings import LEVELS, Finding, Report, Skipped
from clonedb.errors import NotMigrated
from clonedb.migration.connection import connect
from clonedb.queries import load_directory, query_of
from clonedb.resources import sql_directory
from clonedb.settings import connection_parameters
from clonedb.sqlstates import translate

_REASONS: Final[dict[Need, str]] = {
    "may_read_hba_rules": "pg_hba_file_rules is a superuser's to read, and whose they grant it to",
    "may_read_passwords": "how passwords are stored is a superuser's to read",
}

Cursor = psycopg.Cursor[dict[str, Any]]


def examine(dsn: str) -> Report:
    """Examine the database with every check that its login may make; any login of it will do.

    The catalogue tells all logins the same. A superuser is asked nothing more than how people get
    in: pg_hba.conf and the kind of stored passwords. Raises Unavailable, and NotMigrated where
    there is no schema to examine.
    """
    with connect(connection_parameters(dsn)) as connection:
        return examine_connection(connection)


def examine_connection(connection: psycopg.Connection[Any]) -> Report:
    """Examine through an open connection, in its transaction if there is one."""
    try:
        with connection.transaction(force_rollback=True):
            return _examine(connection)
    except psycopg.Error as error:
        raise translate(error) from error


def _examine(connection: psycopg.Connection[Any]) -> Report:
    about = _send(connection, "examination").fetchone() or {}
    if not about["is_migrated"]:
        raise NotMigrated("there is no schema clonedb here", remedy="run `clonedb migrate`")
    wanted = [each for each in all_checks() if each.check.needs is None or about[each.check.needs]]
    with connection.pipeline():
        asked = [(each, _send(connection, each.name, **each.check.arguments)) for each in wanted]
    findings = [each.finding(row) for each, cursor in asked for row in cursor.fetchall()]
    return Report(
        findings=sorted(findings, key=_gravest_first),
        checks=len(wanted),
        skipped=[
            Skipped(each.name, _REASONS[each.check.needs])
            for each in all_checks()
            if each.check.needs is not None and each not in wanted
        ],
    )


def _send(connection: psycopg.Connection[Any], name: str, **arguments: Any) -> Cursor:
    given = {key: list(value) for key, value in arguments.items()}
    statement, values = query_of(getattr(_queries(), name).find).bind(given)
    cursor = psycopg.RawCursor(connection, row_factory=dict_row)
    cursor.execute(statement.text.encode(), values)
    return cursor


def _gravest_first(finding: Finding) -> tuple[int, str, str]:
    return LEVELS.index(finding.level), finding.check, finding.object


@cache
def _queries() -> SimpleNamespace:
    return load_directory(sql_directory() / "doctor")
