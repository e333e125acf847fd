"""What the check reads of a query file: its tags, its choices, and where a statement's text is."""

from __future__ import annotations

import pytest

from clonedb.check.tree import read_tree
from clonedb.errors import QueryFileError
from clonedb.query.file import parse_queries
from clonedb.query.headers import access_paths, row_bound

TEXT = """\
-- name: find(user_id, state, after_at)
-- Finds.
-- plan: index by_user, scan small
-- rows <= 1,500
-- users: all
SELECT
    t.at
    , 'a
b' AS two_lines
FROM t
WHERE t.user_id = :user_id
    AND t.state = :state  -- filter: state
    AND t.hidden  -- when: hidden
    AND t.at < :after_at  -- after: newest
ORDER BY t.at DESC  -- order: newest
ORDER BY t.at ASC  -- order: oldest
"""


def test_tags_say_what_a_plan_has_to_be() -> None:
    (query,) = parse_queries(TEXT, module="things", path="sql/things.sql")
    assert access_paths(query.tags) == [("index", "by_user"), ("scan", "small")]
    assert row_bound(query.tags) == 1_500
    assert query.tags["users"] == "all"
    assert access_paths({}) == []
    assert row_bound({}) is None


@pytest.mark.parametrize(
    ("tag", "complaint"),
    [
        ("plan: by_user", "'by_user' is no plan"),
        ("plan: index by_user and more", "is no plan"),
        ("rows <= few", "'few' is no bound"),
        ("rows: 5", "': 5' is no bound: write rows <= 500"),
        ("users: some", "'some' is no users"),
        ("plan: index a\n-- plan: index b", "the tag plan is given twice"),
    ],
)
def test_a_tag_that_says_nothing_is_refused(tag: str, complaint: str) -> None:
    text = f"-- name: one()\n-- One.\n-- {tag}\nSELECT 1"
    with pytest.raises(QueryFileError, match=r"things\.sql:[34]: ") as refused:
        parse_queries(text, module="things", path="sql/things.sql")
    assert complaint in str(refused.value)


def test_a_choice_is_a_statement_and_a_place_in_it_a_line_of_the_file() -> None:
    (query,) = parse_queries(TEXT, module="things", path="sql/things.sql")
    plain = query.variant()
    assert "DESC" in plain.text
    assert plain.parameters == ("user_id",)
    assert query.variant(order="oldest", filters=["state"]).parameters == ("user_id", "state")
    assert query.variant(after=True).parameters == ("user_id", "after_at")
    assert "t.hidden" in query.variant(flags=["hidden"]).text
    for statement in query.variants():
        for piece, line in (("t.at\n", 7), ("b' AS", 9), ("FROM", 10), ("WHERE", 11)):
            assert query.source_line(statement, statement.text.index(piece)) == line
        if "DESC" in statement.text:
            assert query.source_line(statement, statement.text.index("DESC")) == 15


def test_a_tree_is_read_with_its_escapes_lists_and_constants() -> None:
    tree = read_tree(
        '{QUERY :commandType 1 :flag true :name \\?column\\? :empty <> :text "a b"\n'
        ":numbers (i 1 2) :set (b) :list ({VAR :varno 1} <> ({CONST :constvalue 2 [ 5 -1 ] :more "
        "7})) :last 4}"
    )
    assert (tree.number("commandType"), tree.flag("flag"), tree.number("last")) == (1, True, 4)
    assert (tree.text("name"), tree.text("text"), tree.text("empty")) == ("?column?", "a b", "")
    assert (tree.numbers("numbers"), tree.numbers("set")) == ([1, 2], [])
    variable, constant = tree.nodes("list")
    assert (variable.tag, constant.fields["constvalue"], constant.number("more")) == (
        "VAR",
        b"\x05\xff",
        7,
    )
    assert [node.tag for node in tree.walk()] == ["QUERY", "VAR", "CONST"]
    with pytest.raises(ValueError, match="no parse tree"):
        read_tree("( )")
