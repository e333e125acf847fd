"""The queue of documents that wait to be processed, across users."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Final
from uuid import UUID

import msgspec
from msgspec import Meta

from clonedb import queries
from clonedb.errors import ClaimLost
from clonedb.extracted_text import clean_message, clean_text
from clonedb.pages import check_limit
from clonedb.repositories.knowledge_documents import Metadata, check_vectors
from clonedb.repositories.vocabulary import DocumentLanguage
from clonedb.repositories.writing import found
from clonedb.validation import Label, Moment, convert, validated

if TYPE_CHECKING:
    from clonedb.scope import Scope

# A large PDF with scanned pages takes minutes; a worker that needs longer extends.
DEFAULT_LEASE_SECONDS: Final = 300.0

# A document that has taken down five workers will take down the sixth.
DEFAULT_MAXIMUM_ATTEMPTS: Final = 5

LeaseSeconds = Annotated[float, Meta(ge=0.001, le=86_400)]
Attempts = Annotated[int, Meta(ge=1, le=2_147_483_647)]

_REASONS: Final = {
    "claimed_again": "its lease was over and another worker has it",
    "released": "it was given back, or its status was set",
    "over": "it is not being processed any more",
    "deleted": "it was deleted",
}


class ClaimedDocument(msgspec.Struct, frozen=True):
    """What a worker was given to process until `lease_expires_at`.

    The text, where there is one, is with `db.as_user(user_id).knowledge_documents`.
    """

    user_id: UUID
    id: UUID
    filename: str
    content_type: str
    size_bytes: int
    language: DocumentLanguage
    storage_path: str | None
    metadata: Metadata
    uploaded_at: datetime
    attempts: int
    claimed_at: datetime
    claimed_by: str
    lease_expires_at: datetime


class QueueStatistics(msgspec.Struct, frozen=True):
    """How long the queue is. `processing` includes `abandoned`: claims whose lease is over."""

    pending: int
    processing: int
    abandoned: int
    oldest_pending_at: datetime | None


class DocumentQueue:
    """Documents to process, for the worker login: the app login sees none."""

    __slots__ = ("_scope",)

    def __init__(self, scope: Scope) -> None:
        self._scope = scope

    async def claim_pending(
        self,
        *,
        worker: str,
        limit: int = 1,
        lease_seconds: float = DEFAULT_LEASE_SECONDS,
        maximum_attempts: int = DEFAULT_MAXIMUM_ATTEMPTS,
        now: datetime | None = None,
    ) -> list[ClaimedDocument]:
        """Take up to `limit` documents that nobody else has, at most 500.

        Claims whose lease is over come first, then the oldest pending documents. One that was
        abandoned in its last attempt becomes failed instead; `attempts` counts all claims of a
        document's life. Never waits for another worker. `now` replaces the database's clock.
        """
        return await self._scope.all(
            queries.document_queue.claim_pending,
            ClaimedDocument,
            worker=convert(worker, Label, "worker"),
            lease_seconds=convert(lease_seconds, LeaseSeconds, "lease_seconds"),
            maximum_attempts=convert(maximum_attempts, Attempts, "maximum_attempts"),
            limit=check_limit(limit),
            now=None if now is None else convert(now, Moment, "now"),
        )

    async def finish(
        self,
        claim: ClaimedDocument,
        *,
        vector_ids: Sequence[str] = (),
        chunk_count: int | None = None,
        text_content: str | None = None,
    ) -> datetime | None:
        """The document is completed; returns when. None: this call was repeated.

        Stores the vectors, without `chunk_count` as many pieces as ids, and the text, cleaned,
        where it is given. Raises ClaimLost, and nothing was stored.
        """
        ids, chunks = check_vectors(vector_ids, chunk_count)
        text = {}
        if text_content is not None:
            text["text_content"] = clean_text(text_content, "text_content")
        return await self._end(
            queries.document_queue.finish, claim, vector_ids=ids, chunk_count=chunks, **text
        )

    async def fail(self, claim: ClaimedDocument, error: object) -> datetime | None:
        """The document has failed, for good; returns when. None: this call was repeated.

        The error, a text or an exception, is cleaned and cut to 4,000 characters. Raises ClaimLost.
        """
        return await self._end(
            queries.document_queue.fail, claim, error_message=clean_message(error)
        )

    async def extend(
        self, claim: ClaimedDocument, *, lease_seconds: float = DEFAULT_LEASE_SECONDS
    ) -> datetime | None:
        """A new lease from now on; returns when it is over.

        Also one that was over already, as long as nobody has claimed the document since. Raises
        ClaimLost.
        """
        return await self._end(
            queries.document_queue.extend,
            claim,
            lease_seconds=convert(lease_seconds, LeaseSeconds, "lease_seconds"),
        )

    async def release(self, claim: ClaimedDocument) -> None:
        """Give the document back for another worker to claim. Raises ClaimLost."""
        await self._end(queries.document_queue.release, claim)

    async def statistics(self) -> QueueStatistics:
        return found(
            await self._scope.one(queries.document_queue.statistics, QueueStatistics),
            "statistics",
            "",
        )

    async def _end(self, query: Any, claim: ClaimedDocument, **arguments: Any) -> datetime | None:
        claim = validated(claim)
        rows = await self._scope.rows(
            query,
            user_id=claim.user_id,
            id=claim.id,
            attempts=claim.attempts,
            worker=claim.claimed_by,
            **arguments,
        )
        outcome: str = rows[0][0]
        moment: datetime | None = rows[0][1]
        if outcome in ("held", "repeated"):
            return moment
        raise ClaimLost(
            f"{claim.claimed_by} has lost document {claim.id} of attempt {claim.attempts}: "
            f"{_REASONS[outcome]}",
            remedy="throw the work away; nothing of it was stored",
        )
