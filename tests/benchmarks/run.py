"""What a run has found, as results.json keeps it: every round of every contestant."""

from __future__ import annotations

import statistics
from typing import Any

import msgspec

from tests.benchmarks.bursts import Measurement
from tests.benchmarks.contest import Contest, Results


class Ratio(msgspec.Struct, frozen=True):
    """The median over the rounds, and the lowest and highest round: how many times as fast, say."""

    median: float
    low: float
    high: float


class Series(msgspec.Struct, frozen=True, kw_only=True):
    """One contestant's rounds, at one number of callers on one event loop."""

    loop: str
    callers: int
    label: str
    rounds: list[Measurement]

    @property
    def rate(self) -> float:
        """Calls per second."""
        return statistics.median(each.rate for each in self.rounds)

    @property
    def client_us(self) -> float:
        """Microseconds of the client's CPU for a call."""
        return statistics.median(each.client_cpu / each.calls * 1e6 for each in self.rounds)

    @property
    def server_us(self) -> float | None:
        """Microseconds of the server's CPU for a call, where it is known."""
        known = [
            each.server_cpu / each.calls * 1e6
            for each in self.rounds
            if each.server_cpu is not None
        ]
        return statistics.median(known) if known else None

    @property
    def memory(self) -> float | None:
        """MiB of the client process, at most, where it is known."""
        known = [each.memory for each in self.rounds if each.memory is not None]
        return max(known) if known else None

    def figure(self, name: str) -> Ratio | None:
        """A figure of the work's own: the median round, the lowest and the highest."""
        values = [each.figures[name] for each in self.rounds if name in each.figures]
        if not values:
            return None
        return Ratio(statistics.median(values), min(values), max(values))

    def ratio_to(self, other: Series) -> Ratio:
        """How many times as fast as the other in the same rounds."""
        ratios = [
            mine.rate / theirs.rate for mine, theirs in zip(self.rounds, other.rounds, strict=True)
        ]
        return Ratio(statistics.median(ratios), min(ratios), max(ratios))


class ContestResult(msgspec.Struct, frozen=True, kw_only=True):
    """A contest's series, in the order of its entries.

    `compared` are the contestants whose ratio to each other one is told, or, where `base` is given,
    each one's ratio to that one is.
    """

    name: str
    title: str
    unit: str
    compared: list[str]
    base: str | None
    series: list[Series]

    def find(self, loop: str, callers: int, label: str) -> Series | None:
        """One series, or None where the contestant was absent."""
        for each in self.series:
            if (each.loop, each.callers, each.label) == (loop, callers, label):
                return each
        return None


class Run(msgspec.Struct, kw_only=True):
    """A whole run; `absent` are libraries that were not installed."""

    seed: int
    machine: dict[str, Any]
    seconds: int = 0
    absent: list[str] = []
    contests: list[ContestResult] = []

    def add(self, contest: Contest, results: Results) -> ContestResult:
        """Keep what a contest has found on one event loop."""
        order = [entry.label for entry in contest.entries]
        series = [
            Series(loop=cell.loop, callers=cell.callers, label=cell.label, rounds=rounds)
            for cell, rounds in sorted(
                results.items(), key=lambda item: (item[0].callers, order.index(item[0].label))
            )
        ]
        known = self.find(contest.name)
        if known is not None:
            known.series.extend(series)
        else:
            self.contests.append(
                ContestResult(
                    name=contest.name,
                    title=contest.title,
                    unit=contest.unit,
                    compared=list(contest.compared),
                    base=contest.base,
                    series=list(series),
                )
            )
        return ContestResult(
            name=contest.name,
            title=contest.title,
            unit=contest.unit,
            compared=[],
            base=None,
            series=series,
        )

    def find(self, name: str) -> ContestResult | None:
        """A contest by its name."""
        return next((each for each in self.contests if each.name == name), None)
