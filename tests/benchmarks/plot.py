"""point_read.svg: calls per second at each number of callers, and the client's CPU for a call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final
from xml.sax.saxutils import escape

import msgspec

from tests.benchmarks.run import ContestResult, Series

_LABEL_WIDTH: Final = 222
_PANEL_WIDTH: Final = 190
_PANEL_GAP: Final = 22
_VALUE_WIDTH: Final = 48  # of the text behind the longest bar
_ROW_HEIGHT: Final = 34
_BAR_HEIGHT: Final = 11
_TOP: Final = 106
_MARGIN: Final = 24

# The second loop's bar is the same in a paler tone.
_OURS: Final = ("#1d4ed8", "#93b4f5")
_PEERS: Final = ("#64748b", "#cbd5e1")
_INK, _MUTED, _LINE = "#0f172a", "#475569", "#e2e8f0"
_FONT: Final = "system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif"

_NAMES: Final = {"uvloop": "uvloop", "asyncio": "plain asyncio"}


class _Panel(msgspec.Struct, frozen=True):
    title: str
    note: str
    callers: int
    value: Callable[[Series], float]
    text: Callable[[float], str]


def render(contest: ContestResult) -> str:
    """The picture as SVG."""
    loops = [loop for loop in _NAMES if any(each.loop == loop for each in contest.series)]
    labels = list(dict.fromkeys(each.label for each in contest.series))
    callers = sorted({each.callers for each in contest.series})
    panels = [
        _Panel(
            f"{number} caller{'s' if number > 1 else ''}",
            "calls/s, more is better",
            number,
            lambda series: series.rate,
            _thousands,
        )
        for number in callers
    ]
    busy = 16 if 16 in callers else callers[-1]
    panels.append(
        _Panel(
            f"Client CPU, {busy} callers",
            "µs a call, less is better",
            busy,
            lambda series: series.client_us,
            lambda value: f"{value:.0f}",
        )
    )
    width = 2 * _MARGIN + _LABEL_WIDTH + len(panels) * (_PANEL_WIDTH + _PANEL_GAP) - _PANEL_GAP
    height = _TOP + len(labels) * _ROW_HEIGHT + _MARGIN
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}" font-family="{_FONT}" role="img" '
        f'aria-label="{escape(contest.title)}">'
    )
    parts = [
        head,
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        _text(_MARGIN, 34, contest.title, size=18, weight="600"),
        *_legend(loops, width),
    ]
    for row, label in enumerate(labels):
        y = _TOP + row * _ROW_HEIGHT
        ours = label.startswith("clonedb")
        if row % 2 == 0:
            parts.append(
                f'<rect x="{_MARGIN - 8}" y="{y}" width="{width - 2 * _MARGIN + 16}" '
                f'height="{_ROW_HEIGHT}" fill="#f8fafc" rx="4"/>'
            )
        parts.append(
            _text(
                _MARGIN,
                y + _ROW_HEIGHT / 2 + 4,
                label,
                size=13,
                weight="600" if ours else "400",
                fill=_OURS[0] if ours else _INK,
            )
        )
    for number, panel in enumerate(panels):
        x = _MARGIN + _LABEL_WIDTH + number * (_PANEL_WIDTH + _PANEL_GAP)
        parts += _panel(contest, panel, labels, loops, x)
    return "\n".join([*parts, "</svg>", ""])


def _panel(
    contest: ContestResult, panel: _Panel, labels: list[str], loops: list[str], x: float
) -> list[str]:
    values = {
        (label, loop): panel.value(series)
        for label in labels
        for loop in loops
        if (series := contest.find(loop, panel.callers, label)) is not None
    }
    scale = (_PANEL_WIDTH - _VALUE_WIDTH) / max(values.values())
    bottom = _TOP + len(labels) * _ROW_HEIGHT
    parts = [
        _text(x, _TOP - 26, panel.title, size=13, weight="600"),
        _text(x, _TOP - 10, panel.note, size=11, fill=_MUTED),
        f'<line x1="{x}" y1="{_TOP}" x2="{x}" y2="{bottom}" stroke="{_LINE}"/>',
    ]
    for row, label in enumerate(labels):
        tones = _OURS if label.startswith("clonedb") else _PEERS
        top = _TOP + row * _ROW_HEIGHT + (_ROW_HEIGHT - len(loops) * (_BAR_HEIGHT + 1)) / 2
        for position, loop in enumerate(loops):
            value = values.get((label, loop))
            if value is None:
                continue
            y = top + position * (_BAR_HEIGHT + 1)
            length = max(1.0, value * scale)
            parts.append(
                f'<rect x="{x}" y="{y:.1f}" width="{length:.1f}" height="{_BAR_HEIGHT}" '
                f'fill="{tones[position]}" rx="1.5"/>'
            )
            parts.append(_text(x + length + 5, y + 9.5, panel.text(value), size=10.5, fill=_MUTED))
    return parts


def _legend(loops: list[str], width: float) -> list[str]:
    parts = []
    x = width - _MARGIN - 118 * len(loops)
    for position, loop in enumerate(loops):
        for offset, tones in enumerate((_OURS, _PEERS)):
            parts.append(
                f'<rect x="{x + offset * 13}" y="24" width="11" height="11" '
                f'fill="{tones[position]}" rx="1.5"/>'
            )
        parts.append(_text(x + 31, 34, _NAMES[loop], size=12, fill=_MUTED))
        x += 118
    return parts


def _thousands(value: float) -> str:
    return f"{value / 1000:.0f} k" if value >= 9_950 else f"{value / 1000:.1f} k"


def _text(
    x: float, y: float, content: str, *, size: float, weight: str = "400", fill: str = _INK
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" font-weight="{weight}" '
        f'fill="{fill}">{escape(content)}</text>'
    )
