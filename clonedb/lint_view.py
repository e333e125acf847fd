"""Query files as sqlfluff can read them: plain SQL, every line where it was.

    python -m clonedb.lint_view sql build/sql

A query file holds what is no SQL when read as a whole: several ORDER BY clauses of which one
stays, and queries that no semicolon parts.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from clonedb.lexer import Kind, Token
from clonedb.lines import read_lines
from clonedb.query_file import read_text, sections


def lint_view(text: str, path: str) -> str:
    """Return the file's text with the same line numbers and only the first order of each query.

    The line of another order becomes a comment that names it; a statement without a semicolon gets
    one. Raises `QueryFileError` where the file cannot be read as queries.
    """
    rows = text.split("\n")
    for _, tokens in sections(text, path=path):
        code = [t for t in tokens if t.kind not in (Kind.LINE_COMMENT, Kind.BLOCK_COMMENT)]
        ended = bool(code) and code[-1].kind is Kind.SEMICOLON
        statement = [t for t in tokens if t.kind is not Kind.SEMICOLON]
        others = _lines_of_other_orders(text, statement, path)
        remaining = [t for t in code if t.line not in others and t.kind is not Kind.SEMICOLON]
        if remaining and (not ended or code[-1].line in others):
            _insert_semicolon(rows, text, remaining[-1])
        for number, order in others.items():
            row = rows[number - 1]
            indent = row[: len(row) - len(row.lstrip())]
            rows[number - 1] = f"{indent}-- the order {order}"
    return "\n".join(rows)


def _lines_of_other_orders(text: str, tokens: Sequence[Token], path: str) -> dict[int, str]:
    orders = [
        (line.number, condition.name)
        for line in read_lines(text, tokens, path=path)
        for condition in line.conditions
        if condition.kind == "order"
    ]
    return {number: name for number, name in orders if name != orders[0][1]}


def _insert_semicolon(rows: list[str], text: str, last: Token) -> None:
    column = last.end - (text.rfind("\n", 0, last.end) + 1)
    row = rows[last.last_line - 1]
    rows[last.last_line - 1] = f"{row[:column].rstrip()};{row[column:]}"


def main() -> None:
    """Write the views of a folder's files into another folder, under the same names."""
    parser = argparse.ArgumentParser(prog="python -m clonedb.lint_view", description=main.__doc__)
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
