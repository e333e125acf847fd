"""The `locks` of a query's text in the ledger: the lock that it takes on each table.

locks
    ROW EXCLUSIVE  audit_logs, users
    ROW SHARE      voice_models
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from clonedb.check.migrations.locks import MODES

_INDENT = "    "
_WIDTH = 13


def lock_lines(taken: Mapping[str, str]) -> Iterator[str]:
    """The section, nothing where no table is locked; strongest first."""
    if not taken:
        return
    yield ""
    yield "locks"
    for mode in reversed(MODES):
        names = sorted(name for name, held in taken.items() if held == mode)
        if names:
            yield f"{_INDENT}{mode:{_WIDTH}}  {', '.join(names)}"


def read_locks(text: str) -> dict[str, str]:
    """The mode by table, from a query's text; {} where it has no such section."""
    taken: dict[str, str] = {}
    inside = False
    for line in text.splitlines():
        if not line.startswith(" "):
            inside = line == "locks"
        elif inside:
            mode, _, names = line.strip().partition("  ")
            taken |= dict.fromkeys(names.strip().split(", "), mode)
    return taken
