"""One call is one statement and one round trip, counted on the wire."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest
import pytest_asyncio
from channels import PATIENT, POOL_ALONE, connected

from clonedb import (
    AddressRateLimitRepository,
    AuditLogRepository,
    CacheRepository,
    ClaimedDocument,
    ClaimLost,
    ConversationSessionRepository,
    DailyQuotaRepository,
    DailyUsageRepository,
    Database,
    DocumentPatch,
    DocumentQueue,
    FaceModelPatch,
    FaceModelRepository,
    KnowledgeDocumentRepository,
    NewAuditEntry,
    NewDocument,
    NewFaceModel,
    NewRateLimitRule,
    NewSession,
    NewTurn,
    NewUser,
    NewVoiceModel,
    RateLimitRepository,
    RateLimitRuleRepository,
    SessionEnding,
    SessionPatch,
    SessionTurn,
    SignUp,
    SystemAuditLogRepository,
    TokenRequest,
    User,
    UserPatch,
    UserRepository,
    UserScope,
    VoiceModelPatch,
    VoiceModelRepository,
    new_id,
)
from clonedb.testing import IsolatedDatabase

# Of the frontend/backend protocol 3.0: each message after the first is a byte that says what it
# is, and four that give its length with themselves.
READY_FOR_QUERY = b"Z"
SYNC, SIMPLE_QUERY = b"S", b"Q"


class Wire:
    """Between a client and the server's socket: passes everything on and counts the messages."""

    def __init__(self, server: str) -> None:
        self._server = server
        self._tasks: set[asyncio.Task[None]] = set()
        self.answers: Counter[bytes] = Counter()
        self.requests: Counter[bytes] = Counter()

    async def connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server_reader, server_writer = await asyncio.open_unix_connection(self._server)
        # The startup message has a length only.
        startup = await reader.readexactly(4)
        server_writer.write(startup + await reader.readexactly(int.from_bytes(startup) - 4))
        await asyncio.gather(
            self._pass_on(reader, server_writer, self.requests),
            self._pass_on(server_reader, writer, self.answers),
        )

    async def _pass_on(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seen: Counter[bytes]
    ) -> None:
        try:
            while True:
                head = await reader.readexactly(5)
                body = await reader.readexactly(int.from_bytes(head[1:]) - 4)
                seen[head[:1]] += 1
                writer.write(head + body)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()


@pytest_asyncio.fixture
async def wire(migrated: IsolatedDatabase) -> AsyncIterator[tuple[Wire, str]]:
    """A wire to the server, and the folder of its socket."""
    fields = psycopg.conninfo.conninfo_to_dict(migrated.dsn("clonedb_app"))
    name = f".s.PGSQL.{fields.get('port', 5432)}"
    with tempfile.TemporaryDirectory(prefix="clonedb-") as folder:
        counted = Wire(str(Path(str(fields["host"])) / name))
        listener = await asyncio.start_unix_server(counted.connect, str(Path(folder) / name))
        async with listener:
            yield counted, folder


async def counting(wire: Wire, call: Callable[[], Awaitable[Any]]) -> tuple[int, int]:
    """How many times the client asked for an answer, and how many it got, for one call."""
    requests, answers = wire.requests.copy(), wire.answers.copy()
    await call()
    asked = wire.requests - requests
    return asked[SYNC] + asked[SIMPLE_QUERY], (wire.answers - answers)[READY_FOR_QUERY]


def calls_on_users(
    everybody: Database, scope: UserScope, user: User
) -> dict[str, Callable[[], Awaitable[Any]]]:
    own, users = scope.users, everybody.users
    return {
        "find_by_id": lambda: own.find_by_id(user.id),
        "get_by_id": lambda: own.get_by_id(user.id, include_deleted=True),
        "find_by_email": lambda: own.find_by_email(user.email),
        "find_login": lambda: users.find_login(user.email),
        "find_many": lambda: own.find_many(with_total=True),
        "find_one": lambda: own.find_one(),
        "count": lambda: own.count(),
        "exists": lambda: own.exists(),
        "sign_up": lambda: users.sign_up(SignUp(email=f"{new_id().hex}@example.com")),
        "create": lambda: users.create(NewUser(email=f"{new_id().hex}@example.com")),
        "create_many": lambda: users.create_many(
            [NewUser(email=f"{new_id().hex}@example.com") for _ in range(3)]
        ),
        "update": lambda: own.update(user.id, UserPatch(name="Countess")),
        "update_many": lambda: own.update_many([user.id], UserPatch(name="Countess")),
        "merge_settings": lambda: own.merge_settings(user.id, {"a": 1}),
        "add_minutes": lambda: own.add_minutes(user.id, Decimal(1)),
        "set_tier": lambda: users.set_tier(user.id, "pro"),
        "delete": lambda: users.delete(user.id),
        "restore": lambda: users.restore(user.id),
        "hard_delete": lambda: users.hard_delete(new_id()),
    }


