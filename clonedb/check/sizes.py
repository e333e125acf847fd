"""How large production is: sql/check/sizes.toml, and what it comes to for each table and index."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, TypeVar

from clonedb.check.catalogue import Catalogue, Column, Index, Relation
from clonedb.check.declarations import DeclaredSizes

T = TypeVar("T")
D = TypeVar("D")

PAGE_BYTES: Final = 8192
# A row's header, its line pointer and some alignment; an index entry's.
_ROW_BYTES: Final = 32
_ENTRY_BYTES: Final = 16
_OTHER_WIDTH: Final = 24
_WIDTHS: Final = {
    "boolean": 1,
    "date": 4,
    "integer": 4,
    "bigint": 8,
    "double precision": 8,
    "numeric": 8,
    "timestamp with time zone": 8,
    "uuid": 16,
    "xid8": 8,
}
_NULLNESS: Final = re.compile(r"\(*(?P<name>\w+) IS (?P<negated>NOT )?NULL\)*")
_EQUALITY: Final = re.compile(r"\(*(?P<name>\w+) = '(?P<value>[^']*)'::\w+\)*")


class Sizes:
    """The file, as the planner needs it."""

    def __init__(self, declared: DeclaredSizes, catalogue: Catalogue | None = None) -> None:
        self._declared = declared
        self.catalogue = catalogue

    @property
    def settings(self) -> dict[str, str]:
        """Settings of the planner."""
        return {name: str(value) for name, value in self._declared.settings.items()}

    def rows(self, relation: Relation) -> int:
        """How many rows a table has, all its partitions together."""
        rows = self._declared.rows
        other = "other_users_tables" if relation.user_key else "other_tables"
        return int(rows.get(relation.name, rows.get(other, 1_000)))

    def null_share(self, relation: Relation, column: str) -> float:
        return float(_of(self._declared.nulls, relation, column, 0.0))

    def common(self, relation: Relation, column: str) -> dict[str, float]:
        """The shares of common values."""
        return _of(self._declared.values, relation, column, {})

    def distinct(self, relation: Relation, column: Column, unique: bool) -> float:
        """How many different values, as pg_stats has it: -1 for as many as rows, or so many."""
        given = _of(self._declared.distinct, relation, column.name, None)
        rows = self.rows(relation)
        if common := self.common(relation, column.name):
            return len(common)
        if given is None:
            if unique:
                return -1.0
            if column.name in ("user_id", "subject_ref"):
                given = self._declared.rows.get("users", rows)
            elif column.name == "id" or column.name.endswith("_at"):
                return -1.0
            elif self._type_name(column) == "boolean":
                given = 2
            else:
                given = max(rows // 10, 1)
        return float(min(int(given), rows))

    def width(self, relation: Relation, column: Column) -> int:
        given = _of(self._declared.widths, relation, column.name, None)
        return int(
            given if given is not None else _WIDTHS.get(self._type_name(column), _OTHER_WIDTH)
        )

    def pages(self, relation: Relation, rows: float) -> int:
        width = sum(
            self.width(relation, each) * (1 - self.null_share(relation, each.name))
            for each in relation.columns.values()
        )
        return _pages(rows, _ROW_BYTES + width)

    def index_rows(self, relation: Relation, index: Index, rows: float) -> float:
        """How many rows a partial index holds, as far as its predicate is understood."""
        for part in (index.predicate or "").split(" AND "):
            if nullness := _NULLNESS.fullmatch(part):
                share = self.null_share(relation, nullness["name"])
                rows *= 1 - share if nullness["negated"] else share
            elif equality := _EQUALITY.fullmatch(part):
                rows *= self.common(relation, equality["name"]).get(equality["value"], 0.1)
            elif part:
                rows *= self.common(relation, part.strip("()")).get("true", 0.5)
        return rows

    def index_pages(self, relation: Relation, index: Index, rows: float) -> int:
        width = sum(
            self.width(relation, relation.columns[number]) if number in relation.columns else 8
            for number in index.columns
        )
        return _pages(rows, (_ENTRY_BYTES + width) / 0.9)

    def _type_name(self, column: Column) -> str:
        return self.catalogue.type_name(column.type) if self.catalogue else ""


def _of(section: Mapping[str, T], relation: Relation, column: str, otherwise: D) -> T | D:
    return section.get(f"{relation.name}.{column}", section.get(column, otherwise))


def _pages(rows: float, width: float) -> int:
    return max(1, round(rows * width / PAGE_BYTES))
