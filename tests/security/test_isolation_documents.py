"""Nobody reaches another's models and documents: every method, on every id.

Ada is the victim, Grace asks. Row-level security and the explicit user in every statement each
hold alone.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, NamedTuple

import psycopg
import pytest
import pytest_asyncio
from ground import as_superuser, nothing_stored
from psycopg import sql

from clonedb import (
    AlreadyExists,
    ClonedbError,
    Database,
    DocumentFilter,
    DocumentPatch,
    DocumentSummary,
    FaceModel,
    FaceModelFilter,
    FaceModelPatch,
    FaceModelRepository,
    KnowledgeDocumentRepository,
    NewDocument,
    NewFaceModel,
    NewVoiceModel,
    NotFound,
    PermissionDenied,
    User,
    UserScope,
    VoiceModel,
    VoiceModelFilter,
    VoiceModelPatch,
    VoiceModelRepository,
    new_id,
)
from clonedb.testing import IsolatedDatabase

TABLES = ("voice_models", "face_models", "knowledge_documents")


class Victim(NamedTuple):
    user: User
    voice: VoiceModel
    face: FaceModel
    document: DocumentSummary
    hidden: dict[str, Any]


class Case(NamedTuple):
    """A call on a repository, with an id of Ada's; what it may return, or what it raises."""

    call: Callable[[Any, Any], Awaitable[Any]]
    answer: Callable[[Any], bool] = lambda _: False
    error: type[ClonedbError] | None = None


def nothing(answer: object) -> bool:
    return answer in (None, False, 0, [])


def empty_page(answer: Any) -> bool:
    return answer.items == [] and not answer.total


def a_voice(**fields: Any) -> NewVoiceModel:
    return NewVoiceModel(provider="xtts-v2", model_path="secret.pt", sample_rate=24_000, **fields)


def a_face(**fields: Any) -> NewFaceModel:
    return NewFaceModel(model_path="secret.bin", resolution={"width": 9, "height": 9}, **fields)


def a_document(**fields: Any) -> NewDocument:
    return NewDocument(filename="secret.txt", content_type="text/plain", size_bytes=9, **fields)


def common(patch: Any, filters: Any) -> dict[str, Case]:
    """What all three repositories have."""
    return {
        "find_by_id": Case(lambda r, key: r.find_by_id(key, include_deleted=True), nothing),
        "get_by_id": Case(lambda r, key: r.get_by_id(key), error=NotFound),
        "find_many": Case(
            lambda r, _: r.find_many(filters, with_total=True, include_deleted=True), empty_page
        ),
        "find_one": Case(lambda r, _: r.find_one(filters), nothing),
        "count": Case(lambda r, _: r.count(filters, include_deleted=True), nothing),
        "exists": Case(lambda r, _: r.exists(filters, include_deleted=True), nothing),
        "update": Case(lambda r, key: r.update(key, patch), error=NotFound),
        "update_many": Case(lambda r, key: r.update_many([key], patch), nothing),
        "delete": Case(lambda r, key: r.delete(key), nothing),
        "hard_delete": Case(lambda r, key: r.hard_delete(key), nothing),
        "restore": Case(lambda r, key: r.restore(key), error=NotFound),
    }


MODEL = {
    "activate": Case(lambda r, key: r.activate(key), error=NotFound),
    "deactivate": Case(lambda r, _: r.deactivate(), nothing),
    "find_active": Case(lambda r, _: r.find_active(), nothing),
}
CASES: dict[str, dict[str, Case]] = {
    "voice_models": common(VoiceModelPatch(quality_score=1), VoiceModelFilter(quality_from=0.4))
    | MODEL,
    "face_models": common(FaceModelPatch(quality_score=1), FaceModelFilter(quality_from=0.4))
    | MODEL,
    "knowledge_documents": common(DocumentPatch(author="Eve"), DocumentFilter(tags_any=["secret"]))
    | {
        "find_summary": Case(lambda r, key: r.find_summary(key, include_deleted=True), nothing),
        "search": Case(lambda r, _: r.search("secret"), nothing),
        "set_status": Case(lambda r, key: r.set_status(key, "completed"), error=NotFound),
        "set_vectors": Case(lambda r, key: r.set_vectors(key, ["v"]), error=NotFound),
        "statistics": Case(lambda r, _: r.statistics(), lambda found: found.documents == 0),
        "statistics_by_content_type": Case(lambda r, _: r.statistics_by_content_type(), nothing),
    },
}
CREATES: dict[str, Callable[..., Any]] = {
    "voice_models": a_voice,
    "face_models": a_face,
    "knowledge_documents": a_document,
}
EVERY_CASE = [(table, name) for table, cases in CASES.items() for name in cases]


@pytest_asyncio.fixture
async def victim(as_ada: UserScope, ada: User) -> AsyncIterator[Victim]:
    voice = await as_ada.voice_models.create(a_voice(quality_score=0.5))
    await as_ada.voice_models.activate(voice.id)
    face = await as_ada.face_models.create(a_face(quality_score=0.5))
    await as_ada.face_models.activate(face.id)
    document = await as_ada.knowledge_documents.create(
        a_document(text_content="secret", title="secret", tags=["secret"])
    )
    hidden: dict[str, Any] = {}
    for table in TABLES:
        repository = getattr(as_ada, table)
        hidden[table] = (await repository.create(CREATES[table]())).id
        await repository.delete(hidden[table])
    yield Victim(ada, voice, face, document, hidden)


def ids_of(victim: Victim, table: str) -> list[Any]:
    living = {
        "voice_models": victim.voice.id,
        "face_models": victim.face.id,
        "knowledge_documents": victim.document.id,
    }
    return [living[table], victim.hidden[table]]


