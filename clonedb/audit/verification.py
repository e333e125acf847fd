"""Verifying the audit log: every seal, and every entry against the seal that covers it.

Each server's transactions are covered by its seals without a gap, so an entry belongs to the one
seal whose range its transaction is in, or is pending. What the entries are compared with is the
seal's list of them; what a list is worth, its digest says, and the chain of digests after it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from datetime import date, datetime, timedelta
from typing import Final, NamedTuple, Self
from uuid import UUID

from clonedb.audit.comparison import compare, month_of
from clonedb.audit.findings import MAXIMUM_FINDINGS, AuditReport, ExpiredMonth, Findings
from clonedb.errors import InvalidInput
from clonedb.ids import time_of
from clonedb.repositories.audit_seals import AuditSealRepository, CheckedSeal
from clonedb.scopes import DatabaseScope

# Compared in one statement: a quarter of a second, and some megabytes in the server.
_BATCH: Final = 4
# Any one of them; a batch of the largest seals takes seconds.
_STATEMENT_SECONDS: Final = 3_600.0

# By so much an entry's times may differ, for clocks and for transactions that are open for long;
# the table's CHECK allows its id as much.
SLACK: Final = timedelta(days=1)
_MILLISECOND: Final = timedelta(milliseconds=1)  # below which an id's time is cut

_DIGEST: Final = re.compile(r"[0-9a-fA-F]{64}")
_ANCHOR: Final = re.compile(r"([1-9][0-9]{0,17}):([0-9a-fA-F]{64})")

Progress = Callable[[int], None]


class Anchor(NamedTuple):
    """A digest that was kept outside of the database, and its seal's number where it is known."""

    digest: bytes
    number: int | None = None

    @classmethod
    def of_digest(cls, text: str) -> Self:
        """From the 64 hexadecimal digits; InvalidInput for others."""
        if not _DIGEST.fullmatch(text):
            raise InvalidInput("a digest is 64 hexadecimal digits")
        return cls(bytes.fromhex(text))

    @classmethod
    def of_seal(cls, text: str) -> Self:
        """From `number:digest`, as sealing prints it; InvalidInput for anything else."""
        parsed = _ANCHOR.fullmatch(text)
        if parsed is None:
            raise InvalidInput("a seal is its number, a colon and 64 hexadecimal digits")
        return cls(bytes.fromhex(parsed[2]), int(parsed[1]))


async def verify(
    database: DatabaseScope,
    *,
    from_seal: int = 1,
    anchor: Anchor | None = None,
    kept_from: date | None = None,
    progress: Progress | None = None,
) -> AuditReport:
    """Compare the audit log with its seals, under any login but the app's; writes nothing.

    `anchor` is a digest kept from before: without one, whoever may rewrite the whole database, or
    cut its end off, is not found out. `kept_from` is the first month whose entries have to be
    there; without it a month may be gone if no older one is left. `from_seal` leaves out what is
    before it.
    """
    if from_seal < 1:
        raise InvalidInput(f"seals are numbered from 1, so none is {from_seal}")
    if anchor is not None and anchor.number is not None and anchor.number < from_seal - 1:
        raise InvalidInput(f"seal {anchor.number} is before those from {from_seal} on")
    seals = database.within(_STATEMENT_SECONDS).audit_seals
    run = _Run(seals, anchor)
    await run.start(from_seal)
    while batch := await seals.check_many(after=run.number, limit=_BATCH):
        for seal in batch:
            await run.check(seal)
        if progress is not None:
            progress(run.number)
    await run.check_pending()
    run.check_anchor()
    await run.check_months(kept_from)
    return run.report()


