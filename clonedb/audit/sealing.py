"""Sealing all that can be sealed, one batch after the other."""

from __future__ import annotations

from collections.abc import AsyncIterator

from clonedb.repositories.audit_seals import DEFAULT_BATCH, AuditSeal
from clonedb.scopes import DatabaseScope


async def seal(worker: DatabaseScope, *, limit: int = DEFAULT_BATCH) -> AsyncIterator[AuditSeal]:
    """Seal what is to be sealed, under the worker login; each seal is yielded once it is stored.

    Every seal is a transaction of its own: killed in the middle, it leaves whole seals, and the
    next run goes on. Where two run at once, one of them ends.
    """
    while (cut := await worker.audit_seals.seal(limit=limit)) is not None:
        yield cut
