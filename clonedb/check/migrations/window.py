"""The deploy window: which code runs on which schema while a release is being deployed.

Between a base revision and this one lie some migrations. The base's queries and this one's are
looked at on every schema on the way. A migration is proved to belong

    before deploy   where the base's queries work behind it as they did before it
    after deploy    where they do not, and this revision's queries work without it
    never           where neither holds: no moment is right for it, and it takes two releases

Where both hold, either may be claimed.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from clonedb import migrate
from clonedb.check.describe import TreeReader
from clonedb.check.finding import Finding
from clonedb.check.migrations.claims import read_claims
from clonedb.check.migrations.rehearsal import PHASES
from clonedb.check.migrations.rehearse import finding, texts_of
from clonedb.check.migrations.revision import Revision
from clonedb.check.migrations.survival import Look, Release, look
from clonedb.check.scratch import Scratch
from clonedb.errors import MigrationError
from clonedb.migration.backend import MigrationBackend
from clonedb.migration.files import MigrationFile, display, read_folder
from clonedb.query.modules import load_directory
from clonedb.settings import parse_dsn

_RULE: Final = "window"
_SHOWN: Final = 3
_TWO_STEPS: Final = (
    "make it two steps: first add what the new code needs beside what the old one uses, and take "
    "the old away in a migration of the release after"
)


class Step(msgspec.Struct, frozen=True):
    """A migration of the window, and its phase: before deploy, after deploy, either or never.

    `breaks` are the base's queries that work no more behind it, `needs` this revision's that do not
    work without it, each with the reason.
    """

    id: str
    phase: str
    breaks: dict[str, str]
    needs: dict[str, str]


class Window(msgspec.Struct, frozen=True):
    """The steps from a base to here, and what is wrong with them."""

    base: str
    steps: list[Step]
    findings: list[Finding]


def deploy_window(scratch: Scratch, base: Revision, sql: Path, migrations: Path) -> Window:
    """Prove the phase of every migration that the base has not.

    Raises QueryFileError and MigrationError where a file of either cannot be read or applied.
    """
    files = read_folder(migrations)
    there = {file.id: file for file in read_folder(base.migrations)}
    findings = list(_rewritten(files, there, base.name))
    new = [file for file in files if file.id not in there]
    old_code, new_code = Release(load_directory(base.sql)), Release(load_directory(sql))
    looks: list[Look] = []
    try:
        if new:
            looks.extend(_looks(scratch, base.migrations, new, old_code, new_code))
    except _NotApplied as error:
        what = f"cannot be applied behind {base.name}: {error.reason}"
        remedy = "let the migrations of the base stay as they are, and follow from them"
        findings.append(finding(error.file, error.line, what, remedy, _RULE))
        return Window(base.name, [], sorted(findings))
    steps = [
        _step(
            file,
            _changes(old_code, looks[0], after=looks[number + 1], before=looks[number]),
            _changes(new_code, looks[-1], after=looks[number], before=looks[number + 1]),
        )
        for number, file in enumerate(new)
    ]
    if looks:
        findings += _broken(new_code, looks[-1])
    findings += _misplaced(new, steps, base.name)
    return Window(base.name, steps, sorted(findings))


def _looks(
    scratch: Scratch, directory: Path, new: list[MigrationFile], *releases: Release
) -> Iterator[Look]:
    """The statements on the base's schema, and behind each new migration."""
    database = f"window_{secrets.token_hex(4)}"
    scratch.server.create_database(database)
    try:
        dsn = scratch.dsn("clonedb_migrator", database)
        migrate.apply(dsn, directory=directory)
        for file in (None, *new):
            if file is not None:
                file.check()
                with MigrationBackend(parse_dsn(dsn), attempts=1) as backend, backend.lock():
                    _apply(backend, file)
            with (
                scratch.connect(database=database) as connection,
                scratch.connect(database=database) as reading,
            ):
                yield look(connection, TreeReader(reading), *releases)
    finally:
        scratch.server.drop_database(database)


