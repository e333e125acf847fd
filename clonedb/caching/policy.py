"""How one cache behaves."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from clonedb.errors import InvalidInput
from clonedb.repositories.cache_table import check_ttl
from clonedb.validation import convert

_Fraction = Annotated[float, Meta(ge=0, le=0.9)]
_Bytes = Annotated[int, Meta(ge=0, le=1 << 40)]
_Entries = Annotated[int, Meta(ge=0, le=100_000_000)]

_KINDS: Final = {
    "jitter": _Fraction,
    "refresh_ahead": _Fraction,
    "memory_entries": _Entries,
    "memory_bytes": _Bytes,
}


class CachePolicy(msgspec.Struct, frozen=True, kw_only=True):
    """How long values live, how much is kept in memory, and how fills wait for each other.

    `ttl` None is the cache's own default. `jitter` shortens each by up to that part of it, so that
    what was stored together does not expire together. `refresh_ahead` makes a value anew in the
    background when it is used in the last part of its life; `stale_for` lets callers who allow it
    have a value that expired no longer ago. In memory an entry is kept for `memory_ttl` at most.
    `lease` is how long a filler that has died keeps others waiting, and `wait` how long anybody
    waits before making the value for themselves.
    """

    ttl: timedelta | None = None
    jitter: _Fraction = 0.1
    refresh_ahead: _Fraction = 0.1
    stale_for: timedelta = timedelta(minutes=5)
    memory_ttl: timedelta = timedelta(minutes=1)
    memory_entries: _Entries = 10_000
    memory_bytes: _Bytes = 64 * 1024 * 1024
    lease: timedelta = timedelta(seconds=5)
    wait: timedelta = timedelta(seconds=10)

    def __post_init__(self) -> None:
        # Constructors of Structs do not check.
        for name, kind in _KINDS.items():
            convert(getattr(self, name), kind, name)
        if self.ttl is not None:
            check_ttl(self.ttl)
        for name, value, least in (
            ("stale_for", self.stale_for, 0.0),
            ("memory_ttl", self.memory_ttl, 0.0),
            ("lease", self.lease, 0.1),
            ("wait", self.wait, 0.0),
        ):
            if not isinstance(value, timedelta) or not least <= value.total_seconds() <= 86_400:
                raise InvalidInput(f"{name} is {least:g} seconds to a day, not {value!r}")
