"""Comparing the entries that a seal lists with those that are stored."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Final, NamedTuple
from uuid import UUID

from clonedb.audit.findings import Findings
from clonedb.ids import time_of
from clonedb.repositories.audit_seals import AuditSealRepository, CheckedSeal, Month

_ID_BYTES: Final = 16
_LISTED_BYTES: Final = 48  # of an id and a SHA-256


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
    elsewhere = {moved.id: moved for moved in await seals.find_elsewhere(missing)}
    # Read last: what was missing before, and whose month is there now, had not expired.
    months = await seals.find_months()
    for identifier in missing:
        if identifier in elsewhere:
            detail = f"it says now that it is of transaction {elsewhere[identifier].xid}"
            findings.add("changed", detail, seal=seal.number, entry=identifier)
        elif _is_there(identifier, months):
            findings.add(
                "deleted",
                "it is gone from a month that is there",
                seal=seal.number,
                entry=identifier,
            )
        else:
            expired[month_of(identifier)] += 1
    return expired


def _listed(entries: bytes) -> Iterator[tuple[UUID, bytes]]:
    for start in range(0, len(entries) - _LISTED_BYTES + 1, _LISTED_BYTES):
        middle = start + _ID_BYTES
        yield UUID(bytes=entries[start:middle]), entries[middle : start + _LISTED_BYTES]


def _is_there(identifier: UUID, months: list[Month]) -> bool:
    return any(month.floor_id <= identifier < month.ceiling_id for month in months)


def month_of(identifier: UUID) -> str:
    """The month of an id, which is that of its partition, as YYYY-MM."""
    try:
        return f"{time_of(identifier):%Y-%m}"
    except OverflowError:  # no entry's, but a seal can be made to list anything
        return "9999-12"
