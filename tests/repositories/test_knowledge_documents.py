"""Knowledge documents: what each method of a user's repository promises."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, get_args

import msgspec
import pytest
from ground import as_superuser, case, nothing_stored
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clonedb import (
    AlreadyExists,
    Document,
    DocumentFilter,
    DocumentPatch,
    DocumentSummary,
    InvalidInput,
    KnowledgeDocumentRepository,
    NewDocument,
    NotFound,
    UserPatch,
    UserScope,
    new_id,
)
from clonedb.extracted_text import clean_message, clean_text
from clonedb.repositories.vocabulary import DocumentLanguage, DocumentStatus
from clonedb.testing import IsolatedDatabase

MEGABYTES = 1024 * 1024
CONTENT: dict[str, Any] = {
    "filename": "notes.pdf",
    "content_type": "application/pdf",
    "size_bytes": 3 * 2**32,
    "title": "Notes by the translator",
    "author": "A. A. L.",
    "source_url": "https://example.com/notes",
    "tags": ["engine", "ä"],
    "language": "english",
    "storage_path": "documents/notes.pdf",
    "uploaded_at": datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC),
    "metadata": {"pages": 66},
}
OTHER: dict[str, Any] = {
    "filename": "other.txt",
    "content_type": "text/plain",
    "size_bytes": 0,
    "title": "Another",
    "author": "B",
    "source_url": "https://example.com/other",
    "tags": [],
    "language": "german",
    "storage_path": "documents/other",
    "metadata": {},
}


def a_new(**fields: Any) -> NewDocument:
    given: dict[str, Any] = {"filename": "a.txt", "content_type": "text/plain", "size_bytes": 1}
    return NewDocument(**(given | fields))


@pytest.fixture
def documents(as_ada: UserScope) -> KnowledgeDocumentRepository:
    return as_ada.knowledge_documents


async def test_a_stored_document_is_read_back_field_by_field(
    documents: KnowledgeDocumentRepository,
) -> None:
    new = NewDocument(id=new_id(), text_content="The Analytical Engine …", **CONTENT)
    created = await documents.create(new)
    found = await documents.get_by_id(new.id)  # type: ignore[arg-type]
    assert {name: getattr(found, name) for name in CONTENT} == CONTENT
    assert (found.text_content, found.vector_ids) == (new.text_content, [])
    assert (found.status, found.attempts, found.chunk_count) == ("pending", 0, 0)
    assert (found.processed_at, found.error_message, found.claimed_by) == (None, None, None)
    summary = await documents.find_summary(created.id)
    assert summary == created
    assert {name: getattr(found, name) for name in created.__struct_fields__} == (
        msgspec.structs.asdict(created)
    )


async def test_lists_and_writes_leave_the_text_out(documents: KnowledgeDocumentRepository) -> None:
    created = await documents.create(a_new(text_content="long"))
    for answer in (
        created,
        (await documents.create_many([a_new()]))[0],
        (await documents.find_many()).items[0],
        await documents.find_one(),
        await documents.update(created.id, DocumentPatch(title="t")),
        (await documents.update_many([created.id], DocumentPatch(author="a")))[0],
        await documents.set_status(created.id, "processing"),
        await documents.set_vectors(created.id, ["v"]),
        await documents.restore(created.id),
    ):
        assert type(answer) is DocumentSummary
    assert type(await documents.get_by_id(created.id)) is Document


async def test_a_repeated_create_returns_the_stored_document(
    documents: KnowledgeDocumentRepository,
) -> None:
    new = NewDocument(id=new_id(), text_content="text\0", **CONTENT)
    first = await documents.create(new)
    assert await documents.create(new) == first
    assert await documents.create_many([new]) == [first]
    # The text came from the worker: the repeat did not ask for one.
    assert await documents.create(msgspec.structs.replace(new, text_content=None)) == first
    assert await documents.count() == 1
    for field, value in {**OTHER, "text_content": "other"}.items():
        other = msgspec.structs.replace(new, **{field: value})
        with pytest.raises(AlreadyExists, match=field):
            await documents.create(other)
        with pytest.raises(AlreadyExists, match=field):
            await documents.create_many([other])
    await documents.delete(first.id)
    with pytest.raises(AlreadyExists, match="deleted"):
        await documents.create(new)


async def test_a_text_given_to_a_document_that_has_none_is_other_content(
    documents: KnowledgeDocumentRepository,
) -> None:
    new = a_new(id=new_id())
    await documents.create(new)
    with pytest.raises(AlreadyExists, match="text_content"):
        await documents.create(msgspec.structs.replace(new, text_content="text"))


async def test_many_documents_are_stored_in_the_order_given(
    documents: KnowledgeDocumentRepository,
) -> None:
    ids = [new_id() for _ in range(3)]
    news = [a_new(id=id, text_content=str(id)) for id in reversed(ids)]
    stored = await documents.create_many([*news, a_new()])
    assert [document.id for document in stored[:3]] == list(reversed(ids))
    for id in ids:
        assert (await documents.get_by_id(id)).text_content == str(id)
    assert await documents.count() == 4
    assert await documents.create_many([]) == []


async def test_a_patch_changes_the_fields_that_it_names(
    documents: KnowledgeDocumentRepository,
) -> None:
    document = await documents.create(NewDocument(text_content="text", **CONTENT))
    for field, value in OTHER.items():
        changed = await documents.update(document.id, DocumentPatch(**{field: value}))
        assert getattr(changed, field) == value
    assert (await documents.get_by_id(document.id)).text_content == "text"
    await documents.update(document.id, DocumentPatch(text_content="x" * 2 * MEGABYTES))
    assert len((await documents.get_by_id(document.id)).text_content or "") == 2 * MEGABYTES
    await documents.update(document.id, DocumentPatch(text_content=None, title=None))
    found = await documents.get_by_id(document.id)
    assert (found.text_content, found.title, found.author) == (None, None, OTHER["author"])
    with pytest.raises(InvalidInput, match="changes nothing"):
        await documents.update(document.id, DocumentPatch())
    with pytest.raises(NotFound):
        await documents.update(new_id(), DocumentPatch(title="t"))


async def test_several_documents_share_what_is_not_of_one_file(
    documents: KnowledgeDocumentRepository,
) -> None:
    first, second, left = await documents.create_many([a_new() for _ in range(3)])
    changed = await documents.update_many(
        [first.id, second.id, new_id()], DocumentPatch(tags=["t"])
    )
    assert {document.id for document in changed} == {first.id, second.id}
    assert {tuple(document.tags) for document in changed} == {("t",)}
    assert await documents.find_summary(left.id) == left
    with pytest.raises(InvalidInput, match="filename"):
        await documents.update_many([first.id], DocumentPatch(filename="same"))


# Filters and pages.


async def test_documents_are_found_by_tags_any_and_all(
    documents: KnowledgeDocumentRepository,
) -> None:
    tags: tuple[list[str], ...] = (["a"], ["b"], ["a", "b"], ["a", "b", "c"], [])
    for some in tags:
        await documents.create(a_new(tags=some))
    for filters, expected in (
        (DocumentFilter(tags_any=["a"]), [["a"], ["a", "b"], ["a", "b", "c"]]),
        (DocumentFilter(tags_any=["a", "b"]), [["a"], ["b"], ["a", "b"], ["a", "b", "c"]]),
        (DocumentFilter(tags_all=["a", "b"]), [["a", "b"], ["a", "b", "c"]]),
        (DocumentFilter(tags_all=["b", "a"], tags_any=["c", "z"]), [["a", "b", "c"]]),
        (DocumentFilter(tags_any=["z"]), []),
        (DocumentFilter(), list(tags)),
    ):
        page = await documents.find_many(filters, order="oldest", with_total=True)
        assert [document.tags for document in page.items] == expected
        assert page.total == await documents.count(filters) == len(expected)
        assert await documents.exists(filters) is bool(expected)
    for nothing in (DocumentFilter(tags_any=[]), DocumentFilter(tags_all=[])):
        with pytest.raises(InvalidInput, match="tags"):
            await documents.count(nothing)


async def test_documents_are_found_by_status_and_time(
    documents: KnowledgeDocumentRepository,
) -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    stored = [
        await documents.create(a_new(uploaded_at=start + timedelta(days=day))) for day in range(4)
    ]
    await documents.set_status(stored[1].id, "completed")
    for filters, expected in (
        (DocumentFilter(status="completed"), [1]),
        (DocumentFilter(status="pending"), [0, 2, 3]),
        (DocumentFilter(uploaded_from=stored[2].uploaded_at), [2, 3]),
        (DocumentFilter(uploaded_before=stored[2].uploaded_at), [0, 1]),
        (DocumentFilter(uploaded_before=stored[2].uploaded_at, status="pending"), [0]),
    ):
        page = await documents.find_many(filters, order="oldest")
        assert [document.id for document in page.items] == [stored[n].id for n in expected]
        assert await documents.count(filters) == len(expected)


async def test_pages_follow_each_other_without_gap_or_repeat(
    documents: KnowledgeDocumentRepository,
) -> None:
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    # Many of one upload have the same time: the id decides.
    stored = await documents.create_many([a_new(uploaded_at=moment) for _ in range(25)])
    for order in ("newest", "oldest"):
        ids = []
        cursor = None
        while True:
            page = await documents.find_many(order=order, cursor=cursor, limit=7)
            ids += [document.id for document in page.items]
            if (cursor := page.next) is None:
                break
        assert ids == sorted((d.id for d in stored), reverse=order == "newest")


# Status, vectors, statistics.


async def test_an_error_does_not_survive_a_later_success(
    documents: KnowledgeDocumentRepository,
) -> None:
    id = (await documents.create(a_new())).id
    failed = await documents.set_status(id, "failed", error_message="no text on page 3\0")
    assert failed.error_message == "no text on page 3\N{REPLACEMENT CHARACTER}"
    assert failed.processed_at is not None
    completed = await documents.set_status(id, "completed")
    assert (completed.status, completed.error_message) == ("completed", None)
    assert completed.processed_at is not None
    assert completed.processed_at > failed.processed_at


async def test_every_status_has_the_moment_and_the_error_that_belong_to_it(
    documents: KnowledgeDocumentRepository,
) -> None:
    id = (await documents.create(a_new())).id
    statuses: tuple[DocumentStatus, ...] = get_args(DocumentStatus)
    for before in statuses:
        for after in statuses:
            await documents.set_status(id, before)
            document = await documents.set_status(
                id, after, error_message="broken" if after == "failed" else None
            )
            assert document.status == after
            assert (document.processed_at is not None) == (after in ("completed", "failed"))
            assert (document.error_message == "broken") == (after == "failed")
    first = await documents.set_status(id, "completed")
    assert (await documents.set_status(id, "completed")).processed_at == first.processed_at
    for status in statuses[:-1]:
        with pytest.raises(InvalidInput, match="error_message"):
            await documents.set_status(id, status, error_message="broken")
    for unknown in ("done", "", "Pending", None, 5):
        with pytest.raises(InvalidInput, match="status"):
            await documents.set_status(id, unknown)  # type: ignore[arg-type]
    with pytest.raises(NotFound):
        await documents.set_status(new_id(), "completed")


async def test_the_ids_of_vectors_come_with_the_number_of_pieces(
    documents: KnowledgeDocumentRepository,
) -> None:
    id = (await documents.create(a_new())).id
    assert (await documents.set_vectors(id, ["a", "b", "c"])).chunk_count == 3
    assert (await documents.get_by_id(id)).vector_ids == ["a", "b", "c"]
    assert (await documents.set_vectors(id, ["a"], chunk_count=4)).chunk_count == 4
    assert (await documents.set_vectors(id, [])).chunk_count == 0
    assert (await documents.get_by_id(id)).vector_ids == []
    for ids, chunks in (
        (["x"] * 100_001, None),
        ([""], None),
        (["nul\0"], None),
        ([None], None),
        ("abc", None),
        ([], -1),
        ([], 2**31),
        ([], True),
    ):
        with pytest.raises(InvalidInput, match=r"vector_ids|chunk_count"):
            await documents.set_vectors(id, ids, chunk_count=chunks)  # type: ignore[arg-type]
    with pytest.raises(NotFound):
        await documents.set_vectors(new_id(), [])


async def test_statistics_add_up_the_living_documents(
    documents: KnowledgeDocumentRepository, as_grace: UserScope
) -> None:
    assert (await documents.statistics()).documents == 0
    assert (await documents.statistics()).last_uploaded_at is None
    first = await documents.create(a_new(size_bytes=2**40, text_content="ä" * 100_000))
    second = await documents.create(
        a_new(size_bytes=5, text_content="abc", content_type="text/html")
    )
    gone = await documents.create(a_new(size_bytes=7))
    await documents.delete(gone.id)
    await as_grace.knowledge_documents.create(a_new(size_bytes=11))
    await documents.set_vectors(first.id, ["a", "b"])
    await documents.set_status(second.id, "failed", error_message="x")
    found = await documents.statistics()
    assert (found.documents, found.pending, found.failed) == (2, 1, 1)
    assert (found.processing, found.completed, found.chunks) == (0, 0, 2)
    assert found.size_bytes == 2**40 + 5
    assert found.text_bytes == 200_003
    assert found.last_uploaded_at == second.uploaded_at
    assert [
        (row.content_type, row.documents, row.size_bytes, row.text_bytes, row.chunks)
        for row in await documents.statistics_by_content_type()
    ] == [("text/plain", 1, 2**40, 200_000, 2), ("text/html", 1, 5, 3, 0)]


async def test_a_deleted_document_is_hidden_until_it_is_restored(
    documents: KnowledgeDocumentRepository,
) -> None:
    id = (await documents.create(a_new(text_content="word"))).id
    assert await documents.delete(id) is True
    assert await documents.delete(id) is False
    assert await documents.find_by_id(id) is await documents.find_summary(id) is None
    assert await documents.count() == 0
    assert await documents.search("word") == []
    for write in (
        documents.update(id, DocumentPatch(title="t")),
        documents.set_status(id, "completed"),
        documents.set_vectors(id, []),
    ):
        with pytest.raises(NotFound):
            await write
    assert await documents.update_many([id], DocumentPatch(author="a")) == []
    assert (await documents.get_by_id(id, include_deleted=True)).deleted_at is not None
    assert await documents.find_summary(id, include_deleted=True) is not None
    assert len((await documents.find_many(include_deleted=True)).items) == 1
    restored = await documents.restore(id)
    assert restored.deleted_at is None
    assert await documents.restore(id) == restored
    assert await documents.hard_delete(id) is True
    assert await documents.hard_delete(id) is False
    with pytest.raises(NotFound):
        await documents.restore(id)


# What extraction leaves behind, and what is too large.


async def test_nul_and_lone_surrogates_in_a_text_become_replacement_characters(
    documents: KnowledgeDocumentRepository,
) -> None:
    text, cleaned = "a\0b\ud800c\udfff\U0001f600\ufffe", "a�b�c�\U0001f600\ufffe"
    first = await documents.create(a_new(id=new_id(), text_content=text))
    (second,) = await documents.create_many([a_new(id=new_id(), text_content=text)])
    third = await documents.create(a_new())
    await documents.update(third.id, DocumentPatch(text_content=text))
    for document in (first, second, third):
        assert (await documents.get_by_id(document.id)).text_content == cleaned


@given(st.text(st.characters(), max_size=200))
def test_cleaning_keeps_every_position_and_every_character_that_can_be_stored(text: str) -> None:
    cleaned = clean_text(text, "text")
    assert len(cleaned) == len(text)
    assert "\0" not in cleaned.encode().decode()
    for before, after in zip(text, cleaned, strict=True):
        storable = before != "\0" and not "\ud800" <= before <= "\udfff"
        assert after == (before if storable else "\N{REPLACEMENT CHARACTER}")
    assert clean_text(cleaned, "text") == cleaned


def test_a_report_of_a_failure_never_fails_itself() -> None:
    assert clean_message("\ud800") == "\N{REPLACEMENT CHARACTER}"
    assert clean_message(ValueError("no\0")) == "no\N{REPLACEMENT CHARACTER}"
    assert clean_message("") == clean_message(ValueError()) == "no reason was given"
    assert len(clean_message("x" * 1_000_000)) == 4_000


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(text=st.text(st.characters(), max_size=2_000), times=st.integers(1, 4_000))
async def test_any_text_is_stored_and_found_by_search_without_an_error(
    as_ada: UserScope, text: str, times: int
) -> None:
    documents = as_ada.knowledge_documents
    new = a_new(text_content=(text * times)[: 2 * MEGABYTES], language="english")
    stored = await documents.create(new)
    found = await documents.get_by_id(stored.id)
    assert found.text_content == clean_text(new.text_content, "text")
    await documents.hard_delete(stored.id)


@pytest.mark.parametrize(
    "text",
    [
        "x" * 2 * MEGABYTES,
        "".join(chr(0x20000 + n % 40_000) + (" " if n % 2 else "") for n in range(150_000)),
        " ".join(f"{n:x}" for n in range(400_000)),
        "ä" * 5 * MEGABYTES,
        "\n" * 10 * MEGABYTES,
    ],
    ids=["one word of 2 MB", "distinct words of 4-byte letters", "short words", "10 MiB", "lines"],
)
async def test_a_giant_text_breaks_neither_the_search_nor_its_snippet(
    documents: KnowledgeDocumentRepository, text: str
) -> None:
    stored = await documents.create(a_new(text_content=text, title="giant", language="english"))
    assert (await documents.get_by_id(stored.id)).text_content == text
    (match,) = await documents.search("giant")
    assert match.document.id == stored.id


LARGE = "x" * 50 * MEGABYTES
NOT_METADATA: tuple[Any, ...] = ([], None, {"a": "\0"}, {"a": "x" * 65_536})
BAD: list[tuple[str, object]] = [
    ("text_content", LARGE),
    ("text_content", "ä" * (5 * MEGABYTES + 1)),
    ("text_content", b"bytes"),
    ("text_content", 5),
    ("tags", [f"tag {n}" for n in range(100_000)]),
    ("tags", ["x"] * 101),
    ("tags", ["\U0001f600" * 200] * 100),
    ("tags", ["x" * 201]),
    ("tags", [""]),
    ("tags", [None]),
    ("tags", ["nul\0"]),
    ("tags", "tag"),
    ("tags", None),
    *(("filename", name) for name in ("", "x" * 501, "nul\0", "lone \ud800", None, 5)),
    *(("content_type", name) for name in ("", "x" * 256, "nul\0", None)),
    *(("size_bytes", size) for size in (-1, 2**63, 1.5, "1", None, True)),
    *((field, "x" * 501) for field in ("title", "author")),
    *((field, "lone \udfff") for field in ("title", "author", "source_url", "storage_path")),
    ("source_url", "x" * 2_049),
    ("storage_path", "x" * 1_025),
    ("storage_path", ""),
    *(("language", name) for name in ("klingon", "English", "", "pg_catalog.english", 5)),
    *(("metadata", value) for value in NOT_METADATA),
]


async def test_bad_input_names_the_field_and_stores_nothing(
    documents: KnowledgeDocumentRepository, migrated: IsolatedDatabase
) -> None:
    stored = await documents.create(a_new(text_content="text"))
    for field, value in BAD:
        with case(field, value), nothing_stored(migrated):
            for refused in (
                documents.create(a_new(**{field: value})),
                documents.create_many([a_new(), a_new(**{field: value})]),
                documents.update(stored.id, DocumentPatch(**{field: value})),
            ):
                with pytest.raises(InvalidInput, match=field):
                    await refused


async def test_naive_times_are_refused(documents: KnowledgeDocumentRepository) -> None:
    with pytest.raises(InvalidInput, match="uploaded_at"):
        await documents.create(a_new(uploaded_at=datetime(2026, 1, 1)))


# Languages.


def test_python_and_the_database_know_the_same_languages(migrated: IsolatedDatabase) -> None:
    with as_superuser(migrated) as connection:
        row = connection.execute("SELECT clonedb.document_languages()").fetchone()
        assert row is not None
        assert sorted(row[0]) == sorted(get_args(DocumentLanguage))
        missing = connection.execute(
            "SELECT l FROM unnest(clonedb.document_languages()) AS l WHERE NOT EXISTS "
            "(SELECT FROM pg_ts_config AS c WHERE c.cfgname = l)"
        ).fetchall()
    assert missing == []


async def test_every_language_is_stored_and_searched(
    documents: KnowledgeDocumentRepository,
) -> None:
    languages = get_args(DocumentLanguage)
    await documents.create_many(
        [a_new(language=language, text_content="Zebra") for language in languages]
    )
    matches = await documents.search("zebra", limit=100)
    assert {match.document.language for match in matches} == set(languages)


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ({"document_language": "german"}, "german"),
        ({"document_language": "klingon"}, "simple"),
        ({"document_language": ["german"]}, "simple"),
        ({"document_language": None}, "simple"),
        ({}, "simple"),
    ],
)
async def test_a_document_has_the_language_of_its_users_settings(
    as_ada: UserScope, setting: dict[str, Any], expected: str
) -> None:
    assert as_ada.user_id is not None
    if setting:
        await as_ada.users.update(as_ada.user_id, UserPatch(settings=setting))
    documents = as_ada.knowledge_documents
    assert (await documents.create(a_new())).language == expected
    assert [d.language for d in await documents.create_many([a_new()])] == [expected]
    assert (await documents.create(a_new(language="french"))).language == "french"
