"""results.md: the targets first, then a table for each contest and number of callers."""

from __future__ import annotations

from collections.abc import Iterable

from tests.benchmarks.run import ContestResult, Ratio, Run, Series
from tests.benchmarks.targets import Finding, Limit, findings

_LOOPS = {"asyncio": "plain", "uvloop": "uvloop"}

_METHOD = """\
Each library has a process of its own. A burst is a number of callers who call one after the other
for a fraction of a second; a round is one burst of every contestant, in random order (seed
{seed}). Figures are medians over the rounds; a ratio is that of two rates of the same round, with
its lowest and highest round in brackets. Client CPU, of the whole process, is the steadiest figure.
Every read asserts that it found its rows, every write that it was stored. Client and server share
the machine.

clonedb is measured through its public repositories under the app login, with row-level security in
force, unless a row says otherwise. Its peers connect as the worker, whose policies let every row
through, need no context, and send the statements of `sql/` where they take SQL; all of them have
the generic plans that clonedb asks for, and the ORMs bound a turn's id by its session's window.
Peers build the same Structs (the ORMs their objects). asyncpg and psycopg have prepared statements;
pinned is a connection for each caller, a pool has 10. COPY is refused under row-level security, so
the two peers that use it connect as superuser. Plain is asyncio's own event loop.

redis-server keeps nothing on disk. It and PostgreSQL are on unix sockets, for all clients. redis-py
has hiredis and a connection for each caller, valkey-glide one for all of them. Whoever stores a
cached value stores the same bytes under the same digest; peers are given the digest, clonedb's
caches make it of the text or the prompt in each call. Tables are vacuumed before each burst. Every
user has changed documents, so that a generation is looked up. Hits are counted in a process's
memory, and the time in which a burst's are recorded is part of it. A figure of its own (p99, say)
is the median of the rounds, with the worst in brackets; by that one a target is met or not."""


def render(run: Run) -> str:
    """The whole document."""
    loops = _loops(run)
    lines = [
        "# Benchmarks",
        "",
        "Made by `nox -s bench`; every round is in [results.json](results.json).",
        "",
        _machine(run),
        "",
    ]
    if run.absent:
        lines += [f"Not installed, and so not compared: {', '.join(sorted(run.absent))}.", ""]
    if run.find("point_read"):
        lines += ["![Point reads](point_read.svg)", ""]
    lines += ["## How", "", _METHOD.format(seed=run.seed), ""]
    lines += _targets(findings(run, loops), loops)
    for contest in run.contests:
        lines += [f"## {contest.title}", ""]
        if contest.unit == "passes":
            lines += _passes(contest, loops)
            continue
        for callers in dict.fromkeys(series.callers for series in contest.series):
            if contest.unit != "batches":
                lines += [f"{callers} caller{'s' if callers > 1 else ''}:", ""]
            lines += _table(contest, callers, loops)
    return "\n".join(lines)


def _machine(run: Run) -> str:
    machine = run.machine
    packages = ", ".join(f"{name} {version}" for name, version in machine["packages"].items())
    return (
        f"{machine['cores']} cores ({machine['processor']}), {machine['memory_gib']} GiB, "
        f"{machine['system']}; PostgreSQL {machine['postgresql']}, Python {machine['python']}; "
        f"{packages}. An fsync of 8 KiB takes {machine['fsync_ms']} ms. "
        f"The run took {max(1, round(run.seconds / 60))} min."
    )


def _loops(run: Run) -> list[str]:
    used = {series.loop for contest in run.contests for series in contest.series}
    return [loop for loop in _LOOPS if loop in used]


def _targets(found: list[Finding], loops: list[str]) -> list[str]:
    lines = [
        "## Targets",
        "",
        "The median counts. " + "A target that is missed is marked ✗.",
        "",
        *_header(["work", "target", *(_LOOPS[loop] for loop in loops)], left=2),
    ]
    for finding in found:
        cells = []
        for loop in loops:
            value, met = finding.found[loop], finding.met(loop)
            mark = "" if met is None else " ✓" if met else " ✗"
            if isinstance(value, Ratio):
                cells.append(_ratio(value) + mark)
            elif value is None:
                cells.append("")
            else:
                unit = finding.target.unit if isinstance(finding.target, Limit) else ""
                cells.append(f"{_number(value)} {unit}{mark}")
        lines.append(_row([finding.target.work, finding.target.goal, *cells]))
    return [*lines, ""]


