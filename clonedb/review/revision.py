"""One side of a comparison: the files of a revision, read without running or asking anything."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Final, NamedTuple, TypeVar

from clonedb.check.declarations import CACHES, SIZES, CacheSources, DeclaredSizes, declared
from clonedb.check.entry import Entry, read_entry
from clonedb.check.hashes import files_hash, query_hash
from clonedb.check.ledger import MADE_FROM
from clonedb.check.migrations import rehearsal
from clonedb.check.migrations.locks import strength
from clonedb.check.migrations.rehearsal import FOLDER as MIGRATIONS
from clonedb.check.migrations.rehearsal import Rehearsal, migration_hash
from clonedb.check.python_code import Mention, PackageCode, called_in_tests
from clonedb.errors import QueryFileError
from clonedb.query.file import parse_queries, read_text
from clonedb.query.statements import Query
from clonedb.review.schema import Schema

T = TypeVar("T")

ROLLBACK: Final = ".rollback.sql"

# What comes of files that are no Python, or nested out of all reason.
_NO_PYTHON: Final = (SyntaxError, ValueError, RecursionError, MemoryError)

# What reading takes; whatever else changes rows.
_LOCKS: Final = {"reads": "ACCESS SHARE", "locks": "ROW SHARE"}


class Problem(NamedTuple):
    """A file that cannot be read, or that does not belong to the others."""

    path: str
    line: int
    what: str


@dataclass(frozen=True, slots=True)
class Source:
    """A query as its file has it, and what the ledger says of it, if it says something.

    `stale` says that the ledger is of another text than this.
    """

    query: Query
    text: str
    entry: Entry | None
    stale: bool


@dataclass(frozen=True)
class Revision:
    """The files below a folder; `title` is how people know the revision."""

    folder: Path
    title: str

    @cached_property
    def queries(self) -> dict[str, Source]:
        """Every query, by name, in the order of the files."""
        return {
            source.query.name: source
            for path, text, queries in self._files[0]
            for source in self._sources(text, queries)
        }

    @cached_property
    def problems(self) -> list[Problem]:
        """What cannot be read, and where the ledger is not of these files."""
        found = self._files[1]
        if (self.folder / "sql").is_dir() and not self.has_ledger:
            return [*found, Problem("sql/ledger", 1, "there is no ledger")]
        declared = [*self._sizes[1], *self._cache_sources[1]]
        return [*found, *self._ledger[1], *self._rehearsals[1], *declared, *self._stale()]

    @cached_property
    def has_ledger(self) -> bool:
        return any((self.folder / "sql" / "ledger").glob("*/*.txt"))

    @cached_property
    def entries(self) -> dict[str, Entry]:
        """What the ledger says, by the name of the query."""
        return self._ledger[0]

    @cached_property
    def locks(self) -> dict[str, dict[str, str]]:
        """The lock that each query takes on each table."""
        return {name: entry.locks or _taken(entry) for name, entry in self.entries.items()}

    @cached_property
    def rehearsals(self) -> dict[str, Rehearsal]:
        """What the ledger says of each migration, by name."""
        return self._rehearsals[0]

    @cached_property
    def stale_rehearsals(self) -> set[str]:
        """The migrations whose texts are others than those that were rehearsed."""
        return {
            name
            for name, found in self.rehearsals.items()
            if name in self.migrations
            and found.file != migration_hash(self.migrations[name], self.rollbacks.get(name))
        }

    @cached_property
    def schema(self) -> Schema:
        return Schema(self.text("docs/schema.sql"))

    @cached_property
    def migrations(self) -> dict[str, str]:
        """The text of each migration by name, those of rollbacks apart."""
        return {
            file.stem: _text(file)
            for file in sorted((self.folder / "migrations").glob("*.sql"))
            if not file.name.endswith(ROLLBACK)
        }

    @cached_property
    def rollbacks(self) -> dict[str, str]:
        """The text of each rollback by the name of its migration."""
        return {
            file.name.removesuffix(ROLLBACK): _text(file)
            for file in sorted((self.folder / "migrations").glob("*" + ROLLBACK))
        }

    @cached_property
    def table_rows(self) -> dict[str, int]:
        """How many rows the tables have in production, by sql/check/sizes.toml."""
        return self._sizes[0].rows

    @property
    def cache_sources(self) -> CacheSources:
        """What caches are made from, by table: sql/check/caches.toml."""
        return self._cache_sources[0]

    @cached_property
    def callers(self) -> dict[str, list[Mention]]:
        """Where Python names a query."""
        found: dict[str, list[Mention]] = {}
        for code in self._code:
            for mention in code.mentions:
                found.setdefault(f"{mention.module}.{mention.query}", []).append(mention)
        return found

    @cached_property
    def unreadable_code(self) -> list[Problem]:
        """Python that is none: who calls what is then unknown."""
        return [*self._read_code[1], *self._read_tests[1]]

    @property
    def tested(self) -> set[str]:
        """The names of functions that lead to what the tests name."""
        return self._read_tests[0]

    def leading_to(self, query: str) -> set[str]:
        """The functions from which a query is reached, by name."""
        functions = {each.function for each in self.callers.get(query, ())}
        return set().union(*(code.reached_from(functions) for code in self._code))

    def place(self, mention: Mention) -> str:
        """A caller as file:line."""
        return f"{mention.file.relative_to(self.folder).as_posix()}:{mention.line}"

    def text(self, path: str) -> str:
        """A file's text, "" where there is none."""
        file = self.folder / path
        return _text(file) if file.is_file() else ""

    @cached_property
    def _sizes(self) -> tuple[DeclaredSizes, list[Problem]]:
        return self._declared(SIZES, DeclaredSizes, DeclaredSizes())

    @cached_property
    def _cache_sources(self) -> tuple[CacheSources, list[Problem]]:
        return self._declared(CACHES, CacheSources, {})

    def _declared(self, name: str, kind: type[T], nothing: T) -> tuple[T, list[Problem]]:
        path = f"sql/check/{name}"
        try:
            return declared(self.text(path), kind) if self.text(path) else nothing, []
        except ValueError as error:
            return nothing, [Problem(path, 1, str(error))]

    @cached_property
    def _files(self) -> tuple[list[tuple[str, str, tuple[Query, ...]]], list[Problem]]:
        """The query files with their queries, and those that are none."""
        found = []
        problems = []
        for file in sorted((self.folder / "sql").glob("[!.]*.sql")):
            path = f"sql/{file.name}"
            try:
                text = read_text(file, path=path)
                found.append((path, text, _parsed(path, text)))
            except QueryFileError as error:
                said = str(error).removeprefix(f"{path}:{error.line}: ")
                problems.append(Problem(path, error.line, said))
        return found, problems

    def _sources(self, text: str, queries: tuple[Query, ...]) -> Iterator[Source]:
        lines = text.split("\n")
        ends = [each.line - 1 for each in queries[1:]] + [len(lines)]
        for query, end in zip(queries, ends, strict=True):
            entry = self.entries.get(query.name)
            stale = entry is not None and entry.query_hash != query_hash(query)
            yield Source(query, "\n".join(lines[query.line - 1 : end]).strip(), entry, stale)

    @cached_property
    def _ledger(self) -> tuple[dict[str, Entry], list[Problem]]:
        entries: dict[str, Entry] = {}
        problems = []
        folder = self.folder / "sql" / "ledger"
        for file in sorted(folder.glob("*/*.txt")):
            if file.parent.name == MIGRATIONS:
                continue
            name = f"{file.parent.name}.{file.stem}"
            try:
                entries[name] = read_entry(_text(file))
            except ValueError as error:
                path = file.relative_to(self.folder).as_posix()
                problems.append(Problem(path, 1, str(error)))
        return entries, problems

    @cached_property
    def _rehearsals(self) -> tuple[dict[str, Rehearsal], list[Problem]]:
        found: dict[str, Rehearsal] = {}
        problems = []
        for file in sorted((self.folder / "sql" / "ledger" / MIGRATIONS).glob("*.txt")):
            try:
                found[file.stem] = rehearsal.read(_text(file))
            except ValueError as error:
                path = file.relative_to(self.folder).as_posix()
                problems.append(Problem(path, 1, str(error)))
        return found, problems

    def _stale(self) -> Iterator[Problem]:
        for name, source in self.queries.items():
            where = source.query.path, source.query.line
            if source.entry is None:
                yield Problem(*where, f"{name} is not in the ledger")
            elif source.stale:
                yield Problem(*where, f"{name} is not the text that the ledger speaks of")
        made_from = self.text(f"sql/ledger/{MADE_FROM}")
        forward = [self.folder / "migrations" / f"{name}.sql" for name in self.migrations]
        if made_from and f"\nmigrations    {files_hash(forward)}\n" not in made_from:
            yield Problem(
                f"sql/ledger/{MADE_FROM}", 1, "migrations have changed since the ledger was written"
            )

    @property
    def _code(self) -> list[PackageCode]:
        return self._read_code[0]

    @cached_property
    def _read_code(self) -> tuple[list[PackageCode], list[Problem]]:
        code, problems = [], []
        for package in packages(self.folder):
            try:
                code.append(PackageCode(package))
            except _NO_PYTHON as error:
                problems.append(self._unreadable(package, error))
        return code, problems

    @cached_property
    def _read_tests(self) -> tuple[set[str], list[Problem]]:
        folder = self.folder / "tests"
        try:
            return called_in_tests(folder), []
        except _NO_PYTHON as error:
            return set(), [self._unreadable(folder, error)]

    def _unreadable(self, folder: Path, error: BaseException) -> Problem:
        if isinstance(error, UnicodeDecodeError):
            return Problem(folder.name, 1, "a file is not UTF-8")
        if not isinstance(error, SyntaxError):
            return Problem(folder.name, 1, "a file cannot be read as Python")
        file = Path(error.filename or folder).relative_to(self.folder).as_posix()
        return Problem(file, error.lineno or 1, "this is not Python")


def packages(folder: Path) -> list[Path]:
    """The Python packages of a project: its folders with an __init__.py, and those in src/."""
    found = [*folder.glob("*/__init__.py"), *folder.glob("src/*/__init__.py")]
    return sorted(each.parent for each in found if each.parent.name != "tests")


@lru_cache(maxsize=512)
def _parsed(path: str, text: str) -> tuple[Query, ...]:
    # Most files are the same on both sides.
    return tuple(parse_queries(text, module=Path(path).stem, path=path))


def _taken(entry: Entry) -> dict[str, str]:
    """The locks of an entry from before the ledger told them, by what is done."""
    taken: dict[str, str] = {}
    for each in entry.touches:
        mode = _LOCKS.get(each.verb, "ROW EXCLUSIVE")
        if each.table not in taken or strength(mode) > strength(taken[each.table]):
            taken[each.table] = mode
    return taken


def _text(file: Path) -> str:
    return file.read_text(encoding="utf-8", errors="replace").replace("\r\n", "\n")
