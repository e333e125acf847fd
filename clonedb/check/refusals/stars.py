"""`SELECT *`: what comes back, and in which order, changes with the table."""

from __future__ import annotations

import re
from collections.abc import Iterator

from clonedb.check.finding import Finding
from clonedb.check.refusals.subject import Subject
from clonedb.query.lexer import Kind, lex

_STAR = re.compile(
    r"(?:\b(?:select|returning|distinct|all)\s+|,\s*|\.\s*)\*(?!\s*[\w(])", re.IGNORECASE
)


def find(subject: Subject) -> Iterator[Finding]:
    for found in subject.found:
        previous = ""
        for line in found.query.lines:
            code = _code("".join(line.parts))
            # `*` may begin a line; then the keyword is on the one before.
            if _STAR.search(previous + " " + code) and "*" in code:
                yield Finding(
                    found.query.path,
                    line.number,
                    found.query.name,
                    "* gives whatever columns the table has",
                    "list the columns, in the order of the Struct",
                    "stars",
                )
            words = code.split()
            previous = words[-1] if words else previous


def _code(text: str) -> str:
    """The text with strings and comments blanked."""
    return "".join(
        token.text if token.kind is Kind.CODE else " '' " for token in lex(text, path="")
    )
