"""Checks of what callers hand in, before anything is sent.

PostgreSQL's constraints have the last word; these say the same earlier, and name the field.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Final, TypeVar
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta

from clonedb.errors import InvalidInput
from clonedb.ids import check_id

S = TypeVar("S", bound=msgspec.Struct)

# One field of text, in bytes of UTF-8: the CHECKs of transcripts and responses use the same bound.
MAXIMUM_TEXT_BYTES: Final = 1024 * 1024

# Costs are numeric(12, 6), and a million minutes are two years: more is a mistake in the unit.
AMOUNT_LIMIT: Final = 1_000_000

# People's settings have three or four levels; Python's stack ends at about a thousand.
DEEPEST_JSON: Final = 64

# What convert has checked whole: every call comes by here with a dozen of these.
_CHECKED_BY_TYPE: Final = frozenset({int, bool, type(None), datetime})

Text = Annotated[str, Meta(max_length=MAXIMUM_TEXT_BYTES)]
LONGEST_LABEL: Final = 200
Label = Annotated[str, Meta(min_length=1, max_length=LONGEST_LABEL)]
Count = Annotated[int, Meta(ge=0, le=2_147_483_647)]
Fraction = Annotated[float, Meta(ge=0, le=1)]
Moment = Annotated[datetime, Meta(tz=True)]


def validated(value: S) -> S:
    """The same Struct with its declared types and bounds enforced (constructors do not).

    Raises InvalidInput that names the Struct and the field. Every UUID has to be of version 7,
    every number finite, every Decimal non-negative, every text free of NUL and lone surrogates.
    """
    kind = type(value)
    if not isinstance(value, msgspec.Struct):
        raise InvalidInput(f"one of clonedb's Structs is needed, not {kind.__name__}")
    fields = {
        name: content
        for name in kind.__struct_fields__
        if (content := getattr(value, name)) is not UNSET
    }
    try:
        checked = msgspec.convert(fields, kind)
    except msgspec.ValidationError as error:
        raise InvalidInput(f"{kind.__name__}: {error}") from None
    except UnicodeEncodeError:
        raise InvalidInput(f"{kind.__name__}: a text is not valid Unicode") from None
    for name in fields:
        content = getattr(checked, name)
        if type(content) not in _CHECKED_BY_TYPE:
            _check(content, f"{kind.__name__}.{name}")
    return checked


def convert(value: object, kind: Any, name: str) -> Any:
    """A single argument as `kind`, checked like a field of a Struct."""
    try:
        checked = msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise InvalidInput(f"{name}: {error}") from None
    except UnicodeEncodeError:
        raise InvalidInput(f"{name} is not valid Unicode") from None
    _check(checked, name)
    return checked


def _check(content: Any, where: str) -> None:
    if isinstance(content, str):
        check_text(content, where)
    elif isinstance(content, float):
        if not math.isfinite(content):
            raise InvalidInput(f"{where} must be a finite number, not {content}")
    elif isinstance(content, Decimal):
        if not content.is_finite() or not 0 <= content < AMOUNT_LIMIT:
            raise InvalidInput(
                f"{where} must be a number of at least 0 and below {AMOUNT_LIMIT:,}, not {content}"
            )
    elif isinstance(content, UUID):
        check_id(content, where)
    elif isinstance(content, Mapping):
        _check_json(content, where, DEEPEST_JSON)
    elif isinstance(content, list) or (
        isinstance(content, Sequence) and not isinstance(content, bytes | bytearray)
    ):
        for position, inner in enumerate(content):
            _check(inner, f"{where}[{position}]")


def _check_json(content: Any, where: str, levels: int) -> None:
    """Refuse what JSON does not have, since it would come back as something else."""
    if levels == 0:
        raise InvalidInput(f"{where[:100]} … is nested more than {DEEPEST_JSON} levels deep")
    if isinstance(content, dict):
        for key, inner in content.items():
            if not isinstance(key, str):
                raise InvalidInput(f"a key of {where} is no text but {type(key).__name__}")
            check_text(key, f"a key of {where}")
            _check_json(inner, f"{where}[{key[:40]!r}]", levels - 1)
    elif isinstance(content, list):
        for position, inner in enumerate(content):
            _check_json(inner, f"{where}[{position}]", levels - 1)
    elif isinstance(content, str | float):
        _check(content, where)
    elif content is not None and not isinstance(content, int):
        raise InvalidInput(f"{where} is of type {type(content).__name__}, which JSON does not have")


def check_text(text: str, where: str) -> str:
    """The text, if PostgreSQL can store it: no NUL, no lone surrogate, at most 1 MiB of UTF-8."""
    if "\0" in text:
        raise InvalidInput(f"{where} contains a NUL character, which PostgreSQL cannot store")
    try:
        size = len(text) if text.isascii() else len(text.encode())
    except UnicodeEncodeError as error:
        raise InvalidInput(
            f"{where} contains a lone surrogate at position {error.start}: it is not valid Unicode"
        ) from None
    if size > MAXIMUM_TEXT_BYTES:
        raise InvalidInput(f"{where} has {size:,} bytes; at most {MAXIMUM_TEXT_BYTES:,} are stored")
    return text
