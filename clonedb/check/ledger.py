"""sql/ledger/: what PostgreSQL says about each query, one small text file for each.

    sql/ledger/<module>/<query>.txt    one query
    sql/ledger/migrations/<id>.txt     one migration, see clonedb.check.migrations.rehearsal
    sql/ledger/made_from.txt           the major version, and digests of migrations and sizes

Nothing in it depends on the day, the machine or the data: no object ids, no costs, no months.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from textwrap import wrap
from typing import Any, Final

from clonedb.check.catalogue import Catalogue
from clonedb.check.dependencies import Dependencies
from clonedb.check.examined import Column, Examined, Variant
from clonedb.check.hashes import SchemaHashes, files_hash, query_hash
from clonedb.check.migrations.query_locks import lock_lines
from clonedb.check.plans import PAGE_ROWS, Planner
from clonedb.check.scratch import MAJOR
from clonedb.query.statements import Query

MADE_FROM: Final = "made_from.txt"
_INDENT: Final = "    "


def made_from(migrations: Path, sizes: Path) -> str:
    """The file that says what the ledger was made from."""
    forward = [each for each in migrations.glob("*.sql") if ".rollback." not in each.name]
    return (
        "Written by `clonedb check`, and compared by `clonedb check --offline`.\n\n"
        "Every variant of a query is prepared. Types and what is never null are proved once for\n"
        "each shape of result; planned are the plain statement, each order, each next page,\n"
        "each filter and each flag alone: generic plans, as the login that runs them, for the\n"
        f"sizes of sql/check/sizes.toml and with {PAGE_ROWS} rows for every LIMIT.\n\n"
        f"PostgreSQL    {MAJOR}\n"
        f"migrations    {files_hash(forward)}\n"
        f"sizes         {files_hash([sizes])}\n"
    )


def path_of(query: Query) -> str:
    """Where the file of a query is, below sql/ledger/."""
    module, _, name = query.name.partition(".")
    return f"{module}/{name}.txt"


class LedgerWriter:
    """The text of each query's file."""

    def __init__(self, catalogue: Catalogue, schema: SchemaHashes, outliner: Planner) -> None:
        self._catalogue = catalogue
        self._schema = schema
        self._outliner = outliner

    def text(self, found: Examined) -> str:
        """The file of one query."""
        return "\n".join(self._lines(found)) + "\n"

    def _lines(self, found: Examined) -> Iterator[str]:
        query = found.query
        yield query.name
        yield ""
        yield f"query     {query_hash(query)}"
        yield f"schema    {self._schema.of(self._catalogue, found.used)}"
        if found.refused:
            yield ""
            yield "does not prepare"
            for message in sorted({answer.message for _, answer in found.refused}):
                yield _INDENT + message
            return
        shown = sum(len(variant.labels) for variant in found.variants)
        if found.count > 1:
            yield ""
            yield f"{found.count} variants prepare; {shown} choices are planned below"
        if not any(True for _ in found.trees):
            yield ""
            yield "a command without a parse tree: what it touches and proves is unknown"
        yield from self._takes(found)
        yield from self._returns(found)
        yield from self._touches(found.used)
        yield from lock_lines(found.locks)
        yield from self._rights(found)
        yield from self._isolation(found)
        yield from self._plans(found)

    def _isolation(self, found: Examined) -> Iterator[str]:
        keyed = [
            oid for oid in found.used.tables if self._catalogue.relations[oid].user_key is not None
        ]
        if not keyed:
            return
        yield ""
        yield "users"
        if found.query.tags.get("users") == "all":
            yield f"{_INDENT}works across users where it is given no :user_id"
        elif found.meetings:
            several = "user_ids" in found.query.parameters
            whose = "rows of :user_ids" if several else "one user's rows"
            yield f"{_INDENT}{whose}, by the plan without policies"
        if found.meetings:
            how = "" if found.comparable else ", with rows that it did not choose"
            yield f"{_INDENT}run as one of two people: nothing of the other's came back{how}"

    def _takes(self, found: Examined) -> Iterator[str]:
        if not found.query.parameters:
            return
        yield ""
        yield "takes"
        width = max(map(len, found.query.parameters))
        for name in found.query.parameters:
            kind = (
                self._catalogue.type_name(found.parameters[name])
                if (name in found.parameters)
                else "unknown"
            )
            when = sorted(
                {
                    str(condition)
                    for line in found.query.lines
                    if name in line.parameters and name not in found.query.required
                    for condition in line.conditions
                    if condition.kind in ("filter", "after", "when")
                }
            )
            yield f"{_INDENT}{name:{width}}  {kind}{'  with ' + ', '.join(when) if when else ''}"

    def _returns(self, found: Examined) -> Iterator[str]:
        shapes: dict[tuple[Column, ...], list[str]] = {}
        for variant in found.variants:
            shapes.setdefault(variant.columns, []).append(variant.label)
        first: tuple[Column, ...] | None = None
        for columns, labels in shapes.items():
            if not columns:
                continue
            yield ""
            if first is None:
                yield "returns"
                first = columns
                yield from self._columns(columns)
            elif columns[: len(first)] == first:
                yield f"returns with {'; '.join(labels)}, behind these"
                yield from self._columns(columns[len(first) :])
            else:
                yield f"returns with {'; '.join(labels)}"
                yield from self._columns(columns)

    def _columns(self, columns: tuple[Column, ...]) -> Iterator[str]:
        width = max(len(each.name) for each in columns)
        types = [self._catalogue.type_name(each.type) for each in columns]
        wide = max(map(len, types))
        for column, kind in zip(columns, types, strict=True):
            never = "  never null" if column.never_null else ""
            yield f"{_INDENT}{column.name:{width}}  {kind:{wide if never else 0}}{never}"

    def _touches(self, used: Dependencies) -> Iterator[str]:
        reads: list[str] = []
        writes: list[str] = []
        relations = sorted(
            ((self._catalogue.relations[oid], use) for oid, use in used.tables.items()),
            key=lambda pair: pair[0].shown,
        )
        for relation, use in relations:

            def listed(numbers: Iterable[int], relation: Any = relation) -> str:
                names = sorted(
                    relation.columns[number].name if number > 0 else "the row"
                    for number in numbers
                    if number in relation.columns or number == 0
                )
                return ", ".join(names)

            if "SELECT" in use.rights:
                reads.append(f"{relation.shown}: {listed(use.selected) or 'its rows'}")
            if use.inserted or "INSERT" in use.rights:
                writes.append(f"{relation.shown}, inserts: {listed(use.inserted) or 'defaults'}")
            if use.updated:
                writes.append(f"{relation.shown}, updates: {listed(use.updated)}")
            elif "UPDATE" in use.rights:
                writes.append(f"{relation.shown}, locks rows")
            if "DELETE" in use.rights:
                writes.append(f"{relation.shown}, deletes rows")
        calls = sorted(
            f"{function.shown}({function.arguments})"
            + (f", with the rights of {function.owner}" if function.as_owner else "")
            for oid in used.functions
            if (function := self._catalogue.functions[oid]).schema != "pg_catalog"
            or function.name in _REMARKABLE
        )
        for title, entries in (("reads", reads), ("writes", writes), ("calls", calls)):
            if entries:
                yield ""
                yield title
                for entry in entries:
                    yield from wrap(
                        entry, 96, initial_indent=_INDENT, subsequent_indent=_INDENT * 2
                    )

    def _rights(self, found: Examined) -> Iterator[str]:
        yield ""
        yield "may be run by"
        yield _INDENT + (", ".join(found.roles) or "nobody")
        for role, lacking in found.missing.items():
            if lacking and role in ("clonedb_app", "clonedb_worker"):
                yield f"{_INDENT}not {role}, which lacks {'; '.join(lacking)}"

    def _plans(self, found: Examined) -> Iterator[str]:
        outlines: dict[tuple[str, tuple[str, ...]], list[Variant]] = {}
        for variant in found.variants:
            login = found.login_of(variant)
            plan = variant.plans.get(login or "")
            if login is None or plan is None:
                return
            outline = (plan,) if isinstance(plan, str) else tuple(self._outliner.outline(plan))
            outlines.setdefault((login, outline), []).append(variant)
        yield ""
        yield "plan"
        for (login, outline), variants in outlines.items():
            yield f"{_INDENT}{', '.join(variant.label for variant in variants)}, as {login}"
            yield from (_INDENT * 2 + line for line in outline)


# Built-in functions that a reader of the ledger wants to know of.
_REMARKABLE: Final = frozenset(
    {"pg_notify", "set_config", "current_setting", "random", "gen_random_uuid", "pg_sleep"}
)


def stale_files(directory: Path, made: Mapping[str, str]) -> list[tuple[str, str, str]]:
    """What is not as it would be written: path, what is there ("" for nothing), what belongs."""
    present = {
        str(path.relative_to(directory)): path.read_text(encoding="utf-8")
        for path in directory.rglob("*.txt")
    }
    names = sorted(present.keys() | made.keys())
    return [
        (name, present.get(name, ""), made.get(name, ""))
        for name in names
        if present.get(name) != made.get(name)
    ]


def write_files(directory: Path, made: Mapping[str, str]) -> list[str]:
    """Make the folder as it should be; the paths that were written or removed.

    Raises OSError where that is not allowed.
    """
    changed = []
    for name, before, after in stale_files(directory, made):
        path = directory / name
        if after:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(after, encoding="utf-8")
        elif before:
            path.unlink()
            if path.parent != directory and not any(path.parent.iterdir()):
                path.parent.rmdir()
        changed.append(name)
    return changed
