"""SQL as lines of words, each of a kind, for showing and for comparing."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, Literal, NamedTuple

from clonedb.errors import QueryFileError
from clonedb.query.lexer import Kind, Token, lex

WordKind = Literal["", "keyword", "comment", "string", "parameter"]


class Word(NamedTuple):
    """A word, a space or a sign; nothing of the text is left out between two."""

    text: str
    kind: WordKind = ""


# Keywords are upper case here: it is the house's style, and sqlfluff holds to it.
_CODE: Final = re.compile(r"\s+|\w+|[^\w\s]")
_KEYWORD: Final = re.compile(r"[A-Z][A-Z_]+")
_KINDS: Final[dict[Kind, WordKind]] = {
    Kind.PARAMETER: "parameter",
    Kind.STRING: "string",
    Kind.LINE_COMMENT: "comment",
    Kind.BLOCK_COMMENT: "comment",
}
_DOLLAR: Final = re.compile(r"\$\w*\$")


def sql_lines(text: str) -> list[list[Word]]:
    """The lines of a text of SQL; of one that is none, without kinds."""
    try:
        words = list(_words(text))
    except QueryFileError:
        return plain_lines(text)
    return _cut(words)


def plain_lines(text: str) -> list[list[Word]]:
    """The lines of any other text."""
    return _cut([Word(each[0]) for each in _CODE.finditer(text)])


def _words(text: str) -> Iterator[Word]:
    end = 0
    for token in lex(text, path=""):
        if token.start > end:
            yield Word(text[end : token.start])
        end = token.end
        yield from _of_token(token)
    yield Word(text[end:])


def _of_token(token: Token) -> Iterator[Word]:
    if token.kind is Kind.CODE:
        for each in _CODE.finditer(token.text):
            yield Word(each[0], "keyword" if _KEYWORD.fullmatch(each[0]) else "")
        return
    quote = _DOLLAR.match(token.text)
    if token.kind is Kind.STRING and quote is not None:
        yield Word(quote[0], "string")
        try:
            yield from list(_words(token.text[quote.end() : -len(quote[0])]))
        except QueryFileError:
            yield Word(token.text[quote.end() : -len(quote[0])], "string")
        yield Word(quote[0], "string")
        return
    kind = _KINDS.get(token.kind, "")
    if kind in ("comment", "string"):
        for each in _CODE.finditer(token.text):
            yield Word(each[0], kind)
    else:
        yield Word(token.text, kind)


def _cut(words: list[Word]) -> list[list[Word]]:
    lines: list[list[Word]] = [[]]
    for word in words:
        first, *rest = word.text.split("\n")
        if first:
            lines[-1].append(Word(first, word.kind))
        lines += [[Word(part, word.kind)] if part else [] for part in rest]
    return lines
