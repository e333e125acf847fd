"""The demonstration's documents: uploaded by people, read by workers, and searched."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec

from clonedb.demo.papers import Paper, papers_of
from clonedb.demo.trail import record, recorded
from clonedb.demo.workers import Desk, Reader
from clonedb.errors import ClaimLost
from clonedb.repositories.document_queue import ClaimedDocument, QueueStatistics
from clonedb.repositories.knowledge_documents import (
    DocumentMatch,
    DocumentStatistics,
    DocumentSummary,
)
from clonedb.repositories.users import User
from clonedb.scopes import DatabaseScope, UserScope

_WORKERS: Final = 3

# How long ago the worker that is not heard of again took its document; its lease was shorter.
_LOST_FOR: Final = timedelta(minutes=10)

# Who asks what, in web search syntax. The last asks for what the first has.
_QUESTIONS: Final = (
    ("rosa", "cinnamon or crumbs"),
    ("joaquin", "lens or lentes"),
    ("oskar", "cinnamon"),
)


class PersonDocuments(msgspec.Struct, frozen=True):
    """What one person's documents add up to, by the database."""

    name: str
    statistics: DocumentStatistics


class ReaderFigures(msgspec.Struct, frozen=True):
    """What one worker has done."""

    worker: str
    completed: int
    failed: int


class Failure(msgspec.Struct, frozen=True):
    """A document that could not be read, and why."""

    filename: str
    error_message: str | None


class LostClaim(msgspec.Struct, frozen=True):
    """A document whose worker was not heard of, and what it was told when it answered late."""

    filename: str
    worker: str
    finished_by: str | None
    attempts: int
    late_answer: str


class Search(msgspec.Struct, frozen=True):
    """What somebody asked their documents, and what was found, best first."""

    name: str
    question: str
    matches: list[DocumentMatch]


class DocumentFigures(msgspec.Struct, frozen=True):
    """The documents' way through the queue, and what is found in them.

    `embeddings_found` were in the cache already, since the lost worker had made them.
    """

    people: list[PersonDocuments]
    documents: int
    vectors: int
    seconds: float
    workers: list[ReaderFigures]
    failures: list[Failure]
    lost: LostClaim
    embeddings_made: int
    embeddings_found: int
    queue: QueueStatistics
    searches: list[Search]


async def read_documents(
    app: DatabaseScope, worker: DatabaseScope, users: Sequence[User]
) -> DocumentFigures:
    """Upload everybody's papers, have workers read them all, and search them."""
    uploaded = [await _upload(app.as_user(user.id), user) for user in users]
    desk = Desk(worker, [paper for user in users for paper in papers_of(user)])
    started = time.perf_counter()
    lost = await _lose_one(desk)
    readers = [Reader(desk, f"worker {number}") for number in range(1, _WORKERS + 1)]
    await asyncio.gather(*(reader.read_all() for reader in readers))
    seconds = time.perf_counter() - started
    after = [
        found
        for user, summaries in zip(users, uploaded, strict=True)
        for summary in summaries
        if (found := await app.as_user(user.id).knowledge_documents.find_summary(summary.id))
    ]
    finished = next(summary for summary in after if summary.id == lost.id)
    return DocumentFigures(
        people=[
            PersonDocuments(
                user.name or "", await app.as_user(user.id).knowledge_documents.statistics()
            )
            for user in users
        ],
        documents=len(after),
        vectors=sum(summary.chunk_count for summary in after),
        seconds=seconds,
        workers=[ReaderFigures(reader.name, reader.completed, reader.failed) for reader in readers],
        failures=[
            Failure(one.filename, one.error_message) for one in after if one.status == "failed"
        ],
        lost=LostClaim(
            lost.filename,
            lost.claimed_by,
            finished.claimed_by,
            finished.attempts - lost.attempts + 1,
            await _answer_late(worker, lost),
        ),
        embeddings_made=desk.embeddings_made,
        embeddings_found=desk.embeddings_found,
        queue=await worker.knowledge_documents.statistics(),
        searches=[await _search(app, users, *question) for question in _QUESTIONS],
    )


async def _upload(scope: UserScope, user: User) -> list[DocumentSummary]:
    """Store a person's papers; those of an earlier demonstration wait to be read once more."""
    waiting = []
    for paper in papers_of(user):
        stored = await _store(scope, paper)
        if stored.status != "pending":
            stored = await scope.knowledge_documents.set_status(stored.id, "pending")
        waiting.append(stored)
    return waiting


async def _store(scope: UserScope, paper: Paper) -> DocumentSummary:
    return await recorded(
        scope,
        "document.upload",
        f"knowledge_documents/{paper.id}",
        lambda own: own.knowledge_documents.create(paper.upload()),
    )


async def _lose_one(desk: Desk) -> ClaimedDocument:
    """A worker took a document ten minutes ago, had its embeddings made, and fell silent."""
    reader = Reader(desk, "worker 0")
    (lost,) = await reader.take(limit=1, now=datetime.now(UTC) - _LOST_FOR)
    await reader.put_back()
    await desk.embed(lost)
    return lost


async def _answer_late(worker: DatabaseScope, claim: ClaimedDocument) -> str:
    try:
        await worker.knowledge_documents.finish(claim, text_content="an answer of yesterday")
    except ClaimLost as refused:
        return type(refused).__name__
    return "not refused"


async def _search(app: DatabaseScope, users: Sequence[User], owner: str, question: str) -> Search:
    user = next(user for user in users if user.email.startswith(f"{owner}@"))
    scope = app.as_user(user.id)
    matches = await scope.knowledge_documents.search(question, limit=3)
    await record(scope, "document.search", "knowledge_documents")
    return Search(user.name or "", question, matches)
