"""The command `rehearse`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from clonedb.commands.terminal import AsJson, print_json, stderr, stdout
from clonedb.errors import InvalidInput

if TYPE_CHECKING:
    from clonedb.check.migrations.told import Told

_FOUND: Final = 1
_NAMED: Final = 8


def rehearse(
    migration: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[MIGRATION]...",
            show_default=False,
            help="Migrations by number or name; all by default.",
        ),
    ] = None,
    migrations: Annotated[
        Path | None,
        typer.Option(show_default=False, help="The migrations folder; clonedb's own by default."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Apply migrations to a scratch database with rows, and show whom each would keep waiting.

    The exit code is 0 when nothing was found, 1 for findings, 2 when it could not run.
    """
    from clonedb.check.migrations.told import tell

    told, findings = tell(migrations)
    if migration:
        told = [each for each in told if any(each.rehearsal.id.startswith(n) for n in migration)]
        findings = [each for each in findings if any(each.query.startswith(n) for n in migration)]
        for name in migration:
            if not any(each.rehearsal.id.startswith(name) for each in told):
                raise InvalidInput(
                    f"no migration is named {name!r}", remedy="give its number or its whole name"
                )
    if as_json:
        print_json({"rehearsals": told, "findings": findings})
    else:
        for each in told:
            _show(each)
        for finding in findings:
            stdout.print(str(finding), markup=False)
        stderr.print(f"{len(told)} migrations, {sum(each.seconds for each in told):.2f} s to apply")
    if findings:
        raise typer.Exit(_FOUND)


def _show(told: Told) -> None:
    from clonedb.check.migrations.rehearsal import write

    stdout.print(write(told.rehearsal), markup=False)
    stdout.print(
        f"took       {told.seconds:.3f} s on this machine, with a few hundred rows a table"
    )
    for title, blocked in (("applying", told.blocked), ("rolling back", told.blocked_by_rollback)):
        if blocked:
            names = ", ".join(blocked[:_NAMED])
            more = f" and {len(blocked) - _NAMED} more" if len(blocked) > _NAMED else ""
            stdout.print(f"while {title}, {len(blocked)} queries wait: {names}{more}", markup=False)
    stdout.print()
