"""The page: one file of HTML that needs nothing else and reaches nowhere.

Its policy lets this one script and this one style sheet run, by their digests, and nothing be
loaded: what a comment in a `.sql` file says is shown, never run.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from clonedb.review import difference, markup, shown
from clonedb.review.comparison import Comparison
from clonedb.review.revision import Source
from clonedb.review.risk import Ranked, Severity

_TEMPLATES: Final = Path(__file__).parent / "templates"


class Item(NamedTuple):
    """One of all queries. `changed` says that it is among the changes, where its text is."""

    source: Source
    severity: Severity | None
    changed: bool
    ledger: str

    @property
    def file(self) -> str:
        return self.source.query.path.rpartition("/")[2]

    @property
    def tables(self) -> tuple[str, ...]:
        return self.source.entry.tables if self.source.entry else ()


def page(comparison: Comparison, ranked: list[Ranked], *, titles: Mapping[str, str]) -> str:
    """The whole page. `titles`: the project, the range and the two revisions, for people."""
    style, script = _part("page.css"), _part("page.js")
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"code": markup.code, "difference": markup.difference}
    environment.globals |= {"shown": shown, "sql_difference": difference.of_sql}
    environment.globals["text_difference"] = difference.of_text
    items = _items(comparison, ranked)
    return environment.get_template("page.html").render(
        comparison=comparison,
        groups=shown.groups(ranked),
        counts=[(each, sum(r.risk.severity is each for r in ranked)) for each in Severity],
        worst=partial(shown.worst, ranked),
        anchors=_anchors(comparison),
        objects=shown.shown_objects(comparison),
        items=items,
        files=sorted({item.file for item in items}),
        tables=sorted({table for item in items for table in item.tables}),
        titles=titles,
        style=Markup(style),  # noqa: S704 - the package's own file
        script=Markup(script),  # noqa: S704 - the package's own file
        style_digest=_digest(style),
        script_digest=_digest(script),
    )


def _items(comparison: Comparison, ranked: list[Ranked]) -> list[Item]:
    changed = {each.name for each in comparison.queries}
    return [
        Item(
            source,
            shown.worst(ranked, name),
            name in changed,
            comparison.head.text(f"sql/ledger/{name.replace('.', '/')}.txt"),
        )
        for name, source in comparison.head.queries.items()
    ]


def _anchors(comparison: Comparison) -> dict[str, str]:
    """Where on the page a risk's subject is shown."""
    objects = enumerate(shown.shown_objects(comparison))
    found = {change.object.name: f"o-{number}" for number, change in objects}
    found |= {change.name: f"m-{change.name}" for change in comparison.migrations}
    found |= {name: f"a-{name}" for name in comparison.head.queries}
    return found | {change.name: f"q-{change.name}" for change in comparison.queries}


def _part(name: str) -> str:
    return (_TEMPLATES / name).read_text(encoding="utf-8").strip()


def _digest(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"
