"""A contest: the same work by several contestants, in interleaved rounds of random order."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

import msgspec

from tests.benchmarks.bursts import Burst, Measurement
from tests.benchmarks.ground import Ground
from tests.benchmarks.pgbench import Pgbench, find_pgbench
from tests.benchmarks.process import LibraryProcess, PeerAbsent
from tests.benchmarks.progress import say
from tests.benchmarks.redis_server import CLIENTS, INSTALL, RedisServer
from tests.benchmarks.server import BenchmarkServer


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """A contestant: which library does the work how, and what it is called in the tables."""

    library: str
    variant: str
    label: str
    ground: Ground


class Contest(msgspec.Struct, frozen=True, kw_only=True):
    """Work, contestants, and how often and how long they are measured.

    `before` runs first and before each burst, not measured; nobody else works during one.
    `compared` are those whose ratio to each other one is told; with `base`, that of each to it is.
    """

    name: str
    title: str
    work: str
    entries: list[Entry]
    rounds: int
    bursts: list[Burst]
    unit: str = "calls"
    compared: tuple[str, ...] = ("clonedb",)
    base: str | None = None
    before: Callable[[], None] | None = None


class Cell(msgspec.Struct, frozen=True):
    """Where in the table of results a measurement belongs."""

    contest: str
    loop: str
    callers: int
    label: str


Results = dict[Cell, list[Measurement]]


class Arena:
    """Runs contests on one event loop; a library has one process, started when needed first."""

    def __init__(
        self, server: BenchmarkServer, redis: RedisServer | None, loop: str, order: random.Random
    ) -> None:
        self._server = server
        self._redis = redis
        self.loop = loop
        self._order = order
        self._processes: dict[str, LibraryProcess | Pgbench] = {}
        self.absent: set[str] = set()

    def run(self, contest: Contest, seconds: float) -> Results:
        """Every round's measurements, round by round; no more rounds after so many seconds."""
        started = time.monotonic()
        if contest.before is not None:
            contest.before()  # what a contestant prepares is not to meet another's rows
        entries = self._open(contest)
        results: Results = {}
        try:
            for number in range(contest.rounds):
                if number and time.monotonic() - started > seconds:
                    say(f"only {number} of {contest.rounds} rounds: it takes too long")
                    break
                turns = [(entry, burst) for entry in entries for burst in contest.bursts]
                self._order.shuffle(turns)
                for entry, burst in turns:
                    cell = Cell(contest.name, self.loop, burst.callers, entry.label)
                    if contest.before is not None:
                        contest.before()
                    results.setdefault(cell, []).append(self._measure(entry, burst))
        finally:
            for entry in entries:
                self._processes[entry.library].close(entry.label)
        return results

    def _measure(self, entry: Entry, burst: Burst) -> Measurement:
        process = self._processes[entry.library]
        process.prepare(entry.label, burst)
        used = self._servers_used()
        measurement = process.burst(entry.label, burst)
        if isinstance(process, Pgbench):
            return measurement  # its connections are gone, and what they used with them
        used = self._servers_used() - used
        process.release(entry.label)
        return msgspec.structs.replace(measurement, server_cpu=used)

    def _servers_used(self) -> float:
        redis = 0.0 if self._redis is None else self._redis.cpu_seconds()
        return self._server.cpu_seconds() + redis

    def _open(self, contest: Contest) -> list[Entry]:
        self._start({entry.library for entry in contest.entries} - self.absent)
        entries = [entry for entry in contest.entries if entry.library in self._processes]
        for entry in entries:
            self._processes[entry.library].open(
                entry.label, contest.work, entry.variant, entry.ground
            )
        return entries

    def _start(self, wanted: set[str]) -> None:
        if "pgbench" in wanted:
            wanted = wanted - {"pgbench"}
            if (program := find_pgbench()) is None:
                self._miss("pgbench", "the program")
            else:
                self._processes["pgbench"] = Pgbench(program)
        if self._redis is None:
            for library in sorted(wanted & CLIENTS):
                self._miss(library, f"redis-server ({INSTALL})")
            wanted = wanted - CLIENTS
        started = {
            library: LibraryProcess(library, self.loop)
            for library in sorted(wanted - self._processes.keys())
        }
        for library, process in started.items():
            try:
                process.wait_until_ready()
                self._processes[library] = process
            except PeerAbsent as absent:
                self._miss(library, str(absent))

    def _miss(self, library: str, what: str) -> None:
        say(f"{library} is absent: {what} is not installed")
        self.absent.add(library)

    def renew(self) -> None:
        """Stop the processes, so that the next contest's memory is its own."""
        for process in self._processes.values():
            process.stop()
        self._processes.clear()
