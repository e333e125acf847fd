"""A page whose order does not end in a unique key: rows are repeated or missed between pages.

A page is what LIMIT or OFFSET cuts off, of a reading also in a CTE or a sub-select. Inside of a
statement that writes or locks it is none: there it is a batch of work, in any order.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from clonedb.check.finding import Finding
from clonedb.check.reading import levels, location
from clonedb.check.refusals.subject import Subject, at
from clonedb.check.row_keys import RowKeys

WRONG: Final = """\
-- name: find_many(user_id, limit)
-- Finds sessions.
SELECT s.id
FROM clonedb.conversation_sessions AS s
WHERE s.user_id = :user_id::uuid
ORDER BY s.started_at DESC
LIMIT :limit::bigint;
"""
RIGHT: Final = """\
-- name: find_many(user_id, limit)
-- Finds sessions.
SELECT s.id
FROM clonedb.conversation_sessions AS s
WHERE s.user_id = :user_id::uuid
ORDER BY s.started_at DESC, s.id DESC
LIMIT :limit::bigint;
"""


def find(subject: Subject) -> Iterator[Finding]:
    keys = RowKeys(subject.catalogue)
    for found, variant, tree in subject.trees():
        for query, scope, _ in levels(tree):
            cut = query.node("limitCount") or query.node("limitOffset")
            if cut is None or (query is not tree and variant.statement.access == "write"):
                continue
            by_reference = {
                entry.number("ressortgroupref"): entry for entry in query.nodes("targetList")
            }
            sorted_by = [
                by_reference[each.number("tleSortGroupRef")] for each in query.nodes("sortClause")
            ]
            given = {entry.number("resno") for entry in sorted_by}
            if keys.tell_page(query, scope, given):
                continue
            last = sorted_by[-1].node("expr") if sorted_by else cut
            yield at(
                "page_orders",
                found,
                "rows that are equal in its order come in any order, so that pages repeat or miss "
                "them"
                if sorted_by
                else "rows without an order come in any, so that pages repeat or miss them",
                f"end ORDER BY in a unique key, such as {keys.missing(query, scope, given)}",
                statement=variant.statement,
                offset=location(last) if last is not None else -1,
            )
