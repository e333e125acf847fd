"""PostgreSQL's own parse tree of a statement, read from the text that the server prints of it.

With `debug_print_parse` on, the server sends the tree of each statement that it analyses. It names
every relation, column, function and right, says which outer joins may make a column NULL
(`varnullingrels`), and where in the text a thing stands. No SQL parser is needed beside it. Its
form belongs to one major version, which is the one that the check is pinned to.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

_TOKEN: Final = re.compile(r'[(){}\[\]]|"(?:[^"\\]|\\.)*"|(?:[^\s(){}\[\]"\\]|\\.)+', re.DOTALL)
_ESCAPE: Final = re.compile(r"\\(.)", re.DOTALL)


class Node:
    """A node of the tree: `tag` such as VAR, and its fields, "" or [] where there is none."""

    __slots__ = ("fields", "tag")

    def __init__(self, tag: str, fields: dict[str, Any]) -> None:
        self.tag = tag
        self.fields = fields

    def text(self, name: str) -> str:
        value = self.fields.get(name)
        return value if isinstance(value, str) else ""

    def number(self, name: str) -> int:
        return int(self.fields.get(name) or 0)

    def flag(self, name: str) -> bool:
        return bool(self.fields.get(name) == "true")

    def node(self, name: str) -> Node | None:
        value = self.fields.get(name)
        return value if isinstance(value, Node) else None

    def nodes(self, name: str) -> list[Node]:
        """The nodes of a list; a list of lists is flattened."""
        return list(_flat(self.fields.get(name)))

    def numbers(self, name: str) -> list[int]:
        """A list of integers or OIDs, or a set."""
        value = self.fields.get(name)
        return [int(each) for each in value[1:]] if isinstance(value, list) and value else []

    def children(self) -> Iterator[Node]:
        for value in self.fields.values():
            yield from _flat(value)

    def walk(self, *, into_queries: bool = True) -> Iterator[Node]:
        """This node and all below it; without `into_queries`, not below another QUERY."""
        yield self
        for child in self.children():
            if into_queries or child.tag != "QUERY":
                yield from child.walk(into_queries=into_queries)

    def __repr__(self) -> str:
        return f"<{self.tag} {self.fields}>"


def _flat(value: Any) -> Iterator[Node]:
    if isinstance(value, Node):
        yield value
    elif isinstance(value, list):
        for each in value:
            yield from _flat(each)


def read_tree(text: str) -> Node:
    """The tree that the server has printed as text."""
    tokens = _TOKEN.findall(text)
    value, end = _value(tokens, 0)
    if not isinstance(value, Node) or end != len(tokens):
        raise ValueError("this is no parse tree")
    return value


def _value(tokens: list[str], at: int) -> tuple[Any, int]:
    word = tokens[at]
    if word == "{":
        return _node(tokens, at)
    if word == "(":
        items = []
        at += 1
        while tokens[at] != ")":
            item, at = _value(tokens, at)
            items.append(item)
        return items, at + 1
    if word == "<>":
        return None, at + 1
    if word[0] == '"':
        word = word[1:-1]
    return (_ESCAPE.sub(r"\1", word) if "\\" in word else word), at + 1


def _node(tokens: list[str], at: int) -> tuple[Node, int]:
    fields: dict[str, Any] = {}
    tag = tokens[at + 1]
    at += 2
    while tokens[at] != "}":
        name = tokens[at][1:]
        at += 1
        values: list[Any] = []
        while tokens[at] != "}" and (not values or not _begins_field(tokens[at])):
            if tokens[at] == "[":  # the bytes of a constant
                end = tokens.index("]", at)
                values.append(bytes(int(byte) & 0xFF for byte in tokens[at + 1 : end]))
                at = end + 1
            else:
                value, at = _value(tokens, at)
                values.append(value)
        fields[name] = values[-1] if values else None
    return Node(tag, fields), at + 1


def _begins_field(token: str) -> bool:
    return token[0] == ":" and len(token) > 1
