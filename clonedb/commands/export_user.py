"""The command `export-user`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from clonedb import event_loop
from clonedb.commands.terminal import AsJson, Dsn, ObjectStoreAt, print_json, stderr, stdout

if TYPE_CHECKING:
    from clonedb.privacy import ExportProgress, UserExport


def export_user(
    user_id: Annotated[str, typer.Argument(show_default=False, help="The user's id.")],
    to: Annotated[
        Path, typer.Option("--to", metavar="FILE.zip", show_default=False, help="Where to.")
    ],
    dsn: Dsn = None,
    object_store: ObjectStoreAt = None,
    as_json: AsJson = False,
) -> None:
    """Write everything about a person to a zip file, as clonedb_worker: JSON Lines and an index.

    All tables that hold rows of people, at one moment, and their files in the object store. The
    file appears when it is whole. Exit code 1: there is no such user, or some of their files are
    missing or damaged in the object store; the index names them, and all else is there. 2: it could
    not be written.
    """
    from clonedb.database import Database
    from clonedb.objects.store import ObjectStore
    from clonedb.privacy import export_user as write

    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=stderr, transient=True, disable=not stderr.is_terminal) as bar:
        task = bar.add_task("counting", total=None)

        def show(progress: ExportProgress) -> None:
            bar.update(
                task,
                description=progress.at,
                completed=progress.rows + progress.objects,
                total=progress.total_rows + progress.total_objects,
            )

        async def run() -> UserExport:
            async with Database(dsn, application_name="clonedb export") as worker:
                return await write(
                    worker,
                    user_id,
                    to,
                    object_store=None if object_store is None else ObjectStore(object_store),
                    progress=show,
                )

        done = event_loop.run(run())
    if as_json:
        print_json(msgspec.to_builtins(done))
        raise typer.Exit(bool(done.damaged))
    for table, rows in done.rows.items():
        if rows:
            stdout.print(f"{table:24} {rows:>10,} rows")
    stdout.print(f"{'objects':24} {done.objects:>10,} files")
    for name in done.damaged:
        stderr.print(f"missing or damaged in the object store: {name}", markup=False)
    stdout.print(f"{done.file}: {done.size_bytes:,} bytes, as of {done.moment}", markup=False)
    raise typer.Exit(bool(done.damaged))
