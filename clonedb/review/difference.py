"""Two texts line by line, and word by word where a line was edited."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from difflib import SequenceMatcher
from typing import Final, Literal, NamedTuple

from clonedb.review.highlight import Word, plain_lines, sql_lines

Mark = Literal[" ", "+", "-", "…"]

CONTEXT: Final = 3
# Two lines that have less in common are not one line that was edited.
_SIMILAR: Final = 0.5
# Beyond so many pairs looking for edited lines takes longer than it helps.
_PAIRS: Final = 2_500


class ShownWord(NamedTuple):
    """A word of a line; `changed` where the line was edited, and this is what differs."""

    word: Word
    changed: bool = False


class ShownLine(NamedTuple):
    """A line: common, added or removed; `…` stands for so many common lines as `number` says."""

    mark: Mark
    words: tuple[ShownWord, ...] = ()
    number: int = 0

    @property
    def text(self) -> str:
        return "".join(each.word.text for each in self.words)


_Line = list[Word]


def of_sql(before: str, after: str, *, context: int = CONTEXT) -> list[ShownLine]:
    """The difference of two texts of SQL; one of them may be empty."""
    return _difference(before, after, sql_lines, context)


def of_text(before: str, after: str, *, context: int = CONTEXT) -> list[ShownLine]:
    """The difference of any other two texts."""
    return _difference(before, after, plain_lines, context)


def whole(text: str) -> list[ShownLine]:
    """A text that is compared with nothing."""
    return [ShownLine(" ", _unmarked(line)) for line in plain_lines(text)]


def _difference(
    before: str, after: str, lines_of: Callable[[str], list[_Line]], context: int
) -> list[ShownLine]:
    old = lines_of(before) if before else []
    new = lines_of(after) if after else []
    matcher = SequenceMatcher(None, _texts(old), _texts(new), autojunk=False)
    shown: list[ShownLine] = []
    for kind, old_start, old_end, new_start, new_end in matcher.get_opcodes():
        if kind == "equal":
            shown += [ShownLine(" ", _unmarked(line)) for line in new[new_start:new_end]]
        else:
            shown += _replaced(old[old_start:old_end], new[new_start:new_end])
    return list(_folded(shown, context))


def _texts(lines: Sequence[_Line]) -> list[str]:
    return ["".join(word.text for word in line) for line in lines]


def _unmarked(line: _Line) -> tuple[ShownWord, ...]:
    return tuple(map(ShownWord, line))


def _replaced(old: list[_Line], new: list[_Line]) -> list[ShownLine]:
    removed = [_unmarked(line) for line in old]
    added = [_unmarked(line) for line in new]
    if len(old) * len(new) <= _PAIRS:
        start = 0
        for number, line in enumerate(new):
            for candidate in range(start, len(old)):
                edited = _edited(old[candidate], line)
                if edited is not None:
                    removed[candidate], added[number] = edited
                    start = candidate + 1
                    break
    return [ShownLine("-", words) for words in removed] + [ShownLine("+", words) for words in added]


def _edited(old: _Line, new: _Line) -> tuple[tuple[ShownWord, ...], tuple[ShownWord, ...]] | None:
    # Spaces are in every line, and an indentation that moves is no edit.
    old_words, new_words = (
        [(number, word) for number, word in enumerate(line) if not word.text.isspace()]
        for line in (old, new)
    )
    matcher = SequenceMatcher(
        None, [word for _, word in old_words], [word for _, word in new_words], autojunk=False
    )
    if matcher.quick_ratio() < _SIMILAR or matcher.ratio() < _SIMILAR:
        return None
    changed_old = {number for number, _ in old_words}
    changed_new = {number for number, _ in new_words}
    for block in matcher.get_matching_blocks():
        changed_old -= {number for number, _ in old_words[block.a : block.a + block.size]}
        changed_new -= {number for number, _ in new_words[block.b : block.b + block.size]}
    return (
        tuple(ShownWord(word, number in changed_old) for number, word in enumerate(old)),
        tuple(ShownWord(word, number in changed_new) for number, word in enumerate(new)),
    )


def _folded(lines: list[ShownLine], context: int) -> Iterator[ShownLine]:
    """Leave out what is common and far from what is not."""
    changed = [number for number, line in enumerate(lines) if line.mark != " "]
    near = {each for number in changed for each in range(number - context, number + context + 1)}
    skipped: list[ShownLine] = []
    for number, line in enumerate(lines):
        if number in near:
            yield from _fold(skipped)
            skipped = []
            yield line
        else:
            skipped.append(line)
    yield from _fold(skipped)


def _fold(lines: list[ShownLine]) -> list[ShownLine]:
    # A line that says "one line more" is no shorter than that line.
    return [ShownLine("…", (), len(lines))] if len(lines) > 1 else lines
