"""Knowledge documents: what a user gave their clone to read.

Text that was extracted from a file is cleaned (see `clonedb.extracted_text`); whatever else holds
a NUL or a lone surrogate is refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Final
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, UnsetType
from msgspec.structs import replace

from clonedb import queries
from clonedb.errors import AlreadyExists, InvalidInput
from clonedb.extracted_text import clean_message, clean_text
from clonedb.ids import check_id
from clonedb.pages import DEFAULT_LIMIT, Page, check_limit, filter_arguments, find_page
from clonedb.repositories.vocabulary import DocumentLanguage, DocumentStatus
from clonedb.repositories.writing import (
    all_same_as_stored,
    changes_of,
    check_ids,
    columns_of,
    found,
    rows_of,
    same_as_stored,
    validated_rows,
)
from clonedb.validation import Count, Label, Moment, convert, validated

if TYPE_CHECKING:
    from clonedb.scope import Scope

Filename = Annotated[str, Meta(min_length=1, max_length=500)]
ContentType = Annotated[str, Meta(min_length=1, max_length=255)]
Bytes = Annotated[int, Meta(ge=0, le=9_223_372_036_854_775_807)]
Line = Annotated[str, Meta(max_length=500)]
Url = Annotated[str, Meta(max_length=2_048)]
StoragePath = Annotated[str, Meta(min_length=1, max_length=1_024)]
Tags = Annotated[list[Label], Meta(max_length=100)]
SomeTags = Annotated[list[Label], Meta(min_length=1, max_length=100)]
VectorIds = Annotated[list[Label], Meta(max_length=100_000)]
Metadata = dict[str, Any]
Question = Annotated[str, Meta(min_length=1, max_length=1_000)]
Languages = Annotated[list[DocumentLanguage], Meta(min_length=1)]


class DocumentSummary(msgspec.Struct, frozen=True):
    """A stored document without its text, as lists and writes return it."""

    id: UUID
    filename: str
    content_type: str
    size_bytes: int
    title: str | None
    author: str | None
    source_url: str | None
    tags: list[str]
    language: DocumentLanguage
    chunk_count: int
    status: DocumentStatus
    error_message: str | None
    claimed_at: datetime | None
    claimed_by: str | None
    lease_expires_at: datetime | None
    attempts: int
    storage_path: str | None
    uploaded_at: datetime
    processed_at: datetime | None
    metadata: Metadata
    created_at: datetime
    updated_at: datetime
    deleted_at: datetime | None


class Document(DocumentSummary, frozen=True):
    """A stored document with its text and the ids of its pieces in the vector index."""

    text_content: str | None
    vector_ids: list[str]


class NewDocument(msgspec.Struct, frozen=True, kw_only=True):
    """A document to store, pending; the database gives an id, and the time of the upload.

    Without a language it has the one that the user's settings name as `document_language`, or
    `simple`. The text may also come later, from the worker that extracts it.
    """

    filename: Filename
    content_type: ContentType
    size_bytes: Bytes
    id: UUID | None = None
    title: Line | None = None
    author: Line | None = None
    source_url: Url | None = None
    tags: Tags = []
    language: DocumentLanguage | None = None
    text_content: str | None = None
    storage_path: StoragePath | None = None
    uploaded_at: Moment | None = None
    metadata: Metadata = {}


class DocumentPatch(msgspec.Struct, frozen=True, kw_only=True):
    """What to change: UNSET leaves a field, None clears it; the status has calls of its own."""

    filename: Filename | UnsetType = UNSET
    content_type: ContentType | UnsetType = UNSET
    size_bytes: Bytes | UnsetType = UNSET
    title: Line | UnsetType | None = UNSET
    author: Line | UnsetType | None = UNSET
    source_url: Url | UnsetType | None = UNSET
    tags: Tags | UnsetType = UNSET
    language: DocumentLanguage | UnsetType = UNSET
    text_content: str | UnsetType | None = UNSET
    storage_path: StoragePath | UnsetType | None = UNSET
    metadata: Metadata | UnsetType = UNSET


class DocumentFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which documents; UNSET fields do not narrow. `uploaded_before` is exclusive."""

    status: DocumentStatus | UnsetType = UNSET
    tags_any: SomeTags | UnsetType = UNSET
    tags_all: SomeTags | UnsetType = UNSET
    uploaded_from: Moment | UnsetType = UNSET
    uploaded_before: Moment | UnsetType = UNSET


class DocumentMatch(msgspec.Struct, frozen=True):
    """A document that a search found.

    `rank` compares matches of one search. `snippet` is plain text (escape it before it becomes
    HTML) with the words that match between ⟦ and ⟧; None for a document without text.
    """

    document: DocumentSummary
    rank: float
    snippet: str | None


