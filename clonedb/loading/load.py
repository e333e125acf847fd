"""Storing a file of conversations, in bulk, under the worker login.

The file is read in batches. A user's conversations of a batch are stored in one transaction, by
four statements at most: the sessions, their turns, and their ends; several users are in flight at
once. So a conversation is stored whole or not at all, and since `placement` gives every row its
id, a load that was stopped or killed is finished by running it again: what is stored already is
compared, and left as it is.
"""

from __future__ import annotations

import asyncio
import resource
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import date
from pathlib import Path
from typing import Final

import msgspec

from clonedb.database import Database
from clonedb.errors import AlreadyExists, InvalidInput, SessionEnded
from clonedb.loading.conversations import BadLine, ConversationFile, GoodLine
from clonedb.loading.placement import DEFAULT_MONTH, DEFAULT_USERS, PlacedConversation, Placement
from clonedb.repositories.conversation_sessions import ProviderStatistics
from clonedb.repositories.conversation_turns import SessionTurn
from clonedb.repositories.statistics import SystemTotals
from clonedb.repositories.users import NewUser
from clonedb.scopes import DatabaseScope, UserScope

# A batch is held in memory, and so is the answer to each of its statements. More turns in a batch
# are fewer round trips for each user; more than this gained nothing.
_BATCH_TURNS: Final = 4_000
_BATCH_CHARACTERS: Final = 4 * 1024 * 1024
_STATEMENT_TURNS: Final = 1_000
_STATEMENT_CHARACTERS: Final = 1024 * 1024

# Connections in use at once: the server parses and checks while this process reads and builds.
CONNECTIONS: Final = 4

# The bad lines that a report lists; it counts all of them.
_LISTED: Final = 100


class LoadProgress(msgspec.Struct, frozen=True):
    """How far a load has come; `size` is in bytes of the file, None for a pipe."""

    position: int
    size: int | None
    conversations: int
    turns: int
    bad_lines: int


class LoadReport(msgspec.Struct, frozen=True):
    """What a load has done.

    Turns per second count those of the file, stored now or already. `bad_lines` lists the first
    hundred that were skipped, `bad_line_count` counts all.
    """

    users: int
    sessions_stored: int
    sessions_already_stored: int
    turns_stored: int
    turns_already_stored: int
    months_made: int
    bad_line_count: int
    bad_lines: list[BadLine]
    seconds: float
    turns_per_second: float
    peak_memory_mib: float


class CountedLoad(LoadReport, frozen=True):
    """A load, and what the database holds after it."""

    totals: SystemTotals
    providers: list[ProviderStatistics]


async def load_and_count(
    dsn: str,
    path: Path,
    *,
    users: int = DEFAULT_USERS,
    month: date = DEFAULT_MONTH,
    on_progress: Callable[[LoadProgress], None] = lambda _: None,
    on_bad_line: Callable[[BadLine], None] = lambda _: None,
) -> CountedLoad:
    """`load` with a Database of its own, under the worker login that the dsn names."""
    async with Database(dsn, maximum_connections=CONNECTIONS) as database:
        report = await load(
            database,
            path,
            users=users,
            month=month,
            on_progress=on_progress,
            on_bad_line=on_bad_line,
        )
        return CountedLoad(
            **msgspec.structs.asdict(report),
            totals=await database.statistics.totals(),
            providers=await database.statistics.by_provider(),
        )


async def load(
    database: DatabaseScope,
    path: Path,
    *,
    users: int = DEFAULT_USERS,
    month: date = DEFAULT_MONTH,
    on_progress: Callable[[LoadProgress], None] = lambda _: None,
    on_bad_line: Callable[[BadLine], None] = lambda _: None,
) -> LoadReport:
    """Store the conversations of a file; a second time changes nothing.

    `placement` says whose they become and when they were held. A conversation that is stored
    already with other content is a bad line too. Cancelled or failing, it leaves every
    conversation stored whole or not at all. Raises OSError for the file, InvalidInput for `users`
    and `month`, and what the repositories raise.
    """
    placement = Placement(users=users, month=month)
    with ConversationFile(path) as file:
        run = _Load(database, file, on_progress, on_bad_line)
        run.months_made = await database.create_turn_months(placement.month, months=1)
        for batch in run.batches(placement):
            await run.store(batch)
        return run.report()


