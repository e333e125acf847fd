"""What a verification of the audit log finds."""

from __future__ import annotations

from typing import Final, Literal
from uuid import UUID

import msgspec

FindingKind = Literal[
    # an entry
    "changed",  # its columns are not those that were sealed
    "deleted",  # it was sealed, and is gone from a month that is there
    "inserted",  # it was not there when its transactions were sealed, even if it says so
    "misdated",  # its time, or that in its id, does not fit what it stands between
    "impossible",  # it says that it is of a transaction to come
    # a month
    "month_missing",  # it is gone, and an older one, or --kept-from, says that it should be there
    # a seal
    "seal_changed",  # its columns are not those that its digest is over
    "seal_missing",  # its number, or its successor's range of transactions, is left out
    "seal_unlinked",  # it does not go on from the digest of the seal before
    "anchor_missing",  # the digest that was kept outside is not among the seals
]

# Whoever has removed a month's entries is told of so many, and of how many more there are.
MAXIMUM_FINDINGS: Final = 1_000


class Finding(msgspec.Struct, frozen=True):
    """One thing that is wrong, with the seal and the entry that it is about."""

    kind: FindingKind
    detail: str
    seal: int | None = None
    entry: UUID | None = None

    def __str__(self) -> str:
        about = [
            *([] if self.seal is None else [f"seal {self.seal}"]),
            *([] if self.entry is None else [f"entry {self.entry}"]),
        ]
        return ": ".join([self.kind, *about, self.detail])


class ExpiredMonth(msgspec.Struct, frozen=True):
    """A month whose partition is gone, as YYYY-MM, and how many of its entries were sealed."""

    month: str
    entries: int


class AuditReport(msgspec.Struct, frozen=True):
    """What was verified, and what was found.

    `entries` are those that are stored as they were sealed; `expired` those of months that are
    gone, of which their seals alone are left; `pending` those that no seal covers yet, and of which
    nothing is proved. `last_seal` and `last_digest` are what to keep for the next time.
    """

    seals: int
    entries: int
    expired: list[ExpiredMonth]
    pending: int
    last_seal: int | None
    last_digest: str | None
    findings: list[Finding]
    further_findings: int

    @property
    def ok(self) -> bool:
        return not self.findings


class Findings:
    """Collects findings in bounded memory."""

    __slots__ = ("found", "further")

    def __init__(self) -> None:
        self.found: list[Finding] = []
        self.further = 0

    def add(
        self, kind: FindingKind, detail: str, *, seal: int | None = None, entry: UUID | None = None
    ) -> None:
        if len(self.found) < MAXIMUM_FINDINGS:
            self.found.append(Finding(kind, detail, seal, entry))
        else:
            self.further += 1
