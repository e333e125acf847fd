"""What a person sees of a demonstration or a load: the reports, drawn for a terminal.

Everything fits 80 columns, and reads without colours.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from clonedb.demo.run import DemoReport, LiveFigures, Transcript
from clonedb.loading.load import CountedLoad, LoadReport
from clonedb.repositories.conversation_sessions import ProviderStatistics
from clonedb.repositories.statistics import SystemTotals

# Longer lines of text are harder to read.
MAXIMUM_WIDTH: Final = 92

_BAR_WIDTH: Final = 10

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
    _section(console, "People and their clones", _people(live))
    _section(console, "States the conversations walked through", _states(live))
    _section(console, "The same conversations, many times over, in bulk", _bulk(report.bulk))
    _section(
        console, "All that is stored", _totals(report.totals), draw_providers(report.providers)
    )
    _section(console, "One conversation, read back", draw_transcript(report.transcript))
    _section(console, "What is refused", _refused(report))
    _section(console, "Where it lies", _place(report))
    console.print()


def draw_load(console: Console, report: CountedLoad, place: str) -> None:
    """What a load has stored, and what the database holds now."""
    _section(console, "Loaded", _bulk(report), _outcome(report))
    _section(
        console, "All that is stored", _totals(report.totals), draw_providers(report.providers)
    )
    console.print()
    console.print(Text(f"  {place}", "dim"), soft_wrap=True)


def draw_providers(providers: list[ProviderStatistics]) -> RenderableType:
    """Latency and cost for each pair of providers, as bars on common scales."""
    table = _table()
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
            _bar(wait, slowest, f"{wait:,.0f}", "cyan"),
            _bar(cost, dearest, f"{cost:.2f}", "magenta"),
        )
    return table


def draw_transcript(transcript: Transcript) -> RenderableType:
    """Who said what; below it the sources, and what the turns took."""
    name = transcript.name.split()[0]
    table = _table(headers=False)
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


def _people(live: LiveFigures) -> RenderableType:
    table = _table()
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


def _states(live: LiveFigures) -> RenderableType:
    counts = {(move.from_state, move.to_state): move.count for move in live.moves}

    def write(letters: re.Match[str]) -> str:
        count = counts.get(_MOVES[letters[1]], 0)
        return f" {count} ".center(len(letters[0]), "─")

    diagram = Text(re.sub(r"([A-I])\1*", write, _DIAGRAM), style="dim")
    diagram.highlight_regex("[a-z]+", "not dim bold")
    diagram.highlight_regex("[0-9]+", "not dim cyan")
    return diagram


def _bulk(report: LoadReport) -> RenderableType:
    turns = report.turns_stored + report.turns_already_stored
    sessions = report.sessions_stored + report.sessions_already_stored
    return Text.assemble(
        (f"{report.turns_per_second:,.0f} turns per second", "bold green"),
        f"   {turns:,} turns of {sessions:,} sessions of {report.users:,} users "
        f"in {report.seconds:.2f} s",
        (f"\npeak memory {report.peak_memory_mib:,.0f} MiB", "dim"),
    )


def _outcome(report: LoadReport) -> RenderableType:
    table = _table(headers=False)
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


def _totals(totals: SystemTotals) -> RenderableType:
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


def _refused(report: DemoReport) -> RenderableType:
    refusals, repeated = report.refusals, report.repeated
    owner, reader = (name.split()[0] for name in (refusals.owner, refusals.reader))
    seen = refusals.app_without_user
    answers = (
        (
            f"{reader} asks for {owner}'s session",
            "None: it does not exist for others"
            if refusals.reader_found is None
            else "FOUND, and should not have been",
        ),
        (f"{reader} records a turn into it", refusals.reader_recording),
        (
            "the app login asks without any user",
            f"{seen.users} users, {seen.sessions} sessions of {report.totals.sessions:,}",
        ),
        ("a session leaps from idle to speaking", refusals.leap),
        (
            f"{owner}'s last turn is sent twice",
            f"still turn {repeated.turn_number} of {repeated.turns_after}, stored once",
        ),
    )
    table = _table(headers=False)
    table.add_column()
    table.add_column(style="yellow")
    for question, answer in answers:
        table.add_row(question, answer)
    return table


def _place(report: DemoReport) -> RenderableType:
    directory = Text(report.server.data_directory, overflow="fold")
    month = f"{report.transcript.session.started_at:%Y_%m}"
    partition = Text(f"turns of this month: clonedb.conversation_turns_{month}", "dim")
    if not report.server.kept:
        fate = "removed now; with --keep or --data DIRECTORY it stays"
    else:
        fate = "kept; --data with this directory starts it again"
    return Group(directory, Text(fate, "dim"), partition)


def _section(console: Console, title: str, *contents: RenderableType) -> None:
    console.print()
    console.print(Rule(Text(title, "bold"), align="left", style="dim"))
    for content in _spaced(contents):
        console.print(Padding(content, (0, 0, 0, 2), expand=False))


def _spaced(contents: tuple[RenderableType, ...]) -> Iterator[RenderableType]:
    for position, content in enumerate(contents):
        if position:
            yield Text()
        yield content


def _bar(value: float, largest: float, label: str, colour: str) -> Text:
    full = round(_BAR_WIDTH * value / largest) if largest else 0
    return Text.assemble(("█" * max(full, 1), colour), " ", label)


def _table(*, headers: bool = True) -> Table:
    return Table(
        box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim", show_header=headers
    )
