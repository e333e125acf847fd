"""The targets that this project has set itself, and whether a run meets them."""

from __future__ import annotations

from typing import Final

import msgspec

from tests.benchmarks.run import Ratio, Run, Series
from tests.benchmarks.workloads import (
    cached_of_one,
    cached_values,
    growth,
    limits,
    memory_hits,
    point_read,
    record_turn,
    whole_turn,
)


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """A ratio of rates that is to be reached, by one contestant to another."""

    work: str
    goal: str
    contest: str
    callers: int
    ours: str
    theirs: str
    at_least: float


class Limit(msgspec.Struct, frozen=True, kw_only=True):
    """A figure of clonedb's own: at most so much in the worst round, or a rate of at least so much.

    `figure` is a property of a series, a field of a measurement, or one of the work's own figures.
    """

    work: str
    goal: str
    contest: str
    callers: int
    figure: str
    unit: str
    at_most: float | None = None
    at_least: float | None = None
    ours: str = "clonedb"

    def allows(self, value: float) -> bool:
        """Whether the value meets it."""
        return (self.at_most is None or value <= self.at_most) and (
            self.at_least is None or value >= self.at_least
        )


class Finding(msgspec.Struct, frozen=True):
    """A target and what was found on each event loop; None where a contestant was absent."""

    target: Target | Limit
    found: dict[str, Ratio | float | None]

    def met(self, loop: str) -> bool | None:
        """Whether the median meets it."""
        value = self.found[loop]
        if value is None:
            return None
        if isinstance(self.target, Limit):
            return isinstance(value, float) and self.target.allows(value)
        return isinstance(value, Ratio) and value.median >= self.target.at_least


def _ratio(
    work: str, goal: str, contest: str, callers: int, ours: str, theirs: str, at_least: float
) -> Target:
    return Target(
        work=work,
        goal=goal,
        contest=contest,
        callers=callers,
        ours=ours,
        theirs=theirs,
        at_least=at_least,
    )


_CONTEXT: Final = point_read.WITH_CONTEXT
_PLAIN: Final = point_read.WITHOUT_CONTEXT
_POINT: Final = "point read, 16 callers"
_LIST: Final = "50 newest turns, 16 callers"
_RECORD: Final = "record_turn, fsync on"
_COPY: Final = "psycopg, COPY of encoded data"
_BULK: Final = "10,000 rows"
_WHOLE: Final = "the whole turn"
_EMBEDDING: Final = "cached embedding"
_PURGE: Final = "purge of expired entries"

