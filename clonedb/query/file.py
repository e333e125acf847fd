"""A `.sql` file read into its queries, and every refusal that needs no server."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Final

from clonedb.errors import QueryFileError
from clonedb.query.headers import NAME_LINE, Header, parse_header
from clonedb.query.lexer import Kind, Token, lex
from clonedb.query.lines import CONDITIONS, Line, read_lines
from clonedb.query.statements import AFTER_PREFIX, Query

_HIDDEN_CONDITION: Final = re.compile(rf"--\s*(?:{'|'.join(CONDITIONS)})\s*:")
_COMMENTS: Final = (Kind.LINE_COMMENT, Kind.BLOCK_COMMENT)
_VERBATIM: Final = (Kind.STRING, Kind.QUOTED_IDENTIFIER, Kind.BLOCK_COMMENT)


def read_text(file: Path, *, path: str) -> str:
    """Return the text of a `.sql` file; refuse bytes that cannot be one."""
    content = file.read_bytes()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise QueryFileError(path, line, "this is not UTF-8: save the file as UTF-8") from None
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise QueryFileError(path, line, "there is a NUL, which PostgreSQL refuses: remove it")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def parse_queries(text: str, *, module: str, path: str) -> list[Query]:
    """Return the queries of a file in their order; `module` is the first half of their names."""
    queries: dict[str, Query] = {}
    for header, tokens in sections(text, path=path):
        if header.name in queries:
            first = queries[header.name].line
            raise QueryFileError(
                path, header.line, f"line {first} has a query {header.name} already: rename one"
            )
        lines = tuple(read_lines(text, _one_statement(tokens, path), path=path))
        _check_lines(header, lines, path)
        query = Query(header, module=module, path=path, lines=lines)
        _check_conditions(query)
        queries[header.name] = query
    return list(queries.values())


def sections(text: str, *, path: str) -> Iterator[tuple[Header, list[Token]]]:
    """Cut a file at its name lines: each query's header, and the tokens below it."""
    tokens = lex(text, path=path)
    starts = []
    for index, token in enumerate(tokens):
        if token.kind in _VERBATIM and "--" in token.text:
            _refuse_hidden(token, path)
        elif token.kind is Kind.LINE_COMMENT and NAME_LINE.match(token.text):
            if index and tokens[index - 1].last_line == token.line:
                raise QueryFileError(
                    path, token.line, "-- name: begins a query: put it on a line of its own"
                )
            starts.append(index)
        elif not starts and token.kind not in _COMMENTS:
            raise QueryFileError(
                path, token.line, "only comments may stand before the first -- name: line"
            )
    if not starts:
        raise QueryFileError(path, 1, "the file has no query: begin one with -- name: find_all()")
    for start, end in pairwise([*starts, len(tokens)]):
        body = start + 1
        while body < end and _continues_header(tokens[body - 1], tokens[body]):
            body += 1
        yield parse_header(tokens[start:body], path=path), tokens[body:end]


def _continues_header(before: Token, token: Token) -> bool:
    return token.kind is Kind.LINE_COMMENT and token.line == before.line + 1


def _refuse_hidden(token: Token, path: str) -> None:
    # Here these are plain text, which is never what was meant: a quote is missing, or a condition
    # stands where no line can be dropped.
    what = token.kind.value
    if name := NAME_LINE.search(token.text):
        line = token.line + token.text.count("\n", 0, name.start())
        raise QueryFileError(
            path,
            token.line,
            f"the {what} that begins here holds the -- name: of line {line}: close it before, or "
            "word it differently",
        )
    if condition := _HIDDEN_CONDITION.search(token.text):
        raise QueryFileError(
            path,
            token.line + token.text.count("\n", 0, condition.start()),
            f"a condition inside a {what} is only text of it: put it at the end of a line that can "
            "be dropped, or word it differently",
        )


def _one_statement(tokens: list[Token], path: str) -> list[Token]:
    ended = None
    for token in tokens:
        if token.kind is Kind.SEMICOLON:
            ended = token
        elif ended is not None and token.kind not in _COMMENTS:
            raise QueryFileError(
                path,
                ended.line,
                "a query is one statement, and this ; is not its end: give what follows a -- "
                "name: of its own",
            )
    return tokens if ended is None else [t for t in tokens if t.kind is not Kind.SEMICOLON]


def _check_lines(header: Header, lines: tuple[Line, ...], path: str) -> None:
    if not lines:
        raise QueryFileError(path, header.line, f"{header.name} has no SQL below its header")
    if all(line.conditions for line in lines):
        raise QueryFileError(
            path, lines[0].number, f"all lines of {header.name} are conditional: one has to stay"
        )
    unused = dict.fromkeys(header.parameters)
    for line in lines:
        for parameter in line.parameters:
            if parameter not in header.parameters:
                raise QueryFileError(
                    path,
                    line.number,
                    f":{parameter} is not declared: add {parameter} to the parameters of "
                    f"{header.name} on line {header.line}; a colon that begins no parameter needs "
                    "a space behind it",
                )
            unused.pop(parameter, None)
        if line.writes and header.tags.get("access") == "read":
            raise QueryFileError(
                path, line.number, f"{header.name} has access: read, but writes or locks here"
            )
    for parameter in unused:
        raise QueryFileError(
            path,
            header.line,
            f"{parameter} is declared and not used: write :{parameter}, or remove it",
        )


def _check_conditions(query: Query) -> None:
    for line in query.lines:
        for kind, name in line.conditions:
            complaint = ""
            if kind == "filter" and not query.filters[name]:
                complaint = f"the filter {name} has no parameter of its own: use when: for a flag"
            elif kind == "after":
                complaint = _complaint_about_after(query, line, name)
            elif kind in ("when", "unless") and (name == "order" or name in query.parameters):
                complaint = f"{name} is an argument already: give the flag another name"
            if complaint:
                raise QueryFileError(query.path, line.number, complaint)


def _complaint_about_after(query: Query, line: Line, order: str) -> str:
    if order not in query.orders:
        return f"there is no order {order}: end the line of its ORDER BY with -- order: {order}"
    wrong = [name for name in line.parameters if not name.startswith(AFTER_PREFIX)]
    if wrong or not line.parameters:
        found = ", ".join(wrong) or "none"
        return f"the parameters of a cursor are named {AFTER_PREFIX}<column>; here: {found}"
    return ""
