"""SQL in every text of the public interface is stored as it is or refused, and never run.

The interface is walked by its signatures: a new method or field is tried without being named here.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from itertools import chain
from pathlib import Path
from typing import Any, Final, NamedTuple
from uuid import UUID

import psycopg
import pytest
import pytest_asyncio
import typer
from ground import as_superuser
from injection import CANARY, PAYLOADS, Arguments, Method, Place, methods
from people import copy_of, owned_by, store_person
from psycopg import sql

from clonedb import (
    AudioChunk,
    AudioChunkKey,
    Caches,
    ClonedbError,
    Database,
    DatabaseScope,
    Embedding,
    EmbeddingKey,
    InvalidInput,
    Limits,
    LlmResponse,
    LlmResponseKey,
    NotMigrated,
    ObjectStore,
    UnexpectedDatabaseError,
    VectorSearch,
    VectorSearchKey,
    cli,
    migrate,
    new_id,
)
from clonedb.commands.app import app as command_line
from clonedb.embedded import EmbeddedServer
from clonedb.testing import SUPERUSER, IsolatedDatabase

# They take a query function, and make scopes whose methods are walked.
OF_SCOPES: Final = {
    *("all", "count", "one", "rows", "stream", "value"),
    *("as_user", "group_commit", "transaction", "within"),
}
# They are given what `upload` has returned, or a path of this machine; `put` and `read` are both.
OF_FILES: Final = {"keep", "download"}

# What another method has returned; of it what is needed is read.
OF_ITS_OWN: Final = {"claim", "decision", "pending", "seal"}

CACHES: Final = {
    "embedding": {"K": EmbeddingKey, "V": Embedding},
    "vector_search": {"K": VectorSearchKey, "V": VectorSearch},
    "llm_response": {"K": LlmResponseKey, "V": LlmResponse},
    "audio_chunk": {"K": AudioChunkKey, "V": AudioChunk},
}

# What a worker does to everybody's caches is its work; these rows are Ada's alone.
KEPT: Final = (
    *("users", "conversation_sessions", "conversation_turns", "voice_models", "face_models"),
)
SECRET: Final = "a secret of"  # in everything that Ada said


class Stage(NamedTuple):
    """Ada, whose data is to stay as it is and unseen; Grace, in whose name everything is called."""

    database: IsolatedDatabase
    ada: UUID
    grace: UUID
    known: dict[str, UUID]

    def state(self) -> list[Any]:
        """The schema, the canary, and what is Ada's."""
        with as_superuser(self.database) as connection:
            hers = [
                connection.execute(
                    sql.SQL("SELECT t.xmin::text, t::text FROM clonedb.{} AS t WHERE {}").format(
                        sql.Identifier(table), owned_by(table, self.ada)
                    )
                ).fetchall()
                for table in KEPT
            ]
            assert all(hers)
            canary = connection.execute(f"SELECT * FROM {CANARY}".encode()).fetchall()
        return [migrate.catalogue_digest(self.database.dsn(SUPERUSER)), canary, hers]


@pytest.fixture(scope="module")
def stage(server: EmbeddedServer, clonedb_template: Any) -> Iterator[Stage]:
    with copy_of(server, clonedb_template, "injection") as database:
        ada, grace = new_id(), new_id()
        with as_superuser(database) as connection:
            store_person(connection, ada)
            store_person(connection, grace)
            # Whoever is injected into may empty it, whatever login it is.
            connection.execute(f"CREATE TABLE {CANARY} AS SELECT 'alive' AS state".encode())
            connection.execute(f"GRANT ALL ON {CANARY} TO PUBLIC".encode())
            known = {"users": grace}
            for table in (
                "conversation_sessions",
                *("voice_models", "face_models"),
                "knowledge_documents",
            ):
                found = connection.execute(
                    f"SELECT id FROM clonedb.{table} WHERE user_id = %s".encode(), [grace]
                ).fetchone()
                assert found is not None
                known[table] = found[0]
        yield Stage(database, ada, grace, known)


@pytest_asyncio.fixture
async def interfaces(stage: Stage, tmp_path: Path) -> AsyncIterator[dict[str, list[Method]]]:
    """Every public method, by the object that a service has in its hands."""
    async with (
        Database(stage.database.dsn("clonedb_app"), channel_statement_timeout=5) as app,
        Database(stage.database.dsn("clonedb_worker"), channel_statement_timeout=5) as worker,
        Caches(app) as caches,
        Limits(app) as limits,
    ):
        mine = caches.of(stage.grace)
        objects = ObjectStore(tmp_path).of(app.as_user(stage.grace))
        in_tiers = [methods(getattr(mine, name), f"caches.{name}", CACHES[name]) for name in CACHES]
        yield {
            "user": [
                method
                for method in methods(app.as_user(stage.grace), "user")
                if method.name.removeprefix("user.") not in OF_SCOPES
            ],
            "app": [*methods(app.users, "app.users"), *methods(app.audit_logs, "app.audit_logs")],
            "worker": [
                method
                for method in methods(DatabaseScope(worker._lane, worker._context), "worker")
                if method.name.removeprefix("worker.") not in OF_SCOPES
            ],
            "caches": [*methods(mine, "caches"), *chain.from_iterable(in_tiers)],
            "limits": [
                *methods(limits.of_user(stage.grace), "limits.user"),
                *methods(limits.of_address("192.0.2.1"), "limits.address"),
            ],
            "objects": [
                method
                for method in methods(objects, "objects")
                if method.name.removeprefix("objects.") not in OF_FILES
            ],
        }


