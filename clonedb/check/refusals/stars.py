"""`SELECT *`, or a table's whole row: what comes back, and in which order, changes with the table.

A `*` is where several columns of a result come from one place of the text, or one from a place
that has no name; `TABLE t` has none at all. A row is whole where it is a value by itself:
`to_jsonb(t)`, but not `count(t)` or `t IS NULL`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Final

from clonedb.check.catalogue import Catalogue
from clonedb.check.finding import Finding
from clonedb.check.reading import CTE, RELATION, is_star, levels, result_entries
from clonedb.check.refusals.subject import Subject, at
from clonedb.check.tree import Node

WRONG: Final = """\
-- name: find_many(user_id)
-- Finds sessions.
SELECT s.*
FROM clonedb.conversation_sessions AS s
WHERE s.user_id = :user_id::uuid;
"""
RIGHT: Final = """\
-- name: find_many(user_id)
-- Finds sessions.
SELECT
    s.id,
    s.state
FROM clonedb.conversation_sessions AS s
WHERE s.user_id = :user_id::uuid;
"""


def find(subject: Subject) -> Iterator[Finding]:
    for found, variant, tree in subject.trees():
        text = variant.statement.text.encode()
        for query, scope, _ in levels(tree):
            if query.node("setOperations") is not None:
                continue  # its columns are those of its first part, which is looked at by itself
            expressions = [
                each for entry in result_entries(query) if (each := entry.node("expr")) is not None
            ]
            for offset in sorted(_stars(query, expressions, text)):
                yield at(
                    "stars",
                    found,
                    "* gives whatever columns the table has",
                    "list the columns, in the order of the Struct",
                    statement=variant.statement,
                    offset=offset,
                )
            for expression in expressions:
                for row in _whole_rows(subject.catalogue, expression, scope):
                    yield at(
                        "stars",
                        found,
                        "a whole row gives whatever columns the table has",
                        "name its columns: jsonb_build_object(…), ROW(…)",
                        statement=variant.statement,
                        offset=row.number("location"),
                    )


def _stars(query: Node, expressions: list[Node], text: bytes) -> set[int]:
    """Where in the text, in bytes, columns stand that were not named; -1 for nowhere."""
    named = [each for each in expressions if each.tag in ("VAR", "FIELDSELECT")]
    offsets = Counter(each.number("location") for each in named)
    found = {
        offset
        for offset, times in offsets.items()
        if offset >= 0 and (times > 1 or is_star(text, offset))
    }
    # Neither have the columns of VALUES and of GROUP BY a place.
    for each in named:
        if each.tag != "VAR" or each.number("location") >= 0 or each.number("varlevelsup"):
            continue
        if query.nodes("rtable")[each.number("varno") - 1].text("rtekind") in (RELATION, CTE):
            found.add(-1)
    return found


def _whole_rows(catalogue: Catalogue, node: Node, scope: tuple[Node, ...]) -> Iterator[Node]:
    function = node.number("aggfnoid") or node.number("winfnoid")
    counts = function and catalogue.functions[function].name == "count"
    if counts or node.tag in ("NULLTEST", "FIELDSELECT", "QUERY"):
        return
    if node.tag == "VAR" and not node.number("varattno"):
        level = node.number("varlevelsup")
        if level < len(scope):
            entry = scope[level].nodes("rtable")[node.number("varno") - 1]
            if entry.text("rtekind") == RELATION:
                yield node
        return
    for child in node.children():
        yield from _whole_rows(catalogue, child, scope)
