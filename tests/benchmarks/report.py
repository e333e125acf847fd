"""Writing what a run has found: results.json, results.md, point_read.svg."""

from __future__ import annotations

from pathlib import Path

import msgspec

from tests.benchmarks import plot, tables
from tests.benchmarks.run import ContestResult, Run


def write(run: Run, folder: Path) -> list[Path]:
    """Write the files into the folder; returns which."""
    folder.mkdir(parents=True, exist_ok=True)
    results = folder / "results.json"
    results.write_bytes(msgspec.json.format(msgspec.json.encode(run), indent=1) + b"\n")
    document = folder / "results.md"
    document.write_text(tables.render(run))
    written = [results, document]
    point_read = run.find("point_read")
    if point_read is not None:
        picture = folder / "point_read.svg"
        picture.write_text(plot.render(point_read))
        written.append(picture)
    return written


def read(path: Path) -> Run:
    """A run from its results.json."""
    return msgspec.json.decode(path.read_bytes(), type=Run)


def progress_lines(contest: ContestResult) -> list[str]:
    """A contest's figures for whoever waits."""
    return [
        f"{each.callers:4} {each.label:34} {each.rate:11,.1f}/s"
        f"   client {each.client_us:9,.0f} µs   server {each.server_us or 0:9,.0f} µs"
        for each in contest.series
    ]
