"""The lexer finds the parameters that PostgreSQL would see as code, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clonedb.embedded import EmbeddedServer
from clonedb.errors import QueryFileError
from clonedb.query.file import parse_queries
from clonedb.query.lexer import Kind, lex

# Whatever could make a lexer lose its way; letters, so that `:name` and `$tag$` come up.
NASTY = st.text(st.sampled_from("aeU1_:'\"$\\-/*;,%?&[]()\n \té\u00a0"), max_size=12)
NAMES = st.text(st.sampled_from("abez_09"), max_size=8).map(lambda rest: f"p{rest}")

# No time is judged: two cores may be shared with whatever else runs.
UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def plain_string(content: str) -> str:
    return "'" + content.replace("'", "''") + "'"


def escape_string(content: str) -> str:
    return "E'" + content.replace("\\", "\\\\").replace("'", "\\'") + "'"


def national_string(content: str) -> str:
    return "N" + plain_string(content)


def unicode_string(content: str) -> str:
    return "U&" + plain_string(content.replace("\\", "\\\\"))


@st.composite
def dollar_strings(draw: st.DrawFn) -> tuple[str, str]:
    """A dollar-quoted string and its value."""
    content = draw(NASTY)
    quote = draw(st.sampled_from(["$$", "$a$", "$tag_1$", "$é$"]))
    # A quote that the content holds, or completes at its end, would end the string early.
    while (content + quote).find(quote) < len(content):
        content = content.replace("$", "")
    return f"{quote}{content}{quote}", content


@st.composite
def string_constants(draw: st.DrawFn) -> tuple[str, str]:
    """A string constant of any form and its value."""
    if draw(st.booleans()):
        return draw(dollar_strings())
    content = draw(NASTY)
    form = draw(st.sampled_from([plain_string, escape_string, national_string, unicode_string]))
    return form(content), content


quoted_identifiers = NASTY.filter(bool).map(lambda name: '"' + name.replace('"', '""') + '"')
line_comments = NASTY.map(lambda text: "--" + text.replace("\n", " ") + "\n")
# "--e:" would be taken for a condition.
plain_comments = line_comments.map(lambda comment: comment.replace("--", "-- (", 1))
comment_text = NASTY.map(lambda text: text.replace("/", "").replace("*", ""))
block_comments = st.recursive(
    comment_text.map(lambda text: f"/* {text} */"),
    lambda inner: st.tuples(comment_text, inner).map(lambda both: f"/*{both[0]} {both[1]} */"),
    max_leaves=4,
)
code = st.sampled_from(
    [
        "a",
        "s.id",
        "1.5e-3",
        "a$1",
        "'{}'::jsonb",
        "a::text",
        "f(a := 1)",
        "x[1:2]",
        "x[a : b]",
        "x[:1]",
        "j ? 'k'",
        "j ?| b",
        "j ->> 'k'",
        "7 % 2",
        "a - -1",
        "4 / 2",
        "B'101'",
        "X'ff'",
        "(1, 2)",
    ]
)
textual = st.one_of(string_constants().map(lambda both: both[0]), quoted_identifiers, code)


@st.composite
def planted(draw: st.DrawFn) -> tuple[str, list[str]]:
    """SQL-like text, and the parameters in it, in their order."""
    text, parameters = "", []
    for kind in draw(st.lists(st.sampled_from(["parameter", "text", "line", "block"]))):
        if kind == "parameter":
            parameters.append(draw(NAMES))
            cast = draw(st.sampled_from(["", "::text", "::uuid[]", " % 2"]))
            text += draw(st.sampled_from([" :", "(:", ",:", "=:", "\n:"])) + parameters[-1] + cast
        elif kind == "text":
            text += draw(textual)
        else:
            text += draw(line_comments if kind == "line" else block_comments)
        # A comma, so that a string behind an E'' string's line is not its continuation.
        text += draw(st.sampled_from([" , ", ",\n"]))
    return text, parameters


@UNHURRIED
@given(planted())
def test_exactly_the_planted_parameters_are_found(case: tuple[str, list[str]]) -> None:
    text, parameters = case
    found = [token.text for token in lex(text, path="x") if token.kind is Kind.PARAMETER]
    assert found == [f":{name}" for name in parameters]


@UNHURRIED
@given(planted())
def test_every_token_is_where_it_says(case: tuple[str, list[str]]) -> None:
    text, _ = case
    end = 0
    for token in lex(text, path="x"):
        assert text[token.start : token.end] == token.text
        assert not text[end : token.start].strip(" \t\n")
        assert token.line == 1 + text.count("\n", 0, token.start)
        assert token.last_line == 1 + text.count("\n", 0, token.end)
        end = token.end


@pytest.fixture(scope="module")
def connection(server: EmbeddedServer) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
    with psycopg.connect(server.dsn(database="postgres"), autocommit=True) as connection:
        yield connection


@UNHURRIED
@given(
    columns=st.lists(st.one_of(string_constants(), st.tuples(st.none(), NASTY)), min_size=1),
    comments=st.lists(st.one_of(plain_comments, block_comments)),
)
def test_postgresql_reads_strings_and_parameters_as_the_lexer_does(
    connection: psycopg.Connection[tuple[object, ...]],
    columns: list[tuple[str | None, str]],
    comments: list[str],
) -> None:
    names = [f"p{index}" for index, (constant, _) in enumerate(columns) if constant is None]
    unused = iter(names)
    rows = [constant or f":{next(unused)}::text" for constant, _ in columns]
    comments += [""] * len(rows)
    body = ",\n".join(f"{row} {comment}" for row, comment in zip(rows, comments, strict=False))
    header = f"-- name: echo({', '.join(names)})^\n-- What is given comes back.\n"
    (query,) = parse_queries(f"{header}SELECT\n{body}", module="test", path="sql/test.sql")
    values = [value for constant, value in columns if constant is None]

    statement, arguments = query.bind(dict(zip(names, values, strict=True)))
    with psycopg.RawCursor(connection) as cursor:
        returned = cursor.execute(statement.text, arguments).fetchone()

    assert returned == tuple(value for _, value in columns)


@pytest.mark.parametrize(
    "text",
    [
        "E'it\\':a' , 'b'",
        "E'a'\n  'it\\':a'",
        "E'a' -- :a\n  -- :a\n'it\\':a'",
        "'a\\' , 'b :a'",
        "U&'\\0061 :a' , U&\"d\\0061t:a\"",
        '"it\'s :a"',
        "$é$ :a $é$",
        "/* /* :a */ :a */",
        "'24:mi:ss'",
        "a::text::uuid",
        "f(a := b)",
        "x[1:2] , x[a : b] , x[:2] , x[1:]",
    ],
)
def test_a_colon_that_is_no_parameters_is_left_alone(text: str) -> None:
    assert [token for token in lex(text, path="x") if token.kind is Kind.PARAMETER] == []


@pytest.mark.parametrize(
    "text",
    ["x[:a]", "ARRAY[1, :a]", "x[CASE WHEN :a THEN 1 END]", "x[1: :a]", "b OPERATOR(c.=) :a"],
)
def test_a_parameter_may_stand_where_a_value_may(text: str) -> None:
    assert [t.text for t in lex(text, path="x") if t.kind is Kind.PARAMETER] == [":a"]


@pytest.mark.parametrize("text", ["x[1:a]", "x[b:a]", "x[1 :a]", "x[f(1) :a]", "x[:b:a]", "'b':a"])
def test_a_name_that_may_end_a_slice_is_refused(text: str) -> None:
    with pytest.raises(QueryFileError, match=r"^sql/x.sql:3: :a behind an operand .*put spaces"):
        lex(f"SELECT\n\n{text}", path="sql/x.sql")


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("'abc''", "string"),
        ("'ab\nc''", "string"),
        ('"ab\nc""', "quoted identifier"),
        ("E'abc\\'", "string"),
        ('"abc', "quoted identifier"),
        ("$a$ abc $b$", r"quote \$a\$"),
        ("/* /* abc */", "comment"),
    ],
)
def test_what_has_no_end_is_refused_where_it_begins(text: str, what: str) -> None:
    with pytest.raises(
        QueryFileError, match=f"^sql/x.sql:2: the {what} that begins here has no end"
    ):
        lex(f"SELECT 'a',\n{text}\n\n", path="sql/x.sql")


def test_a_numbered_parameter_is_refused() -> None:
    with pytest.raises(QueryFileError, match=r"^sql/x.sql:2: \$1 is a numbered parameter.* :name"):
        lex("SELECT a$1,\n    $1", path="sql/x.sql")