_RATIOS: Final = [
    _ratio(_POINT, "≥ 1.5 × asyncpg pinned", "point_read", 16, _PLAIN, "asyncpg, pinned", 1.5),
    _ratio(_POINT, "≥ 10 × Tortoise", "point_read", 16, _PLAIN, "Tortoise ORM", 10),
    _ratio(_POINT, "≥ 15 × SQLAlchemy ORM", "point_read", 16, _PLAIN, "SQLAlchemy ORM", 15),
    _ratio(_POINT, "with the context ≥ 0.6 of it", "point_read", 16, _CONTEXT, _PLAIN, 0.6),
    _ratio(
        "the same with the context",
        "≥ 4 × asyncpg in a transaction with set_config",
        *("point_read", 16, _CONTEXT, "asyncpg, BEGIN + set_config", 4),
    ),
    _ratio(
        "point read with the context, 1 caller",
        "≥ 1.0 × asyncpg pool",
        *("point_read", 1, _CONTEXT, "asyncpg, pool", 1.0),
    ),
    _ratio(
        "point read with the context, 1 caller",
        "≥ 4 × Tortoise",
        *("point_read", 1, _CONTEXT, "Tortoise ORM", 4),
    ),
    _ratio(_LIST, "≥ 6.5 × SQLAlchemy ORM", "newest_turns", 16, "clonedb", "SQLAlchemy ORM", 6.5),
    _ratio(_LIST, "≥ 1.15 × asyncpg", "newest_turns", 16, "clonedb", "asyncpg, pinned", 1.15),
    _ratio(
        "session with its turns, 16 callers",
        "≥ 8 × selectinload",
        *("session_with_turns", 16, "clonedb", "SQLAlchemy ORM, selectinload", 8),
    ),
    _ratio(
        _RECORD,
        "group commit ≥ 12 × SQLAlchemy ORM",
        *("record_turn", 16, record_turn.GROUPED, "SQLAlchemy ORM", 12),
    ),
    _ratio(
        _RECORD,
        "group commit ≥ 3 × asyncpg BEGIN … COMMIT",
        *("record_turn", 16, record_turn.GROUPED, "asyncpg, BEGIN … COMMIT", 3),
    ),
    _ratio(
        _RECORD,
        "without it ≥ 8 × SQLAlchemy ORM",
        *("record_turn", 16, record_turn.SINGLE, "SQLAlchemy ORM", 8),
    ),
    _ratio(
        "record_turn, fsync off",
        "≥ 1.5 × asyncpg with one statement",
        *("record_turn_without_fsync", 16, record_turn.SINGLE, "asyncpg, one statement", 1.5),
    ),
    *(
        _ratio(
            f"{_WHOLE}, {callers} conversations",
            f"{way}≥ 1.3 × psycopg pipelined by hand",
            *("whole_turn", callers, ours, "psycopg, pipelined by hand", 1.3),
        )
        for callers in (16, 100)
        for way, ours in (("group commit ", whole_turn.GROUPED), ("without it ", whole_turn.SINGLE))
    ),
    _ratio(
        f"{_BULK}, worker",
        "≥ 10 × SQLAlchemy add_all",
        *("bulk_users", 1, "clonedb, worker login", "SQLAlchemy ORM, add_all", 10),
    ),
    _ratio(
        f"{_BULK}, worker",
        "≥ 0.71 × COPY of encoded data (1.4 of its time)",
        *("bulk_users", 1, "clonedb, worker login", _COPY, 1 / 1.4),
    ),
    _ratio(
        f"{_BULK}, app",
        "≥ 4 × SQLAlchemy add_all",
        *("bulk_sessions", 1, "clonedb, app login", "SQLAlchemy ORM, add_all", 4),
    ),
    *(
        _ratio(
            f"growth from {growth.label_of(10_000)} to {growth.label_of(rows)}",
            f"{what} ≥ {share}",
            *(contest, 16, growth.label_of(rows), growth.label_of(10_000), share),
        )
        for rows in (1_000_000, 10_000_000)
        for contest, what, share in (
            ("growth_point", "point", 0.6),
            ("growth_list", "list", 0.9),
            ("growth_any_list", "list of any session", 0.9),
        )
    ),
    *(
        _ratio(
            f"{work}, 16 callers of {whose}",
            f"≥ {times} × {theirs}",
            *(f"{contest}{suffix}", 16, cached_values.FRONT, theirs, times),
        )
        for suffix, whose in (("", "as many users"), (cached_of_one.SUFFIX, "one user"))
        for work, contest, theirs, times in (
            (_EMBEDDING, "embedding_get", cached_values.REDIS, 2.2),
            (_EMBEDDING, "embedding_get", cached_values.GLIDE, 1.5),
            ("cached answer with its hit", "answer_get", cached_values.ONE_TRIP, 3.5),
            ("cached answer with its hit", "answer_get", cached_values.TWO_TRIPS, 3.5),
            ("cached embedding put again", "embedding_put", cached_values.REDIS, 2),
            (
                "cached embedding put anew",
                "embedding_overwrite",
                cached_values.REDIS,
                1.1,
            ),
        )
    ),
    *(
        _ratio(
            "cached embedding in memory",
            f"≥ {times:g} × {theirs}",
            *("memory_hit", 1, memory_hits.FRONT, theirs, times),
        )
        for theirs, times in ((cached_values.REDIS, 100), (memory_hits.TTL, 0.5))
    ),
    *(
        _ratio(
            f"{work}, {callers} callers",
            f"{way}≥ {times} × {limits.LUA}",
            *(contest, callers, ours, limits.LUA, times),
        )
        for work, contest, single, shared in (
            ("limit, one key denied", "limit_denied", 2.5, 25),
            ("limit, 10,000 keys", "limit_many", 1.7, 4),
        )
        for callers, way, ours, times in (
            (limits.CALLERS, "repository ", limits.USER, single),
            (limits.CALLERS, "front ", limits.FRONT, single),
            (limits.MANY_CALLERS, "front ", limits.FRONT, shared),
        )
    ),
    _ratio(
        f"limit, one key denied, {limits.MANY_CALLERS} callers",
        f"front, remember_denials=1, ≥ 25 × {limits.LUA}",
        *("limit_denied", limits.MANY_CALLERS, limits.REMEMBERING, limits.LUA, 25),
    ),
]

