"""What an examination found."""

from __future__ import annotations

from typing import Final, Literal, get_args

import msgspec

Level = Literal["error", "warning", "note"]
LEVELS: Final[tuple[Level, ...]] = get_args(Level)


class Finding(msgspec.Struct, frozen=True):
    """One defect of one object.

    `error`: what people said can be seen or changed by somebody who should not, or be lost.
    `warning`: the protection holds, and is weaker or dearer than designed. `note`: worth knowing.
    `remedy` is SQL, with names quoted; where a file has to be edited it says so in a comment.
    """

    check: str
    level: Level
    object: str
    message: str
    remedy: str


class Skipped(msgspec.Struct, frozen=True):
    """A check that the login may not make, and who may."""

    check: str
    reason: str


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """All findings, the gravest first; how many checks were made, and which were not."""

    findings: list[Finding]
    checks: int
    skipped: list[Skipped]

    def count(self, level: Level) -> int:
        """How many findings there are of a level."""
        return sum(finding.level == level for finding in self.findings)
