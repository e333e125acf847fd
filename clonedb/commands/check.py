"""The command `check`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from clonedb.cli import COULD_NOT_RUN
from clonedb.commands.terminal import AsJson, print_json, stderr, stdout
from clonedb.errors import MigrationError

if TYPE_CHECKING:
    from clonedb.check.finding import Finding
    from clonedb.check.migrations.window import Window

_FOUND = 1


def check(
    query: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[QUERY]...",
            show_default=False,
            help="Queries by name, such as users.create; all by default. Nothing is written then.",
        ),
    ] = None,
    offline: Annotated[
        bool,
        typer.Option("--offline", help="Compare hashes with the ledger; no server is needed."),
    ] = False,
    sql: Annotated[
        Path | None,
        typer.Option(
            show_default=False, help="Another folder of query files; its ledger is below it."
        ),
    ] = None,
    migrations: Annotated[
        Path | None,
        typer.Option(show_default=False, help="The migrations folder; clonedb's own by default."),
    ] = None,
    window: Annotated[
        str | None,
        typer.Option(
            "--window",
            metavar="REVISION",
            show_default=False,
            help="Prove which migrations since a git revision go before the deploy, which after.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Let PostgreSQL say what each query is, write it to sql/ledger, and refuse what is unsafe.

    The exit code is 0 when nothing was found, 1 for findings, 2 when it could not run.
    """
    from clonedb.check.whole import check_folder, compare_hashes, prove_window

    started = time.monotonic()
    if window is not None:
        found = prove_window(window, sql, migrations)
        _show_window(found, time.monotonic() - started, as_json=as_json)
        raise typer.Exit(_FOUND if found.findings else 0)
    if offline:
        findings, written, summary = compare_hashes(sql, migrations), [], "hashes compared"
    else:
        try:
            done = check_folder(sql, migrations, only=query or ())
        except MigrationError as error:
            # Nothing was found of the queries: 1 is for findings.
            stderr.print(f"clonedb: {' '.join(str(error).split())}", markup=False)
            raise typer.Exit(COULD_NOT_RUN) from None
        findings, written = done.findings, done.written
        summary = f"{done.queries} queries, {done.variants} variants"
        if done.migrations:
            summary += f", {done.migrations} migrations"
    _show(findings, written, summary, time.monotonic() - started, as_json=as_json)
    if findings:
        raise typer.Exit(_FOUND)


def _show_window(found: Window, seconds: float, *, as_json: bool) -> None:
    if as_json:
        print_json({**msgspec.to_builtins(found), "seconds": round(seconds, 2)})
        return
    for finding in found.findings:
        stdout.print(str(finding), markup=False)
    for step in found.steps:
        phase = "before or after deploy" if step.phase == "either" else step.phase
        stderr.print(f"{step.id}: {phase}", markup=False)
    count = len(found.findings)
    stderr.print(
        f"{len(found.steps)} migrations since {found.base}: "
        f"{f'{count} findings' if count else 'nothing found'}, {seconds:.1f} s"
    )


def _show(
    findings: list[Finding], written: list[str], summary: str, seconds: float, *, as_json: bool
) -> None:
    if as_json:
        print_json({"findings": findings, "written": written, "seconds": round(seconds, 2)})
        return
    for finding in findings:
        stdout.print(str(finding), markup=False)
    for path in written[:10]:
        stderr.print(f"wrote {path}", markup=False)
    if len(written) > 10:
        stderr.print(f"wrote {len(written) - 10} more files")
    found = f"{len(findings)} findings" if findings else "nothing found"
    stderr.print(f"{summary}: {found}, {seconds:.1f} s")
