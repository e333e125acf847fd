"""One refusal a module: its `find` gives what is wrong, where, and what to do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from clonedb.check.finding import Finding
from clonedb.check.refusals import not_prepared
from clonedb.check.refusals.subject import Subject

__all__ = ["REFUSALS", "Subject"]

REFUSALS: Final[tuple[Callable[[Subject], Iterator[Finding]], ...]] = (not_prepared.find,)