async def calls_on_sessions(scope: UserScope) -> dict[str, Callable[[], Awaitable[Any]]]:
    sessions = scope.conversation_sessions
    one, other = [(await sessions.start()).id for _ in range(2)]
    turn = await sessions.record_turn(one, NewTurn(user_transcript="Hello", llm_response="Hi"))
    new = NewTurn(user_transcript="Hello", llm_response="Hi")
    bulk = SessionTurn(session_id=one, user_transcript="Hello", llm_response="Hi")
    patch = SessionPatch(llm_provider="claude-3-opus")
    return {
        "find_by_id": lambda: sessions.find_by_id(one),
        "get_by_id": lambda: sessions.get_by_id(one),
        "find_many": lambda: sessions.find_many(with_total=True),
        "find_one": lambda: sessions.find_one(),
        "find_active": lambda: sessions.find_active(),
        "count": lambda: sessions.count(),
        "exists": lambda: sessions.exists(),
        "create": lambda: sessions.create(NewSession(id=new_id())),
        "start": lambda: sessions.start(),
        "create_many": lambda: sessions.create_many([NewSession() for _ in range(3)]),
        "update": lambda: sessions.update(one, patch),
        "update_many": lambda: sessions.update_many([one, other], patch),
        "transition": lambda: sessions.transition(one, "listening"),
        "record_turn": lambda: sessions.record_turn(one, new),
        "record_many": lambda: sessions.record_many([bulk] * 3),
        "find_turn": lambda: sessions.find_turn(one, turn.id),
        "find_turns": lambda: sessions.find_turns(one),
        "count_turns": lambda: sessions.count_turns(one),
        "with_turns": lambda: sessions.with_turns(one),
        "statistics": lambda: sessions.statistics(),
        "statistics_by_provider": lambda: sessions.statistics_by_provider(),
        "end": lambda: sessions.end(one),
        "end_many": lambda: sessions.end_many([SessionEnding(id=other)]),
        "delete": lambda: sessions.delete(one),
        "restore": lambda: sessions.restore(one),
        "hard_delete": lambda: sessions.hard_delete(other),
    }


async def calls_on_models(
    models: Any, new: Any, patch: Any
) -> dict[str, Callable[[], Awaitable[Any]]]:
    """The calls that voice and face models share."""
    one, other = [(await models.create(new)).id for _ in range(2)]
    return {
        "find_by_id": lambda: models.find_by_id(one),
        "get_by_id": lambda: models.get_by_id(one),
        "find_many": lambda: models.find_many(with_total=True),
        "find_one": lambda: models.find_one(),
        "find_active": lambda: models.find_active(),
        "count": lambda: models.count(),
        "exists": lambda: models.exists(),
        "create": lambda: models.create(new),
        "create_many": lambda: models.create_many([new] * 3),
        "update": lambda: models.update(one, patch),
        "update_many": lambda: models.update_many([one, other], patch),
        "activate": lambda: models.activate(one),
        "deactivate": lambda: models.deactivate(),
        "delete": lambda: models.delete(one),
        "restore": lambda: models.restore(one),
        "hard_delete": lambda: models.hard_delete(other),
    }


async def calls_on_documents(scope: UserScope) -> dict[str, Callable[[], Awaitable[Any]]]:
    documents = scope.knowledge_documents
    new = NewDocument(
        filename="a.txt", content_type="text/plain", size_bytes=1, text_content="word"
    )
    patch = DocumentPatch(author="Ada")
    one, other = [(await documents.create(new)).id for _ in range(2)]
    return {
        "find_by_id": lambda: documents.find_by_id(one),
        "get_by_id": lambda: documents.get_by_id(one),
        "find_summary": lambda: documents.find_summary(one),
        "find_many": lambda: documents.find_many(with_total=True),
        "find_one": lambda: documents.find_one(),
        "count": lambda: documents.count(),
        "exists": lambda: documents.exists(),
        "search": lambda: documents.search("word"),
        "create": lambda: documents.create(new),
        "create_many": lambda: documents.create_many([new] * 3),
        "update": lambda: documents.update(one, patch),
        "update_many": lambda: documents.update_many([one, other], patch),
        "set_status": lambda: documents.set_status(one, "completed"),
        "set_vectors": lambda: documents.set_vectors(one, ["v"]),
        "statistics": lambda: documents.statistics(),
        "statistics_by_content_type": lambda: documents.statistics_by_content_type(),
        "delete": lambda: documents.delete(one),
        "restore": lambda: documents.restore(one),
        "hard_delete": lambda: documents.hard_delete(other),
    }


