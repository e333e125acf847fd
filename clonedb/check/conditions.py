"""Conditions as EXPLAIN prints them: the parts of AND, and what is equal to what."""

from __future__ import annotations

import re
from collections.abc import Iterator


def equalities(conditions: list[str]) -> Iterator[tuple[str, str]]:
    """Both ways round, every condition that says that two things are equal."""
    for each in conditions:
        sides = split(each, " = ")
        if len(sides) == 2:
            one, other = (bare(side) for side in sides)
            yield one, other
            yield other, one


def conjuncts(conditions: list[str]) -> list[str]:
    """The parts that must all hold."""
    found: list[str] = []
    for each in conditions:
        parts = split(bare(each), " AND ")
        found += conjuncts(parts) if len(parts) > 1 else parts
    return found


def split(text: str, separator: str) -> list[str]:
    """The parts of a text between separators that stand in no parentheses and no quotes."""
    parts, start, depth, at, cases = [], 0, 0, 0, 0
    while at < len(text):
        character = text[at]
        if character in "'\"":
            at = text.find(character, at + 1)
            if at < 0:
                break
        elif character in "([":
            depth += 1
        elif character in ")]":
            depth -= 1
        elif character in "CE" and (word := re.match(r"\b(CASE|END)\b", text[at:])) is not None:
            cases += 1 if word[0] == "CASE" else -1
        elif depth == 0 and cases == 0 and text.startswith(separator, at):
            parts.append(text[start:at])
            at += len(separator)
            start = at
            continue
        at += 1
    return [*parts, text[start:]]


def bare(text: str) -> str:
    """Without the parentheses around the whole."""
    while text.startswith("(") and text.endswith(")"):
        depth = 0
        for position, character in enumerate(text):
            depth += {"(": 1, ")": -1}.get(character, 0)
            if depth == 0 and position < len(text) - 1:
                return text
        text = text[1:-1]
    return text
