"""The header of a query: the comment lines from `-- name:` to its SQL.

    -- name: find_many(user_id, limit)      name, parameters, and how many rows come back
    -- One page of a user's sessions.       what, and why where it is not obvious
    -- timeout: 250 ms                      tags; `rows <= 500` is one too

A parameter list may run over several comment lines.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from aiosql.queries import Queries
from aiosql.types import SQLOperationType

from clonedb.errors import QueryFileError
from clonedb.query.lexer import Token

Access = Literal["read", "write"]
Lane = Literal["channel", "pool"]

NAME_LINE: Final = re.compile(r"--\s*name\s*:\s*")

_SPECIFICATION: Final = re.compile(
    r"(?P<name>[^\s(]+)\s*\((?P<parameters>[^()]*)\)\s*(?P<operator>\S*)"
)
_IDENTIFIER: Final = re.compile(r"[a-z][a-z0-9_]*")
_TAG: Final = re.compile(r"(?P<tag>[A-Za-z_]+)\s*:(?:\s+(?P<value>.*)|$)")
_TIMEOUT: Final = re.compile(r"(?P<amount>[1-9][0-9]{0,6}) (?P<unit>ms|s)")
_BOUND: Final = re.compile(r"rows\s*<=\s*(?P<value>.*)")
_ROWS: Final = re.compile(r"[1-9][0-9]{0,2}(?:,?[0-9]{3})*")
_ACCESS_PATH: Final = re.compile(r"(?P<kind>index|scan) (?P<name>[a-z_][a-z0-9_]*)")

_OPERATIONS: Final = {
    "": SQLOperationType.SELECT,
    "^": SQLOperationType.SELECT_ONE,
    "$": SQLOperationType.SELECT_VALUE,
    "!": SQLOperationType.INSERT_UPDATE_DELETE,
    "<!": SQLOperationType.INSERT_RETURNING,
}
_REFUSED_OPERATORS: Final = {
    "*!": "runs one statement per row and returns nothing: pass arrays and use unnest(), which is "
    "one statement",
    "#": "is a script, which takes no parameters and cannot be prepared: a schema change belongs "
    "in migrations/",
}
_TAG_VALUES: Final = {
    "access": ("read", "write"),
    "lane": ("channel", "pool"),
    "plan_cache_mode": ("auto", "force_generic_plan", "force_custom_plan"),
    "users": ("all",),
}
TAGS: Final = (*_TAG_VALUES, "timeout", "plan", "rows")

# `order` chooses among a query's orders; the others are arguments of aiosql's own functions.
_RESERVED_ARGUMENTS: Final = frozenset({"order", "self", "conn"})


@dataclass(frozen=True, slots=True)
class Header:
    """What a query says about itself, checked."""

    name: str
    line: int
    operation: SQLOperationType
    parameters: tuple[str, ...]
    doc: str
    tags: dict[str, str]

    @property
    def timeout_ms(self) -> int | None:
        """The query's own statement_timeout in milliseconds."""
        if "timeout" not in self.tags:
            return None
        amount, unit = self.tags["timeout"].split()
        return int(amount) * (1 if unit == "ms" else 1000)


def access_paths(tags: Mapping[str, str]) -> list[tuple[str, str]]:
    """What the tag `plan` promises: ("index", its name) or ("scan", a table read as a whole)."""
    found = (_ACCESS_PATH.fullmatch(part.strip()) for part in tags.get("plan", "").split(","))
    return [(match["kind"], match["name"]) for match in found if match]


def row_bound(tags: Mapping[str, str]) -> int | None:
    """What the tag `rows <= N` promises."""
    return int(tags["rows"].replace(",", "")) if "rows" in tags else None


def parse_header(comments: Sequence[Token], *, path: str) -> Header:
    """Read a header from its comment lines, of which the first is the name line."""
    line = comments[0].line
    specification = NAME_LINE.sub("", comments[0].text, count=1).strip()
    used = 1
    while "(" in specification and ")" not in specification and used < len(comments):
        specification += " " + _content(comments[used])
        used += 1
    name, operation, parameters = _parse_specification(specification, path, line)
    doc: list[str] = []
    tags: dict[str, str] = {}
    for comment in comments[used:]:
        content = _content(comment)
        tag, value = _read_tag(content)
        if tag is not None:
            if tag in tags:
                raise QueryFileError(path, comment.line, f"the tag {tag} is given twice")
            tags[tag] = _checked(tag, value, path, comment.line)
        elif tags and content:
            raise QueryFileError(path, comment.line, "prose goes before the tags of a header")
        elif content:
            doc.append(content)
    if not doc:
        raise QueryFileError(
            path, line, f"{name} has no description: say below its name in a sentence what it does"
        )
    return Header(name, line, operation, parameters, "\n".join(doc), tags)


