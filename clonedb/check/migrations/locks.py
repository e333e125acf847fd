"""PostgreSQL's table locks: which there are, and which keep which waiting.

From the manual's table of conflicting lock modes, which has not changed since there are eight.
"""

from __future__ import annotations

from typing import Final

# From the weakest to the strongest.
MODES: Final = (
    "ACCESS SHARE",
    "ROW SHARE",
    "ROW EXCLUSIVE",
    "SHARE UPDATE EXCLUSIVE",
    "SHARE",
    "SHARE ROW EXCLUSIVE",
    "EXCLUSIVE",
    "ACCESS EXCLUSIVE",
)
_CONFLICTS: Final = {
    "ACCESS SHARE": {"ACCESS EXCLUSIVE"},
    "ROW SHARE": {"EXCLUSIVE", "ACCESS EXCLUSIVE"},
    "ROW EXCLUSIVE": {"SHARE", "SHARE ROW EXCLUSIVE", "EXCLUSIVE", "ACCESS EXCLUSIVE"},
    "SHARE UPDATE EXCLUSIVE": set(MODES[3:]),
    "SHARE": {"ROW EXCLUSIVE", "SHARE UPDATE EXCLUSIVE", *MODES[5:]},
    "SHARE ROW EXCLUSIVE": set(MODES[2:]),
    "EXCLUSIVE": set(MODES[1:]),
    "ACCESS EXCLUSIVE": set(MODES),
}
# What statements other than these take nobody has to be told of.
NOTABLE: Final = frozenset(MODES[3:])


def strength(mode: str) -> int:
    """How strong a mode is, to compare two."""
    return MODES.index(mode)


def keeps_waiting(held: str, wanted: str) -> bool:
    """Whether who wants the second mode waits for who holds the first."""
    return held in _CONFLICTS[wanted]


def blocks(mode: str) -> str:
    """What statements of an application wait for a mode, in words."""
    if keeps_waiting(mode, "ACCESS SHARE"):
        return "blocks reads and writes"
    if keeps_waiting(mode, "ROW SHARE"):
        return "blocks writes and row locks"
    if keeps_waiting(mode, "ROW EXCLUSIVE"):
        return "blocks writes"
    return "blocks no query"


def mode_of(name: str) -> str:
    """A mode as pg_locks names it, such as AccessExclusiveLock, in SQL's words."""
    wanted = name.removesuffix("Lock").lower()
    return next(mode for mode in MODES if mode.replace(" ", "").lower() == wanted)