async def calls_on_the_queue(
    queue: DocumentQueue, claims: list[ClaimedDocument]
) -> dict[str, Callable[[], Awaitable[Any]]]:
    held, finished, failed, released = claims

    async def release() -> None:
        # The second time it is no longer this worker's: the answer is one round trip too.
        with contextlib.suppress(ClaimLost):
            await queue.release(released)

    return {
        "claim_pending": lambda: queue.claim_pending(worker="two"),
        "extend": lambda: queue.extend(held),
        "finish": lambda: queue.finish(finished, text_content="word"),
        "fail": lambda: queue.fail(failed, "broken"),
        "release": release,
        "statistics": lambda: queue.statistics(),
    }


async def calls_on_limits(
    everybody: Database, scope: UserScope
) -> dict[type, dict[str, Callable[[], Awaitable[Any]]]]:
    limits, usage = scope.rate_limits, scope.daily_usage
    shared, rules = everybody.rate_limits, everybody.rate_limit_rules
    quotas = everybody.daily_quotas
    new = NewRateLimitRule(scope="user", endpoint="talk", capacity=1000, refill_per_second=1)
    request = TokenRequest(1)
    taken = await limits.take("talk", refundable=True)
    theirs = await shared.take("talk", address="192.0.2.2", refundable=True)
    reservation = new_id()
    await usage.reserve(1, id=reservation)
    return {
        RateLimitRepository: {
            "take": lambda: limits.take("talk"),
            "take_many": lambda: limits.take_many("talk", [request]),
            "peek": lambda: limits.peek("talk"),
            "refund": lambda: limits.refund(taken),
            "count_denials": lambda: limits.count_denials("talk", 1),
            "status": lambda: limits.status("talk"),
            "find_many": lambda: limits.find_many(with_total=True),
            "statistics": lambda: limits.statistics(),
            "reset": lambda: limits.reset(),
        },
        AddressRateLimitRepository: {
            "take": lambda: shared.take("talk", address="192.0.2.1"),
            "take_many": lambda: shared.take_many("talk", [request], address="192.0.2.1"),
            "peek": lambda: shared.peek("talk", address="192.0.2.1"),
            "refund": lambda: shared.refund(theirs),
            "status": lambda: shared.status("talk", address="192.0.2.1"),
            "reset": lambda: shared.reset(address="192.0.2.1", endpoint="talk"),
            "purge_buckets": lambda: shared.purge_buckets(),
            "purge_windows": lambda: shared.purge_windows(before=datetime.now(UTC)),
            "purge_receipts": lambda: shared.purge_receipts(),
        },
        RateLimitRuleRepository: {
            "put": lambda: rules.put(new),
            "find_many": lambda: rules.find_many(),
            "delete": lambda: rules.delete(scope="user", endpoint="talk"),
        },
        DailyUsageRepository: {
            "use": lambda: usage.use(1),
            "reserve": lambda: usage.reserve(1),
            "settle": lambda: usage.settle(reservation, seconds=1),
            "today": lambda: usage.today(),
            "find_many": lambda: usage.find_many(with_total=True),
        },
        DailyQuotaRepository: {
            "put": lambda: quotas.put("free", 1000),
            "find_many": lambda: quotas.find_many(),
            "purge": lambda: quotas.purge(before=date(2026, 1, 1)),
            "purge_reservations": lambda: quotas.purge_reservations(before=date(2026, 1, 1)),
        },
    }


