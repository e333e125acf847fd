"""What every refusal is asked about."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from clonedb.check.catalogue import Catalogue
from clonedb.check.examine import Examination
from clonedb.check.examined import Examined, Variant
from clonedb.check.finding import Finding
from clonedb.check.python_code import PackageCode
from clonedb.check.tree import Node
from clonedb.query.statements import Statement


@dataclass
class Subject:
    """The queries of a run; `own` says that they are clonedb's, whose Python calls them."""

    examination: Examination
    found: list[Examined]
    own: bool = True
    tests: Path | None = None

    @cached_property
    def code(self) -> PackageCode:
        """What the package's Python says of the queries."""
        return PackageCode()

    @property
    def catalogue(self) -> Catalogue:
        return self.examination.catalogue

    def trees(self) -> Iterator[tuple[Examined, Variant, Node]]:
        """Every parse tree that is known."""
        for each in self.found:
            for variant in each.trees:
                if variant.tree is not None:
                    yield each, variant, variant.tree


def at(
    rule: str,
    found: Examined,
    what: str,
    remedy: str,
    *,
    statement: Statement | None = None,
    offset: int = -1,
) -> Finding:
    """A finding at a place of a statement's text (in bytes), or at the query's name."""
    line = found.query.line
    if statement is not None and offset >= 0:
        # PostgreSQL counts bytes in a tree.
        characters = len(statement.text.encode()[:offset].decode(errors="ignore"))
        line = found.query.source_line(statement, characters)
    return Finding(found.query.path, line, found.query.name, what, remedy, rule)
