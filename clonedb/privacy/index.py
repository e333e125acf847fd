"""The index of an export: a page that says what each file is, for the person it is about."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from html import escape
from typing import Final, NamedTuple
from uuid import UUID

from clonedb.objects.description import StoredObject
from clonedb.privacy.classes import MEANINGS
from clonedb.privacy.tables import PersonTable

_STYLE: Final = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}"
    "table{border-collapse:collapse;width:100%}td,th{text-align:left;vertical-align:top;"
    "padding:.25rem .75rem .25rem 0;border-bottom:1px solid #ddd}code{white-space:nowrap}"
)


class ExportedObject(NamedTuple):
    """A file of the person; `damage` says what is wrong with it, None if nothing is."""

    file: str
    stored: StoredObject
    damage: str | None


def index_page(
    user_id: UUID,
    moment: datetime,
    tables: Sequence[tuple[PersonTable, int]],
    objects: Sequence[ExportedObject],
) -> str:
    """The page as HTML without anything to load: tables with their counts, then files."""
    when = f"{moment:%Y-%m-%d %H:%M:%S} UTC"
    parts = [
        "<!doctype html><html lang='en'><head><meta charset='utf-8'>",
        f"<title>Everything about {user_id}</title><style>{_STYLE}</style></head><body>",
        f"<h1>Everything about user {user_id}</h1>",
        f"<p>As it was at {when}, all at one moment.</p>",
        "<p>A file of rows has a JSON object in each line, and bytes in hexadecimal.</p>",
        _classes(),
        "<h2>Files</h2>",
        _rows(
            ("file", "rows", "what it is"),
            [
                (f"<a href='#{table.name}'>{table.name}.jsonl</a>", f"{count:,}", _text(table))
                for table, count in tables
            ],
        ),
    ]
    if objects:
        parts += ["<h2>Stored files</h2>", _objects(objects)]
    for table, count in tables:
        why, how_long = table.purpose
        parts += [
            f"<h2 id='{table.name}'>{table.name}.jsonl</h2>",
            f"<p>{_text(table)} {count:,} rows of yours.</p>",
            f"<p>Kept to {escape(why)}; {escape(how_long)}.</p>",
            _rows(
                ("column", "what it holds", "class"),
                [
                    (
                        f"<code>{escape(column.column_name)}</code>",
                        escape(" ".join(column.meaning.split())),
                        escape(column.personal_class or "not classified"),
                    )
                    for column in table.columns
                ],
            ),
        ]
    return "\n".join([*parts, "</body></html>\n"])


def _text(table: PersonTable) -> str:
    return escape(table.meaning)


def _classes() -> str:
    rows = [(name, escape(meaning)) for name, meaning in MEANINGS.items() if name != "none"]
    return "<h2>Classes of data</h2>" + _rows(("class", "meaning"), rows)


def _objects(objects: Sequence[ExportedObject]) -> str:
    return _rows(
        ("file", "bytes", "type", "remark"),
        [
            (
                f"<code>{escape(each.file)}</code>",
                f"{each.stored.size_bytes:,}",
                escape(each.stored.content_type),
                escape(each.damage or ""),
            )
            for each in objects
        ],
    )


def _rows(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{heading}</th>" for heading in headings)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>\n" for row in rows)
    return f"<table><tr>{head}</tr>\n{body}</table>"