async def _outcome(call: Callable[..., Any], given: dict[str, Any]) -> Any:
    """What a method returns, or the ClonedbError that it raises."""
    try:
        found = call(**given)
        if inspect.isasyncgen(found):
            return [each async for each in found]
        if isinstance(found, AbstractAsyncContextManager):
            async with found as entered:
                return entered
        return await found if inspect.isawaitable(found) else found
    except ClonedbError as error:
        return error


async def _attack(stage: Stage, every: list[Method]) -> list[str]:
    """What was not as it should be."""
    wrong = []
    for method in every:
        arguments = Arguments(method, stage.known)
        places = arguments.places()
        plain = await _outcome(method.call, arguments.make())
        confused = isinstance(plain, NotMigrated | UnexpectedDatabaseError)
        if confused or (isinstance(plain, InvalidInput) and method.name.split(".")[-1] != "refund"):
            wrong.append(f"{method.name} is not called rightly: {plain}")
        for place in places:
            for payload in place.payloads:
                try:
                    given = arguments.make(place, payload)
                except InvalidInput:
                    continue
                found = await _outcome(method.call, given)
                if (why := _complaint(place, payload, found)) is not None:
                    wrong.append(f"{method.name}, {place.path}, {payload[:60]!r}: {why}")
    return wrong


def _complaint(place: Place, payload: str, found: Any) -> str | None:
    if isinstance(found, NotMigrated | UnexpectedDatabaseError):
        return f"the server was confused: {found!r}"
    if isinstance(found, ClonedbError):
        return None if SECRET not in str(found) else "the error tells of another's"
    if SECRET in repr(found):
        return "another's rows are seen"
    if place.path[0] in OF_ITS_OWN:
        return None
    if not place.is_text:
        return f"it is not refused, but {found!r}"[:300]
    if len(place.path) == 1 or "\0" in payload:
        return None  # no field; or one of a document, whose texts come from extraction
    stored = getattr(found[0] if isinstance(found, list) and found else found, place.field, payload)
    if stored == payload or (isinstance(stored, list) and payload in stored):
        return None
    if isinstance(stored, dict) and payload in (*stored, *stored.values()):
        return None
    return f"it is stored as {stored!r}"[:300]


@pytest.mark.parametrize("name", ["user", "app", "worker", "caches", "limits", "objects"])
async def test_sql_in_a_text_is_a_text(
    name: str, stage: Stage, interfaces: dict[str, list[Method]]
) -> None:
    before = stage.state()
    assert interfaces[name]
    wrong = await _attack(stage, interfaces[name])
    assert wrong == [], "\n".join(wrong)
    assert stage.state() == before


class Careless:
    """What must not be written: a text that becomes a part of a statement."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn

    async def find(self, name: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self._dsn, autocommit=True) as connection:
            try:
                return connection.execute(f"SELECT '{name}'".encode()).fetchall()
            except (psycopg.Error, UnicodeEncodeError) as error:
                raise UnexpectedDatabaseError(str(error)) from error


async def test_a_careless_method_is_found(stage: Stage) -> None:
    before = stage.state()
    wrong = await _attack(stage, [*methods(Careless(stage.database.dsn()), "careless")])
    assert any("the server was confused" in line for line in wrong)
    after = stage.state()
    with as_superuser(stage.database) as connection:
        connection.execute(f"INSERT INTO {CANARY} VALUES ('alive')".encode())
    assert (before[1], after[1]) == ([("alive",)], [])
    assert stage.state() == before


def _options() -> Iterator[tuple[str, list[str]]]:
    """Every command that is told a database, and its options and arguments that take a value."""

    def walk(command: Any, words: tuple[str, ...]) -> Iterator[tuple[str, list[str]]]:
        for name, inner in getattr(command, "commands", {}).items():
            yield from walk(inner, (*words, name))
        takes = [each for each in command.params if not getattr(each, "is_flag", False)]
        if words and any("--dsn" in each.opts for each in takes):
            yield " ".join(words), [each.opts[0] for each in takes]

    yield from walk(typer.main.get_command(command_line), ())


OPTIONS: Final = dict(_options())


@pytest.mark.parametrize("command", OPTIONS)
def test_sql_in_an_option_is_a_text(
    command: str,
    stage: Stage,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)  # where a command that writes a file writes it
    before = stage.state()
    role = "clonedb_migrator" if command == "migrate" else "clonedb_worker"
    assert {"--dsn"} <= {*OPTIONS[command]}
    for option in OPTIONS[command]:
        for payload in PAYLOADS[1:3]:
            given = {"--dsn": stage.database.dsn(role), option: payload}
            words = [
                word
                for name, value in given.items()
                for word in ((name, value) if name.startswith("-") else (value,))
            ]
            monkeypatch.setattr(sys, "argv", ["clonedb", *command.split(), *words])
            with pytest.raises(SystemExit) as exit:
                cli.main()
            printed = capsys.readouterr()
            assert exit.value.code in (0, 1, 2), (words, printed)
            assert SECRET not in printed.out + printed.err
            assert "Traceback" not in printed.err
    assert stage.state() == before


def test_every_command_with_a_database_is_tried() -> None:
    assert {"audit seal", "audit verify", "doctor", "health", "load", "maintain", "migrate"} <= (
        OPTIONS.keys()
    )
