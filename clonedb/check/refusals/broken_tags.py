"""A plan that is not what the query's tags promise, and a large table that is read as a whole.

    -- plan: index conversation_sessions_pkey     every declared variant uses this index
    -- plan: scan session_transitions             this table is read as a whole, on purpose
    -- rows <= 500                                no reading of a table gives more rows, by estimate

Plans are those at production size, as in the ledger.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from clonedb.check.examined import Examined, Variant
from clonedb.check.finding import Finding
from clonedb.check.plans import Scan
from clonedb.check.refusals.subject import Subject, at
from clonedb.query.headers import access_paths, row_bound

# Reading so many rows of a table takes a millisecond; more must be said.
LARGE_ROWS: Final = 10_000

WRONG: Final = """\
-- name: find_many(user_id, state)
-- Finds sessions.
-- plan: index conversation_sessions_open
SELECT s.id
FROM clonedb.conversation_sessions AS s
WHERE s.user_id = :user_id::uuid
    AND s.state = :state::text;
"""
RIGHT: Final = """\
-- name: find_many(user_id, state)
-- Finds sessions.
-- plan: index conversation_sessions_open
SELECT s.id
FROM clonedb.conversation_sessions AS s
WHERE s.user_id = :user_id::uuid
    AND s.state = :state::text
    AND s.ended_at IS NULL
    AND s.deleted_at IS NULL;
"""


def find(subject: Subject) -> Iterator[Finding]:
    planner = subject.examination.outliner
    sizes = subject.examination.table_rows
    for found in subject.found:
        promised = access_paths(found.query.tags)
        used: set[tuple[str, str]] = set()
        told: set[str] = set()
        for variant in found.variants:
            plan = found.plan_of(variant)
            if plan is None:
                yield from _without_plan(found, variant)
                continue
            scans = list(planner.scans(plan))
            yield from _about(found, variant, scans, promised)
            yield from _whole_scans(found, variant, scans, promised, sizes, told)
            used |= {("index", scan.index) for scan in scans if scan.index}
            used |= {("scan", scan.table) for scan in scans if _is_whole(scan)}
        for kind, name in promised:
            if kind == "scan" and (kind, name) not in used:
                yield at(
                    "broken_tags",
                    found,
                    f"plan: scan {name}, which no plan does any more",
                    "remove the tag",
                )


def _without_plan(found: Examined, variant: Variant) -> Iterator[Finding]:
    for role, reason in variant.plans.items():
        if isinstance(reason, str):
            yield at(
                "broken_tags",
                found,
                f"there is no plan of {variant.label} as {role}: {reason}",
                "let the login that runs it have what it needs",
            )


def _about(
    found: Examined,
    variant: Variant,
    scans: list[Scan],
    promised: list[tuple[str, str]],
) -> Iterator[Finding]:
    indexes = {scan.index for scan in scans}
    for kind, name in promised:
        if kind == "index" and name not in indexes:
            yield at(
                "broken_tags",
                found,
                f"plan: index {name}, but {variant.label} uses "
                f"{', '.join(sorted(each for each in indexes if each)) or 'no index'}",
                "see the plan in its ledger, and mend the query, the index or the tag",
            )
    bound = row_bound(found.query.tags)
    most = max(scans, key=lambda scan: scan.rows_read, default=None)
    if bound is not None and most is not None and most.rows_read > bound:
        yield at(
            "broken_tags",
            found,
            f"rows <= {bound:,}, but {variant.label} is estimated to read {most.rows_read:,.0f} "
            f"rows of {most.table}",
            "see the plan in its ledger, and mend the query, the index or the tag",
        )


def _whole_scans(
    found: Examined,
    variant: Variant,
    scans: list[Scan],
    promised: list[tuple[str, str]],
    sizes: dict[str, int],
    told: set[str],
) -> Iterator[Finding]:
    allowed = {name for kind, name in promised if kind == "scan"} | told
    for scan in scans:
        if not _is_whole(scan) or scan.table in allowed or sizes.get(scan.table, 0) < LARGE_ROWS:
            continue
        # A LIMIT may end it early, unless rows are filtered or sorted first.
        if scan.rows_read < LARGE_ROWS:
            continue
        allowed.add(scan.table)
        told.add(scan.table)
        how = "from end to end" if scan.index is None else f"by all of {scan.index}"
        yield at(
            "broken_tags",
            found,
            f"{variant.label} reads {scan.table} ({sizes[scan.table]:,} rows) {how}",
            f"add an index or a predicate; where that is meant, -- plan: scan {scan.table}",
        )


def _is_whole(scan: Scan) -> bool:
    return scan.node in ("Seq Scan", "Sample Scan") or (
        scan.index is not None and not scan.index_condition
    )
