"""What the project declares in TOML for `clonedb check` and `clonedb review`, read and checked."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Final, TypeVar

import msgspec
from msgspec import Meta

from clonedb.errors import InvalidInput

T = TypeVar("T")

SIZES: Final = "sizes.toml"
CACHES: Final = "caches.toml"

_Rows = Annotated[int, Meta(ge=0)]
_Number = Annotated[int, Meta(ge=1)]
_Share = Annotated[float, Meta(ge=0, le=1)]


class DeclaredSizes(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How large production is: sql/check/sizes.toml, whose comments say what each section is."""

    settings: dict[str, str | bool | int | float] = {}
    rows: dict[str, _Rows] = {}
    nulls: dict[str, _Share] = {}
    distinct: dict[str, _Number] = {}
    values: dict[str, dict[str, _Share]] = {}
    widths: dict[str, _Number] = {}


class CacheSource(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Columns of a table, and the caches that are made from them: sql/check/caches.toml."""

    columns: list[str]
    caches: list[str]


# By table.
CacheSources = dict[str, CacheSource]


def read_declared(file: Path, kind: type[T]) -> T:
    """The content of a file; InvalidInput says what is wrong with it, and where."""
    try:
        return declared(file.read_text(encoding="utf-8"), kind)
    except OSError as error:
        raise InvalidInput(f"{file}: {error.strerror}") from error
    except ValueError as error:
        raise InvalidInput(f"{file}: {error}") from error


def declared(text: str, kind: type[T]) -> T:
    """The same of a text; ValueError says what is wrong."""
    try:
        return msgspec.convert(tomllib.loads(text), kind)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
