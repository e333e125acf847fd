"""The picture of what keeps people's things safe: refusals, limits, and the audit trail."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.text import Text

from clonedb.demo.limits import LimitFigures
from clonedb.demo.pictures.drawing import draw_bar, new_table
from clonedb.demo.report import DemoReport
from clonedb.demo.trail import AuditFigures


def draw_refused(report: DemoReport) -> RenderableType:
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
    table = new_table(headers=False)
    table.add_column()
    table.add_column(style="yellow")
    for question, answer in answers:
        table.add_row(question, answer)
    return table


def draw_limits(limits: LimitFigures) -> RenderableType:
    """A limit that was hit, and what is left of the day."""
    name = limits.name.split()[0]
    denied, usage = limits.denied_last, limits.talked.usage
    again = f"; again in {denied.retry_after:,.0f} s" if denied and denied.retry_after else ""
    quota = "without a quota" if usage.quota is None else f"of {usage.quota:,.0f} s a day"
    answers = (
        (
            f"{name} trains a voice, {limits.calls} times at once",
            f"{limits.allowed} allowed, {limits.denied} denied{again}",
        ),
        (
            f"the talk of {limits.talked_seconds:,.0f} s with the clone",
            f"{limits.talked.reason or 'granted'}: {usage.used_seconds:,.0f} s used {quota}",
        ),
        ("one of a whole day after it", limits.too_long.reason or "granted"),
    )
    table = new_table(headers=False)
    table.add_column()
    table.add_column(style="yellow")
    for question, answer in answers:
        table.add_row(question, answer)
    return table


def draw_trail(audit: AuditFigures) -> RenderableType:
    """How often what was done, and who can read that."""
    table = new_table()
    table.add_column(no_wrap=True)
    table.add_column("entries", no_wrap=True)
    table.add_column("failed", justify="right", no_wrap=True)
    most = max((one.entries for one in audit.actions), default=0)
    for one in audit.actions:
        failures = Text(f"{one.failures:,}", "yellow") if one.failures else Text("–", "dim")
        label = f"{one.entries:,}"
        table.add_row(one.action, draw_bar(one.entries, most, label, "cyan"), failures)
    owner, reader = (name.split()[0] for name in (audit.owner, audit.reader))
    found = "does not exist" if audit.reader_found is None else "EXISTS, and should not"
    words = (
        f"{audit.statistics.entries:,} entries about {audit.statistics.subjects:,} people; "
        f"nobody changes one\n"
        f"{owner} reads {audit.owner_entries:,}, the last of which {found} for {reader}"
    )
    return Group(table, Text(words, "dim"))