def calls_on_caches(scope: UserScope) -> dict[str, Callable[[], Awaitable[Any]]]:
    caches, key = scope.caches, bytes(32)
    values: dict[str, dict[str, Any]] = {
        "embedding": {"embedding": [1.0], "model": "small"},
        "vector_search": {"results": []},
        "llm_response": {"response": "Hi", "provider": "gpt-4-turbo"},
        "audio_chunk": {"audio": b"a", "format": "pcm", "duration_ms": 1, "sample_rate": 8000},
    }
    calls: dict[str, Callable[[], Awaitable[Any]]] = {
        "invalidate_all": lambda: caches.invalidate_all(),
        "invalidate_by_document": lambda: caches.invalidate_by_document(new_id()),
        "invalidate_by_tag": lambda: caches.invalidate_by_tag("red"),
        "outdate": lambda: caches.outdate(["embedding"]),
        "statistics": lambda: caches.statistics(),
        "statistics_by_age": lambda: caches.statistics_by_age(),
    }
    for name, value in values.items():
        cache: Any = getattr(caches, name)
        arguments: dict[str, tuple[tuple[Any, ...], dict[str, Any]]] = {
            "put": ((key,), value),
            "put_many": (({key: [1.0]},), {"model": "small"}),
            "get": ((key,), {}),
            "get_many": (([key],), {}),
            "record_hits": (({key: 1},), {}),
            "delete": ((key,), {}),
            "invalidate_by_tag": (("red",), {}),
            "invalidate_by_document": ((new_id(),), {}),
            "invalidate_all": ((), {}),
            "purge_expired": ((), {}),
        }
        methods = {method for method in dir(cache) if not method.startswith("_")}
        # As many statements as there are batches.
        assert methods - {"purge_batches"} <= arguments.keys()
        for method in arguments.keys() & methods:
            calls[f"{name}.{method}"] = partial(
                getattr(cache, method), *arguments[method][0], **arguments[method][1]
            )
    return calls


async def calls_on_the_audit_log(
    everybody: Database, scope: UserScope
) -> dict[str, Callable[[], Awaitable[Any]]]:
    own = scope.audit_logs
    new = NewAuditEntry(action="login", resource="users", ip_address="192.0.2.7")
    entry = await own.append(new)
    return {
        "append": lambda: own.append(new),
        "append_for": lambda: everybody.audit_logs.append_for(new, subject_id=scope.user_id),
        "find_by_id": lambda: own.find_by_id(entry),
        "get_by_id": lambda: own.get_by_id(entry),
        "find_many": lambda: own.find_many(with_total=True),
        "find_one": lambda: own.find_one(),
        "count": lambda: own.count(),
        "statistics": lambda: own.statistics(),
        "top_actions": lambda: own.top_actions(),
        "top_failures": lambda: own.top_failures(),
    }


# Three ways to the server, each of which makes a call one round trip.
WAYS: dict[str, dict[str, Any]] = {
    "channels": PATIENT,
    "pool": POOL_ALONE,
    "pgbouncer": {"pgbouncer": True},
}
in_every_way = pytest.mark.parametrize("way", WAYS)


def public_methods(repository: type) -> set[str]:
    return {name for name in vars(repository) if not name.startswith("_")}


@in_every_way
@pytest.mark.parametrize("role", ["clonedb_app", "clonedb_worker"])
async def test_every_method_is_one_round_trip_from_its_first_call_on(
    wire: tuple[Wire, str], migrated: IsolatedDatabase, ada: User, role: str, way: str
) -> None:
    counted, folder = wire
    dsn = psycopg.conninfo.make_conninfo(migrated.dsn(role), host=folder)
    async with connected(dsn, maximum_connections=1, **WAYS[way]) as database:
        users = calls_on_users(database, database.as_user(ada.id), ada)
        assert users.keys() == public_methods(UserRepository)
        sessions = await calls_on_sessions(database.as_user(ada.id))
        assert sessions.keys() | {"stream_turns"} == public_methods(ConversationSessionRepository)
        for_worker_alone = {"create", "create_many", "set_tier", "delete", "restore"}
        for repository, calls in (("users", users), ("sessions", sessions)):
            for name, call in calls.items():
                if role == "clonedb_app" and repository == "users" and name in for_worker_alone:
                    continue
                for time in ("first", "second", "later", "later", "later", "later", "later"):
                    if name == "restore" and repository == "users" and time != "first":
                        await database.users.delete(ada.id)
                    assert await counting(counted, call) == (1, 1), f"{time} {repository}.{name}"


