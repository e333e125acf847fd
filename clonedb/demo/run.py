"""The demonstration: a server, the schema, conversations held and loaded, and what came of it.

`run` starts the embedded server and returns a DemoReport, every figure of which was read from the
database or measured; `picture` draws it.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Final

import msgspec

from clonedb import event_loop, migrate
from clonedb.database import Database
from clonedb.demo.answers import ask_again
from clonedb.demo.limits import run_into_limits
from clonedb.demo.models import make_models
from clonedb.demo.people import Person, people
from clonedb.demo.reading import read_documents
from clonedb.demo.refusals import repeat, try_what_is_refused
from clonedb.demo.report import DemoReport, LiveFigures, PersonFigures, ServerFacts, Transcript
from clonedb.demo.service import Held, Service
from clonedb.demo.trail import read_trail
from clonedb.embedded import EmbeddedServer
from clonedb.ids import new_id
from clonedb.loading.conversations import Conversation
from clonedb.loading.load import CONNECTIONS, LoadProgress, LoadReport, load
from clonedb.repositories.writing import found

# Enough for turns per second to mean something, and done in about a second.
_COPIES: Final = 100
_BULK_USERS: Final = 8

# Connections that are open before anybody talks.
_CALLERS: Final = 10

OnStep = Callable[[str, int, int | None], None]


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
        return event_loop.run(_demonstrate(server, facts, started, on_step))


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
        since = datetime.now(UTC)
        cast = people()
        live, held = await _hold(app, cast, on_step)
        users = list({one.user.id: one.user for one in held}.values())
        on_step("making voices and faces", 0, None)
        models = await make_models(app, users)
        on_step("reading documents", 0, None)
        documents = await read_documents(app, worker, users)
        bulk = await _load_copies(worker, cast, on_step)
        on_step("reading back", 0, None)
        owner, reader = held[0], held[-1]
        read = found(
            await app.as_user(owner.user.id).conversation_sessions.with_turns(owner.session.id),
            "session",
            owner.session.id,
        )
        return DemoReport(
            server=facts,
            live=live,
            models=models,
            documents=documents,
            cache=await ask_again(app, worker, owner, reader, read.turns[-2]),
            limits=await run_into_limits(app, worker, owner.user, read.turns),
            bulk=bulk,
            totals=await worker.statistics.totals(),
            providers=await worker.statistics.by_provider(),
            transcript=Transcript(owner.user.name or "", read.session, read.turns),
            refusals=await try_what_is_refused(app, owner, reader),
            repeated=await repeat(app, owner),
            audit=await read_trail(app, worker, owner.user, reader.user, since),
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
