"""A pytest plugin: a migrated database of its own for every test, in one line.

    pytest_plugins = ["clonedb.testing"]

    async def test_it(clonedb_worker):
        await clonedb_worker.users.create(NewUser(email="ada@example.com"))

The server is PostgreSQL from the `embedded` extra, or from `CLONEDB_PG_BIN`, started once for the
session; the schema is migrated once, into a template.

    clonedb_server      the EmbeddedServer, for the session
    clonedb_database    a database as migrations leave it, emptied after each test, and made anew
                        after one that changed the schema; `.dsn(role)` for connections of one's own
    clonedb_app         a Database on it, under the login of user-facing services
    clonedb_worker      a Database on it, under the login of background jobs
    clonedb_person      a user with an active voice and face, a document that can be searched, and a
                        conversation of two turns, stored through the library
    clonedb_rollback    the worker's scope inside one transaction that is rolled back after the
                        test, for tests whose code opens no connections of its own
    clonedb_copy        a connection to a copy of the template, as pytest-postgresql makes it

A conftest.py may also import names from here (PYTEST_DONT_REWRITE: there is nothing to rewrite).
"""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, Final, LiteralString, NamedTuple

import psycopg
import psycopg.conninfo
import psycopg.sql
import pytest
import pytest_asyncio
from pytest_postgresql import factories

from clonedb import migrate
from clonedb.database import Database
from clonedb.embedded import EmbeddedServer
from clonedb.repositories.conversation_sessions import ConversationSession
from clonedb.repositories.conversation_turns import ConversationTurn, NewTurn
from clonedb.repositories.face_models import FaceModel, NewFaceModel, Resolution
from clonedb.repositories.knowledge_documents import DocumentSummary, NewDocument
from clonedb.repositories.users import NewUser, User
from clonedb.repositories.voice_models import NewVoiceModel, VoiceModel
from clonedb.resources import sql_directory
from clonedb.scopes import DatabaseScope

SUPERUSER = "clonedb_superuser"

# It moves whenever a transaction of the server has written.
_NEXT_TRANSACTION: Final = "SELECT pg_snapshot_xmax(pg_current_snapshot())"

# The tables that migrations fill, in an order that their keys allow.
_SEEDED: Final = (
    "session_transitions",
    "rate_limit_rules",
    "daily_quotas",
    "cache_budgets",
    "retention_policies",
)


class IsolatedDatabase(NamedTuple):
    """One test's database on the session's server."""

    server: EmbeddedServer
    name: str

    def dsn(self, role: str = "clonedb_app") -> str:
        """The connection string of a role: clonedb_app, clonedb_worker, clonedb_superuser, …"""
        return self.server.dsn(role, self.name)


class _Address(NamedTuple):
    """What pytest-postgresql asks of the server that a template depends on."""

    host: str
    port: str
    user: str = SUPERUSER
    password: str | None = None
    options: str = ""
    maintenance_dbname: str = "postgres"
    template_dbname: str = "template1"


class _Rollback(Exception):
    """Ends the transaction of `clonedb_rollback` without storing anything."""


@pytest.fixture(scope="session")
def clonedb_server() -> Iterator[EmbeddedServer]:
    """The session's server; what it stores need not survive a crash of the machine."""
    # Not in pytest's own folder, which is closed to the account that the server has under root.
    with (
        tempfile.TemporaryDirectory(prefix="clonedb-") as folder,
        EmbeddedServer(Path(folder), durable=False) as server,
    ):
        yield server


@pytest.fixture(scope="session")
def clonedb_address(clonedb_server: EmbeddedServer) -> _Address:
    """Where the session's server is."""
    fields = psycopg.conninfo.conninfo_to_dict(clonedb_server.dsn(SUPERUSER, "postgres"))
    return _Address(str(fields["host"]), str(fields.get("port", 5432)))


def _migrate(*, host: str, port: str, user: str, dbname: str, **_: Any) -> None:
    """Fill the template, as the role that deploys in production."""
    dsn = psycopg.conninfo.make_conninfo(host=host, port=port, user=user, dbname=dbname)
    _give_to_owner(dsn, dbname)
    migrate.apply(psycopg.conninfo.make_conninfo(dsn, user="clonedb_migrator"))


def _give_to_owner(dsn: str, name: str) -> None:
    """What a copy of a database does not inherit: its owner and its grants."""
    identifier = psycopg.sql.Identifier(name)
    with psycopg.connect(dsn, autocommit=True) as connection:
        for command in (
            "ALTER DATABASE {} OWNER TO clonedb_owner",
            "REVOKE TEMPORARY ON DATABASE {} FROM PUBLIC",
        ):
            connection.execute(psycopg.sql.SQL(command).format(identifier))


clonedb_template = factories.postgresql_noproc(
    depends_on="clonedb_address", dbname="clonedb_test", load=[_migrate]
)
clonedb_copy = factories.postgresql("clonedb_template")


