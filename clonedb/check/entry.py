"""A file of sql/ledger read back: what PostgreSQL said about one query.

Whatever `clonedb.check.ledger` writes is read; what it does not write is refused, so that neither
can change without the other.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

import msgspec

from clonedb.check.migrations.query_locks import read_locks

_INDENT: Final = "    "
_COLUMNS: Final = re.compile(r" {2,}")
_HASHES: Final = re.compile(
    r"query     (?P<query>[0-9a-f]+)\nschema    (?P<schema>[0-9a-f]+)", re.ASCII
)
_PREPARED: Final = re.compile(r"\d+ variants prepare; \d+ choices are planned below")
_WRITES: Final = re.compile(
    r"(?P<table>\S+), (?:(?P<verb>inserts|updates): (?P<columns>.+)|(?P<whole>locks|deletes) rows)"
)
_LACKS: Final = re.compile(r"not (?P<role>\S+), which lacks (?P<rights>.+)")


class Argument(msgspec.Struct, frozen=True):
    """A parameter, its type, and the conditions it goes with."""

    name: str
    type: str
    when: str = ""


class Result(msgspec.Struct, frozen=True):
    """A column of what comes back."""

    name: str
    type: str
    never_null: bool


class Touched(msgspec.Struct, frozen=True):
    """What is done to a table: reads, inserts, updates, locks or deletes; to which columns."""

    table: str
    verb: str
    columns: tuple[str, ...]


class Planned(msgspec.Struct, frozen=True):
    """One plan: of which choices of lines, as which login, and its lines."""

    labels: tuple[str, ...]
    login: str
    lines: tuple[str, ...]


class Entry(msgspec.Struct, frozen=True):
    """All that a file says. `returns`: the shapes by the choice that gives them, "" the first."""

    query: str
    query_hash: str
    schema_hash: str
    refused: tuple[str, ...] = ()
    takes: tuple[Argument, ...] = ()
    returns: dict[str, tuple[Result, ...]] = {}
    touches: tuple[Touched, ...] = ()
    calls: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    lacking: dict[str, str] = {}
    users: tuple[str, ...] = ()
    locks: dict[str, str] = {}
    plans: tuple[Planned, ...] = ()

    @property
    def tables(self) -> tuple[str, ...]:
        """The tables it touches, by name."""
        return tuple(sorted({each.table for each in self.touches}))


def read_entry(text: str) -> Entry:
    """Read a file's text; ValueError for what `clonedb check` did not write."""
    name, _, rest = text.partition("\n\n")
    hashes, _, rest = rest.partition("\n\n")
    match = _HASHES.fullmatch(hashes.rstrip("\n"))
    if match is None or "\n" in name:
        raise ValueError("this is no file of the ledger")
    found: dict[str, object] = {}
    returns: dict[str, tuple[Result, ...]] = {}
    touches: list[Touched] = []
    for block in rest.rstrip("\n").split("\n\n") if rest else ():
        title, *lines = block.split("\n")
        if _PREPARED.fullmatch(title) or title.startswith("a command without a parse tree"):
            continue
        if title == "does not prepare":
            found["refused"] = tuple(line.strip() for line in lines)
        elif title == "takes":
            found["takes"] = tuple(Argument(*_fields(line)) for line in lines)
        elif title == "returns" or title.startswith("returns with "):
            returns[title.removeprefix("returns").strip()] = tuple(map(_result, lines))
        elif title == "reads":
            touches += map(_read, _entries(lines))
        elif title == "writes":
            touches += map(_written, _entries(lines))
        elif title == "calls":
            found["calls"] = tuple(_entries(lines))
        elif title == "may be run by":
            roles = lines[0].strip()
            found["roles"] = () if roles == "nobody" else tuple(roles.split(", "))
            found["lacking"] = dict(map(_lack, lines[1:]))
        elif title == "users":
            found["users"] = tuple(line.strip() for line in lines)
        elif title == "locks":
            found["locks"] = read_locks(block)
        elif title == "plan":
            found["plans"] = tuple(_plans(lines))
        else:
            raise ValueError(f"the ledger has no part {title!r}")
    fields = {**found, "returns": returns, "touches": tuple(touches)}
    return Entry(name, match["query"], match["schema"], **fields)  # type: ignore[arg-type]


def _fields(line: str) -> list[str]:
    return _COLUMNS.split(line.strip())


def _result(line: str) -> Result:
    name, kind, *never = _fields(line)
    return Result(name, kind, never == ["never null"])


def _entries(lines: list[str]) -> Iterator[str]:
    """Entries that were wrapped, whole again."""
    whole = ""
    for line in lines:
        if line.startswith(_INDENT * 2):
            whole += " " + line.strip()
        else:
            if whole:
                yield whole
            whole = line.strip()
    if whole:
        yield whole


def _read(entry: str) -> Touched:
    table, _, columns = entry.partition(": ")
    return Touched(table, "reads", () if columns == "its rows" else tuple(columns.split(", ")))


def _written(entry: str) -> Touched:
    match = _WRITES.fullmatch(entry)
    if match is None:
        raise ValueError(f"{entry!r} is nothing that the ledger says of a write")
    if match["whole"]:
        return Touched(match["table"], match["whole"], ())
    columns = () if match["columns"] == "defaults" else tuple(match["columns"].split(", "))
    return Touched(match["table"], match["verb"], columns)


def _lack(line: str) -> tuple[str, str]:
    match = _LACKS.fullmatch(line.strip())
    if match is None:
        raise ValueError(f"{line.strip()!r} is nothing that the ledger says of rights")
    return match["role"], match["rights"]


def _plans(lines: list[str]) -> Iterator[Planned]:
    labels: tuple[str, ...] = ()
    login, outline = "", list[str]()
    for line in [*lines, _INDENT]:
        if line.startswith(_INDENT * 2):
            outline.append(line.removeprefix(_INDENT * 2))
            continue
        if labels:
            yield Planned(labels, login, tuple(outline))
        title, _, login = line.strip().rpartition(", as ")
        labels, outline = tuple(title.split(", ")), []
