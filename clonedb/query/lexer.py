"""PostgreSQL's lexical rules, as far as finding `:name` parameters safely needs them.

`lex` tells code from strings, quoted identifiers and comments the way the server does
(src/backend/parser/scan.l, with standard_conforming_strings on, its default), and adds one token of
our own: in code, `:name` is a parameter.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import Enum
from typing import Final, NamedTuple

from clonedb.errors import QueryFileError


class Kind(Enum):
    """What a token is. Whitespace between tokens is none; a line break always ends CODE."""

    CODE = "code"
    PARAMETER = "parameter"
    SEMICOLON = "semicolon"
    STRING = "string"
    QUOTED_IDENTIFIER = "quoted identifier"
    LINE_COMMENT = "comment"
    BLOCK_COMMENT = "block comment"


class Token(NamedTuple):
    """A token: its exact text, its offsets, and the lines (from 1) on which it begins and ends."""

    kind: Kind
    text: str
    start: int
    end: int
    line: int
    last_line: int


# Every character beyond ASCII belongs to an identifier, a no-break space too. The classes are
# written as what they leave out, since ranges up to U+10FFFF take long to compile.
_START: Final = r"[^\x00-@\[-^`{-\x7f]"
_IDENTIFIER: Final = rf"{_START}[^\x00-#%-/:-@\[-^`{{-\x7f]*"
_ESCAPED: Final = r"'[^'\\]*(?:(?:''|\\.)[^'\\]*)*'(?!')"

# A quote ends nothing before another: a missing one must not be found by giving back a doubled one.
# Possessive quantifiers would say it shorter; those of Python 3.11.2 lose lookaheads.
# An E'' string continued on a later line keeps its backslash rules there.
_TOKEN: Final = re.compile(
    rf"""
      (?P<space>\s+)
    | (?P<code>(?:
          (?![eE]'){_IDENTIFIER}
        | [!#%&()*+,.0-9<=>?@\[\\\]^`{{|}}~]+
        | [ \t\f\v]+
        | ::|:(?!{_START})
        | -(?!-)
        | /(?!\*)
      )+)
    | (?P<parameter>:{_IDENTIFIER})
    | (?P<comment>--[^\n]*)
    | (?P<semicolon>;)
    | (?P<string>'[^']*(?:''[^']*)*'(?!'))
    | (?P<escape>[eE]{_ESCAPED}(?:(?:[ \t\f\v]|--[^\n]*)*\n(?:\s|--[^\n]*\n)*{_ESCAPED})*)
    | (?P<quoted>"[^"]*(?:""[^"]*)*"(?!"))
    | (?P<dollar>\$(?:{_START}[^\x00-/:-@\[-^`{{-\x7f]*)?\$)
    | (?P<block>/\*)
    | (?P<position>\$[0-9]+)
    | (?P<endless>[eE]?['"])
    | (?P<stray>.)
    """,
    re.VERBOSE | re.DOTALL | re.ASCII,
)
_KINDS: Final = {
    "code": Kind.CODE,
    "stray": Kind.CODE,
    "parameter": Kind.PARAMETER,
    "comment": Kind.LINE_COMMENT,
    "semicolon": Kind.SEMICOLON,
    "string": Kind.STRING,
    "escape": Kind.STRING,
    "dollar": Kind.STRING,
    "quoted": Kind.QUOTED_IDENTIFIER,
    "block": Kind.BLOCK_COMMENT,
}
_MULTI_LINE: Final = frozenset({"string", "escape", "dollar", "quoted", "block"})
_BLOCK_COMMENT_EDGE: Final = re.compile(r"/\*|\*/")

_OPERAND_END: Final = re.compile(r"[\w$'\")\]]\Z")
# A name alone may be a keyword (`[CASE WHEN :n ...]`), so it does not count here.
_CERTAIN_OPERAND_END: Final = re.compile(r"(?:['\")\]]|(?<![\w$])[:0-9][\w$.]*)\Z")


def lex(text: str, *, path: str) -> list[Token]:
    """Return the tokens of a query file.

    Raises `QueryFileError` at what has no end, at a literal `$1`, and at a `:name` that may as
    well be the upper bound of an array slice.
    """
    tokens: list[Token] = []
    append, match_at = tokens.append, _TOKEN.match
    position, line = 0, 1
    while match := match_at(text, position):
        group = match.lastgroup or ""
        start, position = match.span()
        if group == "space":
            line += text.count("\n", start, position)
            continue
        if group == "parameter":
            _refuse_slice(text, start, match[0], tokens, path, line)
        elif group not in _KINDS:
            raise QueryFileError(path, line, _complaint(group, match[0]))
        elif group == "dollar":
            position = _end_of_dollar_quote(text, match, path, line)
        elif group == "block":
            position = _end_of_block_comment(text, match, path, line)
        last_line = line
        if group in _MULTI_LINE:
            last_line += text.count("\n", start, position)
        append(Token(_KINDS[group], text[start:position], start, position, line, last_line))
        line = last_line
    return tokens


def _complaint(group: str, text: str) -> str:
    if group == "position":
        return f"{text} is a numbered parameter: declare a name for it and write :name"
    what = "quoted identifier" if text.endswith('"') else "string"
    return f"the {what} that begins here has no end: close its quote"


def _end_of_dollar_quote(text: str, match: re.Match[str], path: str, line: int) -> int:
    end = text.find(match[0], match.end())
    if end < 0:
        raise QueryFileError(
            path,
            line,
            f"the quote {match[0]} that begins here has no end: write {match[0]} behind it",
        )
    return end + len(match[0])


def _end_of_block_comment(text: str, match: re.Match[str], path: str, line: int) -> int:
    depth = 1
    for edge in _BLOCK_COMMENT_EDGE.finditer(text, match.end()):
        depth += 1 if edge[0] == "/*" else -1
        if depth == 0:
            return edge.end()
    raise QueryFileError(
        path,
        line,
        "the comment that begins here has no end: close it with */ (comments nest, so each /* "
        "inside needs its own)",
    )


def _refuse_slice(
    text: str, start: int, parameter: str, tokens: Sequence[Token], path: str, line: int
) -> None:
    # An operand cannot stand before a parameter: in `x[1:n]` the colon is the slice's.
    before = text[max(0, start - 80) : start]
    behind_operand = _OPERAND_END.search(before) or (
        _CERTAIN_OPERAND_END.search(before.rstrip()) and _innermost_bracket(tokens) == "["
    )
    if behind_operand:
        name = parameter[1:]
        raise QueryFileError(
            path,
            line,
            f"{parameter} behind an operand may be a parameter or the end of an array slice: put "
            f"spaces around a slice's colon, [1 : {name}] or [1 : {parameter}], and one before a "
            "parameter",
        )


def _innermost_bracket(tokens: Sequence[Token]) -> str:
    depth = 0
    for token in reversed(tokens):
        for character in reversed(token.text if token.kind is Kind.CODE else ""):
            if character in ")]":
                depth += 1
            elif character in "([":
                if depth == 0:
                    return character
                depth -= 1
    return ""
