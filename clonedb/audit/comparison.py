"""Comparing the entries that a seal lists with those that are stored."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator
from datetime import date, timedelta
from functools import lru_cache
from typing import Final, NamedTuple
from uuid import UUID

from clonedb.audit.findings import Findings
from clonedb.repositories.audit_seals import AuditSealRepository, CheckedSeal, Month

_ID_BYTES: Final = 16
_LISTED_BYTES: Final = 48  # of an id and a SHA-256
_ID_RANDOM_BITS: Final = 80  # all of a UUIDv7 that is behind its milliseconds
_DAY_MILLISECONDS: Final = 86_400_000


class Comparison(NamedTuple):
    """How many listed entries are as they were, and how many are of months that are gone."""

    intact: int
    expired: Counter[str]


async def compare(seals: AuditSealRepository, seal: CheckedSeal, findings: Findings) -> Comparison:
    """Find which entries differ, for a seal that does not hold as a whole."""
    number = seal.number
    listed = dict(_listed(await seals.find_entries(number)))
    stored = {entry.id: entry.digest for entry in await seals.find_stored(seal)}
    differences = findings.further + len(findings.found)
    for identifier in stored.keys() - listed.keys():
        findings.add(
            "inserted",
            "it was not there when its transactions were sealed",
            seal=number,
            entry=identifier,
        )
    intact = 0
    for identifier, digest in listed.items():
        if identifier in stored:
            if stored[identifier] == digest:
                intact += 1
            else:
                findings.add("changed", "it is not as it was sealed", seal=number, entry=identifier)
    expired = await _explain_missing(
        seals, seal, [identifier for identifier in listed if identifier not in stored], findings
    )
    nothing_differs = findings.further + len(findings.found) == differences and not expired
    if nothing_differs and seal.digest_holds:
        findings.add("seal_changed", "it lists its entries in another order, or twice", seal=number)
    return Comparison(intact, expired)


async def _explain_missing(
    seals: AuditSealRepository, seal: CheckedSeal, missing: list[UUID], findings: Findings
) -> Counter[str]:
    expired: Counter[str] = Counter()
    if not missing:
        return expired
    there = _Months(await seals.find_months())
    sought = [identifier for identifier in missing if identifier in there]
    expired.update(month_of(identifier) for identifier in missing if identifier not in there)
    if not sought:
        return expired
    elsewhere = {moved.id: moved for moved in await seals.find_elsewhere(sought)}
    # Once more: a month may have been dropped since the entries were looked for.
    there = _Months(await seals.find_months())
    for identifier in sought:
        if identifier in elsewhere:
            detail = f"it says now that it is of transaction {elsewhere[identifier].xid}"
            findings.add("changed", detail, seal=seal.number, entry=identifier)
        elif identifier in there:
            detail = "it is gone from a month that is there"
            findings.add("deleted", detail, seal=seal.number, entry=identifier)
        else:
            expired[month_of(identifier)] += 1
    return expired


class _Months:
    """The months that have a partition, for many ids."""

    def __init__(self, months: list[Month]) -> None:
        self._floors = [month.floor_id.int for month in months]
        self._ceilings = [month.ceiling_id.int for month in months]

    def __contains__(self, identifier: UUID) -> bool:
        place = bisect_right(self._floors, identifier.int) - 1
        return place >= 0 and identifier.int < self._ceilings[place]


def _listed(entries: bytes) -> Iterator[tuple[UUID, bytes]]:
    for start in range(0, len(entries) - _LISTED_BYTES + 1, _LISTED_BYTES):
        middle = start + _ID_BYTES
        yield UUID(bytes=entries[start:middle]), entries[middle : start + _LISTED_BYTES]


def month_of(identifier: UUID) -> str:
    """The month of an id, which is that of its partition, as YYYY-MM."""
    return _month_of_day((identifier.int >> _ID_RANDOM_BITS) // _DAY_MILLISECONDS)


@lru_cache(maxsize=4096)  # days; without it, a million expired entries took twice as long
def _month_of_day(day: int) -> str:
    try:
        return f"{date(1970, 1, 1) + timedelta(days=day):%Y-%m}"
    except OverflowError:  # no entry's, but a seal can be made to list anything
        return "9999-12"
