"""The scratch server: migrated, of one major version, and in its own eyes as large as production.

Two databases. `clonedb` is migrated and holds the rows of two people; statements are prepared,
proved and run there. `production` is its copy with the statistics and the file sizes of
sql/check/sizes.toml, and no rows: there statements are planned and never run.

A server is made once for a set of migrations and sizes, in a cache folder under a digest of both,
and started again in a fraction of a second.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import psycopg
from psycopg import sql
from psycopg.rows import namedtuple_row

from clonedb import migrate
from clonedb.check.catalogue import Catalogue, Relation, read_query
from clonedb.check.declarations import SIZES, DeclaredSizes, read_declared
from clonedb.check.sizes import PAGE_BYTES, Sizes
from clonedb.embedded import EmbeddedServer
from clonedb.errors import EmbeddedError
from clonedb.postgres.binaries import find_binaries
from clonedb.postgres.filelocks import FileLock
from clonedb.resources import migrations_directory, sql_directory

# Trees, plans and the shape of the ledger belong to one major version.
MAJOR: Final = 18
SUPERUSER: Final = "clonedb_superuser"
PRODUCTION: Final = "production"

# Raised when the way of making a scratch server changes.
_FORMAT: Final = "1"
_SEGMENT_BYTES: Final = 1024**3
_KEPT: Final = 2
_PATIENCE_SECONDS: Final = 180


class WrongMajor(EmbeddedError):
    """The server's programs are of another major version than the check is pinned to."""


class Scratch:
    """A running scratch server."""

    def __init__(self, server: EmbeddedServer) -> None:
        self._server = server

    @property
    def version(self) -> tuple[int, int]:
        return self._server.version

    @property
    def server(self) -> EmbeddedServer:
        """For databases of one's own."""
        return self._server

    def dsn(self, role: str = SUPERUSER, database: str = "clonedb") -> str:
        return self._server.dsn(role, database)

    def connect(
        self, role: str = SUPERUSER, database: str = "clonedb"
    ) -> psycopg.Connection[tuple[Any, ...]]:
        """An autocommitting connection, with `$1` for parameters, alike in any environment."""
        # EXPLAIN of a statement with parameters takes none itself, and cannot be prepared.
        connection = psycopg.connect(
            self.dsn(role, database), autocommit=True, prepare_threshold=None, options="",
            cursor_factory=psycopg.RawCursor)  # fmt: skip
        connection.execute(b"SET TimeZone = 'UTC'; SET DateStyle = 'ISO, YMD'; SET geqo = on")
        return connection


def cache_directory() -> Path:
    """Where scratch servers and what was learned of queries are kept; safe to remove.

    $CLONEDB_CACHE, or $XDG_CACHE_HOME/clonedb, or ~/.cache/clonedb; /var/cache/clonedb for root,
    whose home is closed to the account that the server has to run under.
    """
    if os.environ.get("CLONEDB_CACHE"):
        return Path(os.environ["CLONEDB_CACHE"]).expanduser().absolute()
    if os.geteuid() == 0:
        return Path("/var/cache/clonedb")
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "clonedb"


def server_version() -> tuple[int, int]:
    """The version of the programs that would be used; WrongMajor if it is not the pinned one."""
    version = find_binaries(None).version
    if version[0] != MAJOR:
        raise WrongMajor(
            f"the check is made with PostgreSQL {MAJOR}, and these programs are {version[0]}",
            remedy="unset CLONEDB_PG_BIN, or name a PostgreSQL "
            f"{MAJOR}; `clonedb check --offline` needs no server",
        )
    return version


def digest(migrations: Path | None = None, sizes: Path | None = None) -> str:
    """What a scratch server is made from: programs, migrations, sizes and setup."""
    setup = sql_directory() / "setup" / "logins.sql"
    statements = sorted((sql_directory() / "check").glob("*.sql"))
    files = [
        *sorted((migrations or migrations_directory()).glob("*.sql")),
        sizes or sizes_file(),
        setup,
        *statements,
    ]
    hashed = hashlib.sha256(f"{_FORMAT} {server_version()}".encode())
    for file in files:
        hashed.update(file.name.encode() + b"\0" + file.read_bytes() + b"\0")
    return hashed.hexdigest()[:16]


def sizes_file() -> Path:
    """The committed sizes of production."""
    return sql_directory() / "check" / SIZES


@contextmanager
def scratch_server(
    *,
    migrations: Path | None = None,
    sizes: Path | None = None,
    cache: Path | None = None,
) -> Iterator[Scratch]:
    """The scratch server for these migrations and sizes, made where there is none yet.

    Raises WrongMajor, EmbeddedError where no server can run, MigrationError for a migration that
    cannot be applied.
    """
    key = digest(migrations, sizes)
    base = (cache or cache_directory()) / "scratch"
    # Root's own folder may be entered by the server's account; below it everything is closed.
    base.mkdir(parents=True, exist_ok=True, mode=0o755 if os.geteuid() == 0 else 0o700)
    directory = base / key
    with FileLock(base / f"{key}.lock") as lock:
        lock.wait_exclusive(timeout=_PATIENCE_SECONDS, holder="another check")
        server = _ready(directory)
        if server is None:
            _discard(directory)
            try:
                _make(directory, migrations, sizes or sizes_file())
            except BaseException:
                _discard(directory)
                raise
            server = _ready(directory)
            _prune(base, directory)
    if server is None:
        raise EmbeddedError(f"the scratch server in {directory} is not as it was made")
    try:
        yield Scratch(server)
    finally:
        server.stop()