class _NotApplied(Exception):
    """A new migration that PostgreSQL has refused."""

    def __init__(self, file: MigrationFile, error: MigrationError) -> None:
        place = re.match(rf"{re.escape(display(file.path))}:(\d+): ", error.message)
        self.file = file
        self.line = int(place[1]) if place else 1
        self.reason = error.message[place.end() :] if place else error.message


def _apply(backend: MigrationBackend, file: MigrationFile) -> None:
    try:
        backend.apply_one(file)
    except MigrationError as error:
        raise _NotApplied(file, error) from error


def _changes(release: Release, home: Look, *, before: Look, after: Look) -> dict[str, str]:
    """The queries that have a trouble in the one place that they have not in the other."""
    found: dict[str, str] = {}
    for text, query in release.queries.items():
        trouble = after[text].trouble(home[text])
        if trouble is not None and trouble != before[text].trouble(home[text]):
            found.setdefault(query.name, trouble)
    return found


def _broken(release: Release, home: Look) -> list[Finding]:
    """This revision's queries that do not work where all of its migrations are applied."""
    found: dict[str, Finding] = {}
    for text, query in release.queries.items():
        refused = home[text].refused
        if refused is not None:
            what = f"does not prepare behind all migrations: {refused}"
            remedy = "correct the query, or what the migrations do"
            found[query.name] = Finding(query.path, query.line, query.name, what, remedy, _RULE)
    return list(found.values())


def _step(file: MigrationFile, breaks: dict[str, str], needs: dict[str, str]) -> Step:
    if breaks:
        return Step(file.id, "never" if needs else "after deploy", breaks, needs)
    return Step(file.id, "before deploy" if needs else "either", breaks, needs)


def _misplaced(new: list[MigrationFile], steps: list[Step], base: str) -> Iterator[Finding]:
    """What the headers and the order of the migrations have wrong."""
    behind = ""
    for file, step in zip(new, steps, strict=True):
        claims = read_claims(texts_of(file)[0])
        breaks = f"the code of {base} does not survive it ({_listed(step.breaks)})"
        needs = f"this code does not work without it ({_listed(step.needs)})"
        if step.phase == "never":
            yield finding(
                file,
                claims.phase_line,
                f"can be applied neither before the deploy nor after it: {breaks}, and {needs}",
                _TWO_STEPS,
                _RULE,
            )
            continue
        if claims.phase in PHASES and step.phase not in (claims.phase, "either"):
            yield finding(
                file,
                claims.phase_line,
                f"is claimed for {claims.phase}, and {breaks if step.breaks else needs}",
                f"write `-- phase: {step.phase}`",
                _RULE,
            )
        phase = claims.phase if step.phase == "either" else step.phase
        if phase == "after deploy":
            behind = behind or file.id
        elif behind and phase == "before deploy":
            why = needs if step.needs else "it is for before the deploy"
            yield finding(
                file,
                1,
                f"comes behind {behind}, which is for after the deploy, and {why}",
                f"number it before {behind}",
                _RULE,
            )


def _rewritten(
    files: list[MigrationFile], there: dict[str, MigrationFile], base: str
) -> Iterator[Finding]:
    here = {file.id: file for file in files}
    for identifier, old in there.items():
        file = here.get(identifier)
        if file is None:
            what = f"is gone, and was there at {base}"
            remedy = "restore it: where it is applied, the next deployment is refused"
            yield finding(old, 1, what, remedy, _RULE)
        elif file.checksum != old.checksum:
            what = f"was edited since {base}"
            remedy = (
                "restore it, and put the change into a new migration: where it is applied, the "
                "next deployment is refused"
            )
            yield finding(file, 1, what, remedy, _RULE)


def _listed(troubles: dict[str, str]) -> str:
    shown = [f"{name}: {trouble}" for name, trouble in list(troubles.items())[:_SHOWN]]
    more = len(troubles) - len(shown)
    return "; ".join(shown) + (f"; and {more} more" if more else "")
