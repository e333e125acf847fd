"""The commands `demo` and `load`; see `commands`, which has them all."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.console import Console
from rich.filesize import decimal
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from clonedb import event_loop
from clonedb.commands.terminal import AsJson, Dsn, print_json, stderr
from clonedb.errors import InvalidInput

if TYPE_CHECKING:
    from clonedb.loading.conversations import BadLine
    from clonedb.loading.load import LoadProgress

# What shells report of a command that Ctrl-C has ended: 128 and the number of SIGINT.
_STOPPED: Final = 130

_SOMETHING_SKIPPED: Final = 1

Data = Annotated[
    Path | None,
    typer.Option(
        metavar="DIRECTORY",
        show_default=False,
        help="The embedded server's data directory; made where it is missing, and kept.",
    ),
]


def demo(
    data: Data = None,
    keep: Annotated[bool, typer.Option("--keep", help="Keep the temporary directory.")] = False,
    as_json: AsJson = False,
) -> None:
    """Start a server, hold conversations, read documents, and show what came of it.

    Without --data it works in a temporary directory, and takes it away.
    """
    from clonedb.demo import run as library

    with _progress() as bar, _stoppable("stopped"):
        tasks: dict[str, TaskID] = {}

        def on_step(step: str, done: int, total: int | None) -> None:
            if step not in tasks:
                for task in tasks.values():
                    bar.update(task, visible=False)
                tasks[step] = bar.add_task(step, total=total, counted="")
            bar.update(tasks[step], completed=done, total=total, counted=_counted(done, total))

        report = library.run(data_directory=data, keep=keep, on_step=on_step)
    if as_json:
        print_json(report)
        return
    from clonedb.demo.picture import draw_demo

    draw_demo(_paper(), report)


def load(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="JSON Lines, gzip or not.")],
    dsn: Dsn = None,
    data: Data = None,
    users: Annotated[
        int, typer.Option(min=1, metavar="N", help="Spread the conversations over N users.")
    ] = 100,
    month: Annotated[
        datetime,
        typer.Option(formats=["%Y-%m"], metavar="YYYY-MM", help="When they were held."),
    ] = "2026-01",  # type: ignore[assignment]  # typer reads it as it reads the command line
    as_json: AsJson = False,
) -> None:
    """Store a file of conversations; a second time changes nothing.

    A line is {"id": …, "services": […], "turns": [{"user": …, "system": …}, …]}.

    Lines that cannot be stored are named and skipped; the exit code is then 1.

    The login has to be the worker's. Where no database is named, an embedded
    server is started and migrated.
    """
    from clonedb.loading.load import load_and_count

    if dsn and data:
        raise InvalidInput("--data is the embedded server's, and a database is named: give one")
    with (
        _progress() as bar,
        _stoppable(
            "stopped: every conversation is stored whole or not at all; the same command goes on"
        ),
    ):
        task = bar.add_task(f"loading {file.name}", total=None, counted="")

        def on_progress(progress: LoadProgress) -> None:
            read = decimal(progress.position) if progress.size is None else ""
            bar.update(
                task,
                completed=progress.position,
                total=progress.size,
                counted=f"{progress.turns:,} turns {read}",
            )

        def on_bad_line(bad: BadLine) -> None:
            stderr.print(f"{file.name}:{bad.line}: skipped: {bad.reason}", markup=False)

        with _server(dsn, data) as (worker_dsn, place):
            report = event_loop.run(
                load_and_count(
                    worker_dsn,
                    file,
                    users=users,
                    month=month.date(),
                    on_progress=on_progress,
                    on_bad_line=on_bad_line,
                )
            )
    if as_json:
        print_json(report)
    else:
        from clonedb.demo.picture import draw_load

        draw_load(_paper(), report, place)
    if report.bad_line_count:
        raise typer.Exit(_SOMETHING_SKIPPED)


@contextmanager
def _server(dsn: str | None, data: Path | None) -> Iterator[tuple[str, str]]:
    """The worker's dsn and where it leads: the database that is named, or an embedded server's."""
    if dsn is not None:
        from clonedb.settings import describe_dsn

        yield dsn, describe_dsn(dsn)
        return
    from clonedb import migrate
    from clonedb.embedded import EmbeddedServer

    with EmbeddedServer(data) as server:
        migrate.apply(server.dsn("clonedb_migrator"))
        yield server.dsn("clonedb_worker"), f"embedded server, {server.data_directory}"


@contextmanager
def _progress() -> Iterator[Progress]:
    """Bars on stderr that vanish when they end; nothing moves where stderr is no terminal."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[counted]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=stderr, transient=True, disable=not stderr.is_terminal) as bar:
        yield bar


def _counted(done: int, total: int | None) -> str:
    return f"{done:,} of {total:,}" if total else ""


@contextmanager
def _stoppable(message: str) -> Iterator[None]:
    """Ctrl-C says what became of it, instead of a traceback."""
    try:
        yield
    except KeyboardInterrupt:
        stderr.print(message, markup=False)
        raise typer.Exit(_STOPPED) from None


def _paper() -> Console:
    """Where a picture is drawn: as wide as the terminal, but no wider than reads well."""
    from clonedb.demo.picture import MAXIMUM_WIDTH

    # A terminal that cannot show a bar or an arrow shows a question mark.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    console = Console(highlight=False)
    console.width = min(console.width, MAXIMUM_WIDTH)
    return console
