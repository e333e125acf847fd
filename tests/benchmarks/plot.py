"""point_read.svg."""

from __future__ import annotations

from tests.benchmarks.run import ContestResult


def render(contest: ContestResult) -> str:
    return ""
