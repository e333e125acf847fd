"""One run of the check: examine, find, write."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Final

from clonedb import migrate
from clonedb.check import ledger
from clonedb.check.examine import Examination
from clonedb.check.examined import Examined
from clonedb.check.finding import Finding
from clonedb.check.hashes import SchemaHashes, query_hash
from clonedb.check.migrations import rehearsal
from clonedb.check.migrations.comparison import compare
from clonedb.check.migrations.rehearse import Rehearsed, texts_of
from clonedb.check.migrations.remembered import rehearsed
from clonedb.check.refusals import REFUSALS, Subject
from clonedb.check.scratch import Scratch, sizes_file
from clonedb.check.stub import stub
from clonedb.migration.files import display, read_folder
from clonedb.query.modules import all_queries
from clonedb.query.statements import Query
from clonedb.resources import migrations_directory

_STALE: Final = "has changed since the ledger was written"
_ABSENT: Final = "is not in the ledger"


@dataclass(slots=True)
class Outcome:
    """What a run has made: the findings, and the files as they should be."""

    findings: list[Finding]
    ledger: dict[str, str] = field(default_factory=dict)
    stub: str = ""
    queries: int = 0
    variants: int = 0
    migrations: int = 0


def check(
    scratch: Scratch,
    modules: SimpleNamespace,
    *,
    only: Collection[str] = (),
    migrations: Path | None = None,
    sizes: Path | None = None,
    own: bool = True,
    tests: Path | None = None,
    rehearsing: bool = True,
    cache: Path | None = None,
) -> Outcome:
    """Check every query, or those named; `own` says that they are clonedb's, with its Python.

    The list of what the ledger was made from, the stub and the rehearsal of the migrations, which
    `rehearsing=False` leaves out, belong to all queries alone.
    """
    if not only and rehearsing:
        directory = migrations or migrations_directory()
        with _beside(lambda: rehearsed(scratch, directory, cache=cache)) as coming:
            outcome = _check_queries(
                scratch,
                modules,
                only=only,
                migrations=migrations,
                sizes=sizes,
                own=own,
                tests=tests,
            )
        _add_rehearsals(outcome, directory, coming.result())
        return outcome
    return _check_queries(
        scratch, modules, only=only, migrations=migrations, sizes=sizes, own=own, tests=tests
    )


@contextmanager
def _beside(work: Callable[[], Rehearsed]) -> Iterator[Future[Rehearsed]]:
    """Do something in another thread meanwhile: the server has most of the work of either."""
    with ThreadPoolExecutor(1) as pool:
        yield pool.submit(work)


def _add_rehearsals(outcome: Outcome, directory: Path, found: Rehearsed) -> None:
    outcome.migrations = len(found.rehearsals)
    headers = compare(read_folder(directory), found.rehearsals)
    outcome.findings = sorted({*outcome.findings, *found.findings, *headers})
    for each in found.rehearsals:
        outcome.ledger[rehearsal.path_of(each.id)] = rehearsal.write(each)


def _check_queries(
    scratch: Scratch,
    modules: SimpleNamespace,
    *,
    only: Collection[str],
    migrations: Path | None,
    sizes: Path | None,
    own: bool,
    tests: Path | None,
) -> Outcome:
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
    schema = SchemaHashes(migrate.catalogue(scratch.dsn()))
    writer = ledger.LedgerWriter(examination.catalogue, schema, examination.outliner)
    return {ledger.path_of(each.query): writer.text(each) for each in found}


def offline(
    modules: SimpleNamespace,
    directory: Path,
    migrations: Path,
    sizes: Path,
    *,
    rehearsing: bool = True,
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
        content = _content(directory / path)
        if f"\nquery     {query_hash(query)}\n" not in content:
            what = _STALE if content else _ABSENT
            findings.append(Finding(query.path, query.line, query.name, what, remedy, "offline"))
    known = {ledger.MADE_FROM, *queries}
    for file in read_folder(migrations) if rehearsing else ():
        path = rehearsal.path_of(file.id)
        known.add(path)
        content = _content(directory / path)
        if f"\nfile       {rehearsal.migration_hash(*texts_of(file))}\n" not in content:
            what = _STALE if content else _ABSENT
            findings.append(Finding(display(file.path), 1, file.id, what, remedy, "offline"))
    for text in sorted(directory.rglob("*.txt")):
        path = str(text.relative_to(directory))
        kind = "migration" if path.startswith(f"{rehearsal.FOLDER}/") else "query"
        if path not in known and (rehearsing or kind == "query"):
            what = f"describes a {kind} that does not exist"
            findings.append(Finding(f"sql/ledger/{path}", 1, "ledger", what, remedy, "offline"))
    return sorted(findings)


def _content(file: Path) -> str:
    return file.read_text(encoding="utf-8") if file.exists() else ""
