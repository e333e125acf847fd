"""Migrations that make named queries wait, write tables anew, or were not rehearsed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from clonedb.check.migrations.locks import blocks
from clonedb.check.migrations.rehearsal import Rehearsal, Work
from clonedb.review.comparison import Comparison, FileChange
from clonedb.review.risk import Risk, Rule, Severity
from clonedb.review.rules.whole_scans import rows_of


def find(comparison: Comparison) -> Iterator[Risk]:
    for change in comparison.migrations:
        if change.after is None:
            continue
        place = f"migrations/{change.name}.sql:1"
        rehearsal = comparison.head.rehearsals.get(change.name)
        if rehearsal is None:
            what = "was not rehearsed: what it locks and how long is unknown"
            yield Risk(Severity.MEDIUM, change.name, what, place)
            continue
        for severity, what in _about(comparison, change, rehearsal):
            yield Risk(severity, change.name, what, place)


def _about(
    comparison: Comparison, change: FileChange, rehearsal: Rehearsal
) -> Iterator[tuple[Severity, str]]:
    if change.name in comparison.head.stale_rehearsals:
        yield Severity.HIGH, "is not the text that was rehearsed: run clonedb check"
    if rehearsal.rollback == "different":
        yield Severity.HIGH, "its rollback gives back another schema"
    if rehearsal.phase == "after deploy":
        yield (
            Severity.MEDIUM,
            "is for after the deploy: the release that runs now needs what it takes",
        )
    yield from _work(comparison, rehearsal.up)


def _work(comparison: Comparison, work: Work) -> Iterator[tuple[Severity, str]]:
    waiting = work.blocked(comparison.head.locks)
    for lock in work.locks:
        queries = [name for name, locks in waiting.items() if lock in locks]
        if queries:
            effect = blocks(lock.mode)
            severity = Severity.HIGH if "reads" in effect else Severity.MEDIUM
            waits = f"{len(queries)} {'query' if len(queries) == 1 else 'queries'} would wait"
            yield severity, f"takes {lock.shown} in line {lock.line}, which {effect}: {waits}"
    for table in work.rewrites:
        rows = rows_of(comparison, table)
        yield Severity.HIGH, f"writes {table} ({rows:,} rows) anew"
    for part in (*work.validates, *work.builds):
        rows = rows_of(comparison, part.of)
        done = "compares" if part in work.validates else "builds an index over"
        yield Severity.MEDIUM, f"{done} all {rows:,} rows of {part.of} for {part.name}"
    told = {*work.rewrites, *(part.of for part in (*work.validates, *work.builds))}
    for table in work.reads_all:
        if table not in told:
            yield Severity.LOW, f"reads all {rows_of(comparison, table):,} rows of {table}"


RULE: Final = Rule(
    "migration_locks",
    "A migration makes queries wait",
    "Its locks are held until its transaction ends. Whatever wants a table meanwhile waits, and "
    "behind it everybody who wants that table too.",
    find,
)
