"""The command `erase-user`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from clonedb import event_loop
from clonedb.commands.terminal import AsJson, Dsn, ObjectStoreAt, print_json, stderr, stdout
from clonedb.errors import InvalidInput

if TYPE_CHECKING:
    from clonedb.database import Database
    from clonedb.privacy import Receipt


def erase_user(
    who: Annotated[
        str | None,
        typer.Argument(
            metavar="[USER_ID|FILE]",
            show_default=False,
            help="The user's id; with --reapply a copy of the ledger.",
        ),
    ] = None,
    dsn: Dsn = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Count what would be erased, and change nothing.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask whether that is meant.")] = False,
    reapply: Annotated[
        bool,
        typer.Option(
            "--reapply",
            help="After a restore: erase again whoever is in the ledger, the database's own and "
            "the FILE's.",
        ),
    ] = False,
    ledger_to: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            show_default=False,
            help="Copy the ledger to a file; after an erasure, if there is one.",
        ),
    ] = None,
    object_store: ObjectStoreAt = None,
    as_json: AsJson = False,
) -> None:
    """Remove a person from every table, cache and the object store, as clonedb_worker.

    What comes of it is a receipt, which is closed when nothing is left to be done; `clonedb
    maintain` closes it where that takes longer. A repeat prints the receipt of then. The ledger of
    receipts names nobody; keep a copy of it where the backups are not.

    Exit code 1: refused, for instance because there is no such user, or it was not confirmed; the
    message says why. 2: it could not run.
    """
    from clonedb.database import Database
    from clonedb.privacy import write_ledger

    if reapply is False and who is None and ledger_to is None:
        raise InvalidInput("nobody is named", remedy="pass a user's id, --reapply or --ledger-to")

    if reapply and who is not None and dry_run:
        raise InvalidInput(
            "a dry run knows the database's own ledger alone",
            remedy="leave the FILE out, or --dry-run",
        )

    async def run() -> dict[str, Any]:
        done: dict[str, Any] = {}
        async with Database(dsn, application_name="clonedb erase") as worker:
            if reapply:
                if who is not None and not yes:
                    _ask(f"Erase everybody who is in {who} and in the database?")
                done["reapplied"] = await _reapply(worker, who, dry_run=dry_run)
            elif who is not None and dry_run:
                done["would_erase"] = await _count(worker, who)
            elif who is not None:
                done["receipt"] = await _erase(worker, who, object_store, yes=yes)
            if ledger_to is not None and not dry_run:
                done["ledger_entries"] = await write_ledger(worker, ledger_to)
        return done

    done = event_loop.run(run())
    if as_json:
        print_json(_plain(done))
    else:
        _show(done)


async def _reapply(worker: Database, file: str | None, *, dry_run: bool) -> object:
    from clonedb.privacy import reapply

    return await reapply(worker, file, dry_run=dry_run)


async def _count(worker: Database, user_id: str) -> dict[str, int]:
    from clonedb.privacy import count_rows

    return await count_rows(worker, user_id)


async def _erase(worker: Database, user_id: str, object_store: str | None, *, yes: bool) -> Receipt:
    from clonedb.errors import NotFound
    from clonedb.objects.store import ObjectStore
    from clonedb.privacy import erase_user as erase

    if not yes:
        _must_be_there()
        try:
            counts = await _count(worker, user_id)
        except NotFound:
            counts = {}  # erased already, or never there: nothing to be asked
        if counts:
            _show({"would_erase": counts})
            _ask(f"Erase user {user_id} for good?")
    store = None if object_store is None else ObjectStore(object_store)
    return await erase(worker, user_id, object_store=store)


def _ask(question: str) -> None:
    _must_be_there()
    typer.confirm(question, abort=True, err=True)


def _must_be_there() -> None:
    if not sys.stdin.isatty():
        raise InvalidInput("nobody is there to be asked", remedy="pass --yes if it is meant")


def _plain(done: dict[str, Any]) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.to_builtins(done, builtin_types=(bytes,))
    if "receipt" in plain:
        plain["receipt"]["digest"] = plain["receipt"]["digest"].hex()
    return plain


def _show(done: dict[str, Any]) -> None:
    for table, rows in done.get("would_erase", {}).items():
        stdout.print(f"{table:24} {rows:>10,} rows")
    if "receipt" in done:
        _show_receipt(done["receipt"])
    if "reapplied" in done:
        result = done["reapplied"]
        stdout.print(
            f"{result.imported:,} entries imported; {result.present:,} people of the ledger were "
            f"there, {result.erased:,} erased"
        )
    if "ledger_entries" in done:
        stdout.print(f"{done['ledger_entries']:,} entries in the copy of the ledger")


def _show_receipt(receipt: Receipt) -> None:
    for table, rows in sorted(receipt.row_counts.items()):
        stdout.print(f"{table:24} {rows:>10,} rows")
    what = "erased before" if receipt.outcome == "already_erased" else "erased"
    stdout.print(f"{what} at {receipt.erased_at}, receipt {receipt.id}", markup=False)
    if receipt.reapplied_at is not None:
        stdout.print(f"and again at {receipt.reapplied_at}", markup=False)
    stdout.print(f"digest {receipt.digest.hex()}")
    if receipt.closed_at is None:
        stderr.print("the receipt is open: `clonedb maintain` closes it when all is done")
    else:
        stdout.print(f"closed at {receipt.closed_at}", markup=False)
