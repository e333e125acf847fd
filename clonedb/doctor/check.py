"""A check: what a module of `checks` declares, and how its rows become findings."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from functools import cache
from typing import Any, Literal, NamedTuple

import msgspec

from clonedb.doctor import checks
from clonedb.doctor.findings import Finding, Level

# What not every login may read, as sql/doctor/examination.sql names it.
Need = Literal["may_read_hba_rules", "may_read_passwords"]


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """A check without its name and query.

    `message` and `remedy` are templates, filled from the columns of the query, which has quoted
    what is a name. One column is `object`. `arguments` are the query's parameters; `needs` is
    what has to be readable.
    """

    level: Level
    message: str
    remedy: str
    arguments: Mapping[str, Any] = {}
    needs: Need | None = None


class NamedCheck(NamedTuple):
    """A check as the registry knows it."""

    name: str
    doc: str
    check: Check

    def finding(self, row: Mapping[str, Any]) -> Finding:
        """What one row of the check's query says."""
        return Finding(
            check=self.name,
            level=self.check.level,
            object=row["object"],
            message=self.check.message.format_map(row),
            remedy=self.check.remedy.format_map(row),
        )


@cache
def all_checks() -> tuple[NamedCheck, ...]:
    """Every module of `checks`, in the order of their names."""
    found = []
    for entry in sorted(pkgutil.iter_modules(checks.__path__), key=lambda entry: entry.name):
        module = importlib.import_module(f"{checks.__name__}.{entry.name}")
        found.append(NamedCheck(entry.name, module.__doc__ or "", module.CHECK))
    return tuple(found)
