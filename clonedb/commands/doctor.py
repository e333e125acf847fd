"""The command `doctor`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import msgspec
import typer
from rich.table import Table

from clonedb.cli import COULD_NOT_RUN, REFUSED
from clonedb.commands.terminal import AsJson, Dsn, print_json, stderr, stdout
from clonedb.errors import ClonedbError, InvalidInput

if TYPE_CHECKING:
    from clonedb.doctor import Finding, Report
    from clonedb.doctor.findings import Level

_WHO_RUNS_THEM = (
    "-- Remedies, to be read before they are run: in a session of clonedb_migrator after\n"
    "-- SET ROLE clonedb_owner; what the owner is refused (roles, settings, objects of others)\n"
    "-- as an administrator."
)


def doctor(
    dsn: Dsn = None,
    security: Annotated[
        bool, typer.Option("--security", help="Who may see and change what; so far this is all.")
    ] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Let warnings and notes fail as errors do.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Look in the catalogue for what undoes the protection of people's data, and name remedies.

    Nothing is changed. Any login of the database will do; a superuser is also told of pg_hba.conf
    and of how passwords are stored.

    The exit code is 0 without findings at level error, 1 with some, 2 when it could not look.
    """
    from clonedb.doctor import examine

    if not dsn:
        raise InvalidInput("no database is named", remedy="pass --dsn, or set DATABASE_URL")
    try:
        report = examine(dsn)
    except ClonedbError as error:
        # What is 1 elsewhere would be taken for a finding here.
        stderr.print(f"clonedb: {error}", markup=False)
        raise typer.Exit(COULD_NOT_RUN) from None
    failed = bool(report.findings if strict else report.count("error"))
    if as_json:
        print_json({"ok": not failed, **msgspec.to_builtins(report)})
    else:
        _show(report)
    if failed:
        raise typer.Exit(REFUSED)


def _show(report: Report) -> None:
    from clonedb.doctor.findings import LEVELS

    for level in LEVELS:
        findings = [finding for finding in report.findings if finding.level == level]
        if findings:
            stdout.print(_table(level, findings))
    if report.findings:
        stdout.print(_WHO_RUNS_THEM, markup=False)
        for finding in report.findings:
            stdout.print(f"\n-- {finding.check}: {finding.object}", markup=False)
            stdout.print(finding.remedy, markup=False)
        stdout.print()
    counts = ", ".join(
        f"{count} {level}{'s' if count > 1 else ''}"
        for level in LEVELS
        if (count := report.count(level))
    )
    stdout.print(f"{report.checks} checks: {counts or 'no findings'}")
    for skipped in report.skipped:
        stdout.print(f"not made: {skipped.check}, {skipped.reason}", markup=False)


def _table(level: Level, findings: list[Finding]) -> Table:
    table = Table(title=f"{level}s", title_justify="left", box=None, padding=(0, 2, 1, 0))
    for heading in ("object", "what is wrong", "check"):
        table.add_column(heading, overflow="fold")
    for finding in findings:
        table.add_row(finding.object, finding.message, finding.check)
    return table
