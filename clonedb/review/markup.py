"""Code as HTML. Every text of a repository passes `escape` here, or jinja2's autoescape."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby
from typing import Final

from markupsafe import Markup, escape

from clonedb.review.difference import ShownLine, ShownWord
from clonedb.review.highlight import sql_lines

# One letter each: there are tens of thousands.
_TAGS: Final = {"keyword": "b", "comment": "i", "string": "s", "parameter": "u"}
_CLASSES: Final = {" ": "", "+": "add", "-": "del", "…": "gap"}


def code(text: str) -> Markup:
    """A text of SQL, highlighted."""
    return Markup("\n").join(_words(map(ShownWord, line)) for line in sql_lines(text))


def difference(lines: Iterable[ShownLine]) -> Markup:
    """A difference, a block for each line."""
    return Markup("").join(map(_line, lines))


def _line(line: ShownLine) -> Markup:
    if line.mark == "…":
        words = f"{line.number} lines as before"
        return Markup('<span class="l gap">{}</span>').format(words)
    if line.mark == " ":
        return Markup('<span class="l">{}\n</span>').format(_words(line.words))
    tag = "ins" if line.mark == "+" else "del"
    return Markup('<{} class="l">{}\n</{}>').format(tag, _words(line.words), tag)


def _words(words: Iterable[ShownWord]) -> Markup:
    parts = []
    for (kind, changed), group in groupby(words, key=lambda each: (each.word.kind, each.changed)):
        text = escape("".join(each.word.text for each in group))
        if kind and text.strip():
            text = Markup("<{0}>{1}</{0}>").format(_TAGS[kind], text)
        if changed:
            text = Markup("<mark>{}</mark>").format(text)
        parts.append(text)
    return Markup("").join(parts)
