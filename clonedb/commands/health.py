"""The command `health`."""

from __future__ import annotations

import msgspec
import typer
from rich.table import Table

from clonedb import event_loop
from clonedb.commands.terminal import AsJson, Dsn, print_json, stdout
from clonedb.errors import Unavailable


def health(dsn: Dsn = None, as_json: AsJson = False) -> None:
    """Say whether the database can be used: reachable, migrated, writable, months ahead.

    The exit code is 0 when all is well, 1 when something is wrong.
    """
    from clonedb.database import Database

    async def look() -> dict[str, object]:
        database = Database(dsn, maximum_connections=1, application_name="clonedb health")
        try:
            await database.open(check_migrations=False)
        except Unavailable as error:
            return {"ok": False, "reachable": False, "problems": [str(error)]}
        async with database:
            found = await database.health()
            figures: dict[str, object] = msgspec.to_builtins(found)
            del figures["pool"]  # of a pool that was made for this question
            return {"ok": found.ok, **figures}

    figures = event_loop.run(look())
    if as_json:
        print_json(figures)
    else:
        _show(figures)
    if not figures["ok"]:
        raise typer.Exit(1)


def _show(figures: dict[str, object]) -> None:
    table = Table.grid(padding=(0, 2))
    for name, value in figures.items():
        if name == "problems" or value is None:
            continue
        if isinstance(value, bool):
            value = "yes" if value else "no"
        elif isinstance(value, float):
            value = f"{value:.1f}"
        elif isinstance(value, list):
            value = ", ".join(map(str, value)) or "none"
        table.add_row(name.replace("_", " "), str(value))
    stdout.print(table)
    problems = figures["problems"]
    for problem in problems if isinstance(problems, list) else []:
        stdout.print(f"- {problem}", markup=False)
