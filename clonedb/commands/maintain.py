"""The command `maintain`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from clonedb import event_loop
from clonedb.commands.terminal import AsJson, Dsn, print_json, stdout

if TYPE_CHECKING:
    from clonedb.maintenance import UpkeepStep


def maintain(
    dsn: Dsn = None,
    migrator_dsn: Annotated[
        str | None,
        typer.Option(
            envvar="CLONEDB_MIGRATOR_URL",
            show_default=False,
            help="A login that may become the owner, to drop months that are over; direct, not "
            "through pgbouncer.",
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Count what the retention policies are over for.")
    ] = False,
    patience: Annotated[
        float,
        typer.Option(
            min=0, metavar="SECONDS", help="For how long a month that gets no lock is tried again."
        ),
    ] = 20.0,
    as_json: AsJson = False,
    share_embeddings: Annotated[
        int | None,
        typer.Option(
            min=2,
            show_default=False,
            help="Share embeddings that so many users have made for themselves with everybody.",
        ),
    ] = None,
    object_store: Annotated[
        str | None,
        typer.Option(
            envvar="CLONEDB_OBJECT_STORE",
            show_default=False,
            help="The object store whose deleted objects are removed: a folder, gs:// or s3://.",
        ),
    ] = None,
) -> None:
    """Make months, and remove what has expired, as clonedb_worker; see `clonedb retention list`.

    Then the audit log is sealed, and the last seal printed; keep that outside of the database.

    It may run twice at once and be killed at any time. The exit code is 1 where something was left
    undone, which the next run goes on with.
    """
    from clonedb.database import Database
    from clonedb.maintenance import maintain as upkeep
    from clonedb.maintenance import what_is_over
    from clonedb.objects.store import ObjectStore

    async def run() -> bool:
        problems = False
        async with Database(dsn, application_name="clonedb maintain") as worker:
            if dry_run:
                for step in await what_is_over(worker):
                    _show(step, as_json=as_json, verb="would go")
                return False
            steps = upkeep(
                worker,
                owner_dsn=migrator_dsn,
                share_embeddings=share_embeddings,
                object_store=None if object_store is None else ObjectStore(object_store),
                patience=patience,
            )
            async for step in steps:
                _show(step, as_json=as_json, verb=f"in {step.seconds:.2f} s")
                problems |= step.problem is not None
        return problems

    if event_loop.run(run()):
        raise typer.Exit(1)


def _show(step: UpkeepStep, *, as_json: bool, verb: str) -> None:
    if as_json:
        print_json(msgspec.structs.asdict(step))
        return
    name = step.step.replace("_", " ")
    months = f": {', '.join(step.months)}" if step.months else ""
    stdout.print(f"{name:30} {step.rows:>10,} {verb}{months}", markup=False)
    if step.last_seal is not None:
        stdout.print(f"last seal {step.last_seal}", markup=False)
    if step.problem is not None:
        stdout.print(f"- {step.problem}", markup=False)