_LIMITS: Final = [
    *(
        Limit(
            work=f"{_WHOLE}, {callers} conversations",
            goal="≤ 600 µs of client CPU",
            contest="whole_turn",
            callers=callers,
            figure="client_us",
            unit="µs",
            at_most=600,
        )
        for callers in (16, 100)
    ),
    Limit(
        work="stream",
        goal="memory grows by ≤ 30 MiB",
        contest="stream",
        callers=1,
        figure="memory_growth",
        unit="MiB",
        at_most=30,
    ),
    Limit(
        work="stream",
        goal="no pause of the loop over 50 ms",
        contest="stream",
        callers=1,
        figure="longest_pause_ms",
        unit="ms",
        at_most=50,
    ),
    *(
        Limit(
            work=f"cached embedding {where}, 16 callers",
            goal=f"under {most} ms at p99",
            contest="cache_latency",
            callers=16,
            ours=ours,
            figure="p99, ms",
            unit="ms",
            at_most=most,
        )
        for where, ours, most in (
            ("in memory", memory_hits.MEMORY, 1),
            ("in the table", memory_hits.TABLE, 10),
        )
    ),
    Limit(
        work=_PURGE,
        goal="≥ 600,000 rows/s",
        contest="purge",
        callers=1,
        figure="rate",
        unit="rows/s",
        at_least=600_000,
    ),
    Limit(
        work=_PURGE,
        goal="no batch over 15 ms",
        contest="purge",
        callers=1,
        figure="longest batch, ms",
        unit="ms",
        at_most=15,
    ),
    Limit(
        work=_PURGE,
        goal="readers meanwhile under 10 ms at p99",
        contest="purge",
        callers=1,
        figure="readers meanwhile, p99, ms",
        unit="ms",
        at_most=10,
    ),
    Limit(
        work="200 callers in 4 processes on a cold key",
        goal="computed once",
        contest="stampede",
        callers=1,
        figure="times computed, at most",
        unit="time",
        at_most=1,
    ),
]


def findings(run: Run, loops: list[str]) -> list[Finding]:
    """Every target of which the run has the contest, in the issue's order."""
    contests = [contest.name for contest in run.contests]
    targets: list[Target | Limit] = [*_RATIOS, *_LIMITS]
    targets = [each for each in targets if each.contest in contests]
    targets.sort(key=lambda each: contests.index(each.contest))
    found = [
        Finding(target, {loop: _find(run, loop, target) for loop in loops}) for target in targets
    ]
    return [each for each in found if any(value is not None for value in each.found.values())]


def _find(run: Run, loop: str, target: Target | Limit) -> Ratio | float | None:
    contest = run.find(target.contest)
    if contest is None:
        return None
    if isinstance(target, Limit):
        series = contest.find(loop, target.callers, target.ours)
        return None if series is None else _figure(series, target.figure)
    ours = contest.find(loop, target.callers, target.ours)
    theirs = contest.find(loop, target.callers, target.theirs)
    return None if ours is None or theirs is None else ours.ratio_to(theirs)


def _figure(series: Series, name: str) -> float | None:
    if name in ("client_us", "rate"):
        value: float = getattr(series, name)
        return value
    own = series.figure(name)
    if own is not None:
        return own.high
    values = [getattr(each, name, None) for each in series.rounds]
    return max(values) if values and None not in values else None
