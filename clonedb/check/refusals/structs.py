"""A Struct whose fields, order, types or optionality are not what the query returns.

Rows are built by position, so a field too many, or two that are swapped, are wrong values and no
error.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator, Mapping
from typing import Any, Final, Literal, Union, get_args, get_origin

import msgspec

from clonedb.check.examined import Examined, Variant
from clonedb.check.finding import Finding
from clonedb.check.python_code import Mention
from clonedb.check.reading import is_functions_word, result_entries
from clonedb.check.refusals.subject import Subject
from clonedb.check.types import result_type

WRONG: Final = """\
class Session(msgspec.Struct, frozen=True):
    id: UUID
    ended_at: datetime  # the column may be NULL


await scope.all(queries.conversation_sessions.find_many, Session, limit=50)
"""
RIGHT: Final = """\
class Session(msgspec.Struct, frozen=True):
    id: UUID
    ended_at: datetime | None
"""


def find(subject: Subject) -> Iterator[Finding]:
    if not subject.own:
        return
    by_name = {found.query.name: found for found in subject.found}
    for mention in subject.code.mentions:
        found = by_name.get(f"{mention.module}.{mention.query}")
        if found is None or not found.variants or mention.struct is None:
            continue
        struct = mention.load_struct()
        if isinstance(struct, type) and issubclass(struct, msgspec.Struct):
            yield from _compare(subject, found, mention, struct)


def _compare(
    subject: Subject, found: Examined, mention: Mention, struct: type[msgspec.Struct]
) -> Iterator[Finding]:
    variant = found.variants[0]
    columns = variant.columns
    fields = typing.get_type_hints(struct, include_extras=True)
    names = list(struct.__struct_fields__)

    def finding(what: str, remedy: str) -> Finding:
        where = f"{struct.__name__} {what}"
        return Finding(mention.path, mention.line, found.query.name, where, remedy, "structs")

    if names != [column.name for column in columns]:
        yield finding(
            _difference(names, [column.name for column in columns]),
            "give the Struct the query's columns, in its order",
        )
        return
    word = _functions_word(subject, variant)
    converts = hasattr(struct, "__post_init__")
    for column, told in zip(columns, word, strict=True):
        annotation = fields[column.name]
        kinds, optional = _kinds(annotation)
        given = set(result_type(subject.catalogue, column.type).split(" | "))
        if "Any" not in kinds | given and not converts and not kinds <= given:
            yield finding(
                f"has {column.name}: {_shown(kinds)}, and the query gives {_shown(given)}",
                "correct the annotation, or cast the column",
            )
        if optional and column.never_null:
            yield finding(f"has {column.name} as optional, and it is never NULL", "remove the None")
        elif not optional and not column.never_null and not told and "Any" not in kinds:
            yield finding(
                f"has {column.name} as never None, and nothing proves that",
                "write | None, or let the query or the table make sure: NOT NULL, coalesce(…)",
            )


def _functions_word(subject: Subject, variant: Variant) -> list[bool]:
    if variant.tree is None or variant.tree.node("setOperations") is not None:
        return [False] * len(variant.columns)
    entries = result_entries(variant.tree)
    return [
        is_functions_word(subject.catalogue, each.node("expr"), (variant.tree,)) for each in entries
    ]


def _difference(fields: list[str], columns: list[str]) -> str:
    for position, (field, column) in enumerate(zip(fields, columns, strict=False), 1):
        if field != column:
            return f"has {field} as field {position}, and the query gives {column} there"
    if len(fields) > len(columns):
        return f"has {', '.join(fields[len(columns) :])}, which the query does not give"
    return f"lacks {', '.join(columns[len(fields) :])}, which the query gives"


def _kinds(annotation: Any) -> tuple[set[str], bool]:
    """The names of the types that an annotation allows, and whether None is among them."""
    origin = get_origin(annotation)
    if origin is typing.Annotated:
        return _kinds(get_args(annotation)[0])
    if origin in (Union, types.UnionType):
        kinds: set[str] = set()
        optional = False
        for each in get_args(annotation):
            if each is type(None):
                optional = True
            else:
                kinds |= _kinds(each)[0]
        return kinds, optional
    if origin is Literal:
        return {type(each).__name__ for each in get_args(annotation)}, False
    if origin is list:
        inner, _ = _kinds(get_args(annotation)[0])
        return {f"list[{_shown(inner)}]"}, False
    if origin in (dict, Mapping) or annotation is Any:
        return {"Any"}, False
    return {getattr(annotation, "__name__", str(annotation))}, False


def _shown(kinds: set[str]) -> str:
    return " | ".join(sorted(kinds))
