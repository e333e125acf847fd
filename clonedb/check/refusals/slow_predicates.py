"""`$1 IS NULL OR …` and COALESCE in a predicate: a generic plan cannot use an index for them.

The same is any OR of which one part is about parameters alone, by whatever words: `:all OR …`,
NOT (… AND …), CASE. A custom plan knows the values and folds what is made of parameters alone, so a
query whose header forces one may have them around parameters.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from clonedb.check.catalogue import Catalogue
from clonedb.check.finding import Finding
from clonedb.check.reading import Level, base_column, levels, location, predicates
from clonedb.check.refusals.subject import Subject, at
from clonedb.check.tree import Node

_SWITCH: Final = (
    "a parameter that is NULL for 'all' (IS NULL OR), or else switches a predicate off, loses the "
    "index under a generic plan"
)
_BY_A_LINE: Final = (
    "give the predicate a line of its own that ends in -- filter: name, or in -- unless: flag"
)
_COALESCE: Final = "COALESCE in a predicate keeps it from an index"
_BY_ITSELF: Final = (
    "compare the column itself: a conditional line, two predicates, or a generated column"
)

WRONG: Final = """\
-- name: find_many(user_id, state)
-- Finds sessions.
SELECT s.id
FROM clonedb.conversation_sessions AS s
WHERE s.user_id = :user_id::uuid
    AND (:state::text IS NULL OR s.state = :state);
"""
RIGHT: Final = """\
-- name: find_many(user_id, state)
-- Finds sessions.
SELECT s.id
FROM clonedb.conversation_sessions AS s
WHERE s.user_id = :user_id::uuid
    AND s.state = :state::text  -- filter: state
;
"""


def find(subject: Subject) -> Iterator[Finding]:
    for found, variant, tree in subject.trees():
        custom = found.query.tags.get("plan_cache_mode") == "force_custom_plan"
        for level in levels(tree):
            for predicate in predicates(level.query, of_rows=True):
                if not _searches(subject.catalogue, predicate, level):
                    continue
                for what, remedy, node in _complaints(predicate, custom):
                    yield at(
                        "slow_predicates",
                        found,
                        what,
                        remedy,
                        statement=variant.statement,
                        offset=location(node),
                    )


def _complaints(predicate: Node, custom: bool) -> Iterator[tuple[str, str, Node]]:
    if not custom and any(_is_switched(parts) for parts in _alternatives(predicate)):
        yield _SWITCH, _BY_A_LINE, predicate
    for folded in predicate.walk(into_queries=False):
        if folded.tag != "COALESCEEXPR" or (custom and not _has_column(folded)):
            continue
        if any(each.tag in ("PARAM", "VAR") for each in folded.walk()):
            yield _COALESCE, _BY_ITSELF, folded
            return


def _alternatives(node: Node, negated: bool = False) -> Iterator[list[Node]]:
    """The parts of every OR in a predicate, as it is when NOT has been moved inwards."""
    if node.tag == "CASEEXPR":
        # One of its parts holds, and the tests say which.
        yield [each for when in node.nodes("args") if (each := when.node("expr")) is not None]
    if node.tag != "BOOLEXPR":
        return
    operator, arguments = node.text("boolop"), node.nodes("args")
    if operator == "not":
        yield from _alternatives(arguments[0], not negated)
        return
    if (operator == "or") != negated:
        yield arguments
    for each in arguments:
        yield from _alternatives(each, negated)


def _is_switched(parts: list[Node]) -> bool:
    return any(
        any(each.tag == "PARAM" for each in part.walk())
        and not any(each.tag in ("VAR", "SUBLINK") for each in part.walk())
        for part in parts
    )


def _searches(catalogue: Catalogue, node: Node, level: Level) -> bool:
    """Whether a predicate is about a stored column, which may have an index."""
    # Over rows of a function or VALUES there is no index to lose.
    return any(
        each.tag == "VAR" and base_column(catalogue, each, level.scope, searched=True) is not None
        for each in node.walk(into_queries=False)
    )


def _has_column(node: Node) -> bool:
    return any(each.tag == "VAR" for each in node.walk())
