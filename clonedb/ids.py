"""UUIDv7 ids (RFC 9562, section 5.7): made here or by the database, checked wherever they enter."""

from __future__ import annotations

import os
import threading
import time
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

from clonedb.errors import InvalidInput

# A service's clock may be ahead of the database's; a day covers any drift that is not a defect,
# and keeps a wrong id from asking for a partition that nobody will make.
MAXIMUM_AHEAD: Final = timedelta(days=1)

_RANDOM_BITS: Final = 62
_COUNTER_BITS: Final = 12
_VERSION_7: Final = 7 << 76
_VARIANT: Final = 0b10 << 62
_VERSION_AND_VARIANT: Final = 0xF << 76 | 0b11 << 62
_MAXIMUM_AHEAD_MS: Final = MAXIMUM_AHEAD // timedelta(milliseconds=1)

_lock = threading.Lock()
_last = 0  # milliseconds << 12 | counter of the id made last


def new_id() -> UUID:
    """A UUIDv7 greater than every other that this process has made.

    The 12 bits after the milliseconds are a counter (RFC 9562, section 6.2, method 1): ids of one
    millisecond are in order, and a counter that overflows borrows the next millisecond.
    """
    global _last
    present = (time.time_ns() // 1_000_000) << _COUNTER_BITS
    with _lock:
        _last = stamp = max(present, _last + 1)
    return _assemble(stamp, int.from_bytes(os.urandom(8), "big"))


def id_at(moment: datetime, distinguisher: int) -> UUID:
    """The UUIDv7 of a moment whose other 74 bits are taken from `distinguisher`.

    Equal arguments give equal ids: an import that runs twice names the same rows. Raises
    InvalidInput for a moment without a time zone or before 1970.
    """
    if moment.tzinfo is None:
        raise InvalidInput(f"the moment {moment.isoformat()} has no time zone")
    milliseconds = (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
    if not 0 <= milliseconds < 1 << 48:
        raise InvalidInput(f"the moment {moment.isoformat()} does not fit a UUIDv7")
    counter = (distinguisher >> _RANDOM_BITS) & ((1 << _COUNTER_BITS) - 1)
    return _assemble((milliseconds << _COUNTER_BITS) | counter, distinguisher)


def _assemble(stamp: int, random: int) -> UUID:
    milliseconds, counter = stamp >> _COUNTER_BITS, stamp & ((1 << _COUNTER_BITS) - 1)
    low = random & ((1 << _RANDOM_BITS) - 1)
    return UUID(int=milliseconds << 80 | _VERSION_7 | counter << 64 | _VARIANT | low)


def time_of(identifier: UUID) -> datetime:
    """The moment that a UUIDv7 carries, to the millisecond, in UTC."""
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=identifier.int >> 80)


def check_id(value: UUID | str, name: str = "id") -> UUID:
    """The value as a UUIDv7; InvalidInput names the argument and says what is wrong with it."""
    if isinstance(value, str):
        text = value
        try:
            value = UUID(text)
        except ValueError:
            raise InvalidInput(f"{name} is not a UUID: {text[:64]!r}") from None
    if not isinstance(value, UUID):
        raise InvalidInput(f"{name} must be a UUID, not {type(value).__name__}")
    # version() of the standard library builds strings; this is on the path of every call.
    number = value.int
    if number & _VERSION_AND_VARIANT != _VERSION_7 | _VARIANT:
        raise InvalidInput(
            f"{name} {value} is not a UUID of version 7",
            remedy="use clonedb.new_id(), or leave the id out and the database makes it",
        )
    if number >> 80 > time.time() * 1000 + _MAXIMUM_AHEAD_MS:
        raise InvalidInput(
            f"{name} {value} carries a time in the future: more than "
            f"{MAXIMUM_AHEAD.days} day ahead of this clock"
        )
    return value