class _Load:
    """One load: its counts so far, and how a batch is stored."""

    def __init__(
        self,
        database: DatabaseScope,
        file: ConversationFile,
        on_progress: Callable[[LoadProgress], None],
        on_bad_line: Callable[[BadLine], None],
    ) -> None:
        self._database = database
        self._file = file
        self._on_progress = on_progress
        self._on_bad_line = on_bad_line
        self._started = time.perf_counter()
        self._in_flight = asyncio.Semaphore(CONNECTIONS)
        self._users: set[str] = set()
        self._sessions = self._sessions_before = 0
        self._turns = self._turns_before = 0
        self._bad_count = 0
        self._bad: list[BadLine] = []
        self.months_made = 0

    def batches(self, placement: Placement) -> Iterator[list[PlacedConversation]]:
        batch: list[PlacedConversation] = []
        turns = characters = 0
        for line in self._file:
            if not isinstance(line, GoodLine):
                self._refuse(line)
                continue
            placed = placement.place(line)
            batch.append(placed)
            turns += len(placed.turns)
            characters += placed.characters
            if turns >= _BATCH_TURNS or characters >= _BATCH_CHARACTERS:
                yield batch
                batch = []
                turns = characters = 0
        if batch:
            yield batch

    async def store(self, batch: list[PlacedConversation]) -> None:
        """Store a batch: the users that are new in this load, then each user's conversations."""
        by_user: dict[str, list[PlacedConversation]] = {}
        new: list[NewUser] = []
        for placed in batch:
            email = placed.user.email
            if email not in self._users:
                self._users.add(email)
                new.append(placed.user)
            by_user.setdefault(email, []).append(placed)
        await self._database.users.create_many(new)
        try:
            async with asyncio.TaskGroup() as group:
                for conversations in by_user.values():
                    group.create_task(self._store_user(conversations))
        except ExceptionGroup as errors:
            # The first failure has ended the others; it alone says what happened.
            raise errors.exceptions[0] from None

    async def _store_user(self, conversations: list[PlacedConversation]) -> None:
        async with self._in_flight:
            await self._store_conversations(conversations)
            self._on_progress(
                LoadProgress(
                    self._file.position,
                    self._file.size,
                    self._sessions,
                    self._turns,
                    self._bad_count,
                )
            )

    async def _store_conversations(self, conversations: list[PlacedConversation]) -> None:
        user_id = conversations[0].user.id
        if user_id is None:
            raise InvalidInput("a placed user has no id")
        try:
            async with self._database.as_user(user_id).transaction() as scope:
                before = await _store(scope, conversations)
        except (AlreadyExists, SessionEnded) as error:
            if len(conversations) == 1:
                self._refuse(BadLine(conversations[0].line, f"stored otherwise: {error.message}"))
                return
            # One of them is stored with other content: each by itself shows which.
            for conversation in conversations:
                await self._store_conversations([conversation])
            return
        for conversation, turns_before in zip(conversations, before, strict=True):
            self._sessions += 1
            self._sessions_before += turns_before > 0
            self._turns += len(conversation.turns)
            self._turns_before += turns_before

    def _refuse(self, bad: BadLine) -> None:
        self._bad_count += 1
        if len(self._bad) < _LISTED:
            self._bad.append(bad)
        self._on_bad_line(bad)

    def report(self) -> LoadReport:
        seconds = time.perf_counter() - self._started
        return LoadReport(
            users=len(self._users),
            sessions_stored=self._sessions - self._sessions_before,
            sessions_already_stored=self._sessions_before,
            turns_stored=self._turns - self._turns_before,
            turns_already_stored=self._turns_before,
            months_made=self.months_made,
            bad_line_count=self._bad_count,
            bad_lines=sorted(self._bad, key=lambda bad: bad.line),
            seconds=seconds,
            turns_per_second=self._turns / seconds,
            peak_memory_mib=peak_memory_mib(),
        )


async def _store(scope: UserScope, conversations: list[PlacedConversation]) -> list[int]:
    """Store one user's conversations; returns how many turns each of them had before."""
    sessions = scope.conversation_sessions
    stored = await sessions.create_many([placed.session for placed in conversations])
    for session, placed in zip(stored, conversations, strict=True):
        if session.total_turns > len(placed.turns):
            raise AlreadyExists(f"session {session.id} has {session.total_turns} turns")
    for turns in _statements(turn for placed in conversations for turn in placed.turns):
        await sessions.record_many(turns)
    await sessions.end_many([placed.ending for placed in conversations])
    return [session.total_turns for session in stored]


def _statements(turns: Iterable[SessionTurn]) -> Iterator[list[SessionTurn]]:
    """The turns in order, in parts that one statement takes without much memory."""
    part: list[SessionTurn] = []
    characters = 0
    for turn in turns:
        part.append(turn)
        characters += len(turn.user_transcript) + len(turn.llm_response)
        if len(part) >= _STATEMENT_TURNS or characters >= _STATEMENT_CHARACTERS:
            yield part
            part = []
            characters = 0
    if part:
        yield part


def peak_memory_mib() -> float:
    """The most memory that this process has held so far."""
    status = Path("/proc/self/status")
    if status.exists():
        # The peak of getrusage is also that of the process which started this one.
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1024 * 1024 if sys.platform == "darwin" else 1024)
