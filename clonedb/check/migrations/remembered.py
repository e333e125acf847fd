"""A folder's rehearsals, remembered for as long as nothing that they are made of has changed."""

from __future__ import annotations

from pathlib import Path

from clonedb.check.migrations.population import FOLDER
from clonedb.check.migrations.rehearse import Rehearsed, rehearse
from clonedb.check.remembered import key_of, recall, remember
from clonedb.check.scratch import Scratch, cache_directory, digest
from clonedb.resources import sql_directory

_PACKAGE = Path(__file__).resolve().parents[2]


def rehearsed(
    scratch: Scratch, directory: Path, *, population: Path | None = None, cache: Path | None = None
) -> Rehearsed:
    """What `rehearse` gives, from the cache where it can be."""
    cache = cache or cache_directory()
    rows = population or sql_directory() / FOLDER
    key = key_of(f"rehearsal {digest(directory)}", [*_looked_at(), rows])
    if (known := recall(cache, key, Rehearsed)) is not None:
        return known
    found = rehearse(scratch, directory, rows)
    remember(cache, key, found)
    return found


def _looked_at() -> list[Path]:
    return [
        Path(__file__).parent,
        _PACKAGE / "migration",
        sql_directory() / "check" / "rehearsal",
        sql_directory() / "setup",
    ]
