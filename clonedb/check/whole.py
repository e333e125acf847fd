"""The check of a whole folder of queries: what the command and `clonedb.generation` run."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

from clonedb.check import ledger, run
from clonedb.check.finding import Finding
from clonedb.check.migrations.revision import checked_out
from clonedb.check.migrations.window import Window, deploy_window
from clonedb.check.remembered import Remembered, digest_of, key_of, recall, remember
from clonedb.check.scratch import cache_directory, digest, scratch_server, sizes_file
from clonedb.errors import InvalidInput
from clonedb.query.modules import all_queries, load_directory
from clonedb.resources import migrations_directory, sql_directory

_PACKAGE = Path(__file__).resolve().parents[1]
STUB = _PACKAGE / "queries.pyi"


@dataclass(slots=True)
class Done:
    """What a run has found and written."""

    findings: list[Finding]
    written: list[str]
    queries: int
    variants: int
    migrations: int = 0


def check_folder(
    sql: Path | None = None,
    migrations: Path | None = None,
    *,
    only: Collection[str] = (),
    write: bool = True,
    cache: Path | None = None,
) -> Done:
    """Check a folder of queries, clonedb's own by default, and write its ledger.

    Migrations are rehearsed where the queries are clonedb's own, or the migrations are named. With
    `only` those queries alone are looked at, and nothing is written. Raises QueryFileError,
    MigrationError, EmbeddedError and OSError where it cannot run.
    """
    own = sql is None
    folder = sql or sql_directory()
    modules = load_directory(folder)
    _check_names(modules, only)
    cache = cache or cache_directory()
    looked_at = [folder, _PACKAGE, *([_PACKAGE.parent / "tests"] if own else [])]
    key = key_of(digest(migrations), looked_at)
    if not only and (known := recall(cache, key, Remembered)) is not None:
        present = _present(folder, own)
        if digest_of(present) == known.written:
            return Done(known.findings, [], known.queries, known.variants, known.migrations)
    with scratch_server(migrations=migrations, cache=cache) as scratch:
        outcome = run.check(
            scratch,
            modules,
            only=only,
            migrations=migrations,
            own=own,
            tests=_PACKAGE.parent / "tests",
            rehearsing=own or migrations is not None,
            cache=cache,
        )
    done = Done(outcome.findings, [], outcome.queries, outcome.variants, outcome.migrations)
    if only:
        return done
    if write:
        done.written = _write(folder, outcome, own=own)
        files = {f"ledger/{name}": text for name, text in outcome.ledger.items()}
        if own:
            files["queries.pyi"] = outcome.stub
        remember(
            cache,
            key,
            Remembered(
                done.findings, digest_of(files), done.queries, done.variants, done.migrations
            ),
        )
    return done


def prove_window(
    base: str,
    sql: Path | None = None,
    migrations: Path | None = None,
    *,
    cache: Path | None = None,
) -> Window:
    """The phases of the migrations since a git revision; see clonedb.check.migrations.window.

    Raises InvalidInput where git does not know the revision, and what `check_folder` raises.
    """
    queries, folder = sql or sql_directory(), migrations or migrations_directory()
    with checked_out(base, queries, folder) as revision, scratch_server(cache=cache) as scratch:
        return deploy_window(scratch, revision, queries, folder)


def compare_hashes(sql: Path | None = None, migrations: Path | None = None) -> list[Finding]:
    """Which files of the ledger are not of today's queries, migrations and sizes."""
    folder = sql or sql_directory()
    modules = load_directory(folder)
    return run.offline(
        modules,
        folder / "ledger",
        migrations or migrations_directory(),
        sizes_file(),
        rehearsing=sql is None or migrations is not None,
    )


def _write(folder: Path, outcome: run.Outcome, *, own: bool) -> list[str]:
    written = [
        f"{folder.name}/ledger/{name}"
        for name in ledger.write_files(folder / "ledger", outcome.ledger)
    ]
    if own and (not STUB.exists() or STUB.read_text(encoding="utf-8") != outcome.stub):
        STUB.write_text(outcome.stub, encoding="utf-8")
        written.append(f"clonedb/{STUB.name}")
    return written


def _present(folder: Path, own: bool) -> dict[str, str]:
    found = {
        f"ledger/{file.relative_to(folder / 'ledger')}": file.read_text(encoding="utf-8")
        for file in (folder / "ledger").rglob("*.txt")
    }
    if own and STUB.exists():
        found["queries.pyi"] = STUB.read_text(encoding="utf-8")
    return found


def _check_names(modules: SimpleNamespace, only: Collection[str]) -> None:
    known = {query.name for query in all_queries(modules)}
    if unknown := [name for name in only if name not in known]:
        raise InvalidInput(
            f"there is no query {', '.join(unknown)}", remedy="name it as users.find_by_id"
        )
