"""Applying, rolling back and inspecting the migrations of a database.

Synchronous, since a deployment does one thing after another: from a coroutine call
`asyncio.to_thread(migrate.apply, dsn)`. Every function takes a libpq connection string or a
postgresql:// URL of a direct connection, not of a pooler, and raises ClonedbError's family:
MigrationError and those below it, Unavailable and InvalidInput.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Final, Literal

import msgspec
import psycopg

from clonedb.errors import InvalidInput, MigrationDrift
from clonedb.migration.backend import (
    DEPLOYER_TIMEOUT,
    LOCK_ATTEMPTS,
    LOCK_TIMEOUT,
    MigrationBackend,
)
from clonedb.migration.connection import connect, explain
from clonedb.migration.files import MigrationFile, create_pair, display, read_folder
from clonedb.migration.ledger import Applied
from clonedb.resources import migrations_directory, sql_directory
from clonedb.settings import connection_parameters

_logger = logging.getLogger("clonedb.migrate")

_PRINTED_BY: Final = {
    "search_path": "", "DateStyle": "ISO, YMD", "IntervalStyle": "postgres",
    "bytea_output": "hex", "extra_float_digits": "1", "TimeZone": "UTC"}  # fmt: skip


class MigrationStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One migration: as its file says, as the database says, or both.

    `drifted`: the file is not what was applied. `unknown`: applied, but without a file here.
    `checksum` is what was recorded when it was applied, None if nothing was; `path` is None for
    an unknown one.
    """

    id: str
    state: Literal["applied", "pending", "drifted", "unknown"]
    applied_at: datetime | None = None
    checksum: str | None = None
    path: str | None = None


class Progress(msgspec.Struct, frozen=True):
    """One step of a run: `done` of `total` migrations are behind it.

    `event`: applying, applied, rolling back, rolled back; recorded (a checksum, of a migration
    that stock yoyo had applied); waiting (for another deployer); retrying (after a lock timeout);
    warning (a migration's own). `detail` is the migration's id, or what the event says.
    """

    event: str
    detail: str
    done: int
    total: int


ProgressListener = Callable[[Progress], None]


class _Reporter:
    """Tells the listener, and the log, how far a run has come."""

    def __init__(self, listener: ProgressListener | None) -> None:
        self.listener = listener
        self.done = 0
        self.total = 0

    def __call__(self, event: str, detail: str) -> None:
        _logger.info("%s: %s", event, detail)
        if self.listener is not None:
            self.listener(Progress(event, detail, self.done, self.total))


def apply(
    dsn: str,
    *,
    directory: Path | None = None,
    target: str | None = None,
    progress: ProgressListener | None = None,
    lock_timeout: float = LOCK_TIMEOUT,
    attempts: int = LOCK_ATTEMPTS,
    wait: float = DEPLOYER_TIMEOUT,
) -> list[str]:
    """Apply what is pending, up to and including `target`, and return the ids applied.

    Safe to run from many deployers at once and after a kill at any moment: each migration is
    applied once, in a transaction of its own together with its mark. The first failure stops the
    run; what was applied before it stays. Nothing is applied if an applied file was edited or is
    missing (MigrationDrift). Times are in seconds: `lock_timeout` for the table locks of one
    attempt, of which there are `attempts`; `wait` for another deployer (MigrationLocked).
    """
    files = read_folder(directory or migrations_directory())
    last = _find(target, [file.id for file in files]) if target is not None else None
    report = _Reporter(progress)
    applied: list[str] = []
    with _backend(dsn, report, lock_timeout, attempts) as backend, backend.lock(wait):
        backend.prepare()
        marks = _without_drift(files, backend.applied())
        _record_missing(backend, files, marks, report)
        pending = [file for file in _up_to(files, last) if file.id not in marks]
        for file in pending:
            file.check()
        report.total = len(pending)
        for file in pending:
            report("applying", file.id)
            if backend.apply_one(file):
                applied.append(file.id)
            report.done += 1
            report("applied", file.id)
        backend.share()
    return applied


def rollback(
    dsn: str,
    *,
    count: int = 1,
    to: str | None = None,
    directory: Path | None = None,
    progress: ProgressListener | None = None,
    lock_timeout: float = LOCK_TIMEOUT,
    attempts: int = LOCK_ATTEMPTS,
    wait: float = DEPLOYER_TIMEOUT,
) -> list[str]:
    """Roll back the `count` newest migrations, or all after `to`; return their ids, newest first.

    `to="0"` rolls back everything. Otherwise as `apply`.
    """
    if count < 1:
        raise InvalidInput(f"cannot roll back {count} migrations")
    files = read_folder(directory or migrations_directory())
    report = _Reporter(progress)
    rolled_back: list[str] = []
    with _backend(dsn, report, lock_timeout, attempts) as backend, backend.lock(wait):
        backend.prepare()
        marks = _without_drift(files, backend.applied())
        present = [file for file in files if file.id in marks]
        if to is None:
            chosen = present[-count:]
        elif to.strip("0") == "":
            chosen = present
        else:
            kept = _up_to(present, _find(to, [file.id for file in present]))
            chosen = present[len(kept) :]
        for file in chosen:
            file.check()
        report.total = len(chosen)
        for file in reversed(chosen):
            report("rolling back", file.id)
            if backend.rollback_one(file):
                rolled_back.append(file.id)
            report.done += 1
            report("rolled back", file.id)
    return rolled_back


