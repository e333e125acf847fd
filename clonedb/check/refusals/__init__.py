"""One refusal a module: its `find` gives what is wrong, where, and what to do.

`WRONG` is an example of what it refuses and `RIGHT` of what to write: docs/check.md has them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from clonedb.check.finding import Finding
from clonedb.check.refusals import (
    broken_tags,
    leaks,
    narrow_parameters,
    not_prepared,
    page_orders,
    robbed_indexes,
    slow_predicates,
    stale_caches,
    stars,
    strangers,
    structs,
    unqualified,
    unused,
)
from clonedb.check.refusals.subject import Subject

__all__ = ["DECLARED", "REFUSALS", "Declared", "Subject"]


class Declared(NamedTuple):
    """What a refusal says of itself: a query that it refuses, and what to write in its place."""

    name: str
    doc: str
    find: Callable[[Subject], Iterator[Finding]]
    wrong: str
    right: str


DECLARED: Final = tuple(
    Declared(
        module.__name__.rpartition(".")[2],
        module.__doc__ or "",
        module.find,
        module.WRONG,
        module.RIGHT,
    )
    for module in (
        broken_tags,
        leaks,
        narrow_parameters,
        not_prepared,
        page_orders,
        robbed_indexes,
        slow_predicates,
        stale_caches,
        stars,
        strangers,
        structs,
        unqualified,
        unused,
    )
)
REFUSALS: Final[tuple[Callable[[Subject], Iterator[Finding]], ...]] = tuple(
    each.find for each in DECLARED
)