@in_every_way
async def test_models_documents_and_their_queue_take_one_round_trip_a_call(
    wire: tuple[Wire, str], migrated: IsolatedDatabase, ada: User, way: str
) -> None:
    counted, folder = wire
    dsn = psycopg.conninfo.make_conninfo(migrated.dsn("clonedb_worker"), host=folder)
    async with connected(dsn, maximum_connections=1, **WAYS[way]) as database:
        scope, queue = database.as_user(ada.id), database.knowledge_documents
        await scope.knowledge_documents.create_many(
            [NewDocument(filename="a", content_type="b", size_bytes=1) for _ in range(4)]
        )
        claims = await queue.claim_pending(worker="one", limit=4)
        voice = NewVoiceModel(provider="xtts-v2", model_path="a", sample_rate=24_000)
        face = NewFaceModel(model_path="a", resolution={"width": 1, "height": 1})
        for repository, calls in (
            (
                VoiceModelRepository,
                await calls_on_models(scope.voice_models, voice, VoiceModelPatch(quality_score=1)),
            ),
            (
                FaceModelRepository,
                await calls_on_models(scope.face_models, face, FaceModelPatch(quality_score=1)),
            ),
            (KnowledgeDocumentRepository, await calls_on_documents(scope)),
            (DocumentQueue, await calls_on_the_queue(queue, claims)),
        ):
            assert calls.keys() == public_methods(repository)
            for name, call in calls.items():
                for time in ("first", "second", "later", "later", "later", "later", "later"):
                    assert await counting(counted, call) == (1, 1), f"{time} {repository}.{name}"


@in_every_way
async def test_limits_and_quotas_take_one_round_trip_a_call(
    wire: tuple[Wire, str], migrated: IsolatedDatabase, ada: User, way: str
) -> None:
    counted, folder = wire
    dsn = psycopg.conninfo.make_conninfo(migrated.dsn("clonedb_worker"), host=folder)
    async with connected(dsn, maximum_connections=1, **WAYS[way]) as database:
        limits = await calls_on_limits(database, database.as_user(ada.id))
        for repository, calls in limits.items():
            assert calls.keys() == public_methods(repository)
            for name, call in calls.items():
                for time in ("first", "second", "later"):
                    assert await counting(counted, call) == (1, 1), f"{time} {name}"


@in_every_way
async def test_caches_and_the_audit_log_take_one_round_trip_a_call(
    wire: tuple[Wire, str], migrated: IsolatedDatabase, ada: User, way: str
) -> None:
    counted, folder = wire
    dsn = psycopg.conninfo.make_conninfo(migrated.dsn("clonedb_worker"), host=folder)
    async with connected(dsn, maximum_connections=1, **WAYS[way]) as database:
        scope = database.as_user(ada.id)
        caches = calls_on_caches(scope)
        # The purge of all four is as many statements as there are batches.
        assert public_methods(CacheRepository) - {"purge_expired"} <= {
            name.split(".")[0] for name in caches
        }
        audit = await calls_on_the_audit_log(database, scope)
        assert audit.keys() == (
            public_methods(AuditLogRepository) | public_methods(SystemAuditLogRepository)
        )
        audit["append_unknown"] = partial(
            database.audit_logs.append, NewAuditEntry(action="login", resource="users")
        )
        for name, call in (caches | audit).items():
            for time in ("first", "second", "later"):
                assert await counting(counted, call) == (1, 1), f"{time} {name}"


async def test_a_transaction_is_one_round_trip_for_each_of_its_parts(
    wire: tuple[Wire, str], migrated: IsolatedDatabase, ada: User
) -> None:
    counted, folder = wire
    dsn = psycopg.conninfo.make_conninfo(migrated.dsn("clonedb_app"), host=folder)

    async def three_calls() -> None:
        async with database.as_user(ada.id).transaction() as transaction:
            sessions = transaction.conversation_sessions
            session = await sessions.start()
            await sessions.transition(session.id, "listening")
            await transaction.users.get_by_id(ada.id)

    async with connected(dsn, maximum_connections=1) as database:
        # BEGIN with the context, three calls, COMMIT.
        assert await counting(counted, three_calls) == (5, 5)
        assert await counting(counted, three_calls) == (5, 5)


@in_every_way
async def test_calls_gathered_by_one_caller_are_one_round_trip_each(
    wire: tuple[Wire, str], migrated: IsolatedDatabase, ada: User, way: str
) -> None:
    counted, folder = wire
    dsn = psycopg.conninfo.make_conninfo(migrated.dsn("clonedb_app"), host=folder)

    async def ten_calls() -> None:
        scope = database.as_user(ada.id)
        await asyncio.gather(*(scope.conversation_sessions.start() for _ in range(10)))

    async with connected(
        dsn, minimum_connections=4, maximum_connections=4, **WAYS[way]
    ) as database:
        assert await counting(counted, ten_calls) == (10, 10)
