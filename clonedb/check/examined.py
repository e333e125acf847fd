"""What was found out about a query: its variants, their columns and plans, who may run it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from clonedb.check.dependencies import Dependencies
from clonedb.check.describe import Description, Refused
from clonedb.check.plans import Plan
from clonedb.check.tree import Node
from clonedb.check.two_people import Meeting
from clonedb.query.statements import Query, Statement

LOGINS: Final = ("clonedb_app", "clonedb_worker")
ROLES: Final = (*LOGINS, "clonedb_readonly", "clonedb_dba")

# What is planned as by nobody in particular: no policy hides a row, no right is missing.
NOBODY: Final = "no policy"


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a result, with what is proved of it."""

    name: str
    type: int
    table: int
    number: int
    never_null: bool


@dataclass(slots=True)
class Variant:
    """One declared choice of a query's lines; `labels` say which, for there may be several."""

    labels: list[str]
    flags: frozenset[str]
    statement: Statement
    description: Description
    tree: Node | None = None
    columns: tuple[Column, ...] = ()
    plans: dict[str, Plan | str] = field(default_factory=dict)

    @property
    def label(self) -> str:
        return ", ".join(self.labels)


@dataclass(slots=True)
class Examined:
    """A query and all that was found out about it."""

    query: Query
    count: int
    refused: list[tuple[Statement, Refused]]
    variants: list[Variant]
    full: Variant | None
    parameters: dict[str, int]
    used: Dependencies
    missing: dict[str, list[str]]
    # The lock that it takes on each table.
    locks: dict[str, str] = field(default_factory=dict)
    null_is_idle: frozenset[str] = frozenset()
    # What two people's rows have shown; `comparable` if a person sees, or changes, their own.
    meetings: list[tuple[Variant, str | None, Meeting]] = field(default_factory=list)
    comparable: bool = False

    @property
    def roles(self) -> list[str]:
        """Who may run it."""
        return [role for role, lacking in self.missing.items() if not lacking]

    @property
    def logins(self) -> list[str]:
        """The logins that may run it."""
        return [role for role in LOGINS if not self.missing.get(role, [role])]

    def login_of(self, variant: Variant) -> str | None:
        """Who runs a variant: the app's login for one user, the worker's across users."""
        one_user = "user_id" in variant.statement.parameters
        across = self.query.tags.get("users") == "all" and not one_user
        allowed = self.logins[::-1] if across else self.logins
        return allowed[0] if allowed else None

    def plan_of(self, variant: Variant) -> Plan | None:
        """The plan of a variant for its login, or for nobody's; None where there is none."""
        plan = variant.plans.get(self.login_of(variant) or NOBODY)
        return plan if isinstance(plan, dict) else None

    @property
    def trees(self) -> Iterator[Variant]:
        """The variants whose trees are known, the full statement among them."""
        known = [each for each in self.variants if each.tree is not None]
        full = self.full
        if full is not None and full.tree is not None and all(each is not full for each in known):
            known.append(full)
        return iter(known)
