"""The demonstration's workers: they take documents from the queue, and finish them with vectors."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from clonedb.demo.papers import Paper
from clonedb.demo.simulation import draw
from clonedb.demo.trail import record_work
from clonedb.repositories.document_queue import ClaimedDocument
from clonedb.scopes import DatabaseScope

# Not a model: equal texts give equal numbers, which is all that a cache needs.
_EMBEDDER: Final = "demo-64"

# Few, so that the documents are spread over the workers.
_BATCH: Final = 2


class Desk:
    """What the workers share: the queue, the papers' texts, and the embeddings."""

    def __init__(self, worker: DatabaseScope, papers: Sequence[Paper]) -> None:
        self.worker = worker
        self.papers = {paper.id: paper for paper in papers}
        self.embeddings_made = 0
        self.embeddings_found = 0

    async def embed(self, claim: ClaimedDocument) -> list[str]:
        """The vector ids of the document's pieces; what is not in the cache is made and put."""
        cache = self.worker.as_user(claim.user_id).caches.embedding
        pieces = self.papers[claim.id].pieces
        keys = {_key(piece): piece for piece in pieces}
        found = await cache.get_many(keys)
        made = {key: _embedding(piece) for key, piece in keys.items() if key not in found}
        await cache.put_many(made, model=_EMBEDDER)
        await cache.record_hits(dict.fromkeys(found, 1))
        self.embeddings_made += len(made)
        self.embeddings_found += len(found)
        return [f"{claim.id}/{number}" for number in range(1, len(pieces) + 1)]


class Reader:
    """One worker; it reads until there is nothing left."""

    def __init__(self, desk: Desk, name: str) -> None:
        self._desk = desk
        self._queue = desk.worker.knowledge_documents
        # A directory may hold documents of others: they are given back.
        self._foreign: list[ClaimedDocument] = []
        self.name = name
        self.completed = 0
        self.failed = 0

    async def read_all(self) -> None:
        while claims := await self.take(limit=_BATCH):
            for claim in claims:
                await self._finish(claim)
        await self.put_back()

    async def take(self, *, limit: int, now: datetime | None = None) -> list[ClaimedDocument]:
        """Some of the papers, none if no more wait; `now` replaces the database's clock."""
        while claims := await self._queue.claim_pending(worker=self.name, limit=limit, now=now):
            papers = [claim for claim in claims if claim.id in self._desk.papers]
            self._foreign += [claim for claim in claims if claim.id not in self._desk.papers]
            if papers:
                return papers
        return []

    async def put_back(self) -> None:
        """Release what was taken and is no paper of the demonstration."""
        while self._foreign:
            await self._queue.release(self._foreign.pop())

    async def _finish(self, claim: ClaimedDocument) -> None:
        """Store text and vectors, or that there is no text."""
        paper = self._desk.papers[claim.id]
        if paper.pieces:
            vector_ids = await self._desk.embed(claim)
            await self._queue.finish(claim, vector_ids=vector_ids, text_content=paper.text)
            self.completed += 1
        else:
            await self._queue.fail(claim, "there is no text in the picture")
            self.failed += 1
        await record_work(
            self._desk.worker,
            claim.user_id,
            "document.process",
            f"knowledge_documents/{claim.id}",
            succeeded=bool(paper.pieces),
        )


def _key(text: str) -> bytes:
    return hashlib.sha256(f"{_EMBEDDER}\0{text}".encode()).digest()


def _embedding(text: str) -> list[float]:
    return [(byte - 127.5) / 127.5 for byte in draw(_EMBEDDER, text) + draw(text, _EMBEDDER)]