def check_name(name: str, what: str, path: str, line: int) -> None:
    """Refuse what is not a plain lower-case name."""
    if not _IDENTIFIER.fullmatch(name) or keyword.iskeyword(name):
        raise QueryFileError(
            path, line, f"{name!r} is no name for a {what}: use lower case, digits and underscores"
        )


def _content(comment: Token) -> str:
    return comment.text.lstrip("-").strip()


def _parse_specification(
    specification: str, path: str, line: int
) -> tuple[str, SQLOperationType, tuple[str, ...]]:
    match = _SPECIFICATION.fullmatch(specification)
    if match is None:
        raise QueryFileError(
            path,
            line,
            f"{specification!r} is no header: write -- name: find_by_id(user_id, id)^ with its "
            "parameters in parentheses (none: find_all()), then the operator and nothing else",
        )
    name, operator = match["name"], match["operator"]
    if operator in _REFUSED_OPERATORS:
        raise QueryFileError(path, line, f"{operator} {_REFUSED_OPERATORS[operator]}")
    if operator not in _OPERATIONS:
        raise QueryFileError(
            path,
            line,
            f"{operator} is no operator: use ^ (one row or None), $ (one value), ! (how many rows "
            "were affected), <! (the row of an INSERT ... RETURNING), or nothing (all rows)",
        )
    check_name(name, "query", path, line)
    if hasattr(Queries, name) or name in ("driver_adapter", "is_aio") or name.endswith("_cursor"):
        raise QueryFileError(
            path, line, f"{name} is a name that aiosql takes for itself: choose another"
        )
    declared = [parameter.strip() for parameter in match["parameters"].split(",")]
    parameters = () if declared == [""] else tuple(declared)
    for index, parameter in enumerate(parameters):
        check_name(parameter, "parameter", path, line)
        if parameter in _RESERVED_ARGUMENTS:
            raise QueryFileError(path, line, f"a parameter cannot be called {parameter}: rename it")
        if parameter in parameters[:index]:
            raise QueryFileError(path, line, f"the parameter {parameter} is declared twice")
    return name, _OPERATIONS[operator], parameters


def _read_tag(content: str) -> tuple[str | None, str]:
    if bound := _BOUND.fullmatch(content):
        return "rows", bound["value"].strip()
    tag = _TAG.fullmatch(content)
    if tag is None or not _is_tag(tag["tag"]):
        return None, ""
    value = tag["value"] or ""
    return tag["tag"], f": {value}" if tag["tag"] == "rows" else value


def _is_tag(word: str) -> bool:
    # A capital begins a sentence ("Note: ..."), unless it is plainly a tag misspelt.
    return word.islower() or word.lower() in TAGS


def _checked(tag: str, value: str, path: str, line: int) -> str:
    if tag not in TAGS:
        raise QueryFileError(
            path,
            line,
            f"{tag} is no tag: use {', '.join(TAGS)}; prose must not begin with a lower-case word "
            "and a colon",
        )
    if tag == "timeout":
        if not _TIMEOUT.fullmatch(value):
            raise QueryFileError(path, line, f"{value!r} is no timeout: write 250 ms or 30 s")
    elif tag == "rows":
        if not _ROWS.fullmatch(value):
            raise QueryFileError(path, line, f"{value!r} is no bound: write rows <= 500")
    elif tag == "plan":
        if not all(_ACCESS_PATH.fullmatch(part.strip()) for part in value.split(",")):
            raise QueryFileError(
                path,
                line,
                f"{value!r} is no plan: write index NAME, or scan TABLE for one that is read as a "
                "whole, several separated by commas",
            )
    elif value not in _TAG_VALUES[tag]:
        raise QueryFileError(
            path, line, f"{value!r} is no {tag}: use {' or '.join(_TAG_VALUES[tag])}"
        )
    return value
