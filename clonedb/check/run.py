"""One run of the check: examine, find, write."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

from clonedb import migrate
from clonedb.check import ledger
from clonedb.check.examine import Examination, Examined
from clonedb.check.finding import Finding
from clonedb.check.refusals import REFUSALS, Subject
from clonedb.check.scratch import Scratch, sizes_file
from clonedb.check.stub import stub
from clonedb.query.modules import all_queries
from clonedb.query.statements import Query
from clonedb.resources import migrations_directory


@dataclass(slots=True)
class Outcome:
    """What a run has made: the findings, and the files as they should be."""

    findings: list[Finding]
    ledger: dict[str, str] = field(default_factory=dict)
    stub: str = ""
    queries: int = 0
    variants: int = 0


def check(
    scratch: Scratch,
    modules: SimpleNamespace,
    *,
    only: Collection[str] = (),
    migrations: Path | None = None,
    sizes: Path | None = None,
    own: bool = True,
    tests: Path | None = None,
) -> Outcome:
    """Check every query, or those named; `own` says that they are clonedb's, with its Python.

    The list of what the ledger was made from, and the stub, are made of all queries alone.
    """
    queries = [query for query in all_queries(modules) if not only or query.name in only]
    with Examination(scratch) as examination:
        found = list(examination.examine(queries))
        subject = Subject(examination, found, own=own, tests=tests)
        findings = sorted({each for refusal in REFUSALS for each in refusal(subject)})
        outcome = Outcome(findings, queries=len(found), variants=sum(each.count for each in found))
        outcome.ledger = _ledger(examination, scratch, found)
        if not only:
            outcome.ledger[ledger.MADE_FROM] = ledger.made_from(
                migrations or migrations_directory(), sizes or sizes_file()
            )
            outcome.stub = stub(examination.catalogue, found)
    return outcome


def _ledger(
    examination: Examination, scratch: Scratch, found: Iterable[Examined]
) -> dict[str, str]:
    schema = ledger.SchemaHashes(migrate.catalogue(scratch.dsn()))
    writer = ledger.LedgerWriter(examination.catalogue, schema, examination.outliner)
    return {ledger.path_of(each.query): writer.text(each) for each in found}


def offline(
    modules: SimpleNamespace, directory: Path, migrations: Path, sizes: Path
) -> list[Finding]:
    """What the hashes alone tell, without a server: which files of the ledger are not current."""
    findings = []
    queries: dict[str, Query] = {ledger.path_of(each): each for each in all_queries(modules)}
    remedy = "run `clonedb check` and commit what it writes"
    made_from = directory / ledger.MADE_FROM
    present = made_from.read_text(encoding="utf-8") if made_from.exists() else ""
    if present != ledger.made_from(migrations, sizes):
        what = "migrations or sizes have changed since the ledger was written"
        findings.append(
            Finding(f"sql/ledger/{ledger.MADE_FROM}", 1, "ledger", what, remedy, "offline")
        )
    for path, query in queries.items():
        file = directory / path
        content = file.read_text(encoding="utf-8") if file.exists() else ""
        if f"\nquery     {ledger.query_hash(query)}\n" not in content:
            what = "has changed since the ledger was written" if content else "is not in the ledger"
            findings.append(Finding(query.path, query.line, query.name, what, remedy, "offline"))
    for file in sorted(directory.rglob("*.txt")):
        path = str(file.relative_to(directory))
        if path not in queries and path != ledger.MADE_FROM:
            what = "describes a query that does not exist"
            findings.append(Finding(f"sql/ledger/{path}", 1, "ledger", what, remedy, "offline"))
    return sorted(findings)
