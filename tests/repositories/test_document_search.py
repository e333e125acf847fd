"""Full-text search: what is found, in which order, and what is shown of it."""

from __future__ import annotations

from typing import Any

import pytest
from ground import as_superuser
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clonedb import (
    Database,
    DocumentPatch,
    InvalidInput,
    KnowledgeDocumentRepository,
    NewDocument,
    User,
    UserScope,
)
from clonedb.testing import IsolatedDatabase


def a_text(text: str | None, **fields: Any) -> NewDocument:
    given: dict[str, Any] = {
        "filename": "a.txt",
        "content_type": "text/plain",
        "size_bytes": 1,
        "language": "english",
    }
    return NewDocument(text_content=text, **(given | fields))


@pytest.fixture
def documents(as_ada: UserScope) -> KnowledgeDocumentRepository:
    return as_ada.knowledge_documents


async def titles(
    documents: KnowledgeDocumentRepository, question: str, **options: Any
) -> list[str | None]:
    return [match.document.title for match in await documents.search(question, **options)]


async def test_words_are_found_in_the_forms_of_the_documents_language(
    documents: KnowledgeDocumentRepository,
) -> None:
    await documents.create(a_text("The engine weaves algebraic patterns.", title="english"))
    await documents.create(
        a_text("Die Maschine webt Häuser und Muster.", title="german", language="german")
    )
    await documents.create(a_text("weaves weaving", title="simple", language="simple"))
    assert set(await titles(documents, "weaving")) == {"english", "simple"}
    assert await titles(documents, "weave") == ["english"]
    assert await titles(documents, "Haus") == ["german"]
    assert await titles(documents, "patterns", languages=["german"]) == []
    assert await titles(documents, "pattern", languages=["english", "german"]) == ["english"]
    assert await titles(documents, "absent") == []


async def test_the_best_match_comes_first(documents: KnowledgeDocumentRepository) -> None:
    await documents.create(a_text("engine " + "filler words between " * 200, title="once"))
    await documents.create(a_text("The engine, the engine, the engine.", title="often"))
    await documents.create(a_text("Something else altogether.", title="The engine"))
    await documents.create(a_text("Nothing of it.", title="nothing"))
    matches = await documents.search("engine")
    assert [match.document.title for match in matches] == ["The engine", "often", "once"]
    ranks = [match.rank for match in matches]
    assert ranks == sorted(ranks, reverse=True)
    assert await titles(documents, "engine", limit=2) == ["The engine", "often"]


async def test_the_snippet_shows_the_words_that_match(
    documents: KnowledgeDocumentRepository,
) -> None:
    await documents.create(a_text("filler " * 500 + "the famous engine turns " + "rest " * 500))
    (match,) = await documents.search("engines")
    assert match.snippet is not None
    assert "famous ⟦engine⟧ turns" in match.snippet
    assert len(match.snippet) < 1_000


async def test_a_match_in_the_title_of_a_document_without_text_has_no_snippet(
    documents: KnowledgeDocumentRepository,
) -> None:
    await documents.create(a_text(None, title="engine"))
    (match,) = await documents.search("engine")
    assert match.snippet is None


async def test_a_question_has_phrases_alternatives_and_exclusions(
    documents: KnowledgeDocumentRepository,
) -> None:
    await documents.create(a_text("the difference engine of old", title="difference"))
    await documents.create(a_text("the analytical engine of old", title="analytical"))
    await documents.create(a_text("an engine without a difference", title="both words"))
    for question, expected in (
        ("engine", {"difference", "analytical", "both words"}),
        ("engine difference", {"difference", "both words"}),
        ('"difference engine"', {"difference"}),
        ("engine -difference", {"analytical"}),
        ("analytical or difference", {"difference", "analytical", "both words"}),
        ("-engine", set()),
        ("the", set()),
    ):
        assert set(await titles(documents, question)) == expected, question


