"""clonedb's caches when much happens at once: a purge beside readers, and many on one cold key."""

from __future__ import annotations

import asyncio
import itertools
import sys
import time
from array import array
from pathlib import Path
from typing import Final

from clonedb import Database
from tests.benchmarks.bursts import latency_figures
from tests.benchmarks.contestant import Contestant, check
from tests.benchmarks.peers.cached_material import entries_of

_READERS: Final = 4
_SECONDS_BEFORE: Final = 0.5

PROCESSES: Final = 4
CALLERS: Final = 50  # in each
_ROOT: Final = Path(__file__).parents[3]


class Purge(Contestant):
    """The worker drops everybody's expired answers, while users read fresh ones of the table."""

    async def open(self) -> None:
        self._app = await Database(self.ground.app).open()
        self._worker = await Database(self.ground.worker).open()
        self._entries = itertools.cycle(
            [(each.user_id, each.answer_key().digest()) for each in entries_of(self.ground)]
        )
        self._shown: dict[str, float] = {}

    async def prepare(self, callers: int) -> None:
        # On the connection that it will take, nothing is to be done for the first time.
        await self._worker.caches.llm_response.purge_expired(limit=1)
        await self._read_for(_SECONDS_BEFORE / 10)
        alone = await self._read_for(_SECONDS_BEFORE)
        self._shown = latency_figures(alone, "readers before, ")

    async def call(self, caller: int) -> None:
        readers = [asyncio.ensure_future(self._read()) for _ in range(_READERS)]
        self._reading = True
        batches = await self._purge()
        self._reading = False
        times = array("d", itertools.chain(*await asyncio.gather(*readers)))
        self._shown |= latency_figures(times, "readers meanwhile, ")
        self._shown["longest batch, ms"] = max(batches) * 1000

    def figures(self) -> dict[str, float]:
        return self._shown

    async def _purge(self) -> array[float]:
        """The seconds of each batch."""
        cache = self._worker.caches.llm_response
        batches, rows, started = array("d"), 0, time.perf_counter()
        async for dropped in cache.purge_batches():
            batches.append(time.perf_counter() - started)
            rows += dropped
            started = time.perf_counter()
        check(rows == self.ground.expired - 1)
        self.batch = rows
        return batches

    async def _read_for(self, seconds: float) -> array[float]:
        readers = [asyncio.ensure_future(self._read()) for _ in range(_READERS)]
        self._reading = True
        await asyncio.sleep(seconds)
        self._reading = False
        return array("d", itertools.chain(*await asyncio.gather(*readers)))

    async def _read(self) -> array[float]:
        """The seconds of each read."""
        times = array("d")
        while self._reading:
            user_id, digest = next(self._entries)
            started = time.perf_counter()
            found = await self._app.as_user(user_id).caches.llm_response.get(digest)
            times.append(time.perf_counter() - started)
            check(found is not None)
        return times

    async def close(self) -> None:
        await self._app.close()
        await self._worker.close()


class Stampede(Contestant):
    """Callers in processes of their own, all at once, on a key that nobody has; it is made once."""

    async def open(self) -> None:
        loop = "uvloop" if "uvloop" in sys.modules else "asyncio"
        self._processes = await asyncio.gather(
            *(
                asyncio.create_subprocess_exec(
                    *(sys.executable, "-m", "tests.benchmarks.peers.stampede"),
                    *(self.ground.app, str(CALLERS), loop),
                    cwd=_ROOT,
                    stdin=asyncio.subprocess.PIPE,
                    stdout=asyncio.subprocess.PIPE,
                )
                for _ in range(PROCESSES)
            )
        )
        self._most = 0
        self._keys = itertools.count(time.time_ns())
        await self._ask("ready")

    async def call(self, caller: int) -> None:
        made = await self._ask(f"{self.next_user()} {next(self._keys)}")
        self._most = max(self._most, made)
        check(made >= 1)

    def figures(self) -> dict[str, float]:
        most, self._most = self._most, 0
        return {"times computed, at most": float(most)}

    async def _ask(self, line: str) -> int:
        """What the processes answer, added up."""
        for process in self._processes:
            if process.stdin is None or process.stdout is None:
                raise RuntimeError("a process without pipes")
            process.stdin.write(f"{line}\n".encode())
        answers = await asyncio.gather(
            *(process.stdout.readline() for process in self._processes if process.stdout)
        )
        return sum(map(int, answers))

    async def close(self) -> None:
        for process in self._processes:
            if process.stdin is not None:
                process.stdin.close()
        await asyncio.gather(*(process.wait() for process in self._processes))


CONTESTANTS: Final[dict[str, dict[str, type[Contestant]]]] = {
    "purge": {"worker": Purge},
    "stampede": {"front": Stampede},
}
