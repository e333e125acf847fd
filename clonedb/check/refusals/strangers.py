"""A user's table that is read without the user's key reaching it.

Looked at with row-level security out of the way: what the statement itself asks for is the first
wall. In the plan of every reading the table's user key is compared with :user_id, or with what is;
a table of users themselves with the :id that is asked for. A variant without :user_id works
across users, and its header has to say so: `-- users: all`. What a plan cannot show, two people's
rows do: see `two_people`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final

from clonedb.check.examine import NOBODY, Examined, Variant
from clonedb.check.finding import Finding
from clonedb.check.plans import Plan, Scan
from clonedb.check.refusals.subject import Subject, at

_NOBODYS: Final = "'00000000-0000-0000-0000-000000000000'::uuid"
# `ANY (`, a parameter, a constant, an InitPlan, or what is made of the columns of something else,
# which is looked at by itself.
_OTHER: Final = r"(?P<other>ANY \(|CASE|\$\d+|\(+InitPlan \d+\)\.col\d+|'[^']*'::uuid|\w+\.\w+)"


def find(subject: Subject) -> Iterator[Finding]:
    keys = {
        relation.name: relation.user_key
        for relation in subject.catalogue.relations.values()
        if relation.user_key is not None and not relation.is_partition
    }
    for found in subject.found:
        across = found.query.tags.get("users") == "all"
        any_stranger = False
        told: set[str] = set()
        for variant in found.variants:
            plan = variant.plans.get(NOBODY)
            if not isinstance(plan, dict):
                continue
            for scan in _unbound(subject, variant, plan, keys):
                any_stranger = True
                one_user = "user_id" in variant.statement.parameters
                if (one_user or not across) and scan.table not in told:
                    told.add(scan.table)
                    yield _finding(found, variant, scan, keys[scan.table] or "", one_user)
        if across and not any_stranger and found.variants:
            yield at(
                "strangers",
                found,
                "users: all, but every table it reads is bound to one user",
                "remove the tag",
            )


def _finding(found: Examined, variant: Variant, scan: Scan, key: str, one_user: bool) -> Finding:
    if one_user:
        what = f":user_id does not reach {scan.table}.{key} ({variant.label})"
        return at("strangers", found, what, f"add {scan.alias}.{key} = :user_id")
    what = f"{scan.table} is read across users ({variant.label})"
    remedy = f"add {scan.alias}.{key} = :user_id; for work across users say so: -- users: all"
    return at("strangers", found, what, remedy)


def _unbound(
    subject: Subject, variant: Variant, plan: Plan, keys: Mapping[str, str | None]
) -> Iterator[Scan]:
    planner = subject.examination.outliner
    joins = planner.joins(plan)
    names = variant.statement.parameters
    scans = list(planner.scans(plan))
    bound = {f"${number}" for number, name in enumerate(names, 1) if name == "user_id"}
    for scan in scans:
        # What a user is asked for by is a user's id, whatever its name.
        if scan.table == "users":
            asked = rf"\b{re.escape(scan.alias)}\.id = (?:ANY \()?(\$\d+)"
            bound |= set(re.findall(asked, scan.conditions))
    for one, other in re.findall(r"(\$\d+) = (\$\d+)", joins):
        if bound & {one, other}:
            bound |= {one, other}
    for scan in scans:
        key = keys.get(scan.table)
        # A row's place comes from a reading that is looked at by itself.
        if key is None or "ctid = " in scan.conditions:
            continue
        conditions = f"{scan.conditions} AND {joins}"
        candidates = (key, "subject_ref") if scan.table == "users" else (key,)
        if not any(_is_bound(conditions, scan.alias, each, bound) for each in candidates):
            yield scan


def _is_bound(conditions: str, alias: str, key: str, bound: set[str]) -> bool:
    column = rf"(?<![\w.]){re.escape(alias)}(?:_\d+)?\.{key}"
    either = re.compile(rf"{column} = {_OTHER}|{_OTHER.replace('other', 'left')} = {column}\b")
    for match in either.finditer(conditions):
        other = match["other"] or match["left"]
        if other in bound or other.startswith(("ANY", "(")) or other == _NOBODYS:
            return True
        if other[0] not in "$'":
            return True
    return False
