"""Whoever changes the data drops what was made of them, with their commit, and nothing else."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final, NamedTuple
from uuid import UUID

import pytest
from channels import until
from ground import as_superuser, someone_waits_for_a_lock
from tiers import (
    FORGETFUL,
    SAMPLES,
    Making,
    Process,
    a_process,
    answer,
    at_once,
    expire,
    heard,
    listening,
    question,
    stored,
    waiters,
)

from clonedb import (
    Database,
    DocumentPatch,
    NewDocument,
    NewVoiceModel,
    NotFound,
    User,
    VoiceModelPatch,
)
from clonedb.caching.memory import bucket_of
from clonedb.caching.values import VectorSearch
from clonedb.repositories.document_queue import DocumentQueue
from clonedb.repositories.knowledge_documents import KnowledgeDocumentRepository
from clonedb.repositories.users import UserRepository
from clonedb.repositories.voice_models import VoiceModelRepository
from clonedb.scopes import UserScope
from clonedb.testing import IsolatedDatabase

DOCUMENTS: Final = ("vector_search", "llm_response")
VOICE: Final = ("audio_chunk",)
EVERYTHING: Final = tuple(sample.name for sample in SAMPLES)


class Data(NamedTuple):
    """What a user has before something changes."""

    user: UUID
    document: UUID
    deleted_document: UUID
    voice: UUID
    other_voice: UUID
    claim: Any


AnyScope = Any  # of the user, or of the login
Change = Callable[[AnyScope, Data], Awaitable[Any]]


class Event(NamedTuple):
    method: Callable[..., Any]
    drops: tuple[str, ...]
    change: Change


def new_document(name: str = "new") -> NewDocument:
    return NewDocument(filename=name, content_type="text/plain", size_bytes=1, text_content="a")


K, Q, V, U = KnowledgeDocumentRepository, DocumentQueue, VoiceModelRepository, UserRepository


def documents(scope: AnyScope, data: Data) -> KnowledgeDocumentRepository:
    user = scope if isinstance(scope, UserScope) else scope.as_user(data.user)
    return user.knowledge_documents


def voices(scope: AnyScope, data: Data) -> VoiceModelRepository:
    user = scope if isinstance(scope, UserScope) else scope.as_user(data.user)
    return user.voice_models


EVENTS: Final = [
    Event(K.create, DOCUMENTS, lambda s, d: documents(s, d).create(new_document())),
    Event(
        K.create_many,
        DOCUMENTS,
        lambda s, d: documents(s, d).create_many([new_document("a"), new_document("b")]),
    ),
    Event(
        K.update,
        DOCUMENTS,
        lambda s, d: documents(s, d).update(d.document, DocumentPatch(title="b")),
    ),
    Event(
        K.update_many,
        DOCUMENTS,
        lambda s, d: documents(s, d).update_many([d.document], DocumentPatch(author="b")),
    ),
    Event(
        K.set_status,
        DOCUMENTS,
        lambda s, d: documents(s, d).set_status(d.document, "failed", error_message="no"),
    ),
    Event(
        K.set_vectors,
        DOCUMENTS,
        lambda s, d: documents(s, d).set_vectors(d.document, vector_ids=["b"], chunk_count=1),
    ),
    Event(K.delete, DOCUMENTS, lambda s, d: documents(s, d).delete(d.document)),
    Event(K.hard_delete, DOCUMENTS, lambda s, d: documents(s, d).hard_delete(d.document)),
    Event(K.restore, DOCUMENTS, lambda s, d: documents(s, d).restore(d.deleted_document)),
    Event(
        Q.finish,
        DOCUMENTS,
        lambda s, d: s.knowledge_documents.finish(d.claim, vector_ids=["b"], chunk_count=1),
    ),
    Event(V.activate, VOICE, lambda s, d: voices(s, d).activate(d.other_voice)),
    Event(V.deactivate, VOICE, lambda s, d: voices(s, d).deactivate()),
    Event(V.delete, VOICE, lambda s, d: voices(s, d).delete(d.voice)),
    Event(V.hard_delete, VOICE, lambda s, d: voices(s, d).hard_delete(d.voice)),
    Event(
        V.update, VOICE, lambda s, d: voices(s, d).update(d.voice, VoiceModelPatch(model_path="b"))
    ),
    Event(
        V.update_many,
        VOICE,
        lambda s, d: voices(s, d).update_many([d.voice], VoiceModelPatch(quality_score=0.5)),
    ),
    Event(U.delete, EVERYTHING, lambda s, d: s.users.delete(d.user)),
    Event(U.hard_delete, EVERYTHING, lambda s, d: s.users.hard_delete(d.user)),
]

# Writing methods that leave what is cached as it is, each with the reason.
NO_EVENTS: Final = {
    Q.claim_pending: "the document is not searched before it is finished",
    Q.extend: "a lease alone",
    Q.fail: "what failed was never searched",
    Q.release: "the document is not searched before it is finished",
    V.create: "a new voice has said nothing, and is not active",
    V.create_many: "a new voice has said nothing, and is not active",
    V.restore: "a voice comes back inactive",
    U.sign_up: "a new user has nothing",
    U.create: "a new user has nothing",
    U.create_many: "a new user has nothing",
    U.update: "not made of documents or voices",
    U.update_many: "not made of documents or voices",
    U.merge_settings: "not made of documents or voices",
    U.add_minutes: "a figure",
    U.set_tier: "a word",
}
# What comes back with its documents and voices; see the last test but one.
RESTORED: Final = {U.restore}

READING: Final = ("find_", "get_", "count", "exists", "search", "statistics", "stream")


def name_of(method: Callable[..., Any]) -> str:
    return method.__qualname__


every_event = pytest.mark.parametrize(
    "event", EVENTS, ids=[name_of(each.method) for each in EVENTS]
)


def test_every_method_that_writes_is_an_event_or_says_why_not() -> None:
    known = {event.method for event in EVENTS} | NO_EVENTS.keys() | RESTORED
    writing = {
        method
        for repository in (K, Q, V, U)
        for name, method in inspect.getmembers(repository, inspect.iscoroutinefunction)
        if not name.startswith(("_", *READING))
    }
    assert {name_of(method) for method in writing} == {name_of(method) for method in known}


async def data_of(worker: Database, user: User) -> Data:
    scope = worker.as_user(user.id)
    deleted = await scope.knowledge_documents.create(new_document("deleted"))
    await scope.knowledge_documents.delete(deleted.id)
    document = await scope.knowledge_documents.create(new_document())
    (claim,) = await worker.knowledge_documents.claim_pending(worker="me", limit=1)
    voice, other = await scope.voice_models.create_many(
        [
            NewVoiceModel(
                provider="xtts-v2", model_path="a", sample_rate=24_000, status="completed"
            )
            for _ in range(2)
        ]
    )
    await scope.voice_models.activate(voice.id)
    return Data(user.id, document.id, deleted.id, voice.id, other.id, claim)


async def fill_all(process: Process, users: list[User]) -> None:
    for sample in SAMPLES:
        for caches in (*(process.caches.of(user.id) for user in users), process.caches.shared):
            await sample.of(caches).put(sample.key(1), sample.value(1))


async def cached(process: Process, user: User) -> set[str]:
    """Where the user finds a value of their own."""
    return {
        sample.name
        for sample in SAMPLES
        if any(
            not entry.shared
            for entry in [
                await getattr(process.database.as_user(user.id).caches, sample.name).get(
                    sample.key(1).digest()
                )
            ]
            if entry is not None
        )
    }


async def shared(process: Process) -> set[str]:
    return {
        sample.name
        for sample in SAMPLES
        if await sample.of(process.caches.shared).get(sample.key(1)) == sample.value(1)
    }


@every_event
async def test_an_event_drops_its_caches_with_the_commit_and_tells_every_process(
    migrated: IsolatedDatabase, worker: Database, ada: User, grace: User, event: Event
) -> None:
    data = await data_of(worker, ada)
    async with (
        a_process(migrated.dsn("clonedb_worker"), policy=FORGETFUL, trusted=False) as process,
        listening(migrated) as listener,
    ):
        await fill_all(process, [ada, grace])
        with pytest.raises(ZeroDivisionError):
            async with worker.transaction() as transaction:
                await event.change(transaction, data)
                raise ZeroDivisionError
        assert await cached(process, ada) == set(EVERYTHING)
        async with worker.transaction() as transaction:
            await event.change(transaction, data)
            assert await cached(process, ada) == set(EVERYTHING)
            assert await heard(listener) == []
        assert await cached(process, ada) == set(EVERYTHING) - set(event.drops)
        assert await cached(process, grace) == set(EVERYTHING)
        assert await shared(process) == set(EVERYTHING)
        (told,) = await heard(listener)
        initials, _, bucket = told.partition(":")
        assert set(initials) == {name[0] for name in event.drops}
        assert bucket == bucket_of(ada.id)


async def test_what_changes_nothing_drops_nothing(
    migrated: IsolatedDatabase, worker: Database, ada: User, grace: User
) -> None:
    """The ids are those of another user, and unknown here."""
    theirs = (await data_of(worker, grace))._replace(user=ada.id)
    async with a_process(
        migrated.dsn("clonedb_worker"), policy=FORGETFUL, trusted=False
    ) as process:
        await fill_all(process, [ada])
        for event in EVENTS:
            if event.method not in (K.create, K.create_many, Q.finish, U.delete, U.hard_delete):
                with suppress(NotFound):
                    await event.change(worker, theirs)
                assert await cached(process, ada) == set(EVERYTHING), name_of(event.method)


async def test_the_app_login_drops_its_users_own_as_the_worker_does(
    migrated: IsolatedDatabase, app: Database, worker: Database, ada: User
) -> None:
    async with a_process(
        migrated.dsn("clonedb_worker"), policy=FORGETFUL, trusted=False
    ) as process:
        for event in (each for each in EVENTS if each.method is not Q.finish):
            data = await data_of(worker, ada)
            await fill_all(process, [ada])
            await event.change(app.as_user(ada.id), data)
            assert not set(event.drops) & await cached(process, ada), name_of(event.method)
            if event.method is U.delete:
                await worker.users.restore(ada.id)


async def test_nothing_of_a_user_is_left_in_the_tables_when_they_are_erased(
    backstage: Process, ada: User, grace: User, migrated: IsolatedDatabase
) -> None:
    await fill_all(backstage, [ada, grace])
    await backstage.database.users.hard_delete(ada.id)
    for sample in SAMPLES:
        assert stored(migrated, sample.name) == 2, "that of grace and the shared one"
    with as_superuser(migrated) as connection:
        for table in ("cache_changes", "cache_fill_leases"):
            left = connection.execute(
                f"SELECT FROM clonedb.{table} WHERE user_id = %s".encode(), [ada.id]
            ).fetchall()
            assert left == []


async def test_what_is_filled_while_a_user_is_erased_is_not_left_behind(
    worker: Database, ada: User, migrated: IsolatedDatabase
) -> None:
    sample = next(each for each in SAMPLES if each.name == "llm_response")
    async with a_process(
        migrated.dsn("clonedb_worker"), policy=FORGETFUL, trusted=False
    ) as process:
        cache = sample.of(process.caches.of(ada.id))
        async with worker.transaction() as transaction:
            await transaction.users.hard_delete(ada.id)
            await cache.get_or_compute(sample.key(1), Making(sample.value(1)))
        assert await cache.get(sample.key(1)) is None
        assert stored(migrated) == 0


async def test_what_was_cached_while_a_user_was_deleted_is_not_read_when_they_are_back(
    worker: Database, ada: User, migrated: IsolatedDatabase
) -> None:
    """The documents were hidden, and the search found none of them."""
    sample = next(each for each in SAMPLES if each.name == "vector_search")
    await data_of(worker, ada)
    async with a_process(
        migrated.dsn("clonedb_worker"), policy=FORGETFUL, trusted=False
    ) as process:
        cache = sample.of(process.caches.of(ada.id))
        await worker.users.delete(ada.id)
        await cache.put(sample.key(1), VectorSearch.of([]))
        await worker.users.restore(ada.id)
        assert await cache.get(sample.key(1)) is None


async def test_two_writers_of_a_users_documents_do_not_deadlock(
    worker: Database, ada: User, migrated: IsolatedDatabase
) -> None:
    """They have one document in common, which alone could never make them wait in a circle."""
    scope = worker.as_user(ada.id)
    one, other = [(await scope.knowledge_documents.create(new_document(name))).id for name in "ab"]
    async with asyncio.TaskGroup() as group, scope.transaction() as transaction:
        await transaction.knowledge_documents.update(one, DocumentPatch(title="1"))
        single = group.create_task(
            scope.knowledge_documents.update(other, DocumentPatch(title="2"))
        )
        # It may wait for what the transaction counts up, or be over.
        await until(lambda: single.done() or waiters(migrated) > 0)
        await transaction.knowledge_documents.update(other, DocumentPatch(title="3"))


async def test_writers_of_different_documents_of_a_user_do_not_fail_each_other(
    worker: Database, ada: User
) -> None:
    scope = worker.as_user(ada.id)
    one, other = [(await scope.knowledge_documents.create(new_document(name))).id for name in "ab"]
    async with scope.transaction(isolation="repeatable read") as transaction:
        await transaction.knowledge_documents.find_summary(one)
        await scope.knowledge_documents.update(other, DocumentPatch(title="2"))
        await transaction.knowledge_documents.update(one, DocumentPatch(title="1"))


@pytest.mark.parametrize("method", [U.delete, U.hard_delete], ids=name_of)
async def test_a_deletion_that_meets_a_fill_does_not_deadlock(
    backstage: Process, worker: Database, ada: User, migrated: IsolatedDatabase, method: Any
) -> None:
    """Both want the lease and the entry, which a third holds until both wait."""
    cache = backstage.caches.of(ada.id).llm_response
    await cache.put(question(), answer("old"))
    expire(migrated)
    backstage.caches._states["llm_response"].memory.drop()
    making = Making(held=True)
    filling = asyncio.create_task(cache.get_or_compute(question(), making))
    await making.begun.wait()
    with as_superuser(migrated) as third, third.transaction():
        third.execute("SELECT FROM clonedb.llm_response_cache FOR UPDATE")
        deleting = asyncio.create_task(method(worker.users, ada.id))
        await someone_waits_for_a_lock(migrated)
        making.go_on.set()
        await someone_waits_for_a_lock(migrated, 2)
    assert await deleting
    assert await filling == answer()
    assert backstage.figures().failures == 0
    await at_once(lambda: backstage.figures().memory_entries == 0)
    assert await cache.get(question()) is None