class _SharedDatabase:
    """The session's database: a copy of the template, made anew when a test has changed it."""

    def __init__(self, server: EmbeddedServer, template: str) -> None:
        self._server = server
        self._template = template
        self.database = IsolatedDatabase(server, f"{template}_shared")
        setup = sql_directory() / "setup"
        self._empty_tables = (setup / "empty_tables.sql").read_bytes()
        self._fingerprint = (setup / "fingerprint.sql").read_bytes()
        self._connection: Any = None
        self._seeded: dict[str, bytes] = {}
        self._make()

    def _make(self) -> None:
        self.drop()
        self._server.create_database(self.database.name, template=self._template)
        _give_to_owner(self.database.dsn(SUPERUSER), self.database.name)
        self._connection = psycopg.connect(self.database.dsn(SUPERUSER), autocommit=True)
        self._seeded = {table: self._dump(table) for table in _SEEDED}
        self._made = self._value(self._fingerprint)
        self._newest = self._value(_NEXT_TRANSACTION)

    def clean(self) -> None:
        """Leave what migrations leave; make the database anew where its schema has changed."""
        try:
            if self._value(_NEXT_TRANSACTION) == self._newest:
                return  # nobody has written anything
            self._connection.execute(self._empty_tables)
            if self._value(self._fingerprint) != self._made:
                self._restore_rows()
            if self._value(self._fingerprint) == self._made:
                self._newest = self._value(_NEXT_TRANSACTION)
                return
        except psycopg.Error:
            pass  # the test has broken it, or its connection
        self._make()

    def _restore_rows(self) -> None:
        """Store the rows that migrations bring, in the place of what a test has made of them."""
        for table, rows in self._seeded.items():
            name = psycopg.sql.Identifier("clonedb", table)
            self._connection.execute(psycopg.sql.SQL("DELETE FROM {}").format(name))
            copying = psycopg.sql.SQL("COPY {} FROM STDIN").format(name)
            with self._connection.cursor() as cursor, cursor.copy(copying) as copy:
                copy.write(rows)

    def _dump(self, table: str) -> bytes:
        query = psycopg.sql.SQL("COPY {} TO STDOUT").format(
            psycopg.sql.Identifier("clonedb", table)
        )
        with self._connection.cursor() as cursor, cursor.copy(query) as copy:
            return b"".join(copy)

    def drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._server.drop_database(self.database.name)

    def _value(self, query: LiteralString | bytes) -> Any:
        return self._connection.execute(query).fetchone()


@pytest.fixture(scope="session")
def clonedb_shared(
    clonedb_server: EmbeddedServer, clonedb_template: Any
) -> Iterator[_SharedDatabase]:
    """The database that tests have one after the other."""
    shared = _SharedDatabase(clonedb_server, clonedb_template.template_dbname)
    yield shared
    shared.drop()


@pytest.fixture
def clonedb_database(clonedb_shared: _SharedDatabase) -> Iterator[IsolatedDatabase]:
    """A migrated, empty database."""
    yield clonedb_shared.database
    clonedb_shared.clean()


@pytest_asyncio.fixture
async def clonedb_app(clonedb_database: IsolatedDatabase) -> AsyncIterator[Database]:
    """An open Database under the app login."""
    async with Database(clonedb_database.dsn("clonedb_app")) as database:
        yield database


@pytest_asyncio.fixture
async def clonedb_worker(clonedb_database: IsolatedDatabase) -> AsyncIterator[Database]:
    """An open Database under the worker login."""
    async with Database(clonedb_database.dsn("clonedb_worker")) as database:
        yield database


class Person(NamedTuple):
    """What `clonedb_person` has stored for one user."""

    user: User
    voice_model: VoiceModel
    face_model: FaceModel
    document: DocumentSummary
    session: ConversationSession
    turns: list[ConversationTurn]


@pytest_asyncio.fixture
async def clonedb_person(clonedb_worker: Database) -> Person:
    """A user who has what a conversation needs, and has had one that goes on."""
    user = await clonedb_worker.users.create(NewUser(email="ada@example.com", name="Ada"))
    scope = clonedb_worker.as_user(user.id)
    voice = await scope.voice_models.create(
        NewVoiceModel(
            provider="xtts-v2", model_path="voices/ada", sample_rate=24_000, status="completed"
        )
    )
    face = await scope.face_models.create(
        NewFaceModel(model_path="faces/ada", resolution=Resolution(width=512, height=512))
    )
    voice = await scope.voice_models.activate(voice.id)
    face = await scope.face_models.activate(face.id)
    text = "The Analytical Engine weaves algebraic patterns."
    document = await scope.knowledge_documents.create(
        NewDocument(
            filename="notes.txt",
            content_type="text/plain",
            size_bytes=len(text),
            title="Notes",
            tags=["engine"],
            text_content=text,
        )
    )
    document = await scope.knowledge_documents.set_vectors(
        document.id, vector_ids=["notes-1"], chunk_count=1
    )
    document = await scope.knowledge_documents.set_status(document.id, "completed")
    session = await scope.conversation_sessions.start(
        voice_model_id=voice.id, face_model_id=face.id
    )
    said = [("What does it weave?", "Algebraic patterns."), ("And flowers?", "On the loom.")]
    turns = [
        await scope.conversation_sessions.record_turn(
            session.id, NewTurn(user_transcript=question, llm_response=answer)
        )
        for question, answer in said
    ]
    session = await scope.conversation_sessions.get_by_id(session.id)
    return Person(user, voice, face, document, session, turns)


@pytest_asyncio.fixture
async def clonedb_rollback(clonedb_database: IsolatedDatabase) -> AsyncIterator[DatabaseScope]:
    """The worker's scope in a transaction that is never committed."""
    async with Database(clonedb_database.dsn("clonedb_worker"), maximum_connections=1) as database:
        try:
            async with database.transaction() as transaction:
                yield transaction
                raise _Rollback
        except _Rollback:
            pass
