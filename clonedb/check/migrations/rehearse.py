"""The rehearsal: every migration applied to a database with rows, rolled back, and applied again.

It goes the way of `clonedb migrate`, as clonedb_migrator, in a database of its own on the scratch
server: before each step the tables hold rows, and each step is watched from inside its transaction.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from clonedb import migrate
from clonedb.check.finding import Finding
from clonedb.check.migrations.backend import ObservedBackend
from clonedb.check.migrations.claims import read_claims
from clonedb.check.migrations.population import Population
from clonedb.check.migrations.rehearsal import (
    Rehearsal,
    Rollback,
    Work,
    migration_hash,
)
from clonedb.check.scratch import SUPERUSER, Scratch
from clonedb.errors import ClonedbError
from clonedb.migration.files import MigrationFile, display, read_folder


class Rehearsed(msgspec.Struct, frozen=True):
    """The rehearsals of a folder in their order, how many seconds each took to apply, and what went
    wrong on the way."""

    rehearsals: list[Rehearsal]
    seconds: dict[str, float]
    findings: list[Finding]


def rehearse(scratch: Scratch, directory: Path, population: Path | None = None) -> Rehearsed:
    """Rehearse every migration of the folder. Raises MigrationError for one that does not apply."""
    server = scratch.server
    # Others may be rehearsing on the same server.
    database = f"rehearsal_{secrets.token_hex(4)}"
    server.create_database(database)
    try:
        with scratch.connect(database=database) as connection:
            course = _Course(
                scratch.dsn("clonedb_migrator", database),
                scratch.dsn(SUPERUSER, database),
                Population(connection, population),
            )
            return course.run(read_folder(directory))
    finally:
        server.drop_database(database)


def texts_of(file: MigrationFile) -> tuple[str, str | None]:
    """The texts of a migration and of its rollback."""
    down = file.rollback_path
    return (
        file.path.read_text(encoding="utf-8"),
        down.read_text(encoding="utf-8") if down.exists() else None,
    )


def finding(file: MigrationFile, line: int, what: str, remedy: str, rule: str) -> Finding:
    """A finding in a migration's file."""
    return Finding(display(file.path), line, file.id, what, remedy, rule)


class _Course:
    def __init__(self, dsn: str, superuser: str, population: Population) -> None:
        self._dsn = dsn
        self._superuser = superuser
        self._population = population
        self._findings: list[Finding] = []
        self._seconds: dict[str, float] = {}

    def run(self, files: list[MigrationFile]) -> Rehearsed:
        with ObservedBackend(self._dsn, self._superuser) as backend, backend.lock():
            backend.prepare()
            rehearsals = list(self._steps(backend, files))
        return Rehearsed(rehearsals, self._seconds, self._findings)

    def _steps(self, backend: ObservedBackend, files: list[MigrationFile]) -> Iterator[Rehearsal]:
        before = migrate.catalogue(self._dsn)
        for file in files:
            file.check()
            started = time.monotonic()
            backend.apply_one(file)
            self._seconds[file.id] = round(time.monotonic() - started, 3)
            up = backend.work
            after = migrate.catalogue(self._dsn)
            self._fill(file)
            gone_back = self._back_and_forth(backend, file, before, after)
            if gone_back is None:
                return
            rollback, down = gone_back
            text, undo = texts_of(file)
            yield Rehearsal(
                id=file.id,
                file=migration_hash(text, undo),
                phase=read_claims(text).phase,
                transactional=file.transactional,
                rollback=rollback,
                up=up,
                down=down,
            )
            before = migrate.catalogue(self._dsn) if self._population.drop_spare_months() else after

    def _back_and_forth(
        self, backend: ObservedBackend, file: MigrationFile, before: list[str], after: list[str]
    ) -> tuple[Rollback, Work | None] | None:
        """Roll back, with the rows that are there by now, and apply again; None if that fails."""
        path = display(file.rollback_path)
        if file.rollback is None:
            self._find(
                file,
                f"has no rollback file {path}",
                "write it: what undoes the migration, or a statement that raises why nothing does",
            )
            return "missing", None
        try:
            backend.rollback_one(file)
        except ClonedbError as error:
            self._find(file, f"cannot be rolled back: {error.message}", f"correct {path}")
            return "different", None
        down = backend.work
        found = migrate.catalogue(self._dsn)
        if found != before:
            self._differs(file, f"{path} does not give back the schema", before, found, path)
        self._population.forget()
        try:
            backend.apply_one(file)
        except ClonedbError as error:
            what = f"cannot be applied again after its rollback: {error.message}"
            self._find(file, what, f"correct {path}; what follows was not rehearsed")
            return None
        again = migrate.catalogue(self._dsn)
        if again != after:
            what = "gives another schema when it is applied again"
            self._differs(file, what, after, again, display(file.path))
        self._population.fill()
        return ("equal" if found == before and again == after else "different"), down

    def _differs(
        self, file: MigrationFile, what: str, wanted: list[str], found: list[str], path: str
    ) -> None:
        lacks = sorted(set(wanted) - set(found))
        extra = sorted(set(found) - set(wanted))
        shown = [f"without {lacks[0].partition('{')[0].strip()}"] if lacks else []
        shown += [f"with {extra[0].partition('{')[0].strip()}"] if extra else []
        more = len(lacks) + len(extra) - len(shown)
        if lacks and extra and lacks[0].partition("{")[0] == extra[0].partition("{")[0]:
            shown = [f"another {lacks[0].partition('{')[0].strip()}"]
            more = len(lacks) + len(extra) - 2
        rest = f" and {more} more" if more > 0 else ""
        self._find(file, f"{what}: {', '.join(shown)}{rest}", f"correct {path}")

    def _fill(self, file: MigrationFile) -> None:
        for name in self._population.fill():
            self._find(
                file,
                f"is rehearsed without rows in {name}, so nothing shows of what becomes of them",
                f"write sql/check/population/{name}.sql: it fills the table as it is made here",
            )

    def _find(self, file: MigrationFile, what: str, remedy: str) -> None:
        self._findings.append(finding(file, 1, what, remedy, "rehearsal"))
