"""A write to what caches are made from, in a statement that does not make the caches old."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator

from clonedb.check.dependencies import Use
from clonedb.check.finding import Finding
from clonedb.check.refusals.subject import Subject, at
from clonedb.errors import InvalidInput
from clonedb.resources import sql_directory


def find(subject: Subject) -> Iterator[Finding]:
    file = sql_directory() / "check" / "caches.toml"
    declared = tomllib.loads(file.read_text(encoding="utf-8"))
    counters = subject.catalogue.table("cache_generations")
    for name, source in declared.items():
        table = subject.catalogue.table(name)
        if table is None or counters is None:
            continue
        if unknown := [each for each in source["columns"] if table.numbered(each) is None]:
            raise InvalidInput(f"{file.name}: {name} has no column {', '.join(unknown)}")
        watched = {number for each in source["columns"] if (number := table.numbered(each))}
        needed = {each: counters.numbered(each) for each in source["generations"]}
        for found in subject.found:
            use = found.used.tables.get(table.oid)
            if use is None or not _changes(use, watched):
                continue
            counted = found.used.tables.get(counters.oid, Use())
            removed = "DELETE" in counted.rights  # the counters themselves go, as with their user
            missing = [
                each
                for each, number in needed.items()
                if number not in counted.updated and not removed
            ]
            if missing:
                what = (
                    "adds rows to"
                    if use.inserted and not use.updated & watched
                    else "changes what caches keep of"
                )
                yield at(
                    "stale_caches",
                    found,
                    f"it {what} {name} and leaves {', '.join(missing)} of the caches as they are",
                    "end it in dropped_caches as its neighbours do, which counts up "
                    "clonedb.cache_generations",
                )


def _changes(use: Use, watched: set[int]) -> bool:
    return bool(use.updated & watched) or "DELETE" in use.rights or bool(use.inserted & watched)