def _table(contest: ContestResult, callers: int, loops: list[str]) -> list[str]:
    batches = contest.unit == "batches"
    rate = "ms" if batches else f"{contest.unit}/s"
    cpu = "ms" if batches else "µs"
    head = [
        "",
        *(f"{rate}, {_LOOPS[loop]}" for loop in loops),
        *(f"client {cpu}, {_LOOPS[loop]}" for loop in loops),
        f"server {cpu}",
        "MiB",
    ]
    figures = dict.fromkeys(
        name
        for series in contest.series
        if series.callers == callers
        for each in series.rounds
        for name in each.figures
    )
    head += [f"{name}, {_LOOPS[loop]}" for name in figures for loop in loops]
    for label in _compared(contest):
        short = "share of the first" if contest.base else f"{label} is … times as fast"
        head += [f"{short}, {_LOOPS[loop]}" for loop in loops]
    lines = _header(head, left=1)
    for label in dict.fromkeys(each.label for each in contest.series if each.callers == callers):
        found = {loop: contest.find(loop, callers, label) for loop in loops}
        scale = 1000 if batches else 1
        cells = [
            *(_cell(_rate(each, batches)) for each in found.values()),
            *(_cell(None if each is None else each.client_us / scale) for each in found.values()),
            _cell(_last(each.server_us for each in found.values() if each), scale),
            _cell(_last(each.memory for each in found.values() if each)),
        ]
        cells += [
            "" if each is None else _own_figure(each.figure(name))
            for name in figures
            for each in found.values()
        ]
        cells += [
            _comparison(contest, loop, callers, ours, label)
            for ours in _compared(contest)
            for loop in loops
        ]
        lines.append(_row([label, *cells]))
    return [*lines, ""]


def _compared(contest: ContestResult) -> list[str]:
    return [contest.base] if contest.base else contest.compared


def _comparison(contest: ContestResult, loop: str, callers: int, ours: str, label: str) -> str:
    mine, other = contest.find(loop, callers, ours), contest.find(loop, callers, label)
    if mine is None or other is None or ours == label:
        return ""
    return _ratio(other.ratio_to(mine) if contest.base else mine.ratio_to(other))


def _own_figure(figure: Ratio | None) -> str:
    return "" if figure is None else f"{_number(figure.median)} ({_number(figure.high)})"


def _passes(contest: ContestResult, loops: list[str]) -> list[str]:
    lines = _header(
        ["", "seconds", "client CPU, s", "memory grew by, MiB", "longest pause of the loop, ms"],
        left=1,
    )
    for loop in loops:
        for series in contest.series:
            if series.loop == loop:
                last = series.rounds[-1]
                lines.append(
                    _row(
                        [
                            f"{series.label}, {_LOOPS[loop]}",
                            _cell(last.seconds),
                            _cell(last.client_cpu),
                            _cell(last.memory_growth),
                            _cell(last.longest_pause_ms),
                        ]
                    )
                )
    return [*lines, ""]


def _rate(series: Series | None, batches: bool) -> float | None:
    if series is None:
        return None
    return 1000 / series.rate if batches else series.rate


def _last(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return known[-1] if known else None


def _header(titles: list[str], *, left: int) -> list[str]:
    rule = [":--" if number < left else "--:" for number in range(len(titles))]
    return [_row(titles), _row(rule)]


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(value: float | None, scale: float = 1) -> str:
    return "" if value is None else _number(value / scale)


def _ratio(ratio: Ratio) -> str:
    return f"{_number(ratio.median)} ({_number(ratio.low)}..{_number(ratio.high)})"


def _number(value: float) -> str:
    """Three digits that count, two of what is very small, and whole numbers from 100 on."""
    if value >= 100:
        return f"{value:,.0f}"
    if value >= 10:
        return f"{value:.1f}"
    return f"{value:.2f}" if value >= 0.01 or not value else f"{value:.2g}"
