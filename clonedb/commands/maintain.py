"""The command `maintain`."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

import msgspec
import typer

from clonedb import event_loop
from clonedb.commands.terminal import AsJson, Dsn, print_json, stdout


def maintain(
    dsn: Dsn = None,
    as_json: AsJson = False,
    keep_windows: Annotated[
        int, typer.Option(min=0, help="Days for which counts of requests by minute are kept.")
    ] = 31,
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
    """Remove what has expired, as clonedb_worker: cache entries, idle buckets, old counts, objects.

    For a scheduler, if there is one: nothing breaks without it. It may run twice at once and be
    killed at any time.
    """
    from clonedb.database import Database
    from clonedb.maintenance import maintain as upkeep
    from clonedb.objects.store import ObjectStore

    async def run() -> None:
        async with Database(dsn, application_name="clonedb maintain") as worker:
            steps = upkeep(
                worker,
                keep_windows=timedelta(days=keep_windows),
                share_embeddings=share_embeddings,
                object_store=None if object_store is None else ObjectStore(object_store),
            )
            async for step in steps:
                if as_json:
                    print_json(msgspec.structs.asdict(step))
                else:
                    name = step.step.replace("_", " ")
                    stdout.print(f"{name:20} {step.rows:>10,} in {step.seconds:.2f} s")

    event_loop.run(run())
