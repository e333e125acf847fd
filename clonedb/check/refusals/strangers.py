"""A user's table that is read without the user's key reaching it.

Looked at with row-level security out of the way: what the statement itself asks for is the first
wall. In the plan of every reading the table's user key is compared with :user_id, or with what is;
a table of users themselves with the :id that is asked for. A variant without :user_id works
across users, and its header has to say so: `-- users: all`. What a plan cannot show, two people's
rows do: see `two_people`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from clonedb.check.examined import NOBODY, Examined, Variant
from clonedb.check.finding import Finding
from clonedb.check.plans import Plan
from clonedb.check.reach import Reach, Reading, user_keys
from clonedb.check.refusals.subject import Subject, at
from clonedb.check.two_people import ASKED_FOR

WRONG: Final = """\
-- name: find_many(user_id)
-- Finds sessions.
SELECT
    s.id,
    v.provider
FROM clonedb.conversation_sessions AS s
INNER JOIN clonedb.voice_models AS v ON v.id = s.voice_model_id
WHERE s.user_id = :user_id::uuid;
"""
RIGHT: Final = """\
-- name: find_many(user_id)
-- Finds sessions.
SELECT
    s.id,
    v.provider
FROM clonedb.conversation_sessions AS s
INNER JOIN clonedb.voice_models AS v ON v.user_id = s.user_id AND v.id = s.voice_model_id
WHERE s.user_id = :user_id::uuid;
"""


def find(subject: Subject) -> Iterator[Finding]:
    keys = user_keys(subject.catalogue)
    for found in subject.found:
        across = found.query.tags.get("users") == "all"
        any_stranger = False
        told: set[str] = set()
        for variant in found.variants:
            plan = variant.plans.get(NOBODY)
            if not isinstance(plan, dict):
                continue
            for scan in _unbound(subject, found, variant, plan):
                any_stranger = True
                one_user = not ASKED_FOR.isdisjoint(variant.statement.parameters)
                if (one_user or not across) and scan.table not in told:
                    told.add(scan.table)
                    yield _finding(found, variant, scan, keys[scan.table], one_user)
        if across and not any_stranger and found.variants:
            yield at(
                "strangers",
                found,
                "users: all, but every table it reads is bound to one user",
                "remove the tag",
            )


def _finding(found: Examined, variant: Variant, scan: Reading, key: str, one_user: bool) -> Finding:
    if one_user:
        asked = "user_ids" if "user_ids" in variant.statement.parameters else "user_id"
        what = f":{asked} does not reach {scan.table}.{key} ({variant.label})"
        bound = f"ANY(:{asked})" if asked == "user_ids" else f":{asked}"
        return at("strangers", found, what, f"add {scan.alias}.{key} = {bound}")
    what = f"{scan.table} is read across users ({variant.label})"
    remedy = f"add {scan.alias}.{key} = :user_id; for work across users say so: -- users: all"
    return at("strangers", found, what, remedy)


def _unbound(subject: Subject, found: Examined, variant: Variant, plan: Plan) -> list[Reading]:
    tree = variant.tree or (found.full.tree if found.full is not None else None)
    names = variant.statement.parameters
    user = {f"${number}" for number, name in enumerate(names, 1) if name in ASKED_FOR}
    return Reach(
        plan, tree, subject.catalogue, subject.examination.outliner.whole_tables, user
    ).unbound()
