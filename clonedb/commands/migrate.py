"""The command `migrate` and its `new`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from typer.core import TyperGroup

from clonedb.commands.terminal import AsJson, Dsn, print_json, stderr, stdout
from clonedb.errors import InvalidInput

if TYPE_CHECKING:
    from clonedb import migrate as library

Directory = Annotated[
    Path | None,
    typer.Option(show_default=False, help="The migrations folder; clonedb's own by default."),
]


class _OptionalCount(TyperGroup):
    """Lets `--rollback` stand without its number, which click's options cannot."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        completed = []
        for word, following in zip_longest(args, args[1:], fillvalue=""):
            completed.append(word)
            if word == "--rollback" and not re.fullmatch(r"-?\d+", following):
                completed.append("1")
        return super().parse_args(ctx, completed)


migrations = typer.Typer(cls=_OptionalCount, invoke_without_command=True)


@migrations.callback()
def migrate(
    context: typer.Context,
    dsn: Dsn = None,
    status: Annotated[bool, typer.Option("--status", help="Show every migration.")] = False,
    rollback: Annotated[
        int | None,
        typer.Option(metavar="[N]", min=1, show_default=False, help="Roll back the newest N (1)."),
    ] = None,
    to: Annotated[
        str | None,
        typer.Option(
            show_default=False,
            metavar="MIGRATION",
            help="Apply up to this one, or roll back to it: a number or a name; 0 is before all.",
        ),
    ] = None,
    directory: Directory = None,
    wait: Annotated[
        float, typer.Option(min=0, metavar="SECONDS", help="Patience with another deployer.")
    ] = 60.0,
    as_json: AsJson = False,
) -> None:
    """Apply the pending migrations; or show, or roll back."""
    from clonedb import migrate as library

    if context.invoked_subcommand is not None:
        return
    if not dsn:
        raise InvalidInput("no database is named", remedy="pass --dsn, or set DATABASE_URL")
    if status:
        if rollback is not None or to is not None:
            raise InvalidInput("--status goes with neither --rollback nor --to")
        states = library.status(dsn, directory=directory)
        _show_status(states, as_json=as_json)
        if any(one.state in ("drifted", "unknown") for one in states):
            raise typer.Exit(1)
        return
    if rollback is not None:
        if to is not None and rollback != 1:
            raise InvalidInput("roll back either a number of migrations or --to one, not both")
        with _progress("Rolling back") as listener:
            done = library.rollback(
                dsn, count=rollback, to=to, directory=directory, progress=listener, wait=wait
            )
        _show_done("rolled back", done, as_json=as_json)
        return
    with _progress("Applying") as listener:
        done = library.apply(dsn, target=to, directory=directory, progress=listener, wait=wait)
    _show_done("applied", done, as_json=as_json)


@migrations.command("new")
def new_migration(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Verb and object: add_something.")],
    directory: Directory = None,
    as_json: AsJson = False,
) -> None:
    """Write the next numbered pair of files, to be filled in."""
    from clonedb import migrate as library

    paths = [str(path) for path in library.new(name, directory)]
    if as_json:
        print_json({"created": paths})
    else:
        for path in paths:
            stdout.print(path, markup=False)


# Events that stay on the screen after the bar has gone.
_SAID: Final = {
    "recorded": "{}: applied without a checksum, by stock yoyo; recorded as the file is now",
    "retrying": "{}; trying again",
    "warning": "warning: {}",
    "waiting": "{}; waiting",
}


@contextmanager
def _progress(title: str) -> Iterator[library.ProgressListener]:
    """A bar on stderr that vanishes when it ends; nothing moves where stderr is no terminal."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=stderr, transient=True, disable=not stderr.is_terminal) as bar:
        task = bar.add_task(title, total=None)
        said: set[str] = set()

        def listen(progress: library.Progress) -> None:
            bar.update(task, completed=progress.done, total=progress.total or None)
            if progress.event in ("applying", "rolling back"):
                bar.update(task, description=f"{title} {progress.detail}")
            line = _SAID.get(progress.event, "").format(progress.detail)
            if line and line not in said:
                said.add(line)
                stderr.print(line, markup=False)

        yield listen


def _show_done(what: str, ids: list[str], *, as_json: bool) -> None:
    if as_json:
        print_json({what.replace(" ", "_"): ids})
        return
    for one in ids:
        stdout.print(f"{what} {one}", markup=False)
    if not ids:
        stdout.print("nothing to do")


def _show_status(states: list[library.MigrationStatus], *, as_json: bool) -> None:
    if as_json:
        print_json(states)
        return
    colours = {"applied": "green", "pending": "yellow", "drifted": "red", "unknown": "red"}
    table = Table("migration", "state", "applied at", box=None, pad_edge=False)
    for one in states:
        state = f"[{colours[one.state]}]{one.state}"
        if one.state == "applied" and one.checksum is None:
            state += " (no checksum yet)"
        moment = one.applied_at.isoformat(sep=" ", timespec="seconds") if one.applied_at else ""
        table.add_row(escape(one.id), state, moment)
    stdout.print(table)
