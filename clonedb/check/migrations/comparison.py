"""What a header claims beside what the rehearsal has measured."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from clonedb.check.finding import Finding
from clonedb.check.migrations.claims import LISTS, Claim, Claims, as_line, measured, read_claims
from clonedb.check.migrations.locks import blocks
from clonedb.check.migrations.rehearsal import Rehearsal, Work
from clonedb.check.migrations.rehearse import finding, texts_of
from clonedb.migration.files import MigrationFile

# What each tag is about, of one thing that was measured and of one that was not.
_WORDS: Final = {
    "locks": ("takes {}", "takes no {}"),
    "rewrites": ("rewrites {}", "does not rewrite {}"),
    "validates": ("validates {}", "does not validate {}"),
    "builds": ("builds {} while writers wait", "does not build {} while writers wait"),
    "writes": ("writes rows of {}", "writes no rows of {}"),
}
_RULE: Final = "claims"


def compare(files: list[MigrationFile], rehearsals: list[Rehearsal]) -> Iterator[Finding]:
    """Everything that the headers have wrong."""
    by_id = {each.id: each for each in rehearsals}
    for file in files:
        if not file.statements:
            remedy = "write what it is to do, or remove it with its rollback file"
            yield finding(file, 1, "holds no statement", remedy, _RULE)
        elif file.id in by_id:
            yield from _compare(file, by_id[file.id])


def _compare(file: MigrationFile, rehearsal: Rehearsal) -> Iterator[Finding]:
    claims = read_claims(texts_of(file)[0])
    truth = measured(rehearsal.up)
    for tag, line, what in claims.wrong:
        remedy = (
            "write `-- phase: before deploy` or `-- phase: after deploy`; `clonedb check --window "
            "REVISION` says which"
            if tag == "phase"
            else f"write `{as_line(tag, truth[tag])}`"
        )
        yield finding(file, line, what, remedy, _RULE)
    unread = {tag for tag, _, _ in claims.wrong}
    for tag in LISTS:
        claim = claims.lists.get(tag, Claim(1, ()))
        if tag not in unread and set(claim.things) != set(truth[tag]):
            yield _difference(file, rehearsal, claims, tag)


def _difference(file: MigrationFile, rehearsal: Rehearsal, claims: Claims, tag: str) -> Finding:
    claim = claims.lists.get(tag, Claim(1, ()))
    truth = measured(rehearsal.up)[tag]
    does, does_not = _WORDS[tag]
    parts = [
        does.format(each) + _details(rehearsal.up, tag, each) + ", and does not claim it"
        for each in truth
        if each not in claim.things
    ]
    parts += [
        does_not.format(each) + ", and claims it" for each in claim.things if each not in truth
    ]
    correct = f"write `{as_line(tag, truth)}`" if truth or tag == "locks" else "remove the line"
    return finding(file, claim.line, "; ".join(parts), f"{correct}, or let it do less", _RULE)


def _details(work: Work, tag: str, thing: str) -> str:
    if tag != "locks":
        return ""
    lock = next(each for each in work.locks if each.shown == thing)
    return f" in line {lock.line}, which {blocks(lock.mode)}"
