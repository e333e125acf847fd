"""What may go wrong with a change: where, what, and how grave it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from enum import IntEnum
from typing import NamedTuple

from clonedb.review.comparison import Comparison


class Severity(IntEnum):
    """High: it can lose, show or block people's data, or break callers. Low: know of it."""

    HIGH = 3
    MEDIUM = 2
    LOW = 1

    @property
    def word(self) -> str:
        return self.name.lower()


class Risk(NamedTuple):
    """One thing. `subject` is the query, migration, object or file that it is about."""

    severity: Severity
    subject: str
    what: str
    place: str = ""


class Rule(NamedTuple):
    """What is looked for: its name, what it is called, and why it is a risk."""

    name: str
    title: str
    why: str
    find: Callable[[Comparison], Iterator[Risk]]


class Ranked(NamedTuple):
    """A risk with the rule that found it."""

    rule: Rule
    risk: Risk
