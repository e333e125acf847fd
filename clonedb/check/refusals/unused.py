"""A query that nothing calls, or that no test reaches.

Callers are read from the package's syntax trees. A test reaches a query if it names a function that
leads to it, by name, through any number of the package's own functions: this finds what nobody
thought of, not whether the test is a good one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from clonedb.check.finding import Finding
from clonedb.check.python_code import called_in_tests
from clonedb.check.refusals.subject import Subject, at

WRONG: Final = """\
-- name: find_longest(user_id)^
-- Nothing in clonedb/ says queries.conversation_sessions.find_longest, or no test names what does.
"""
RIGHT: Final = """\
async def find_longest(self) -> Session | None:
    return await self._scope.one(queries.conversation_sessions.find_longest, Session)
"""


def find(subject: Subject) -> Iterator[Finding]:
    if not subject.own:
        return
    folder = subject.tests
    tested = called_in_tests(folder) if folder is not None and folder.is_dir() else None
    for found in subject.found:
        module, _, name = found.query.name.partition(".")
        callers = subject.code.callers(module, name)
        if not callers:
            yield at(
                "unused",
                found,
                "nothing in the package calls it",
                "call it from a repository, or remove it",
            )
            continue
        if tested is None:
            continue
        leading = subject.code.reached_from({each.function for each in callers})
        if not leading & tested:
            yield at(
                "unused",
                found,
                f"no test calls {', '.join(sorted({each.function for each in callers}))}",
                "write the test that shows what it promises",
            )
