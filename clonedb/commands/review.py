"""The command `review`."""

from __future__ import annotations

import sys
import time
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from clonedb.commands.terminal import AsJson, print_json, stderr, stdout

if TYPE_CHECKING:
    from clonedb.review.risk import Ranked

_FOUND: Final = 1
_PAGE: Final = Path("review.html")
_SHOWN: Final = 20


class Grave(StrEnum):
    """How grave a risk has to be."""

    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"


def review(
    revisions: Annotated[
        str | None,
        typer.Argument(
            metavar="[BASE..HEAD]",
            show_default=False,
            help="What to compare: BASE..HEAD, or BASE with the working tree. By default where "
            "this branch left main, with the working tree.",
        ),
    ] = None,
    to: Annotated[
        Path | None,
        typer.Option(
            show_default=False,
            metavar="FILE.html",
            help="Where the page goes; review.html if no file is named.",
        ),
    ] = None,
    markdown: Annotated[
        Path | None,
        typer.Option(
            show_default=False,
            metavar="FILE.md",
            help="Where Markdown for a pull request goes; - for the standard output.",
        ),
    ] = None,
    repository: Annotated[
        Path, typer.Option(show_default=False, help="The checkout; the current folder by default.")
    ] = Path(),
    fail_on: Annotated[
        Grave | None,
        typer.Option(show_default=False, help="Exit with 1 if a risk is so grave, or graver."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show what a change does to queries, plans, rights and schema: one page, risks first.

    Made from committed texts; no server is needed. The exit code is 0, 1 with --fail-on where such
    a risk was found, 2 when it could not run.
    """
    from clonedb.review.risk import Severity
    from clonedb.review.run import review

    started = time.monotonic()
    with review(repository, revisions) as found:
        if to is None and markdown is None and not as_json:
            to = _PAGE
        if to is not None:
            to.write_text(found.page(), encoding="utf-8")
        if markdown == Path("-"):
            sys.stdout.write(found.markdown())
        elif markdown is not None:
            markdown.write_text(found.markdown(), encoding="utf-8")
        if as_json:
            print_json([_plain(each) for each in found.ranked])
        elif markdown != Path("-"):
            _show(found.ranked)
    for written in (to, markdown):
        if written is not None and written != Path("-"):
            size = written.stat().st_size / 1000
            stderr.print(f"wrote {written} ({size:,.0f} kB)", markup=False)
    took = time.monotonic() - started
    line = f"{found.titles['range']}: {len(found.ranked)} risks, {took:.1f} s"
    stderr.print(line, markup=False)
    if fail_on is not None and (found.worst or 0) >= Severity[fail_on.name]:
        raise typer.Exit(_FOUND)


def _show(ranked: list[Ranked]) -> None:
    for rule, risk in ranked[:_SHOWN]:
        place = f"{risk.place}: " if risk.place else ""
        line = f"{risk.severity.word}: {place}{risk.subject}: {risk.what} ({rule.name})"
        stdout.print(line, markup=False)
    if len(ranked) > _SHOWN:
        stdout.print(f"{len(ranked) - _SHOWN} more")


def _plain(ranked: Ranked) -> dict[str, str]:
    rule, risk = ranked
    return {
        "severity": risk.severity.word,
        "rule": rule.name,
        "subject": risk.subject,
        "what": risk.what,
        "place": risk.place,
        "why": rule.why,
    }