def _ready(directory: Path) -> EmbeddedServer | None:
    """The server, started, if it was made completely and has not lost what it pretends to have."""
    mark = directory / "ready"
    if not mark.exists():
        return None
    server = EmbeddedServer(directory, durable=False).start()
    with psycopg.connect(server.dsn(SUPERUSER, PRODUCTION)) as connection:
        row = connection.execute(read_query("size")).fetchone()
    # After a crash UNLOGGED tables, and with them their sizes, are gone.
    if row is not None and mark.read_text() == str(row[0]):
        os.utime(mark)
        return server
    server.stop()
    return None


def _make(directory: Path, migrations: Path | None, sizes: Path) -> None:
    declared = read_declared(sizes, DeclaredSizes)
    server = EmbeddedServer(directory, durable=False).start()
    try:
        migrate.apply(server.dsn("clonedb_migrator"), directory=migrations)
        server.create_database(PRODUCTION, template="clonedb")
        dsn = server.dsn(SUPERUSER, PRODUCTION)
        with psycopg.connect(dsn, autocommit=True, cursor_factory=psycopg.RawCursor) as connection:
            catalogue = Catalogue(connection)
            known = Sizes(declared, catalogue)
            connection.execute(b"ALTER SYSTEM SET autovacuum = off")
            for name, value in known.settings.items():
                setting = sql.SQL("ALTER SYSTEM SET {} = {}").format(
                    sql.Identifier(name), sql.Literal(value)
                )
                connection.execute(setting)
            files = _restore_statistics(connection, catalogue, known)
            with psycopg.connect(server.dsn(SUPERUSER), autocommit=True) as people:
                two = sql_directory() / "check" / "two_people.sql"
                if two.exists() and migrations is None:
                    people.execute(two.read_bytes())
    finally:
        server.stop()
    for path, pages in files:
        _grow(directory / "cluster" / path, pages * PAGE_BYTES)
    server.start()
    try:
        with psycopg.connect(dsn) as connection:
            row = connection.execute(read_query("size")).fetchone()
        (directory / "ready").write_text(str(row[0] if row else 0))
    finally:
        server.stop()


def _restore_statistics(
    connection: psycopg.Connection[Any], catalogue: Catalogue, sizes: Sizes
) -> list[tuple[str, int]]:
    """Give every table and index its statistics; the files and how many pages they get."""
    with connection.cursor(row_factory=namedtuple_row) as cursor:
        files: list[Any] = cursor.execute(read_query("files")).fetchall()
    parts: dict[int, int] = {}
    for relation in catalogue.relations.values():
        if relation.is_partition and relation.parent is not None:
            parts[relation.parent] = parts.get(relation.parent, 0) + 1
    pages_of: list[tuple[str, int]] = []
    for file in files:
        table = catalogue.relations[file.indexed or file.relation]
        whole = catalogue.whole(table.oid) or table
        rows: float = sizes.rows(whole)
        if table.is_partition:
            rows /= parts[whole.oid]
        if file.indexed:
            index = catalogue.indexes[file.relation]
            rows = sizes.index_rows(whole, index, rows)
            pages = sizes.index_pages(whole, index, rows)
        else:
            pages = sizes.pages(whole, rows)
            _restore_columns(connection, catalogue, sizes, table, whole)
        connection.execute(read_query("restore_relation"), [file.name, pages, rows])
        if file.path is not None:
            pages_of.append((file.path, pages))
    return pages_of


def _restore_columns(
    connection: psycopg.Connection[Any],
    catalogue: Catalogue,
    sizes: Sizes,
    table: Relation,
    whole: Relation,
) -> None:
    unique = {key[0] for key in catalogue.unique_keys(table.oid) if len(key) == 1}
    for column in table.columns.values():
        common = sizes.common(whole, column.name)
        connection.execute(
            read_query("restore_column"),
            [
                table.name,
                column.name,
                table.kind == "p",
                sizes.null_share(whole, column.name),
                sizes.width(whole, column),
                sizes.distinct(whole, column, column.number in unique),
                "{" + ",".join(common) + "}" if common else None,
                list(common.values()) if common else None,
            ],
        )


def _grow(path: Path, size: int) -> None:
    """Make a relation's file as long as that: a hole, which takes no room on the disk."""
    owner = path.stat()
    for number, start in enumerate(range(0, size, _SEGMENT_BYTES)):
        segment = path if number == 0 else path.with_name(f"{path.name}.{number}")
        length = min(size - start, _SEGMENT_BYTES)
        if number:
            segment.touch(mode=0o600)
            if os.geteuid() == 0:
                os.chown(segment, owner.st_uid, owner.st_gid)
        if length > segment.stat().st_size:
            os.truncate(segment, length)


def _discard(directory: Path) -> None:
    if not directory.exists():
        return
    with FileLock(directory / "users.lock") as users:
        if not users.try_exclusive():
            raise EmbeddedError(
                f"the scratch server in {directory} is broken and in use",
                remedy="wait for the other check to end, and try again",
            )
    shutil.rmtree(directory)


def _prune(base: Path, kept: Path) -> None:
    """Remove the servers of earlier schemas, but for the last few and those in use."""
    marks: Iterable[Path] = base.glob("*/ready")
    for mark in sorted(marks, key=lambda each: each.stat().st_mtime, reverse=True)[_KEPT:]:
        if mark.parent != kept:
            with suppress(EmbeddedError, OSError):
                _discard(mark.parent)
