"""One refusal a module: its `find` gives what is wrong, where, and what to do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

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

__all__ = ["REFUSALS", "Subject"]

REFUSALS: Final[tuple[Callable[[Subject], Iterator[Finding]], ...]] = (
    broken_tags.find,
    leaks.find,
    narrow_parameters.find,
    not_prepared.find,
    page_orders.find,
    robbed_indexes.find,
    slow_predicates.find,
    stale_caches.find,
    stars.find,
    strangers.find,
    structs.find,
    unqualified.find,
    unused.find,
)
