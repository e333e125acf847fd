"""What the header of a migration claims beside what its rehearsal has shown."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from clonedb.check.migrations.claims import LISTS, as_line, measured, read_claims
from clonedb.check.migrations.rehearsal import Rehearsal
from clonedb.review.comparison import Comparison
from clonedb.review.risk import Risk, Rule, Severity


def find(comparison: Comparison) -> Iterator[Risk]:
    for change in comparison.migrations:
        rehearsal = comparison.head.rehearsals.get(change.name)
        if change.after is None or rehearsal is None:
            continue
        for severity, line, what in _about(change.after, rehearsal):
            yield Risk(severity, change.name, what, f"migrations/{change.name}.sql:{line}")


def _about(text: str, rehearsal: Rehearsal) -> Iterator[tuple[Severity, int, str]]:
    claims = read_claims(text)
    yield from ((Severity.MEDIUM, line, what) for _, line, what in claims.wrong)
    unread = {tag for tag, _, _ in claims.wrong}
    truth = measured(rehearsal.up)
    for tag in LISTS:
        claim = claims.lists.get(tag)
        claimed = claim.things if claim else ()
        if tag not in unread and set(claimed) != set(truth[tag]):
            said = f"`{as_line(tag, claimed)}`" if claim else f"nothing of {tag}"
            what = f"claims {said}, and was measured as `{as_line(tag, truth[tag])}`"
            yield Severity.HIGH, claim.line if claim else 1, what
    if claims.phase and claims.phase != rehearsal.phase:
        what = f"claims to be for {claims.phase}, and the ledger says {rehearsal.phase}"
        yield Severity.HIGH, claims.phase_line, what


RULE: Final = Rule(
    "migration_claims",
    "A migration is not what its header says",
    "Who deploys reads the header to know whom it blocks and when it may run.",
    find,
)
