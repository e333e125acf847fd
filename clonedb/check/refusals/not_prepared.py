"""A statement that PostgreSQL does not prepare."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from clonedb.check.finding import Finding
from clonedb.check.refusals.subject import Subject

_REMEDIES = {
    "42P01": "correct the name, or add the migration that makes it",
    "42703": "correct the name, or add the migration that makes it",
    "42883": "correct the name, or cast the arguments to the types it takes",
    "42P18": "cast the parameter where it is used first, such as :status::text",
    "42601": "correct the SQL",
}

WRONG: Final = """\
-- name: find_many(user_id)
-- Finds sessions.
SELECT s.id
FROM clonedb.conversation_session AS s
WHERE s.user_id = :user_id::uuid;
"""
RIGHT: Final = """\
-- name: find_many(user_id)
-- Finds sessions.
SELECT s.id
FROM clonedb.conversation_sessions AS s
WHERE s.user_id = :user_id::uuid;
"""


def find(subject: Subject) -> Iterator[Finding]:
    for found in subject.found:
        known: set[tuple[int, str]] = set()
        for statement, refused in found.refused:
            line = found.query.source_line(statement, refused.offset)
            if (line, refused.message) in known:
                continue
            known.add((line, refused.message))
            remedy = _REMEDIES.get(refused.sqlstate) or refused.hint or "correct the statement"
            yield Finding(
                found.query.path,
                line,
                found.query.name,
                f"PostgreSQL does not prepare it: {refused.message}",
                remedy,
                "not_prepared",
            )
