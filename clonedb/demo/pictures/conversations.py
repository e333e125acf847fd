"""The picture of conversations: who talked, what it took, and what was said."""

from __future__ import annotations

import re
from typing import Final

from rich.console import Group, RenderableType
from rich.text import Text

from clonedb.demo.pictures.drawing import draw_bar, new_table
from clonedb.demo.report import LiveFigures, Transcript
from clonedb.loading.load import LoadReport
from clonedb.repositories.conversation_sessions import ProviderStatistics
from clonedb.repositories.statistics import SystemTotals

# A run of one capital letter is where the count of a move is written.
_DIAGRAM: Final = """\
idle AAAAAAA▶ listening BBBBBBB▶ processing CCCCCCC▶ speaking
 ▲             │ ▲ ▲ ▲                   │             │  │
 └──DDDDDDD────┘ │ │ └EEEEE error ◀FFFFFF┘             │  │
                 │ └GGGGGGG interrupted ◀HHHHHHHHHHHHHH┘  │
                 └IIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIII┘"""
_MOVES: Final = {
    "A": ("idle", "listening"),
    "B": ("listening", "processing"),
    "C": ("processing", "speaking"),
    "D": ("listening", "idle"),
    "E": ("error", "listening"),
    "F": ("processing", "error"),
    "G": ("interrupted", "listening"),
    "H": ("speaking", "interrupted"),
    "I": ("speaking", "listening"),
}


def draw_providers(providers: list[ProviderStatistics]) -> RenderableType:
    """Latency and cost for each pair of providers, as bars on common scales."""
    table = new_table()
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True, style="dim")
    table.add_column("turns", justify="right", no_wrap=True)
    table.add_column("wait, ms", no_wrap=True)
    table.add_column("$ in 100 turns", no_wrap=True)
    rows = [
        (one, one.average_latency_ms or 0.0, float(one.total_cost) / one.turns * 100)
        for one in providers
        if one.turns
    ]
    slowest = max((wait for _, wait, _ in rows), default=0.0)
    dearest = max((cost for _, _, cost in rows), default=0.0)
    for one, wait, cost in sorted(rows, key=lambda row: row[1]):
        table.add_row(
            one.llm_provider,
            one.tts_provider,
            f"{one.turns:,}",
            draw_bar(wait, slowest, f"{wait:,.0f}", "cyan"),
            draw_bar(cost, dearest, f"{cost:.2f}", "magenta"),
        )
    return table


def draw_transcript(transcript: Transcript) -> RenderableType:
    """Who said what; below it the sources, and what the turns took."""
    name = transcript.name.split()[0]
    table = new_table(headers=False)
    table.add_column(no_wrap=True, justify="right")
    table.add_column()
    for turn in transcript.turns:
        table.add_row(Text(name, "bold"), Text(turn.user_transcript))
        table.add_row(Text("clone", "cyan"), Text(turn.llm_response, "cyan"))
    session = transcript.session
    sources = sorted({chunk for turn in transcript.turns for chunk in turn.retrieved_chunks})
    table.add_row(
        "",
        Text(
            f"{session.total_turns} turns · {session.average_latency_ms or 0:,.0f} ms to an answer"
            f" · ${session.total_cost:.3f} · from {', '.join(sources)}",
            "dim",
        ),
    )
    return table


def draw_people(live: LiveFigures) -> RenderableType:
    table = new_table()
    table.add_column()
    table.add_column()
    for header in ("talks", "turns", "wait, ms", "cost"):
        table.add_column(header, justify="right", no_wrap=True)
    for person in live.people:
        figures = person.statistics
        table.add_row(
            Text(person.name, "bold"),
            person.talks_with,
            f"{figures.sessions:,}",
            f"{figures.turns:,}",
            f"{figures.average_latency_ms or 0:,.0f}",
            f"${figures.total_cost:.3f}",
        )
    words = (
        f"{live.conversations} talks at once: {live.turns} turns, {live.calls} calls in "
        f"{live.seconds:.2f} s, half of the calls under {live.median_call_ms:.0f} ms"
    )
    return Group(table, Text(words, "dim"))


def draw_states(live: LiveFigures) -> RenderableType:
    counts = {(move.from_state, move.to_state): move.count for move in live.moves}

    def write(letters: re.Match[str]) -> str:
        count = counts.get(_MOVES[letters[1]], 0)
        return f" {count} ".center(len(letters[0]), "─")

    diagram = Text(re.sub(r"([A-I])\1*", write, _DIAGRAM), style="dim")
    diagram.highlight_regex("[a-z]+", "not dim bold")
    diagram.highlight_regex("[0-9]+", "not dim cyan")
    return diagram


def draw_bulk(report: LoadReport) -> RenderableType:
    turns = report.turns_stored + report.turns_already_stored
    sessions = report.sessions_stored + report.sessions_already_stored
    return Text.assemble(
        (f"{report.turns_per_second:,.0f} turns per second", "bold green"),
        f"   {turns:,} turns of {sessions:,} sessions of {report.users:,} users "
        f"in {report.seconds:.2f} s",
        (f"\npeak memory {report.peak_memory_mib:,.0f} MiB", "dim"),
    )


def draw_outcome(report: LoadReport) -> RenderableType:
    table = new_table(headers=False)
    table.add_column()
    table.add_column(justify="right")
    table.add_column(style="dim")
    table.add_row(
        "stored now", f"{report.turns_stored:,} turns", f"{report.sessions_stored:,} sessions"
    )
    if report.turns_already_stored:
        table.add_row(
            "stored before",
            f"{report.turns_already_stored:,} turns",
            f"{report.sessions_already_stored:,} sessions, compared and left as they were",
        )
    if report.bad_line_count:
        table.add_row(
            Text("skipped", "yellow"),
            f"{report.bad_line_count:,} lines",
            "named above, with reasons",
        )
    return table


def draw_totals(totals: SystemTotals) -> RenderableType:
    return Text.assemble(
        (f"{totals.users:,}", "bold"),
        " users   ",
        (f"{totals.sessions:,}", "bold"),
        " sessions   ",
        (f"{totals.turns:,}", "bold"),
        " turns   ",
        (f"{totals.average_latency_ms or 0:,.0f} ms", "bold"),
        " to an answer   ",
        (f"${totals.total_cost:,.2f}", "bold"),
    )