class _Run:
    """What is carried from one seal to the next."""

    def __init__(self, seals: AuditSealRepository, anchor: Anchor | None) -> None:
        self._seals = seals
        self._anchor = anchor
        self._anchored = anchor is None
        self._findings = Findings()
        self._digest: bytes | None = bytes(32)
        self._horizons: dict[int, int] = {}
        self._latest: datetime | None = None
        self._expired: Counter[str] = Counter()
        self._entries = self._count = self._pending = 0
        self.number = 0

    async def start(self, from_seal: int) -> None:
        if from_seal == 1:
            return
        before = await self._seals.find_last(before=from_seal)
        self.number = from_seal - 1
        self._digest = None
        if before is not None and before.number == self.number:
            self._digest = before.digest
            self._look_for_anchor(before.number, before.digest)
        else:
            self._findings.add("seal_missing", "it is not there", seal=self.number)
        for horizon in await self._seals.find_horizons(before=from_seal):
            self._horizons[horizon.system_identifier] = horizon.to_xid

    async def check(self, seal: CheckedSeal) -> None:
        self._check_chain(seal)
        self._check_range(seal)
        if not seal.digest_holds:
            self._findings.add(
                "seal_changed", "its digest is not that of what it says", seal=seal.number
            )
        elif seal.entries_hold:
            self._entries += seal.entry_count
        if not (seal.digest_holds and seal.entries_hold):
            compared = await compare(self._seals, seal, self._findings)
            self._entries += compared.intact if seal.digest_holds else 0
            self._expired.update(compared.expired)
        await self._check_times(seal)
        self.number = seal.number
        self._count += 1

    def _check_chain(self, seal: CheckedSeal) -> None:
        if seal.number != self.number + 1:
            missing = range(self.number + 1, seal.number)
            what = f"seals {missing[0]} to {missing[-1]} are" if len(missing) > 1 else "it is"
            self._findings.add("seal_missing", f"{what} not there", seal=missing[0])
        elif self._digest is not None and seal.previous_digest != self._digest:
            self._findings.add(
                "seal_unlinked", "it does not go on from the digest before it", seal=seal.number
            )
        self._digest = seal.digest
        self._look_for_anchor(seal.number, seal.digest)

    def _check_range(self, seal: CheckedSeal) -> None:
        begins = self._horizons.get(seal.system_identifier, 0)
        if seal.from_xid != begins:
            self._findings.add(
                "seal_missing",
                f"it covers transactions from {seal.from_xid} on, and not from {begins}, where "
                "the seals before it end",
                seal=seal.number,
            )
        self._horizons[seal.system_identifier] = max(begins, seal.to_xid)

    async def _check_times(self, seal: CheckedSeal) -> None:
        """Cheaply for the seal, and entry by entry where that shows that one is wrong."""
        if seal.oldest_at is None or seal.newest_at is None:
            return
        too_old = self._latest is not None and seal.oldest_at < self._latest - SLACK
        too_new = seal.newest_at > seal.sealed_at + SLACK
        strange_id = (
            seal.lowest_id is not None
            and seal.highest_id is not None
            and not (
                time_of(UUID(seal.lowest_id)) >= seal.oldest_at - SLACK - _MILLISECOND
                and time_of(UUID(seal.highest_id)) <= seal.newest_at + SLACK
            )
        )
        if too_old or too_new or strange_id:
            for entry in await self._seals.find_stored(seal):
                if self._latest is not None and entry.created_at < self._latest - SLACK:
                    detail = f"{entry.created_at} is long before what was sealed before it"
                elif entry.created_at > seal.sealed_at + SLACK:
                    detail = f"{entry.created_at} is after its seal was cut"
                elif abs(time_of(entry.id) - entry.created_at) > SLACK + _MILLISECOND:
                    detail = f"its id is of {time_of(entry.id)}, and it of {entry.created_at}"
                else:
                    continue
                self._findings.add("misdated", detail, seal=seal.number, entry=entry.id)
        newest = min(seal.newest_at, seal.sealed_at)
        self._latest = newest if self._latest is None else max(self._latest, newest)

    async def check_pending(self) -> None:
        before = None if self._latest is None else self._latest - SLACK
        for pending in await self._seals.find_pending(self._horizons, before=before):
            self._pending += pending.entries
            if not pending.implausible:
                continue
            entries = await self._seals.find_implausible(
                pending,
                to_xid=self._horizons.get(pending.system_identifier, 0),
                before=before,
                limit=MAXIMUM_FINDINGS,
            )
            for entry in entries:
                if entry.of_a_transaction_to_come:
                    detail = "it says that it is of a transaction that has not begun"
                    self._findings.add("impossible", detail, entry=entry.id)
                else:
                    detail = f"{entry.created_at} does not fit what was sealed before it, or now"
                    self._findings.add("misdated", detail, entry=entry.id)

    def _look_for_anchor(self, number: int, digest: bytes) -> None:
        if self._anchor is not None and self._anchor.digest == digest:
            self._anchored |= self._anchor.number in (None, number)

    def check_anchor(self) -> None:
        if self._anchored or self._anchor is None:
            return
        number = self._anchor.number
        if number is None:
            detail = "no seal has the digest that was kept: the end was cut off, or rewritten"
        elif number > self.number:
            detail = f"it was kept, and is not there: the last is {self.number}"
        else:
            detail = "its digest is not the one that was kept: it was rewritten"
        self._findings.add("anchor_missing", detail, seal=number)

    async def check_months(self, kept_from: date | None) -> None:
        if not self._expired:
            return
        months = await self._seals.find_months()
        oldest = min((month_of(month.floor_id) for month in months), default="9999-12")
        first = oldest if kept_from is None else min(oldest, f"{kept_from:%Y-%m}")
        for month, entries in sorted(self._expired.items()):
            if month >= first:
                self._findings.add(
                    "month_missing", f"{month} is gone with {entries:,} sealed entries"
                )

    def report(self) -> AuditReport:
        return AuditReport(
            seals=self._count,
            entries=self._entries,
            expired=[ExpiredMonth(*pair) for pair in sorted(self._expired.items())],
            pending=self._pending,
            last_seal=self.number or None,
            last_digest=None if not self.number or self._digest is None else self._digest.hex(),
            findings=self._findings.found,
            further_findings=self._findings.further,
        )
