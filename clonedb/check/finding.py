"""What a check has found: where, what is wrong, and what to do."""

from __future__ import annotations

import msgspec


class Finding(msgspec.Struct, frozen=True, order=True):
    """One refusal. `rule` is the module under `clonedb.check.refusals` that gave it."""

    path: str
    line: int
    query: str
    what: str
    remedy: str
    rule: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.query}: {self.what} - {self.remedy}"
