"""How a picture is drawn: sections, tables and bars, for 80 columns and without colours."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

_BAR_WIDTH: Final = 10


def section(console: Console, title: str, *contents: RenderableType) -> None:
    """A title, and what is below it, with a free line between each."""
    console.print()
    console.print(Rule(Text(title, "bold"), align="left", style="dim"))
    for content in _spaced(contents):
        console.print(Padding(content, (0, 0, 0, 2), expand=False))


def _spaced(contents: tuple[RenderableType, ...]) -> Iterator[RenderableType]:
    for position, content in enumerate(contents):
        if position:
            yield Text()
        yield content


def draw_bar(value: float, largest: float, label: str, colour: str) -> Text:
    """A bar as long as the value is to the largest, at least one character, and its label."""
    full = round(_BAR_WIDTH * value / largest) if largest else 0
    return Text.assemble(("█" * max(full, 1), colour), " ", label)


def new_table(*, headers: bool = True) -> Table:
    """Columns without lines; there is nothing in them yet."""
    return Table(
        box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim", show_header=headers
    )
