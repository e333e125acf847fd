"""The command `retention`: `list` and `set`."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer
from rich.table import Table

from clonedb import event_loop
from clonedb.commands.terminal import AsJson, Dsn, print_json, stdout
from clonedb.errors import InvalidInput

if TYPE_CHECKING:
    from clonedb.repositories.retention import RetentionPolicy

retention = typer.Typer(
    no_args_is_help=True, help="How long what is kept, and what `maintain` deletes afterwards."
)


@retention.command("list")
def list_policies(dsn: Dsn = None, as_json: AsJson = False) -> None:
    """Show every policy, as any login."""
    from clonedb.database import Database

    async def run() -> list[RetentionPolicy]:
        async with Database(dsn, application_name="clonedb retention") as database:
            return await database.retention.find_many()

    _show(event_loop.run(run()), as_json=as_json)


@retention.command("set")
def set_policy(
    policy: Annotated[str, typer.Argument(metavar="POLICY", help="One of `retention list`.")],
    dsn: Dsn = None,
    keep: Annotated[
        str | None,
        typer.Option(metavar="DAYS", show_default=False, help="For how many days, such as 730d."),
    ] = None,
    enabled: Annotated[
        bool | None,
        typer.Option(
            "--on/--off", show_default=False, help="Whether `maintain` deletes it afterwards."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Change a policy, as clonedb_worker or clonedb_dba; the audit log says so.

    What is switched on is deleted by the next `clonedb maintain`, for good: see first what would
    go, with `clonedb maintain --dry-run` once it is on.
    """
    from clonedb.database import Database

    if keep is None and enabled is None:
        raise InvalidInput("nothing to set", remedy="give --keep 730d, --on or --off")
    period = None if keep is None else _days(keep)

    async def run() -> RetentionPolicy:
        async with Database(dsn, application_name="clonedb retention") as database:
            return await database.retention.put(policy, keep=period, enabled=enabled)

    _show([event_loop.run(run())], as_json=as_json)


def _days(text: str) -> timedelta:
    if (parsed := re.fullmatch(r"([0-9]{1,5})d", text)) is None:
        raise InvalidInput(f"days are written like 730d, not {text[:100]!r}")
    return timedelta(days=int(parsed[1]))


def _show(policies: list[RetentionPolicy], *, as_json: bool) -> None:
    if as_json:
        for policy in policies:
            print_json(msgspec.structs.asdict(policy))
        return
    table = Table("policy", "keep", "", "what goes", box=None, pad_edge=False)
    for policy in policies:
        state = "[yellow]on" if policy.enabled else "off"
        table.add_row(policy.name, f"{policy.keep_days}d", state, policy.description)
    stdout.print(table)
