"""What a person sees of a demonstration or a load: the reports, drawn for a terminal.

Everything fits 80 columns, and reads without colours.
"""

from __future__ import annotations

from typing import Final

from rich.console import Console, Group, RenderableType
from rich.text import Text

from clonedb.demo.pictures.conversations import (
    draw_bulk,
    draw_outcome,
    draw_people,
    draw_providers,
    draw_states,
    draw_totals,
    draw_transcript,
)
from clonedb.demo.pictures.drawing import section
from clonedb.demo.pictures.knowledge import (
    draw_answers,
    draw_documents,
    draw_mishaps,
    draw_models,
    draw_searches,
)
from clonedb.demo.pictures.safeguards import draw_limits, draw_refused, draw_trail
from clonedb.demo.report import DemoReport
from clonedb.loading.load import CountedLoad

# Longer lines of text are harder to read.
MAXIMUM_WIDTH: Final = 92


def draw_demo(console: Console, report: DemoReport) -> None:
    """The whole demonstration."""
    server, live = report.server, report.live
    console.print()
    migrated = (
        f"{server.migrations} migrations applied in {server.migrate_seconds:.1f} s"
        if server.migrations
        else "the schema was there"
    )
    console.print(
        Text.assemble(
            ("PostgreSQL ", "bold"),
            (server.version, "bold"),
            (f"  started in {server.start_seconds:.1f} s, {migrated}", "dim"),
        )
    )
    section(console, "People and their clones", draw_people(live))
    section(console, "States the conversations walked through", draw_states(live))
    section(console, "Voices and faces", draw_models(report.models))
    documents = report.documents
    section(
        console, "What the clones have read", draw_documents(documents), draw_mishaps(documents)
    )
    section(console, "What is found in it", draw_searches(documents))
    section(console, "A question asked again", draw_answers(report.cache))
    section(console, "The same conversations, many times over, in bulk", draw_bulk(report.bulk))
    section(
        console, "All that is stored", draw_totals(report.totals), draw_providers(report.providers)
    )
    section(console, "One conversation, read back", draw_transcript(report.transcript))
    section(console, "What is refused", draw_refused(report))
    section(console, "What is limited", draw_limits(report.limits))
    section(console, "What is on record", draw_trail(report.audit))
    section(console, "Where it lies", _place(report))
    console.print()


def draw_load(console: Console, report: CountedLoad, place: str) -> None:
    """What a load has stored, and what the database holds now."""
    section(console, "Loaded", draw_bulk(report), draw_outcome(report))
    section(
        console, "All that is stored", draw_totals(report.totals), draw_providers(report.providers)
    )
    console.print()
    console.print(Text(f"  {place}", "dim"), soft_wrap=True)


def _place(report: DemoReport) -> RenderableType:
    directory = Text(report.server.data_directory, overflow="fold")
    month = f"{report.transcript.session.started_at:%Y_%m}"
    partition = Text(f"turns of this month: clonedb.conversation_turns_{month}", "dim")
    if not report.server.kept:
        fate = "removed now; with --keep or --data DIRECTORY it stays"
    else:
        fate = "kept; --data with this directory starts it again"
    return Group(directory, Text(fate, "dim"), partition)
