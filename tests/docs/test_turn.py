"""The guide's turn of a conversation: what it stores, and how often it waits for the database."""

from __future__ import annotations

import asyncio
import re
import tempfile
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest
import pytest_asyncio
from channels import everything_connected

from clonedb import CachePolicy, Caches, Database, new_id
from clonedb.testing import IsolatedDatabase, Person

GUIDE = Path(__file__).parents[2] / "docs" / "services.md"

# Longer than it takes to ask on another connection at the same time.
ANSWER_SECONDS = 0.05


class Stages:
    """Before the server's socket: answers take their time, and what was asked meanwhile is one."""

    def __init__(self, server: str) -> None:
        self._server = server
        self._answered = True
        self._connections: list[asyncio.Task[Any]] = []
        self.count = 0

    async def connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.append(task)
        server_reader, server_writer = await asyncio.open_unix_connection(self._server)
        await asyncio.gather(self._ask(reader, server_writer), self._answer(server_reader, writer))

    async def _ask(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while asked := await reader.read(1 << 20):
            self.count += self._answered
            self._answered = False
            writer.write(asked)
        await _close(writer)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while answer := await reader.read(1 << 20):
            await asyncio.sleep(ANSWER_SECONDS)
            self._answered = True
            writer.write(answer)
        await _close(writer)

    async def ended(self) -> None:
        """Returns once every connection has been closed."""
        await asyncio.gather(*self._connections)


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()


class Models:
    """What the guide leaves to others, deterministic."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def embed(self, text: str) -> list[float]:
        self.asked.append("embed")
        return [0.1, 0.2, 0.3]  # which float32 rounds

    async def search(self, vector: object) -> list[dict[str, Any]]:
        self.asked.append("search")
        return [{"text": "The Engine weaves.", "score": 0.9}]

    async def respond(self, question: str, chunks: object) -> str:
        self.asked.append("respond")
        return "Algebraic patterns."

    async def speak(self, text: str) -> bytes:
        self.asked.append("speak")
        return b"sound"


@pytest_asyncio.fixture
async def staged(migrated: IsolatedDatabase) -> AsyncIterator[tuple[Stages, Database]]:
    fields = psycopg.conninfo.conninfo_to_dict(migrated.dsn("clonedb_app"))
    name = f".s.PGSQL.{fields.get('port', 5432)}"
    with tempfile.TemporaryDirectory(prefix="clonedb-") as folder:
        stages = Stages(str(Path(str(fields["host"])) / name))
        listener = await asyncio.start_unix_server(stages.connect, str(Path(folder) / name))
        dsn = psycopg.conninfo.make_conninfo(migrated.dsn("clonedb_app"), host=folder)
        # The answers are slow on purpose, which is no reason to take the pool.
        patient = {"channel_statement_timeout": 10, "channel_lock_timeout": 10}
        # What the process listens to is not waited for.
        direct = migrated.dsn("clonedb_app")
        async with listener:
            async with Database(dsn, notification_dsn=direct, **patient) as database:
                await everything_connected(database)
                yield stages, database
            await stages.ended()


@pytest.mark.parametrize("committing", ["each", "group"])
async def test_a_turn_with_its_limit_and_caches_waits_five_times_at_most(
    staged: tuple[Stages, Database], clonedb_person: Person, committing: str
) -> None:
    stages, database = staged
    (example,) = (
        block
        for block in re.findall(r"```python\n(.*?)```", GUIDE.read_text(), re.DOTALL)
        if "async def answer" in block
    )
    defined: dict[str, Any] = {}
    exec(example, defined)  # noqa: S102 - the guide's own example
    mine = database.as_user(clonedb_person.user.id)
    if committing == "group":
        mine = mine.group_commit()
    session = await mine.conversation_sessions.start()
    await mine.conversation_sessions.transition(session.id, "listening")
    models = Models()
    # Nothing is remembered: every cache is asked in the database.
    forgetful: Any = dict.fromkeys(
        ("embedding", "vector_search", "llm_response", "audio_chunk"),
        CachePolicy(memory_entries=0),
    )
    caches = Caches(database, policies=forgetful, patience=10)
    await caches.open()
    for time, asked in (("first", ["embed", "search", "respond", "speak"]), ("again", [])):
        models.asked.clear()
        before = stages.count
        turn, sound = await defined["answer"](
            mine,
            caches.of(clonedb_person.user.id),
            session.id,
            new_id(),
            "What does it weave?",
            models,
        )
        assert stages.count - before <= 5, time
        assert models.asked == asked, time
        assert (turn.llm_response, sound) == ("Algebraic patterns.", b"sound")
        await mine.conversation_sessions.transition(session.id, "listening")
    await caches.close()
    found = await mine.conversation_sessions.with_turns(session.id)
    assert found is not None
    assert found.session.total_turns == len(found.turns) == 2
    assert found.session.state == "listening"
