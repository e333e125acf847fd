"""Months that are over: detached, emptied and dropped, while everybody else goes on.

No statement waits for a lock for longer than a third of a second, since whoever comes later waits
behind it. What comes next for a month, the database says: after a kill at any point the next run
goes on there.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Final, Literal

import msgspec

from clonedb import queries
from clonedb.errors import ConcurrencyConflict
from clonedb.lanes.owner import OwnerConnection
from clonedb.repositories.retention import ExpiredMonth

# Seconds for which a statement that gets no lock is tried again; the next run goes on.
PATIENCE: Final = 20.0
# Seconds in which those who waited behind it go on.
_PAUSE: Final = 0.2

Did = Literal["marked", "detached", "emptied", "dropped", "held up", "busy"]


class MonthStep(msgspec.Struct, frozen=True):
    """What was done with a month, as YYYY-MM; `held up` says in `problem` what it waits for.

    `busy` is not about a month: another run is taking months of the table away.
    """

    did: Did
    month: str = ""
    problem: str | None = None


async def drop_expired_months(
    owner: OwnerConnection,
    policy: str,
    *,
    now: datetime | None = None,
    patience: float = PATIENCE,
) -> AsyncIterator[MonthStep]:
    """Take away the months of `conversation_turns` or `audit_logs` that are over, oldest first.

    A month is over when it is wholly older than an enabled policy keeps it, and for the audit log
    when every entry is sealed. Each step is yielded once it is done. Ends at the first month that
    is held up, so that none is gone before an older one. Two at once: one of them is `busy`.
    """
    if not await owner.value(queries.partitions.try_lock, policy=policy):
        yield MonthStep("busy")
        return
    deadline = time.monotonic() + patience
    find = queries.partitions.find_expired
    while months := await owner.all(find, ExpiredMonth, policy=policy, now=now):
        month = months[0]
        name = f"{month.month:%Y-%m}"
        try:
            if month.state == "attached" and not month.marked:
                verdict = await owner.value(
                    queries.partitions.mark_expired, policy=policy, month=month.month, now=now
                )
                if verdict == "not sealed":
                    yield MonthStep("held up", name, _not_sealed(name))
                    return
                if verdict == "marked":
                    yield MonthStep("marked", name)
                # Once more, as it is now: it may be kept.
                continue
            await owner.run(month.statement)
        except ConcurrencyConflict:
            if time.monotonic() >= deadline:
                yield MonthStep("held up", name, _no_lock(policy, name, month.state))
                return
            await asyncio.sleep(_PAUSE)
            continue
        deadline = time.monotonic() + patience
        yield MonthStep(_done(month), name)


def _done(month: ExpiredMonth) -> Did:
    if month.state != "detached":
        return "detached"
    return "emptied" if month.statement.startswith("TRUNCATE") else "dropped"


def _not_sealed(month: str) -> str:
    return (
        f"{month} has entries that are not sealed, and stays: a transaction that has been open for "
        "long holds sealing up"
    )


def _no_lock(policy: str, month: str, state: str) -> str:
    begun = "" if state == "attached" else f" ({state}, so nobody reads it any more)"
    return (
        f"{month} of {policy} is not dropped yet{begun}: a transaction that began before is still "
        "open; the next run goes on"
    )
