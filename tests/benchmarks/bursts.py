"""A burst: callers that call one after the other for a while, measured in their own process."""

from __future__ import annotations

import asyncio
import gc
import time
from array import array
from collections.abc import Sequence

import msgspec
import psutil

from tests.benchmarks.contestant import Contestant

_MEGABYTE = 1024 * 1024
_TICK_SECONDS = 0.001


class Measurement(msgspec.Struct, frozen=True, kw_only=True):
    """What a burst came to. CPU is in seconds of all of its calls, memory in MiB.

    `memory_growth` and `longest_pause_ms` of the event loop are measured where they were asked for.
    `figures` are the work's own, by their names in the tables.
    """

    calls: int
    seconds: float
    client_cpu: float
    memory: float | None = None
    server_cpu: float | None = None
    memory_growth: float | None = None
    longest_pause_ms: float | None = None
    figures: dict[str, float] = {}

    @property
    def rate(self) -> float:
        """Calls per second."""
        return self.calls / self.seconds


class Burst(msgspec.Struct, frozen=True, kw_only=True):
    """How to measure: `calls` for each caller, or as many as fit in `seconds`.

    With `latencies` each call is timed, and the callers take turns.
    """

    callers: int
    seconds: float = 0
    calls: int | None = None
    watch: bool = False
    latencies: bool = False


async def prepare(contestant: Contestant, burst: Burst) -> None:
    """Connect and warm up: a call of each caller, unless calls are counted."""
    await contestant.prepare(burst.callers)
    if burst.calls is None:
        await asyncio.gather(*(contestant.call(caller) for caller in range(burst.callers)))
    gc.collect()


async def measure(contestant: Contestant, burst: Burst) -> Measurement:
    """Run a burst for which the contestant was prepared."""
    watch = _Watch() if burst.watch else None
    ticking = None if watch is None else asyncio.ensure_future(watch.tick())
    times = array("d")
    cpu, started = time.process_time(), time.perf_counter()
    deadline = started + burst.seconds
    counts = await asyncio.gather(
        *(
            _time_calls(contestant, caller, deadline, times)
            if burst.latencies
            else _call_on(contestant, caller, deadline, burst.calls)
            for caller in range(burst.callers)
        )
    )
    await contestant.finish()
    seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    if ticking is not None:
        ticking.cancel()
    return Measurement(
        calls=sum(counts) * contestant.batch,
        seconds=seconds,
        client_cpu=cpu,
        memory=_memory(),
        memory_growth=None if watch is None else watch.growth,
        longest_pause_ms=None if watch is None else watch.longest_pause * 1000,
        figures={**contestant.figures(), **latency_figures(times)},
    )


def latency_figures(seconds: Sequence[float], of: str = "") -> dict[str, float]:
    """The median and the 99th percentile in milliseconds; nothing of nothing."""
    if not seconds:
        return {}
    ordered = sorted(seconds)
    return {
        f"{of}{name}, ms": ordered[min(len(ordered) - 1, int(part * len(ordered)))] * 1000
        for name, part in (("p50", 0.5), ("p99", 0.99))
    }


async def _call_on(contestant: Contestant, caller: int, deadline: float, calls: int | None) -> int:
    call = contestant.call
    if calls is not None:
        for _ in range(calls):
            await call(caller)
        return calls
    done, now = 0, time.perf_counter
    while now() < deadline:
        await call(caller)
        done += 1
    return done


async def _time_calls(
    contestant: Contestant, caller: int, deadline: float, times: array[float]
) -> int:
    call, now, done = contestant.call, time.perf_counter, 0
    while (started := now()) < deadline:
        await call(caller)
        times.append(now() - started)
        done += 1
        # Who finds in memory does not wait, and would let nobody else come in.
        await asyncio.sleep(0)
    return done


class _Watch:
    """How much memory a burst adds at most, and how long the loop ran nobody else."""

    def __init__(self) -> None:
        self._before = _memory()
        self.growth = 0.0
        self.longest_pause = 0.0

    async def tick(self) -> None:
        """Wake every millisecond, and note how much later it was."""
        before = time.perf_counter()
        while True:
            await asyncio.sleep(_TICK_SECONDS)
            now = time.perf_counter()
            self.longest_pause = max(self.longest_pause, now - before - _TICK_SECONDS)
            self.growth = max(self.growth, _memory() - self._before)
            before = time.perf_counter()


def _memory() -> float:
    return float(psutil.Process().memory_info().rss) / _MEGABYTE
