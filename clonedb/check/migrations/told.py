"""What the command `rehearse` tells: rehearsals, how long they took, and which queries wait."""

from __future__ import annotations

from pathlib import Path

import msgspec

from clonedb.check.finding import Finding
from clonedb.check.migrations.comparison import compare
from clonedb.check.migrations.query_locks import read_locks
from clonedb.check.migrations.rehearsal import FOLDER, Rehearsal
from clonedb.check.migrations.remembered import rehearsed
from clonedb.check.scratch import scratch_server
from clonedb.migration.files import read_folder
from clonedb.resources import migrations_directory, sql_directory


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """A rehearsal, the seconds that applying took, and the queries that each way keeps waiting."""

    rehearsal: Rehearsal
    seconds: float
    blocked: list[str]
    blocked_by_rollback: list[str]


def tell(
    migrations: Path | None = None, *, cache: Path | None = None
) -> tuple[list[Told], list[Finding]]:
    """Rehearse a folder, clonedb's own by default; its rehearsals and what is wrong with them.

    The queries that wait are those of the ledger as it is committed, whose locks are in its texts.
    """
    directory = migrations or migrations_directory()
    queries = locks_of_queries(sql_directory() / "ledger")
    with scratch_server(migrations=migrations, cache=cache) as scratch:
        found = rehearsed(scratch, directory, cache=cache)
    headers = compare(read_folder(directory), found.rehearsals)
    told = [
        Told(
            rehearsal=each,
            seconds=found.seconds[each.id],
            blocked=list(each.up.blocked(queries)),
            blocked_by_rollback=list(each.down.blocked(queries)) if each.down is not None else [],
        )
        for each in found.rehearsals
    ]
    return told, sorted({*found.findings, *headers})


def locks_of_queries(ledger: Path) -> dict[str, dict[str, str]]:
    """The locks that each query takes, by its name, from its text in the ledger."""
    texts = (
        file.read_text(encoding="utf-8")
        for file in sorted(ledger.glob("*/*.txt"))
        if file.parent.name != FOLDER
    )
    return {text.partition("\n")[0]: read_locks(text) for text in texts}