class DocumentStatistics(msgspec.Struct, frozen=True):
    """What a user's documents add up to; bytes of the files, and of the text in the database."""

    documents: int
    pending: int
    processing: int
    completed: int
    failed: int
    size_bytes: int
    text_bytes: int
    chunks: int
    last_uploaded_at: datetime | None


class ContentTypeStatistics(msgspec.Struct, frozen=True):
    """The same for one media type."""

    content_type: str
    documents: int
    size_bytes: int
    text_bytes: int
    chunks: int


# What a patch of several documents may change: the rest is of one file.
_SHARED: Final = ("author", "source_url", "tags", "language", "metadata")


class KnowledgeDocumentRepository:
    """A user's documents; exists in a user's scope only. See DocumentQueue for the workers."""

    __slots__ = ("_scope",)

    def __init__(self, scope: Scope) -> None:
        self._scope = scope

    async def find_by_id(self, id: UUID | str, *, include_deleted: bool = False) -> Document | None:
        """With its text, up to 10 MiB; `find_summary` leaves it out."""
        return await self._scope.one(
            queries.knowledge_documents.find_by_id,
            Document,
            id=check_id(id),
            include_deleted=include_deleted,
        )

    async def get_by_id(self, id: UUID | str, *, include_deleted: bool = False) -> Document:
        """Raises NotFound."""
        return found(await self.find_by_id(id, include_deleted=include_deleted), "document", id)

    async def find_summary(
        self, id: UUID | str, *, include_deleted: bool = False
    ) -> DocumentSummary | None:
        return await self._scope.one(
            queries.knowledge_documents.find_summary,
            DocumentSummary,
            id=check_id(id),
            include_deleted=include_deleted,
        )

    async def find_many(
        self,
        filters: DocumentFilter | None = None,
        *,
        order: str = "newest",
        cursor: str | None = None,
        limit: int = DEFAULT_LIMIT,
        with_total: bool = False,
        include_deleted: bool = False,
    ) -> Page[DocumentSummary]:
        """A page, ordered `newest` or `oldest` by upload."""
        return await find_page(
            self._scope,
            queries.knowledge_documents.find_many,
            DocumentSummary,
            order=order,
            cursor=cursor,
            limit=limit,
            with_total=with_total,
            include_deleted=include_deleted,
            arguments=filter_arguments(filters),
        )

    async def find_one(
        self, filters: DocumentFilter | None = None, *, order: str = "newest"
    ) -> DocumentSummary | None:
        """The first in the order."""
        page = await self.find_many(filters, order=order, limit=1)
        return page.items[0] if page.items else None

    async def count(
        self, filters: DocumentFilter | None = None, *, include_deleted: bool = False
    ) -> int:
        total: int = await self._scope.value(
            queries.knowledge_documents.count,
            include_deleted=include_deleted,
            **filter_arguments(filters),
        )
        return total

    async def exists(
        self, filters: DocumentFilter | None = None, *, include_deleted: bool = False
    ) -> bool:
        any_at_all: bool = await self._scope.value(
            queries.knowledge_documents.exists,
            include_deleted=include_deleted,
            **filter_arguments(filters),
        )
        return any_at_all

    async def search(
        self,
        question: str,
        *,
        languages: Sequence[DocumentLanguage] | None = None,
        limit: int = 20,
    ) -> list[DocumentMatch]:
        """The documents that match best, at most 500, best first.

        The question is in web search syntax: words, "a phrase", or, -without; anything is valid.
        Each document is searched in its own language; `languages` narrows to some of them.
        """
        rows = await self._scope.rows(
            queries.knowledge_documents.search,
            query=convert(question, Question, "question"),
            languages=None if languages is None else convert(languages, Languages, "languages"),
            limit=check_limit(limit),
        )
        return [
            DocumentMatch(DocumentSummary(*summary), rank, snippet)
            for *summary, rank, snippet in rows
        ]

    async def create(self, new: NewDocument) -> DocumentSummary:
        """Store a pending document; a repeat with the same id returns the stored row.

        Raises AlreadyExists when the id belongs to other content or a deleted document.
        """
        checked = validated(replace(new, text_content=None))
        text = _text_of(new)
        rows = await self._scope.rows(
            queries.knowledge_documents.create, **{**columns_of(checked), "text_content": text}
        )
        (stored,) = _compared(rows)
        return same_as_stored(checked, stored, "document")

    async def create_many(self, news: Sequence[NewDocument]) -> list[DocumentSummary]:
        """Store up to 10,000 documents in one statement, all or none; like `create` for each."""
        if not news:
            return []
        checked = validated_rows([replace(new, text_content=None) for new in news])
        rows = await self._scope.rows(
            queries.knowledge_documents.create_many,
            rows=rows_of(
                [
                    replace(row, text_content=_text_of(new))
                    for row, new in zip(checked, news, strict=True)
                ]
            ),
        )
        return all_same_as_stored(checked, _compared(rows), "document")

    async def update(self, id: UUID | str, patch: DocumentPatch) -> DocumentSummary:
        """Raises NotFound, and InvalidInput for an empty patch."""
        text = patch.text_content
        if isinstance(text, str):
            text = clean_text(text, "DocumentPatch.text_content")
            # The checks of other fields refuse what is clean by now, and a text of this size.
            patch = replace(patch, text_content="")
        changes = changes_of(patch)
        if text is not UNSET:
            changes["text_content"] = text
        updated = await self._scope.one(
            queries.knowledge_documents.update, DocumentSummary, id=check_id(id), **changes
        )
        return found(updated, "document", id)

    async def update_many(
        self, ids: Iterable[UUID | str], patch: DocumentPatch
    ) -> list[DocumentSummary]:
        """Change author, source_url, tags, language or metadata of several documents alike.

        Ids that do not exist are left out of the answer.
        """
        changes = changes_of(patch)
        if own := set(changes["fields"]).difference(_SHARED):
            raise InvalidInput(f"several documents cannot share {', '.join(sorted(own))}")
        shared = {name: changes[name] for name in ("fields", *_SHARED)}
        return await self._scope.all(
            queries.knowledge_documents.update_many,
            DocumentSummary,
            ids=check_ids(ids),
            **shared,
        )

    async def set_status(
        self, id: UUID | str, status: DocumentStatus, *, error_message: str | None = None
    ) -> DocumentSummary:
        """Move the document to a status; a worker that had claimed it has lost the claim.

        `processed_at` is set by completed and failed, once, and cleared by the others. The error
        is cleaned and cut to 4,000 characters; it belongs to failed and goes with every other
        status. Raises NotFound, and InvalidInput for an error of anything but a failure.
        """
        chosen = convert(status, DocumentStatus, "status")
        if error_message is not None and chosen != "failed":
            raise InvalidInput(f"a document that is {chosen} has no error_message")
        changed = await self._scope.one(
            queries.knowledge_documents.set_status,
            DocumentSummary,
            id=check_id(id),
            status=chosen,
            error_message=None if error_message is None else clean_message(error_message),
        )
        return found(changed, "document", id)

    async def set_vectors(
        self, id: UUID | str, vector_ids: Sequence[str], *, chunk_count: int | None = None
    ) -> DocumentSummary:
        """Store the ids of the document's pieces in the vector index, at most 100,000.

        Without `chunk_count` there are as many pieces as ids. Raises NotFound.
        """
        ids, chunks = check_vectors(vector_ids, chunk_count)
        changed = await self._scope.one(
            queries.knowledge_documents.set_vectors,
            DocumentSummary,
            id=check_id(id),
            vector_ids=ids,
            chunk_count=chunks,
        )
        return found(changed, "document", id)

    async def delete(self, id: UUID | str) -> bool:
        """Hide the document; a worker that has claimed it can finish it no more. False if none."""
        stamp = await self._scope.value(queries.knowledge_documents.delete, id=check_id(id))
        return stamp is not None

    async def hard_delete(self, id: UUID | str) -> bool:
        """Remove the document, living or deleted; False if there was none."""
        removed = await self._scope.value(queries.knowledge_documents.hard_delete, id=check_id(id))
        return removed is not None

    async def restore(self, id: UUID | str) -> DocumentSummary:
        """Bring a deleted document back; one that is not deleted is returned as it is."""
        restored = await self._scope.one(
            queries.knowledge_documents.restore, DocumentSummary, id=check_id(id)
        )
        return found(restored, "document", id)

    async def statistics(self) -> DocumentStatistics:
        """What the living documents add up to, computed by the database."""
        row = await self._scope.one(queries.knowledge_documents.statistics, DocumentStatistics)
        return found(row, "statistics", self._scope.user_id)

    async def statistics_by_content_type(self) -> list[ContentTypeStatistics]:
        """The same for each media type, most bytes first."""
        return await self._scope.all(
            queries.knowledge_documents.statistics_by_content_type, ContentTypeStatistics
        )


def check_vectors(vector_ids: Sequence[str], chunk_count: int | None) -> tuple[list[str], int]:
    """Ids of a vector index and the number of pieces, which is theirs where it is not given."""
    ids: list[str] = convert(vector_ids, VectorIds, "vector_ids")
    chunks: int = len(ids) if chunk_count is None else convert(chunk_count, Count, "chunk_count")
    return ids, chunks


def _text_of(new: NewDocument) -> str | None:
    if new.text_content is None:
        return None
    return clean_text(new.text_content, "NewDocument.text_content")


def _compared(rows: list[tuple[Any, ...]]) -> list[DocumentSummary]:
    """The stored documents, if their text is what was asked for; the database has compared it."""
    stored = []
    for *summary, same_text in rows:
        document = DocumentSummary(*summary)
        if not same_text:
            raise AlreadyExists(
                f"document {document.id} exists with another text_content",
                remedy="use another id, or update the stored row",
            )
        stored.append(document)
    return stored
