"""Rows that are over, removed by their own hard_delete: on record, with caches and objects."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime
from typing import Any, Final, NamedTuple

from clonedb import queries
from clonedb.database import Database
from clonedb.privacy.erasure import erase
from clonedb.repositories.retention import Expired

# Each row is a transaction of its own; so many are looked for, and are on their way at once.
BATCH: Final = 100
_AT_ONCE: Final = 5


_Remove = Callable[[Database, Expired], Awaitable[bool]]


class _Kind(NamedTuple):
    """How a policy finds rows, and removes one if it is still over."""

    find: Callable[..., Any]
    row: type[Expired]
    remove: _Remove


def _kind(policy: str) -> _Kind:
    return {
        "conversation_sessions": _Kind(
            queries.retention.find_old_sessions,
            Expired,
            _removal(queries.conversation_sessions.hard_delete, "started_before"),
        ),
        "deleted_conversation_sessions": _Kind(
            queries.retention.find_deleted_sessions,
            Expired,
            _removal(queries.conversation_sessions.hard_delete, "deleted_before"),
        ),
        "deleted_face_models": _Kind(
            queries.retention.find_deleted_face_models,
            Expired,
            _removal(queries.face_models.hard_delete, "deleted_before"),
        ),
        "deleted_knowledge_documents": _Kind(
            queries.retention.find_deleted_documents,
            Expired,
            _removal(queries.knowledge_documents.hard_delete, "deleted_before"),
        ),
        "deleted_users": _Kind(queries.retention.find_deleted_users, Expired, _erase_user),
        "deleted_voice_models": _Kind(
            queries.retention.find_deleted_voice_models,
            Expired,
            _removal(queries.voice_models.hard_delete, "deleted_before"),
        ),
        "failed_documents": _Kind(
            queries.retention.find_failed_documents,
            Expired,
            _removal(queries.knowledge_documents.hard_delete, "failed_before"),
        ),
    }[policy]


def _removal(hard_delete: Callable[..., Any], condition: str) -> _Remove:
    """A query whose condition takes Expired.before."""

    async def remove(worker: Database, one: Expired) -> bool:
        removed = await worker.as_user(one.user_id).value(
            hard_delete, id=one.id, **{condition: one.before}
        )
        return removed is not None

    return remove


async def _erase_user(worker: Database, one: Expired) -> bool:
    receipt = await erase(worker, one.user_id, deleted_before=one.before)
    return receipt is not None and receipt.outcome == "erased"


async def delete_expired(
    worker: Database, policy: str, *, now: datetime | None = None, batch: int = BATCH
) -> AsyncIterator[int]:
    """Delete what a policy is over for, the oldest first, under the worker login.

    Yields how many after each batch; nothing where it is not enabled. Every row is removed
    under the condition that it is still over, so what was restored meanwhile stays, and of two
    that run at once one removes it.
    """
    kind = _kind(policy)
    at_once = asyncio.Semaphore(_AT_ONCE)

    async def remove(kind: _Kind, one: Expired) -> bool:
        async with at_once:
            return await kind.remove(worker, one)

    while True:
        expired = await worker.all(kind.find, kind.row, now=now, limit=batch)
        outcomes = await asyncio.gather(
            *(remove(kind, one) for one in expired), return_exceptions=True
        )
        removed = sum(outcome is True for outcome in outcomes)
        yield removed
        failed = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
        # One that cannot be removed now does not keep the others.
        if failed and (removed == 0 or len(expired) < batch):
            raise failed[0]
        if len(expired) < batch:
            return
