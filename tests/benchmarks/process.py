"""A library's own process: it opens contestants and runs bursts as it is told through a pipe.

A process for each library keeps memory and CPU apart. Between bursts it waits for the pipe and its
event loop stands still.
"""

from __future__ import annotations

import asyncio
import importlib
import multiprocessing
import sys
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from tests.benchmarks.bursts import Burst, Measurement, measure, prepare
from tests.benchmarks.contestant import Contestant
from tests.benchmarks.ground import Ground

# The spawned process imports its library anew; forking would copy the loop and the connections.
_context = multiprocessing.get_context("spawn")


class PeerAbsent(Exception):
    """A library is not installed; the message names it."""


class LibraryProcess:
    """The parent's end."""

    def __init__(self, library: str, loop: str) -> None:
        self.library = library
        self._pipe, theirs = _context.Pipe()
        self._process = _context.Process(
            target=_serve, args=(library, loop, theirs), daemon=True, name=f"bench {library}"
        )
        self._process.start()
        theirs.close()

    def wait_until_ready(self) -> None:
        """Raises PeerAbsent where the library cannot be imported."""
        self._receive()

    def open(self, key: str, work: str, variant: str, ground: Ground) -> None:
        """Make a contestant and connect it."""
        self._ask("open", key, work, variant, ground)

    def prepare(self, key: str, burst: Burst) -> None:
        """Make a contestant ready for a burst."""
        self._ask("prepare", key, burst)

    def burst(self, key: str, burst: Burst) -> Measurement:
        """Run one burst of an open contestant."""
        measurement: Measurement = self._ask("burst", key, burst)
        return measurement

    def release(self, key: str) -> None:
        """Let a contestant give back what others need."""
        self._ask("release", key)

    def close(self, key: str) -> None:
        """Disconnect a contestant."""
        self._ask("close", key)

    def stop(self) -> None:
        """End the process."""
        if self._process.is_alive():
            self._pipe.send(("stop",))
        self._process.join(10)
        if self._process.is_alive():
            self._process.kill()

    def _ask(self, *command: Any) -> Any:
        self._pipe.send(command)
        return self._receive()

    def _receive(self) -> Any:
        try:
            kind, value = self._pipe.recv()
        except EOFError:
            raise RuntimeError(f"the process of {self.library} has ended") from None
        if kind == "absent":
            raise PeerAbsent(value)
        if kind == "error":
            raise RuntimeError(f"{self.library}:\n{value}")
        return value


def _serve(library: str, loop: str, pipe: Connection) -> None:
    try:
        module = importlib.import_module(f"tests.benchmarks.peers.{library}_calls")
        factory = _loop_factory(loop)
    except ModuleNotFoundError as error:
        pipe.send(("absent", f"{error.name}"))
        return
    pipe.send(("ready", None))
    opened: dict[str, Contestant] = {}
    with asyncio.Runner(loop_factory=factory) as runner:
        while (command := pipe.recv())[0] != "stop":
            try:
                pipe.send(("done", runner.run(_obey(module, opened, *command))))
            except Exception:
                pipe.send(("error", traceback.format_exc()))


async def _obey(module: Any, opened: dict[str, Contestant], what: str, key: str, *rest: Any) -> Any:
    if what == "open":
        work, variant, ground = rest
        opened[key] = module.CONTESTANTS[work][variant](ground)
        await opened[key].open()
        return None
    if what == "close":
        await opened.pop(key).close()
        return None
    if what == "prepare":
        await prepare(opened[key], rest[0])
        return None
    if what == "release":
        await opened[key].release()
        return None
    return await measure(opened[key], rest[0])


def _loop_factory(name: str) -> Callable[[], asyncio.AbstractEventLoop] | None:
    if name == "uvloop":
        import uvloop

        factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
        return factory
    if name == "asyncio":
        return None
    sys.exit(f"no event loop is called {name}")
