"""The SQL of one query as lines, some of them under a condition.

A line that ends in a comment such as `-- filter: state` is conditional:

    filter: NAME   stays when all parameters of that filter's lines are given
    when: FLAG     stays when the flag is given
    unless: FLAG   goes when the flag is given
    order: NAME    stays in that order; the first order of a query is its default
    after: NAME    stays in that order when the cursor, its after_... parameters, is given

Several, joined by `; `, must all hold.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final, Literal, NamedTuple, cast, get_args

from clonedb.errors import QueryFileError
from clonedb.query.headers import TAGS
from clonedb.query.lexer import Kind, Token

ConditionKind = Literal["filter", "when", "unless", "order", "after"]
CONDITIONS: Final = cast(tuple[ConditionKind, ...], get_args(ConditionKind))

# A word and a colon; but not the colon of "https://", and not sqlfluff's own word.
_LABEL: Final = re.compile(r"--\s*(?!noqa:)(?P<word>[A-Za-z_]+)\s*:(?!/)")
_CONDITION: Final = re.compile(r"(?P<kind>[a-z]+):\s*(?P<name>[a-z][a-z0-9_]*)")

_FIRST_WORD: Final = re.compile(r"\W*(\w+)")
_READING_WORDS: Final = ("SELECT", "WITH", "VALUES", "TABLE", "SHOW", "EXPLAIN")
# As a column of something (`t.update`) a word is only a name. SHARE is that of FOR [KEY] SHARE.
_WRITING: Final = re.compile(
    r"(?<![.\w$])(?:INSERT|UPDATE|DELETE|MERGE|INTO|FOR\s+(?:KEY\s+)?SHARE)(?![\w$])", re.IGNORECASE
)


class Condition(NamedTuple):
    """What must hold for a line to stay."""

    kind: ConditionKind
    name: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.name}"


class Line(NamedTuple):
    """A line of SQL (several, where a string spans them) without its `--` comment.

    `parts` alternates literal text and names of parameters, beginning and ending with text.
    `writes` says that it changes or locks rows.
    """

    number: int
    parts: tuple[str, ...]
    parameters: tuple[str, ...]
    conditions: tuple[Condition, ...]
    writes: bool


def read_lines(text: str, tokens: Sequence[Token], *, path: str) -> Iterator[Line]:
    """Read the tokens of one query, its header and semicolon left out, as lines."""
    writing_lines = _writing_lines(tokens)
    rows: list[list[Token]] = []
    last_line = 0
    for token in tokens:
        if token.line == last_line:
            rows[-1].append(token)
        else:
            rows.append([token])
        last_line = token.last_line
    for row in rows:
        comment = row.pop() if row[-1].kind is Kind.LINE_COMMENT else None
        start = text.rfind("\n", 0, row[0].start) + 1 if row else 0
        number = row[0].line if row else 0
        while row and row[0].kind is Kind.BLOCK_COMMENT:
            start = row.pop(0).end
        if not row:
            if comment is not None:
                _refuse_stray(comment, path)
            continue
        conditions = () if comment is None else _conditions(comment, path)
        last_line = row[-1].last_line
        if conditions and last_line > number:
            raise QueryFileError(
                path,
                last_line,
                "this line begins inside a string or comment and cannot be dropped: end that on "
                "the line before",
            )
        parts = _parts(text, start, row)
        writes = not writing_lines.isdisjoint(range(number, last_line + 1))
        yield Line(number, parts, parts[1::2], conditions, writes)


def is_condition(comment: str) -> bool:
    """Tell whether a comment at the end of a line is, or is meant to be, its condition."""
    return _LABEL.match(comment) is not None


def _parts(text: str, start: int, row: Sequence[Token]) -> tuple[str, ...]:
    parts = []
    for token in row:
        if token.kind is Kind.PARAMETER:
            parts += [text[start : token.start], token.text[1:]]
            start = token.end
    return (*parts, text[start : row[-1].end].rstrip())


def _conditions(comment: Token, path: str) -> tuple[Condition, ...]:
    if not is_condition(comment.text):
        return ()
    if comment.text.rstrip().endswith(";"):
        raise QueryFileError(
            path,
            comment.line,
            "this ; is inside the comment: put it before the --, or leave it out",
        )
    conditions = []
    for text in comment.text.lstrip("-").split(";"):
        match = _CONDITION.fullmatch(text.strip())
        if match is None or match["kind"] not in CONDITIONS:
            raise QueryFileError(
                path,
                comment.line,
                f"{text.strip()!r} is no condition: write {': NAME, '.join(CONDITIONS)}: NAME, "
                "several joined by '; '; another comment must not begin with a word and a colon",
            )
        conditions.append(Condition(cast(ConditionKind, match["kind"]), match["name"]))
    if sum(condition.kind not in ("when", "unless") for condition in conditions) > 1:
        raise QueryFileError(
            path, comment.line, "a line has one filter, order or after at most: make it two lines"
        )
    return tuple(conditions)


def _refuse_stray(comment: Token, path: str) -> None:
    label = _LABEL.match(comment.text)
    word = label["word"].lower() if label is not None else ""
    if word in CONDITIONS:
        raise QueryFileError(
            path, comment.line, f"{word}: has no SQL before it: put it at the end of its line"
        )
    if word == "name":
        raise QueryFileError(path, comment.line, "a query begins with -- name: in lower case")
    if word in TAGS:
        raise QueryFileError(
            path, comment.line, f"a tag belongs in the header: put {word}: directly below its prose"
        )


def _writing_lines(tokens: Sequence[Token]) -> set[int]:
    # The code alone, line by line, so that no string or comment is taken for a keyword.
    pieces = []
    first_line = line = tokens[0].line if tokens else 0
    for token in tokens:
        pieces.append("\n" * (token.line - line))
        pieces.append(token.text if token.kind is Kind.CODE else " ")
        line = token.line
    code = "".join(pieces)
    lines = {first_line + code.count("\n", 0, hit.start()) for hit in _WRITING.finditer(code)}
    word = _FIRST_WORD.match(code)
    if word is not None and word[1].upper() not in _READING_WORDS:
        lines.add(first_line + code.count("\n", 0, word.start(1)))
    return lines
