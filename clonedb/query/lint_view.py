"""Query files as sqlfluff can read them: plain SQL, every line where it was.

    python -m clonedb.query.lint_view sql build/sql

A query file holds what is no SQL when read as a whole: several ORDER BY clauses of which one
stays, and queries that no semicolon parts.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from clonedb.query.file import read_text, sections
from clonedb.query.lexer import Kind, Token
from clonedb.query.lines import is_condition, read_lines


def lint_view(text: str, path: str) -> str:
    """Return the file's text with the same line numbers and only the first order of each query.

    The line of another order becomes a comment that names it. Conditions are left out: they are
    ours and not SQL's, and a line is not too long for them. A statement without a semicolon gets
    one. Raises `QueryFileError` where the file cannot be read as queries.
    """
    rows = text.split("\n")
    for _, tokens in sections(text, path=path):
        other_orders = _other_orders(text, tokens, path)
        last = None
        for token in tokens:
            row = rows[token.line - 1]
            if token.line in other_orders:
                indent = row[: len(row) - len(row.lstrip())]
                rows[token.line - 1] = f"{indent}-- the order {other_orders[token.line]}"
            elif token.kind is Kind.LINE_COMMENT and is_condition(token.text):
                rows[token.line - 1] = row[: _column(text, token.start)].rstrip()
            elif token.kind not in (Kind.LINE_COMMENT, Kind.BLOCK_COMMENT):
                last = token
        if last is not None and last.kind is not Kind.SEMICOLON:
            row, column = rows[last.last_line - 1], _column(text, last.end)
            rows[last.last_line - 1] = f"{row[:column].rstrip()};{row[column:]}"
    return "\n".join(rows)


def _other_orders(text: str, tokens: Sequence[Token], path: str) -> dict[int, str]:
    statement = [token for token in tokens if token.kind is not Kind.SEMICOLON]
    orders = [
        (line.number, name)
        for line in read_lines(text, statement, path=path)
        for kind, name in line.conditions
        if kind == "order"
    ]
    return {number: name for number, name in orders if name != orders[0][1]}


def _column(text: str, offset: int) -> int:
    return offset - (text.rfind("\n", 0, offset) + 1)


def main() -> None:
    """Write the views of a folder's files into another folder, under the same names."""
    parser = argparse.ArgumentParser(
        prog="python -m clonedb.query.lint_view", description=main.__doc__
    )
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    folders = parser.parse_args()
    folders.target.mkdir(parents=True, exist_ok=True)
    for file in sorted(folders.source.glob("*.sql")):
        path = f"{folders.source.name}/{file.name}"
        view = lint_view(read_text(file, path=path), path)
        (folders.target / file.name).write_text(view, encoding="utf-8")


if __name__ == "__main__":
    main()
