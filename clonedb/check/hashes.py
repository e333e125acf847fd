"""Digests of a query, of files, and of the part of the schema that a query touches."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from clonedb.check.catalogue import Catalogue
from clonedb.check.conditions import bare, split
from clonedb.check.dependencies import Dependencies
from clonedb.query.statements import Query

_DIGITS: Final = 16
_MONTH: Final = re.compile(r"_\d{4}_\d\d\b")


def query_hash(query: Query) -> str:
    """A digest of a query as its file has it: header, lines and their conditions."""
    content: list[Any] = [
        query.name,
        str(query.operation),
        query.parameters,
        dict(query.tags),
        query.doc,
    ]
    content += [[line.parts, line.conditions] for line in query.lines]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:_DIGITS]


def files_hash(files: Iterable[Path]) -> str:
    """A digest of files by name and content, line ends apart."""
    hashed = hashlib.sha256()
    for file in sorted(files):
        content = file.read_bytes().replace(b"\r\n", b"\n")
        hashed.update(file.name.encode() + b"\0" + content + b"\0")
    return hashed.hexdigest()[:_DIGITS]


class SchemaHashes:
    """Digests of the part of the schema that a query touches, so that other changes are quiet."""

    def __init__(self, lines: Iterable[str]) -> None:
        self._by_name: dict[str, list[str]] = {}
        for line in lines:
            start, brace, rest = line.partition("{")
            if _MONTH.search(start) or _MONTH.search(rest):
                continue  # as many as there are months; their parent has the same
            if brace:
                fields: dict[str, Any] = json.loads(brace + rest)
                fields.pop("comment", None)
                if str(fields.get("definition", "")).startswith("CHECK"):
                    fields["definition"] = _flat(fields["definition"])
                line = start + json.dumps(fields, sort_keys=True)
            words = start.split()
            for word in words[1:2]:
                name = word.removeprefix("clonedb.").partition("(")[0]
                self._by_name.setdefault(name, []).append(line)

    def of(self, catalogue: Catalogue, used: Dependencies) -> str:
        names = {catalogue.relations[oid].name for oid in used.tables}
        names |= {
            catalogue.functions[oid].name
            for oid in used.functions
            if catalogue.functions[oid].schema == "clonedb"
        }
        lines = [line for name in sorted(names) for line in self._by_name.get(name, [])]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:_DIGITS]


def _flat(check: str) -> str:
    """A CHECK with AND inside of AND as one, as it is after pg_dump, which is PostgreSQL's own."""
    inner = re.fullmatch(r"CHECK \(\((.*)\)\)(.*)", check, re.DOTALL)
    if inner is None:
        return check
    parts = _parts_of_and(inner[1])
    return f"CHECK (({' AND '.join(parts)})){inner[2]}"


def _parts_of_and(text: str) -> list[str]:
    parts = split(bare(text), " AND ")
    if len(parts) == 1:
        return [text]
    return [each for part in parts for each in _parts_of_and(part)]
