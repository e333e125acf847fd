"""One rule a module: its `RULE` says what it looks for and why; its `find` gives the risks."""

from __future__ import annotations

from typing import Final

from clonedb.review.comparison import Comparison
from clonedb.review.risk import Ranked, Rule
from clonedb.review.rules import (
    caches,
    changed_plans,
    edited_migrations,
    functions,
    grants,
    header_claims,
    lost_indexes,
    migration_claims,
    migration_locks,
    personal_columns,
    protection,
    removed_queries,
    results,
    rights,
    sizes,
    stale_ledger,
    strangers,
    untested,
    whole_scans,
)

__all__ = ["RULES", "rank"]

# The gravest first: among risks of one severity this is their order.
RULES: Final[tuple[Rule, ...]] = (
    stale_ledger.RULE,
    strangers.RULE,
    protection.RULE,
    functions.RULE,
    grants.RULE,
    rights.RULE,
    personal_columns.RULE,
    migration_locks.RULE,
    migration_claims.RULE,
    edited_migrations.RULE,
    lost_indexes.RULE,
    whole_scans.RULE,
    results.RULE,
    caches.RULE,
    removed_queries.RULE,
    changed_plans.RULE,
    header_claims.RULE,
    untested.RULE,
    sizes.RULE,
)


def rank(comparison: Comparison) -> list[Ranked]:
    """Every risk of a change, the gravest first."""
    found = [Ranked(rule, risk) for rule in RULES for risk in rule.find(comparison)]
    return sorted(found, key=lambda each: -each.risk.severity)