async def test_a_changed_text_is_found_by_its_new_words(
    documents: KnowledgeDocumentRepository,
) -> None:
    document = await documents.create(a_text("difference"))
    await documents.update(document.id, DocumentPatch(text_content="analysis"))
    assert await documents.search("difference") == []
    assert len(await documents.search("analysis")) == 1


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    question=st.text(
        st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=200
    )
    | st.text("\"'-&|!():*<> ab\\", min_size=1, max_size=50)
)
async def test_whatever_is_asked_is_a_question(as_ada: UserScope, question: str) -> None:
    documents = as_ada.knowledge_documents
    if not await documents.exists():
        await documents.create(a_text("a b ab"))
        await documents.create(a_text("a b ab", language="simple"))
    assert len(await documents.search(question)) <= 2


@pytest.mark.parametrize("question", ["", "x" * 1_001, "nul\0", "lone \ud800", None, 5])
async def test_what_is_no_question_is_refused(
    documents: KnowledgeDocumentRepository, question: Any
) -> None:
    with pytest.raises(InvalidInput, match="question"):
        await documents.search(question)


async def test_bad_options_are_refused(documents: KnowledgeDocumentRepository) -> None:
    bad_options: list[dict[str, Any]] = [{"limit": 0}, {"limit": 501}, {"limit": "5"}]
    for options in bad_options:
        with pytest.raises(InvalidInput, match="page"):
            await documents.search("a", **options)
    for languages in ([], ["klingon"], "english", [None], ["english'"]):
        with pytest.raises(InvalidInput, match="languages"):
            await documents.search("a", languages=languages)  # type: ignore[arg-type]


async def test_the_context_alone_says_whose_documents_are_searched(
    documents: KnowledgeDocumentRepository,
    as_grace: UserScope,
    app: Database,
    worker: Database,
    ada: User,
    migrated: IsolatedDatabase,
) -> None:
    await documents.create(a_text("secret engine", title="Ada's"))
    assert await titles(as_grace.knowledge_documents, "engine") == []
    assert await titles(worker.as_user(ada.id).knowledge_documents, "engine") == ["Ada's"]
    search = "SELECT count(*) FROM clonedb.search_documents('engine', ARRAY['english'], 10)"
    with as_superuser(migrated) as connection:
        # Whoever may call it gets the rows of the context, and without one nothing.
        for context, expected in (("", 0), (str(as_grace.user_id), 0), (str(ada.id), 1)):
            connection.execute("SELECT set_config('clonedb.user_id', %s, false)", [context])
            for role in ("clonedb_app", "clonedb_worker"):
                connection.execute(f"SET ROLE {role}")
                assert connection.execute(search).fetchone() == (expected,)
                connection.execute("RESET ROLE")
    await worker.users.delete(ada.id)
    assert await titles(documents, "engine") == []


def test_a_rare_word_is_found_through_its_index(migrated: IsolatedDatabase) -> None:
    """The body of the function, as its owner: a plan that reads every document would not do."""
    with as_superuser(migrated) as connection:
        connection.execute(
            "INSERT INTO clonedb.users (email) SELECT 'u' || n || '@example.com' "
            "FROM generate_series(1, 3) AS n"
        )
        connection.execute(
            "INSERT INTO clonedb.knowledge_documents "
            "(user_id, filename, content_type, size_bytes, text_content) "
            "SELECT u.id, 'f', 'text/plain', 1, 'word' || n || ' common' "
            "FROM clonedb.users AS u, generate_series(1, 1000) AS n"
        )
        # New entries wait in a list that a vacuum empties; until then the index costs more.
        connection.execute("VACUUM ANALYZE clonedb.knowledge_documents")
        row = connection.execute("SELECT id FROM clonedb.users LIMIT 1").fetchone()
        assert row is not None
        connection.execute("SET ROLE clonedb_owner")
        plan = connection.execute(
            "EXPLAIN SELECT id FROM clonedb.knowledge_documents AS d "
            f"WHERE d.user_id = '{row[0]}' AND d.language = 'simple' AND d.deleted_at IS NULL "
            "AND d.search @@ websearch_to_tsquery('pg_catalog.simple', 'word77')"
        ).fetchall()
    assert any("knowledge_documents_search" in line for (line,) in plan), plan