async def refused_or_nothing(case: Case, repository: Any, id: object) -> None:
    if case.error is not None:
        with pytest.raises(case.error):
            await case.call(repository, id)
    else:
        answer = await case.call(repository, id)
        assert case.answer(answer), answer


def test_every_public_method_has_a_case() -> None:
    for table, repository in (
        ("voice_models", VoiceModelRepository),
        ("face_models", FaceModelRepository),
        ("knowledge_documents", KnowledgeDocumentRepository),
    ):
        methods = {name for name in vars(repository) if not name.startswith("_")}
        assert methods == CASES[table].keys() | {"create", "create_many"}


@pytest.mark.parametrize(("table", "method"), EVERY_CASE)
async def test_another_user_finds_and_changes_nothing(
    table: str, method: str, victim: Victim, as_grace: UserScope, migrated: IsolatedDatabase
) -> None:
    with nothing_stored(migrated):
        for id in ids_of(victim, table):
            await refused_or_nothing(CASES[table][method], getattr(as_grace, table), id)


@pytest.fixture
def without_row_level_security(migrated: IsolatedDatabase, victim: Victim) -> None:
    with as_superuser(migrated) as connection:
        for table in TABLES:
            connection.execute(
                sql.SQL("ALTER TABLE {} DISABLE ROW LEVEL SECURITY").format(
                    sql.Identifier("clonedb", table)
                )
            )


@pytest.mark.parametrize("table", TABLES)
async def test_the_explicit_user_holds_without_row_level_security(
    table: str,
    victim: Victim,
    without_row_level_security: None,
    as_grace: UserScope,
    migrated: IsolatedDatabase,
) -> None:
    with nothing_stored(migrated):
        for case in CASES[table].values():
            for id in ids_of(victim, table):
                await refused_or_nothing(case, getattr(as_grace, table), id)


@pytest.mark.parametrize("table", TABLES)
async def test_the_worker_login_in_a_users_scope_reaches_that_user_alone(
    table: str, victim: Victim, worker: Database, grace: User, migrated: IsolatedDatabase
) -> None:
    scope = worker.as_user(grace.id)
    with nothing_stored(migrated):
        for case in CASES[table].values():
            for id in ids_of(victim, table):
                await refused_or_nothing(case, getattr(scope, table), id)


@pytest.mark.parametrize("table", TABLES)
async def test_the_id_of_anothers_row_is_free_for_ones_own(
    table: str, victim: Victim, as_ada: UserScope, as_grace: UserScope
) -> None:
    """The key begins with the user: an id that is taken elsewhere tells nobody anything."""
    for id in ids_of(victim, table):
        before = await getattr(as_ada, table).find_by_id(id, include_deleted=True)
        own = await getattr(as_grace, table).create(CREATES[table](id=id))
        assert own.id == id
        assert await getattr(as_ada, table).find_by_id(id, include_deleted=True) == before
    with pytest.raises(AlreadyExists):
        await getattr(as_ada, table).create(CREATES[table](id=victim.hidden[table]))


@pytest.mark.parametrize("table", TABLES)
async def test_a_deleted_user_sees_nothing_and_writes_nothing(
    table: str, victim: Victim, as_ada: UserScope, migrated: IsolatedDatabase
) -> None:
    await as_ada.users.delete(victim.user.id)
    repository = getattr(as_ada, table)
    with nothing_stored(migrated):
        for case in CASES[table].values():
            for id in ids_of(victim, table):
                await refused_or_nothing(case, repository, id)
        for new in (CREATES[table](), CREATES[table](id=new_id())):
            with pytest.raises(PermissionDenied):
                await repository.create(new)
            with pytest.raises(PermissionDenied):
                await repository.create_many([new])


async def test_hand_written_sql_under_the_app_login_reaches_only_the_contexts_user(
    victim: Victim, grace: User, migrated: IsolatedDatabase
) -> None:
    for context in (str(grace.id), ""):
        with psycopg.connect(migrated.dsn("clonedb_app"), autocommit=True) as connection:
            connection.execute("SELECT set_config('clonedb.user_id', %s, false)", [context])
            with nothing_stored(migrated):
                for table in TABLES:
                    name = sql.Identifier("clonedb", table)
                    for command in (
                        "SELECT FROM {} WHERE user_id = %s",
                        "UPDATE {} SET deleted_at = now() WHERE user_id = %s",
                        "DELETE FROM {} WHERE user_id = %s",
                    ):
                        found = connection.execute(sql.SQL(command).format(name), [victim.user.id])
                        assert found.rowcount == 0
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    connection.execute(
                        "INSERT INTO clonedb.knowledge_documents "
                        "(user_id, filename, content_type, size_bytes) VALUES (%s, 'f', 'c', 1)",
                        [victim.user.id],
                    )


def test_the_readonly_login_sees_neither_words_nor_names(
    victim: Victim, migrated: IsolatedDatabase
) -> None:
    with psycopg.connect(migrated.dsn("clonedb_readonly"), autocommit=True) as connection:
        assert connection.execute(
            "SELECT count(id), count(lease_expires_at) FROM clonedb.knowledge_documents"
        ).fetchone() == (2, 0)
        for column, table in (
            ("text_content", "knowledge_documents"),
            ("title", "knowledge_documents"),
            ("filename", "knowledge_documents"),
            ("search", "knowledge_documents"),
            ("model_path", "voice_models"),
            ("metadata", "face_models"),
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(f"SELECT {column} FROM clonedb.{table}")
        for call in (
            "clonedb.search_documents('secret', NULL, 10)",
            f"clonedb.document_language('{victim.user.id}')",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(f"SELECT * FROM {call}")
