"""The command `audit`: `seal` and `verify`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Final

import msgspec
import typer

from clonedb import event_loop
from clonedb.commands.terminal import AsJson, Dsn, print_json, stderr, stdout
from clonedb.errors import ClonedbError, InvalidInput

if TYPE_CHECKING:
    from clonedb.audit import AuditReport

COULD_NOT_RUN: Final = 2

audit = typer.Typer(no_args_is_help=True, help="Seal the audit log, and verify it.")


@audit.command("seal")
def seal_log(dsn: Dsn = None, as_json: AsJson = False) -> None:
    """Seal what is to be sealed, as clonedb_worker, and print the last seal.

    Keep that line outside of the database: `verify --last-seal` takes it. It may run twice at once
    and be killed at any time.
    """
    from clonedb.audit import seal
    from clonedb.database import Database

    async def run() -> None:
        async with Database(dsn, application_name="clonedb audit") as worker:
            seals = entries = 0
            async for cut in seal(worker):
                seals, entries = seals + 1, entries + cut.entry_count
            last = await worker.audit_seals.find_last()
        kept = None if last is None else str(last)
        if as_json:
            print_json({"seals": seals, "entries": entries, "last_seal": kept})
        else:
            stdout.print(f"sealed {entries:,} entries in {seals:,} seals")
            stdout.print(f"last seal {kept or 'none'}")

    with _errors_are_no_findings():
        event_loop.run(run())


@audit.command("verify")
def verify_log(
    dsn: Dsn = None,
    last_seal: Annotated[
        str | None,
        typer.Option(
            metavar="N:HEX",
            show_default=False,
            help="The last seal that was kept elsewhere, as `audit seal` has printed it.",
        ),
    ] = None,
    last_digest: Annotated[
        str | None,
        typer.Option(metavar="HEX", show_default=False, help="Its digest alone."),
    ] = None,
    from_seal: Annotated[
        int, typer.Option(min=1, metavar="N", help="Leave out the seals before this one.")
    ] = 1,
    kept_from: Annotated[
        str | None,
        typer.Option(
            metavar="YYYY-MM",
            show_default=False,
            help="The first month whose entries are kept; older ones may be gone.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Compare every entry of the audit log with its seal, as any login but the app's.

    Exit code 0: nothing was found. 1: something was changed, removed or put in. 2: it could not
    run.
    """
    from clonedb.audit import Anchor, verify
    from clonedb.database import Database

    with _errors_are_no_findings():
        if last_seal is not None and last_digest is not None:
            raise InvalidInput("give either --last-seal or --last-digest, not both")
        anchor = None
        if last_seal is not None:
            anchor = Anchor.of_seal(last_seal)
        elif last_digest is not None:
            anchor = Anchor.of_digest(last_digest)
        month = None if kept_from is None else _month(kept_from)

        async def run() -> AuditReport:
            async with Database(dsn, application_name="clonedb audit") as database:
                with stderr.status("verifying") as status:
                    return await verify(
                        database,
                        from_seal=from_seal,
                        anchor=anchor,
                        kept_from=month,
                        progress=lambda number: status.update(f"verifying: seal {number}"),
                    )

        report = event_loop.run(run())
    if as_json:
        print_json({"ok": report.ok, **msgspec.to_builtins(report)})
    else:
        _show(report, anchored=anchor is not None)
    if not report.ok:
        raise typer.Exit(1)


def _month(text: str) -> datetime:
    try:
        return datetime.strptime(text, "%Y-%m").replace(tzinfo=UTC)
    except ValueError:
        raise InvalidInput(f"a month is YYYY-MM, not {text[:100]!r}") from None


@contextmanager
def _errors_are_no_findings() -> Iterator[None]:
    """1 is for what was found; whoever may not read the log has found nothing."""
    try:
        yield
    except ClonedbError as error:
        stderr.print("clonedb: " + " ".join(str(error).split()), markup=False)
        raise typer.Exit(COULD_NOT_RUN) from None


def _show(report: AuditReport, *, anchored: bool) -> None:
    stdout.print(f"{report.seals:,} seals, {report.entries:,} entries as they were sealed")
    for month in report.expired:
        stdout.print(f"{month.month} is gone: {month.entries:,} entries were sealed")
    stdout.print(f"{report.pending:,} entries are not sealed yet")
    if report.last_seal is not None:
        stdout.print(f"last seal {report.last_seal}:{report.last_digest}")
    if not anchored:
        stdout.print("no seal was given to compare with, so an end that was cut off is not found")
    for finding in report.findings:
        stdout.print(f"- {finding}", markup=False)
    if report.further_findings:
        stdout.print(f"- and {report.further_findings:,} more")
