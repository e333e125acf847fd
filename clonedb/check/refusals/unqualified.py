"""A column without the name of its table where two relations are in sight.

The next column of that name in the other table makes the statement ambiguous, or changes it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from clonedb.check.finding import Finding
from clonedb.check.reading import FUNCTION, is_qualified, levels, name_at, own_nodes, sources
from clonedb.check.refusals.subject import Subject, at

WRONG: Final = """\
-- name: find_many(user_id)
-- Finds sessions.
SELECT
    s.id,
    provider
FROM clonedb.conversation_sessions AS s
INNER JOIN clonedb.voice_models AS v ON v.user_id = s.user_id AND v.id = s.voice_model_id
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
    for found, variant, tree in subject.trees():
        text = variant.statement.text.encode()
        for query, scope, visible in levels(tree):
            in_sight = sum(len(sources(each)) for each in (query, *visible))
            if in_sight < 2:
                continue
            for node in own_nodes(query):
                if node.tag != "VAR" or not node.fields.get("location"):
                    continue
                offset = node.number("location")
                if offset < 0 or is_qualified(text, offset):
                    continue
                owner = scope[node.number("varlevelsup")]
                entry = owner.nodes("rtable")[node.number("varno") - 1]
                eref = entry.node("eref")
                source = eref.text("aliasname") if eref is not None else "its source"
                name = name_at(text, offset)
                if name == source and (
                    entry.text("rtekind") == FUNCTION or not node.number("varattno")
                ):
                    continue  # `unnest(…) AS key`: the alias is the column; or a row as a whole
                yield at(
                    "unqualified",
                    found,
                    f"the column {name} is not qualified, and {in_sight} relations are in sight",
                    f"write {source}.{name}",
                    statement=variant.statement,
                    offset=offset,
                )