def status(dsn: str, *, directory: Path | None = None) -> list[MigrationStatus]:
    """Every migration that the folder or the database knows, in order; writes nothing."""
    files = read_folder(directory or migrations_directory())
    with _backend(dsn, _Reporter(None)) as backend:
        marks = {mark.id: mark for mark in backend.applied()}
    known = {file.id for file in files}
    states = [_state(file, marks.get(file.id)) for file in files]
    states += [
        MigrationStatus(
            id=mark.id, state="unknown", applied_at=mark.applied_at, checksum=mark.checksum
        )
        for mark in marks.values()
        if mark.id not in known
    ]
    return sorted(states, key=lambda one: one.id)


def pending(dsn: str, *, directory: Path | None = None) -> list[str]:
    """The ids that `apply` would apply."""
    return [one.id for one in status(dsn, directory=directory) if one.state == "pending"]


def new(name: str, directory: Path | None = None) -> tuple[Path, Path]:
    """Write the next numbered migration and its rollback, ready to be filled in."""
    if directory is None:
        directory = migrations_directory()
        if directory.parent == Path(__file__).resolve().parent:
            raise InvalidInput(
                "this clonedb is installed, and its own migrations folder is not for editing",
                remedy="name the folder of a checkout: --directory migrations",
            )
    return create_pair(name, directory)


def catalogue_digest(dsn: str) -> str:
    """SHA-256 over what the catalogue says about schema clonedb, without object ids.

    Two databases on one server version with the same digest have the same schema: tables, columns,
    keys, checks, indexes, policies, functions, rights, owners and comments.
    """
    return hashlib.sha256("\n".join(catalogue(dsn)).encode()).hexdigest()


def catalogue(dsn: str) -> list[str]:
    """The lines that `catalogue_digest` covers: two databases' differences are their diff."""
    query = (sql_directory() / "setup" / "catalogue.sql").read_text(encoding="utf-8")
    with connect(connection_parameters(dsn)) as connection:
        try:
            # Names are qualified, and constants printed alike in everybody's environment.
            for name, value in _PRINTED_BY.items():
                connection.execute("SELECT set_config(%s, %s, false)", [name, value])
            # Sorted here: there the order would be that of the database's collation.
            return sorted(str(row[0]) for row in connection.execute(query.encode()))
        except psycopg.Error as error:
            raise explain(error, "sql/setup/catalogue.sql") from error


def _backend(
    dsn: str,
    report: _Reporter,
    lock_timeout: float = LOCK_TIMEOUT,
    attempts: int = LOCK_ATTEMPTS,
) -> MigrationBackend:
    return MigrationBackend(
        connection_parameters(dsn), lock_timeout=lock_timeout, attempts=attempts, listener=report
    )


def _state(file: MigrationFile, mark: Applied | None) -> MigrationStatus:
    path = display(file.path)
    if mark is None:
        return MigrationStatus(id=file.id, state="pending", path=path)
    drifted = mark.checksum is not None and mark.checksum != file.checksum
    return MigrationStatus(
        id=file.id,
        state="drifted" if drifted else "applied",
        applied_at=mark.applied_at,
        checksum=mark.checksum,
        path=path,
    )


def _without_drift(files: list[MigrationFile], applied: list[Applied]) -> dict[str, Applied]:
    """The marks by id; MigrationDrift if a file is gone or not what was applied."""
    marks = {mark.id: mark for mark in applied}
    by_id = {file.id: file for file in files}
    for mark in applied:
        file = by_id.get(mark.id)
        if file is None:
            raise MigrationDrift(
                f"{mark.id} is applied, but its file is not in {files[0].path.parent.name}/",
                remedy="this release is older than the database, or the file was renamed or "
                "deleted: deploy the release that has it",
            )
        if _state(file, mark).state == "drifted":
            raise MigrationDrift(
                f"{display(file.path)} was edited after it had been applied",
                remedy="restore the file and put the change into a new migration; if the edit "
                f"changes nothing, delete the row of {mark.id!r} from "
                f"public.{MigrationBackend.checksum_table}",
            )
    return marks


def _record_missing(
    backend: MigrationBackend,
    files: list[MigrationFile],
    marks: dict[str, Applied],
    report: _Reporter,
) -> None:
    for file in files:
        if file.id in marks and marks[file.id].checksum is None:
            backend.record_checksum(file)
            report("recorded", file.id)


def _find(wanted: str, ids: list[str]) -> str:
    """The one id that is `wanted` or begins with it, such as its number."""
    found = [one for one in ids if one == wanted] or [one for one in ids if one.startswith(wanted)]
    if len(found) != 1:
        problem = "no migration is" if not found else f"{len(found)} migrations are"
        raise InvalidInput(
            f"{problem} named {wanted!r}", remedy="give its number or its whole name"
        )
    return found[0]


def _up_to(files: list[MigrationFile], last: str | None) -> list[MigrationFile]:
    if last is None:
        return files
    return files[: [file.id for file in files].index(last) + 1]
