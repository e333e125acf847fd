"""The objects of docs/schema.sql: what pg_dump says of each function, policy, index and table."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

import msgspec

_HEADING: Final = re.compile(
    r"^--\n-- Name: (?P<name>.+); Type: (?P<type>[A-Z ]+); "
    r"Schema: (?P<schema>\S+); Owner: .*\n--\n",
    re.MULTILINE,
)
_COMMENT: Final = re.compile(r" IS '(?P<text>(?:[^']|'')*)';", re.DOTALL)


class SchemaObject(msgspec.Struct, frozen=True):
    """One object: `kind` as pg_dump calls it, `name` with arguments or the table it is on."""

    kind: str
    name: str
    schema: str
    text: str

    @property
    def as_owner(self) -> bool:
        """Whether it is a function that runs with its owner's rights."""
        return self.kind == "FUNCTION" and bool(
            re.search(r"\bSECURITY DEFINER\b", self.text.partition("$")[0])
        )

    @property
    def bare_name(self) -> str:
        """The name without arguments."""
        return self.name.partition("(")[0]


class Schema:
    """All objects of a dump, by kind and name."""

    def __init__(self, dump: str) -> None:
        self.objects: dict[tuple[str, str], SchemaObject] = {}
        for found in _objects(dump):
            key = found.kind, found.name
            if key in self.objects:  # several rights on one object
                found = SchemaObject(
                    *key, found.schema, f"{self.objects[key].text}\n\n{found.text}"
                )
            self.objects[key] = found

    def of(self, kind: str) -> Iterator[SchemaObject]:
        return (each for each in self.objects.values() if each.kind == kind)

    def comment(self, what: str) -> str:
        """What COMMENT ON says, such as of `COLUMN users.email`; "" for nothing."""
        found = self.objects.get(("COMMENT", what))
        match = _COMMENT.search(found.text) if found else None
        return match["text"].replace("''", "'") if match else ""

    def indexes(self) -> set[str]:
        """The names of indexes, those of keys among them."""
        keys = (each.name.split()[-1] for each in self.of("CONSTRAINT"))
        return {each.bare_name for each in self.of("INDEX")} | set(keys)


def _objects(dump: str) -> Iterator[SchemaObject]:
    headings = list(_HEADING.finditer(dump))
    starts = [each.start() for each in headings]
    for heading, end in zip(headings, [*starts[1:], len(dump)], strict=False):
        text = dump[heading.end() : end].strip()
        yield SchemaObject(heading["type"], heading["name"], heading["schema"], text)
