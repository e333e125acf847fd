"""The tables that hold rows of people, as the catalogue shows them."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby
from typing import NamedTuple

import msgspec

from clonedb.privacy.purposes import PURPOSES, UNKNOWN, Purpose


class PersonColumn(msgspec.Struct, frozen=True):
    """A column, with its table: what sql/privacy_export.sql reads from the catalogue."""

    table_name: str
    table_meaning: str | None
    user_column: str | None
    column_name: str
    data_type: str
    personal_class: str | None
    meaning: str


class PersonTable(NamedTuple):
    """A table and what its comments say; `is_erased` unless its rows outlive a person."""

    name: str
    meaning: str
    is_erased: bool
    columns: list[PersonColumn]

    @property
    def purpose(self) -> Purpose:
        """Why its rows are kept, and for how long."""
        return PURPOSES.get(self.name, UNKNOWN)


def tables_of(columns: Iterable[PersonColumn]) -> list[PersonTable]:
    """The columns by table: the users first, then by name."""
    found = []
    for name, group in groupby(columns, key=lambda column: column.table_name):
        members = list(group)
        first = members[0]
        found.append(
            PersonTable(
                name,
                " ".join((first.table_meaning or "").split()),
                first.user_column is not None,
                members,
            )
        )
    return sorted(found, key=lambda table: (table.name != "users", table.name))
