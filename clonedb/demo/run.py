"""The demonstration: a server, the schema, conversations held and loaded, and what came of it.

`run` starts the embedded server and returns a DemoReport, every figure of which was read from the
database or measured; `demo_picture` draws it.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Final

import msgspec

from clonedb import migrate
from clonedb.database import Database
from clonedb.demo.people import Person, people
from clonedb.demo.service import Held, Move, Service
from clonedb.embedded import EmbeddedServer
from clonedb.errors import ClonedbError, InvalidTransition, NotFound
from clonedb.ids import new_id
from clonedb.loading.conversations import Conversation
from clonedb.loading.load import CONNECTIONS, LoadProgress, LoadReport, load
from clonedb.repositories.conversation_sessions import (
    ConversationSession,
    ProviderStatistics,
    SessionStatistics,
)
from clonedb.repositories.conversation_turns import ConversationTurn
from clonedb.repositories.statistics import SystemTotals
from clonedb.repositories.writing import found

# Enough for turns per second to mean something, and done in about a second.
_COPIES: Final = 100
_BULK_USERS: Final = 8

# Connections that are open before anybody talks.
_CALLERS: Final = 10

OnStep = Callable[[str, int, int | None], None]


class ServerFacts(msgspec.Struct, frozen=True):
    """The server that the demonstration ran on; `kept` if its data outlives it."""

    version: str
    data_directory: str
    kept: bool
    start_seconds: float
    migrations: int
    migrate_seconds: float


class PersonFigures(msgspec.Struct, frozen=True):
    """One person, and what the database says about their conversations."""

    name: str
    talks_with: str
    statistics: SessionStatistics


class LiveFigures(msgspec.Struct, frozen=True):
    """The conversations that were held turn by turn, all at once; times of single calls."""

    people: list[PersonFigures]
    conversations: int
    turns: int
    calls: int
    seconds: float
    median_call_ms: float
    moves: list[Move]


class Transcript(msgspec.Struct, frozen=True):
    """A conversation as it was read back."""

    name: str
    session: ConversationSession
    turns: list[ConversationTurn]


class Refusals(msgspec.Struct, frozen=True):
    """What one person got of another's session, and what else was refused.

    `reader_found` is None when the session does not exist for the reader, as it should be.
    """

    owner: str
    reader: str
    reader_found: ConversationSession | None
    reader_recording: str
    app_without_user: SystemTotals
    leap: str


class RepeatedTurn(msgspec.Struct, frozen=True):
    """A turn that was sent once more after its session had ended."""

    turn_number: int
    turns_before: int
    turns_after: int


class DemoReport(msgspec.Struct, frozen=True):
    """All that the demonstration found."""

    server: ServerFacts
    live: LiveFigures
    bulk: LoadReport
    totals: SystemTotals
    providers: list[ProviderStatistics]
    transcript: Transcript
    refusals: Refusals
    repeated: RepeatedTurn
    seconds: float


def run(
    *,
    data_directory: Path | None = None,
    keep: bool = False,
    on_step: OnStep = lambda step, done, total: None,
) -> DemoReport:
    """Run the demonstration in a data directory, or in a temporary one that is removed after it.

    On a directory of an earlier run it adds conversations to what is there. `keep` leaves a
    temporary one. `on_step` is told the step, what is done of it and of how much. Raises
    EmbeddedError and what migrating and the repositories raise.
    """
    started = time.perf_counter()
    on_step("starting PostgreSQL", 0, None)
    with _directory(data_directory, keep) as directory, EmbeddedServer(directory) as server:
        start_seconds = time.perf_counter() - started

        def migrating(progress: migrate.Progress) -> None:
            on_step("migrating", progress.done, progress.total)

        before = time.perf_counter()
        applied = migrate.apply(server.dsn("clonedb_migrator"), progress=migrating)
        facts = ServerFacts(
            version=".".join(map(str, server.version)),
            data_directory=str(server.data_directory),
            kept=keep or data_directory is not None,
            start_seconds=start_seconds,
            migrations=len(applied),
            migrate_seconds=time.perf_counter() - before,
        )
        return asyncio.run(_demonstrate(server, facts, started, on_step))


@contextmanager
def _directory(chosen: Path | None, keep: bool) -> Iterator[Path]:
    if chosen is not None:
        yield chosen
    elif keep:
        yield Path(tempfile.mkdtemp(prefix="clonedb-demo-"))
    else:
        with tempfile.TemporaryDirectory(prefix="clonedb-demo-") as temporary:
            yield Path(temporary)


async def _demonstrate(
    server: EmbeddedServer, facts: ServerFacts, started: float, on_step: OnStep
) -> DemoReport:
    async with (
        Database(server.dsn("clonedb_app"), minimum_connections=_CALLERS) as app,
        Database(server.dsn("clonedb_worker"), maximum_connections=CONNECTIONS) as worker,
    ):
        cast = people()
        live, held = await _hold(app, cast, on_step)
        bulk = await _load_copies(worker, cast, on_step)
        on_step("reading back", 0, None)
        owner, reader = held[0], held[-1]
        transcript = await app.as_user(owner.user.id).conversation_sessions.with_turns(
            owner.session.id
        )
        read = found(transcript, "session", owner.session.id)
        return DemoReport(
            server=facts,
            live=live,
            bulk=bulk,
            totals=await worker.statistics.totals(),
            providers=await worker.statistics.by_provider(),
            transcript=Transcript(owner.user.name or "", read.session, read.turns),
            refusals=await _try_what_is_refused(app, owner, reader),
            repeated=await _repeat(app, owner),
            seconds=time.perf_counter() - started,
        )


async def _hold(
    app: Database, cast: list[Person], on_step: OnStep
) -> tuple[LiveFigures, list[Held]]:
    """Hold every conversation at once, as a service with many people talking would."""
    total = sum(len(one.turns) for person in cast for one in person.conversations)
    service = Service(app, lambda: on_step("holding conversations", service.turns, total))
    started = time.perf_counter()
    users = await asyncio.gather(*(service.sign_up(person) for person in cast))
    held = await asyncio.gather(
        *(
            service.hold(user, conversation)
            for user, person in zip(users, cast, strict=True)
            for conversation in person.conversations
        )
    )
    seconds = time.perf_counter() - started
    figures = [
        PersonFigures(
            user.name or "",
            person.talks_with,
            await app.as_user(user.id).conversation_sessions.statistics(),
        )
        for user, person in zip(users, cast, strict=True)
    ]
    live = LiveFigures(
        people=figures,
        conversations=len(held),
        turns=service.turns,
        calls=len(service.call_seconds),
        seconds=seconds,
        median_call_ms=statistics.median(service.call_seconds) * 1000,
        moves=service.moves,
    )
    return live, list(held)


async def _load_copies(worker: Database, cast: list[Person], on_step: OnStep) -> LoadReport:
    """Load the same conversations many times over, under new ids, as `clonedb load` does."""
    conversations = [one for person in cast for one in person.conversations]
    total = _COPIES * sum(len(one.turns) for one in conversations)

    def loading(progress: LoadProgress) -> None:
        on_step("loading in bulk", progress.turns, total)

    with tempfile.TemporaryDirectory(prefix="clonedb-demo-") as temporary:
        path = Path(temporary) / "copies.jsonl"
        _write_copies(path, conversations)
        return await load(worker, path, users=_BULK_USERS, month=_last_month(), on_progress=loading)


def _write_copies(path: Path, conversations: list[Conversation]) -> None:
    run_id = new_id()
    with path.open("wb") as file:
        for number in range(_COPIES):
            for one in conversations:
                copy = msgspec.structs.replace(one, id=f"{run_id}/{number}/{one.id}")
                file.write(msgspec.json.encode(copy) + b"\n")


def _last_month() -> date:
    return (datetime.now(UTC).replace(day=1) - timedelta(days=1)).date()


async def _try_what_is_refused(app: Database, owner: Held, reader: Held) -> Refusals:
    """Another person's session, by both walls; and a leap that the state machine has not."""
    others = app.as_user(reader.user.id).conversation_sessions
    session = owner.session
    own = app.as_user(owner.user.id).conversation_sessions
    fresh = await own.start()
    leap = await _refusal(own.transition(fresh.id, "speaking"), InvalidTransition)
    await own.hard_delete(fresh.id)
    return Refusals(
        owner=owner.user.name or "",
        reader=reader.user.name or "",
        reader_found=await others.find_by_id(session.id),
        reader_recording=await _refusal(others.record_turn(session.id, reader.last_turn), NotFound),
        # No predicate names a user here: row-level security alone stands before the rows.
        app_without_user=await app.statistics.totals(),
        leap=leap,
    )


async def _refusal(call: Awaitable[object], expected: type[ClonedbError]) -> str:
    """The name of the error that the call raises, or that it was not refused."""
    try:
        await call
    except expected:
        return expected.__name__
    return "not refused"


async def _repeat(app: Database, held: Held) -> RepeatedTurn:
    """Send the last turn once more, as a service does whose connection was lost."""
    sessions = app.as_user(held.user.id).conversation_sessions
    turn = await sessions.record_turn(held.session.id, held.last_turn, state="speaking")
    after = await sessions.get_by_id(held.session.id)
    return RepeatedTurn(turn.turn_number, held.session.total_turns, after.total_turns)
