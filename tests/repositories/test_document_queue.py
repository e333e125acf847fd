"""The queue of documents: claims, leases, and who may end them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from ground import case, nothing_stored

from clonedb import (
    ClaimedDocument,
    ClaimLost,
    Database,
    DocumentPatch,
    DocumentQueue,
    DocumentSummary,
    InvalidInput,
    KnowledgeDocumentRepository,
    NewDocument,
    User,
    UserScope,
)
from clonedb.testing import IsolatedDatabase

START = datetime(2026, 3, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.fixture
def documents(as_ada: UserScope) -> KnowledgeDocumentRepository:
    return as_ada.knowledge_documents


@pytest.fixture
def queue(worker: Database) -> DocumentQueue:
    return worker.knowledge_documents


async def stored(
    documents: KnowledgeDocumentRepository, number: int = 1, **fields: Any
) -> list[DocumentSummary]:
    """Documents of which each was uploaded a second after the one before."""
    return await documents.create_many(
        [
            NewDocument(
                filename=f"{n}.txt",
                content_type="text/plain",
                size_bytes=n,
                uploaded_at=START + timedelta(seconds=n),
                **fields,
            )
            for n in range(number)
        ]
    )


async def taken(queue: DocumentQueue, worker: str = "one", **options: Any) -> ClaimedDocument:
    (claim,) = await queue.claim_pending(worker=worker, **options)
    return claim


async def test_the_oldest_documents_of_all_users_are_claimed_first(
    documents: KnowledgeDocumentRepository, as_grace: UserScope, queue: DocumentQueue, ada: User
) -> None:
    mine = await stored(documents, 3, storage_path="s", language="german", metadata={"a": 1})
    await as_grace.knowledge_documents.create(
        NewDocument(
            filename="early.txt",
            content_type="text/html",
            size_bytes=7,
            uploaded_at=START - HOUR,
        )
    )
    first, second = await queue.claim_pending(worker="one", limit=2, lease_seconds=60)
    assert (first.user_id, first.filename, first.size_bytes) == (as_grace.user_id, "early.txt", 7)
    oldest = min(mine, key=lambda document: document.uploaded_at)
    assert (second.user_id, second.id) == (ada.id, oldest.id)
    assert (second.storage_path, second.language, second.metadata) == ("s", "german", {"a": 1})
    assert (second.attempts, second.claimed_by) == (1, "one")
    assert second.lease_expires_at - second.claimed_at == timedelta(seconds=60)
    seen = await documents.find_summary(second.id)
    assert seen is not None
    assert (seen.status, seen.claimed_by, seen.attempts) == ("processing", "one", 1)
    assert len(await queue.claim_pending(worker="two", limit=500)) == 2
    assert await queue.claim_pending(worker="two", limit=500) == []


async def test_a_claim_is_nobody_elses_until_its_lease_is_over(
    documents: KnowledgeDocumentRepository, queue: DocumentQueue
) -> None:
    await stored(documents)
    claim = await taken(queue, lease_seconds=60)
    before = claim.lease_expires_at - timedelta(microseconds=1)
    assert await queue.claim_pending(worker="two", now=before) == []
    again = await taken(queue, "two", now=claim.lease_expires_at)
    assert (again.id, again.attempts, again.claimed_by) == (claim.id, 2, "two")


async def test_abandoned_documents_come_before_those_that_wait(
    documents: KnowledgeDocumentRepository, queue: DocumentQueue
) -> None:
    await stored(documents, 4)
    abandoned = await queue.claim_pending(worker="one", limit=2, lease_seconds=1)
    found = await queue.claim_pending(worker="two", limit=3, now=abandoned[0].claimed_at + HOUR)
    assert {claim.id for claim in abandoned} < {claim.id for claim in found}
    assert len(found) == 3


async def test_a_document_abandoned_too_often_has_failed(
    documents: KnowledgeDocumentRepository, queue: DocumentQueue
) -> None:
    (document,) = await stored(documents)
    now = datetime.now(UTC)
    for attempt in (1, 2, 3):
        now += HOUR
        claim = await taken(queue, now=now, maximum_attempts=3)
        assert claim.attempts == attempt
    assert await queue.claim_pending(worker="two", now=now + HOUR, maximum_attempts=3) == []
    failed = await documents.find_summary(document.id)
    assert failed is not None
    assert (failed.status, failed.attempts, failed.lease_expires_at) == ("failed", 3, None)
    assert failed.error_message is not None
    assert "attempt 3" in failed.error_message
    assert failed.processed_at is not None
    with pytest.raises(ClaimLost):
        await queue.finish(claim)
    # Asked for again by a person it has one more attempt, and its number is a new one.
    await documents.set_status(document.id, "pending")
    assert (await taken(queue, "two", maximum_attempts=3)).attempts == 4


async def test_a_finished_document_is_completed_with_all_that_was_found(
    documents: KnowledgeDocumentRepository, queue: DocumentQueue
) -> None:
    (document,) = await stored(documents, language="english")
    claim = await taken(queue)
    moment = await queue.finish(claim, vector_ids=["a", "b"], text_content="engines\0")
    found = await documents.get_by_id(document.id)
    assert (found.status, found.processed_at, found.lease_expires_at) == ("completed", moment, None)
    assert (found.vector_ids, found.chunk_count, found.error_message) == (["a", "b"], 2, None)
    assert found.text_content == "engines\N{REPLACEMENT CHARACTER}"
    assert (found.claimed_by, found.attempts) == ("one", 1)
    (match,) = await documents.search("engine")
    assert match.document.id == document.id
    assert await queue.claim_pending(worker="two", now=datetime.now(UTC) + HOUR) == []


async def test_a_finish_without_a_text_leaves_the_stored_one(
    documents: KnowledgeDocumentRepository, queue: DocumentQueue
) -> None:
    (document,) = await stored(documents, text_content="given")
    await queue.finish(await taken(queue), chunk_count=7)
    found = await documents.get_by_id(document.id)
    assert (found.text_content, found.chunk_count) == ("given", 7)


async def test_an_error_does_not_survive_the_success_of_a_later_attempt(
    documents: KnowledgeDocumentRepository, queue: DocumentQueue
) -> None:
    (document,) = await stored(documents)
    moment = await queue.fail(await taken(queue), ValueError("page 3 \ud800"))
    failed = await documents.get_by_id(document.id)
    assert (failed.status, failed.processed_at) == ("failed", moment)
    assert failed.error_message == "page 3 \N{REPLACEMENT CHARACTER}"
    await documents.set_status(document.id, "pending")
    await queue.finish(await taken(queue))
    found = await documents.get_by_id(document.id)
    assert (found.status, found.error_message) == ("completed", None)


async def test_a_repeated_end_changes_nothing(
    documents: KnowledgeDocumentRepository, queue: DocumentQueue, migrated: IsolatedDatabase
) -> None:
    await stored(documents, 2)
    finished, failed = await queue.claim_pending(worker="one", limit=2)
    await queue.finish(finished, vector_ids=["a"])
    await queue.fail(failed, "broken")
    with nothing_stored(migrated):
        assert await queue.finish(finished, vector_ids=["b"]) is None
        assert await queue.fail(failed, "other") is None
        with pytest.raises(ClaimLost, match="not being processed"):
            await queue.fail(finished, "late")
        with pytest.raises(ClaimLost):
            await queue.finish(failed)
        for claim in (finished, failed):
            with pytest.raises(ClaimLost):
                await queue.extend(claim)
            with pytest.raises(ClaimLost):
                await queue.release(claim)


async def test_an_extended_lease_keeps_others_away_for_longer(
    documents: KnowledgeDocumentRepository, queue: DocumentQueue
) -> None:
    await stored(documents)
    claim = await taken(queue, lease_seconds=1)
    until = await queue.extend(claim, lease_seconds=3_600)
    assert until is not None
    assert until > claim.lease_expires_at
    assert await queue.claim_pending(worker="two", now=claim.lease_expires_at) == []
    assert await queue.claim_pending(worker="two", now=until) != []


async def test_a_worker_that_is_late_may_finish_while_nobody_else_has_the_document(
    documents: KnowledgeDocumentRepository, queue: DocumentQueue
) -> None:
    await stored(documents)
    claim = await taken(queue, lease_seconds=60, now=START)
    assert claim.lease_expires_at < datetime.now(UTC)
    assert (await queue.statistics()).abandoned == 1
    assert await queue.finish(claim) is not None


async def test_a_released_document_is_claimed_by_another_at_once(
    documents: KnowledgeDocumentRepository, queue: DocumentQueue
) -> None:
    (document,) = await stored(documents)
    claim = await taken(queue)
    await queue.release(claim)
    found = await documents.find_summary(document.id)
    assert found is not None
    assert (found.status, found.claimed_by, found.attempts) == ("pending", None, 1)
    assert (await taken(queue, "two")).attempts == 2


Lose = Callable[[KnowledgeDocumentRepository, DocumentQueue, ClaimedDocument], Awaitable[Any]]
LOSSES: dict[str, Lose] = {
    "claimed by another": lambda _, queue, claim: queue.claim_pending(
        worker="two", now=claim.lease_expires_at
    ),
    "claimed by one of the same name": lambda _, queue, claim: queue.claim_pending(
        worker="one", now=claim.lease_expires_at
    ),
    "released": lambda _, queue, claim: queue.release(claim),
    "set to completed": lambda documents, _, claim: documents.set_status(claim.id, "completed"),
    "set to failed": lambda documents, _, claim: documents.set_status(claim.id, "failed"),
    "set to pending": lambda documents, _, claim: documents.set_status(claim.id, "pending"),
    "deleted": lambda documents, _, claim: documents.delete(claim.id),
    "removed": lambda documents, _, claim: documents.hard_delete(claim.id),
}


@pytest.mark.parametrize("loss", LOSSES)
async def test_a_worker_that_has_lost_its_claim_changes_nothing(
    documents: KnowledgeDocumentRepository,
    queue: DocumentQueue,
    loss: str,
    migrated: IsolatedDatabase,
) -> None:
    await stored(documents)
    claim = await taken(queue)
    await LOSSES[loss](documents, queue, claim)
    with nothing_stored(migrated):
        for late in (
            queue.finish(claim, vector_ids=["late"], text_content="late"),
            queue.fail(claim, "late"),
            queue.extend(claim),
            queue.release(claim),
        ):
            with pytest.raises(ClaimLost, match="attempt 1"):
                await late


async def test_a_status_that_stays_processing_leaves_the_claim(
    documents: KnowledgeDocumentRepository, queue: DocumentQueue
) -> None:
    await stored(documents)
    claim = await taken(queue)
    await documents.set_status(claim.id, "processing")
    await documents.update(claim.id, DocumentPatch(title="new"))
    assert await queue.finish(claim) is not None


async def test_deleted_documents_are_not_claimed(
    documents: KnowledgeDocumentRepository, queue: DocumentQueue, worker: Database, ada: User
) -> None:
    pending, abandoned = await stored(documents, 2)
    await documents.delete(pending.id)
    await taken(queue, now=START)
    await worker.users.delete(ada.id)
    assert await queue.claim_pending(worker="two", limit=10) == []
    await worker.users.restore(ada.id)
    assert [claim.id for claim in await queue.claim_pending(worker="two", limit=10)] == [
        abandoned.id
    ]


async def test_statistics_say_how_long_the_queue_is(
    documents: KnowledgeDocumentRepository, queue: DocumentQueue
) -> None:
    empty = await queue.statistics()
    assert msgspec.structs.astuple(empty) == (0, 0, 0, None)
    await stored(documents, 5)
    await taken(queue, now=START)
    await taken(queue, "two", lease_seconds=60, now=START)
    assert msgspec.structs.astuple(await queue.statistics()) == (
        3,
        2,
        2,
        START + timedelta(seconds=2),
    )
    await taken(queue, "three")
    assert (await queue.statistics()).abandoned == 1


async def test_the_app_login_sees_no_queue(
    documents: KnowledgeDocumentRepository,
    app: Database,
    queue: DocumentQueue,
    migrated: IsolatedDatabase,
) -> None:
    await stored(documents, 2)
    claim = await taken(queue)
    with nothing_stored(migrated):
        assert await app.knowledge_documents.claim_pending(worker="thief", limit=10) == []
        assert (await app.knowledge_documents.statistics()).pending == 0
        for refused in (
            app.knowledge_documents.finish(claim),
            app.knowledge_documents.fail(claim, "x"),
            app.knowledge_documents.extend(claim),
            app.knowledge_documents.release(claim),
        ):
            with pytest.raises(ClaimLost):
                await refused


BAD_OPTIONS: list[dict[str, Any]] = [
    *({"worker": name} for name in ("", "x" * 201, "nul\0", "lone \ud800", None, 5)),
    *({"limit": limit} for limit in (0, -1, 501, 1.5, True, None)),
    *({"lease_seconds": s} for s in (0, -1, 86_401, float("nan"), float("inf"), "60", None)),
    *({"maximum_attempts": n} for n in (0, -1, 2**31, 1.5, None)),
    *({"now": n} for n in (datetime(2026, 1, 1), "yesterday", 5)),
]


async def test_bad_options_of_a_claim_are_refused(
    documents: KnowledgeDocumentRepository, queue: DocumentQueue, migrated: IsolatedDatabase
) -> None:
    await stored(documents)
    for options in BAD_OPTIONS:
        with case(options), nothing_stored(migrated), pytest.raises(InvalidInput):
            await queue.claim_pending(**{"worker": "one", **options})


async def test_a_finish_of_bad_content_is_refused_and_the_claim_is_held(
    documents: KnowledgeDocumentRepository, queue: DocumentQueue, migrated: IsolatedDatabase
) -> None:
    await stored(documents)
    claim = await taken(queue)
    with nothing_stored(migrated):
        for content in (
            {"vector_ids": ["x"] * 100_001},
            {"vector_ids": ["\0"]},
            {"vector_ids": [""]},
            {"chunk_count": -1},
            {"text_content": "x" * 50 * 1024 * 1024},
            {"text_content": b"bytes"},
        ):
            with pytest.raises(InvalidInput):
                await queue.finish(claim, **content)
    assert await queue.finish(claim) is not None
