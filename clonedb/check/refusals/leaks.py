"""A statement that shows or changes another person's rows, when it is run on two people's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from clonedb.check.finding import Finding
from clonedb.check.refusals.subject import Subject, at

WRONG: Final = """\
-- name: find_many(user_id)
-- Finds voices.
SELECT v.model_path
FROM clonedb.voice_models AS v
WHERE v.user_id = :user_id::uuid
    OR v.is_active;
"""
RIGHT: Final = """\
-- name: find_many(user_id)
-- Finds voices.
SELECT v.model_path
FROM clonedb.voice_models AS v
WHERE v.user_id = :user_id::uuid
    AND v.is_active;
"""


def find(subject: Subject) -> Iterator[Finding]:
    people = subject.examination.people
    for relation in people.absent if people.present else ():
        yield Finding(
            "sql/check/two_people.sql",
            1,
            "two_people",
            f"the two people have no rows in {relation.name}, so nothing is shown by them",
            "insert one for each",
            "leaks",
        )
    for found in subject.found:
        for variant, role, meeting in found.meetings:
            if not (meeting.shown or meeting.changed):
                continue
            verb = "shows" if meeting.shown else "changes"
            if role is None:
                yield at(
                    "leaks",
                    found,
                    f"asked for one user, it {verb} another's rows where no policy stops it "
                    f"({variant.label})",
                    "compare the user's key of every table with :user_id",
                )
            else:
                yield at(
                    "leaks",
                    found,
                    f"as {role} in one user's context, it {verb} another's rows ({variant.label})",
                    "give the table its policies (clonedb.protect_user_table), or let the "
                    "function that it calls take its user from the context",
                )
