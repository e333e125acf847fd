"""A query's arguments choose its lines; nothing else changes the text that is sent."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clonedb.query.file import parse_queries
from clonedb.query.statements import Query, Statement

SESSIONS = """\
-- name: find_many(
--     user_id, state, started_from, started_before, depth, after_started_at, after_id, limit
-- )
-- One page of a user's sessions.
-- It begins behind the cursor.
-- plan_cache_mode: force_custom_plan
-- timeout: 2 s
SELECT
    s.id,  -- the key, of course
    s.state
    , f(:depth) AS depth                                        -- when: with_depth
-- Nothing is said twice.
FROM clonedb.conversation_sessions AS s
WHERE s.user_id = :user_id::uuid
    AND s.deleted_at IS NULL                                    -- unless: include_deleted
    AND s.state = :state                                        -- filter: state
    AND s.started_at >= :started_from                           -- filter: started
    AND s.started_at < :started_before                          -- filter: started
    AND (s.started_at, s.id) < (:after_started_at, :after_id)   -- after: newest
    AND (s.started_at, s.id) > (:after_started_at, :after_id)   -- after: oldest
ORDER BY s.started_at DESC, s.id DESC                           -- order: newest
ORDER BY s.started_at, s.id                                     -- order: oldest
ORDER BY s.state, s.id                                          -- order: state
LIMIT :limit;
"""


def parse(text: str) -> Query:
    (query,) = parse_queries(text, module="sessions", path="sql/sessions.sql")
    return query


def read(body: str, parameters: str = "", tags: str = "") -> Query:
    return parse(f"-- name: read({parameters})\n-- Reads.\n{tags}{body}\n")


@pytest.fixture(scope="module")
def find_many() -> Query:
    return parse(SESSIONS)


def expected(
    *, order: str = "newest", flags: tuple[str, ...] = (), given: tuple[str, ...] = ()
) -> str:
    """The example's text written out by hand, parameters still named."""
    earlier, later = "(s.started_at, s.id) < ", "(s.started_at, s.id) > "
    cursor = "(:after_started_at, :after_id)"
    lines = {
        "/* sessions.find_many */": True,
        "SELECT": True,
        "    s.id,": True,
        "    s.state": True,
        "    , f(:depth) AS depth": "with_depth" in flags,
        "FROM clonedb.conversation_sessions AS s": True,
        "WHERE s.user_id = :user_id::uuid": True,
        "    AND s.deleted_at IS NULL": "include_deleted" not in flags,
        "    AND s.state = :state": "state" in given,
        "    AND s.started_at >= :started_from": "started" in given,
        "    AND s.started_at < :started_before": "started" in given,
        f"    AND {earlier}{cursor}": "cursor" in given and order == "newest",
        f"    AND {later}{cursor}": "cursor" in given and order == "oldest",
        "ORDER BY s.started_at DESC, s.id DESC": order == "newest",
        "ORDER BY s.started_at, s.id": order == "oldest",
        "ORDER BY s.state, s.id": order == "state",
        "LIMIT :limit": True,
    }
    return "\n".join(line for line, stays in lines.items() if stays)


def named(statement: Statement) -> str:
    """The text with its parameters named again."""
    text = statement.text
    for number, name in reversed(list(enumerate(statement.parameters, 1))):
        text = text.replace(f"${number}", f":{name}")
    return text


GROUPS: dict[str, dict[str, Any]] = {
    "state": {"state": "idle"},
    "started": {"started_from": 1, "started_before": 2},
    "cursor": {"after_started_at": 3, "after_id": 4},
}


@given(
    order=st.sampled_from(["newest", "oldest", "state"]),
    flags=st.sets(st.sampled_from(["with_depth", "include_deleted"])),
    groups=st.sets(st.sampled_from(sorted(GROUPS))),
)
def test_the_lines_whose_conditions_hold_are_the_statement(
    find_many: Query, order: str, flags: set[str], groups: set[str]
) -> None:
    if order == "state":
        groups.discard("cursor")
    arguments: dict[str, Any] = {"user_id": "u", "limit": 5, "order": order}
    for group in groups:
        arguments |= GROUPS[group]
    arguments |= dict.fromkeys(flags, True)
    if "with_depth" in flags:
        arguments["depth"] = 6

    statement, values = find_many.bind(arguments)

    assert named(statement) == expected(order=order, flags=tuple(flags), given=tuple(groups))
    assert dict(zip(statement.parameters, values, strict=True)) == {
        name: arguments[name] for name in arguments.keys() - flags - {"order"}
    }


def test_variants_are_all_that_arguments_can_lead_to_each_once(find_many: Query) -> None:
    combinations = [
        expected(order=order, flags=flags, given=given)
        for order in ("newest", "oldest", "state")
        for flags in itertools.chain.from_iterable(
            itertools.combinations(("with_depth", "include_deleted"), size) for size in range(3)
        )
        for given in itertools.chain.from_iterable(
            itertools.combinations(GROUPS, size) for size in range(4)
        )
        if not (order == "state" and "cursor" in given)
    ]
    variants = [named(statement) for statement in find_many.variants()]
    assert sorted(variants) == sorted(combinations)


def test_a_variant_no_argument_leads_to_is_not_among_the_variants() -> None:
    query = read(
        "SELECT 1\nWHERE true\n    AND a = :a  -- filter: a\n    AND b = :a  -- when: b\n", "a"
    )
    texts = {statement.text.count("$1") for statement in query.variants()}
    assert texts == {0, 1, 2}
    assert len(list(query.variants())) == 3


def test_the_full_variant_has_all_but_the_other_orders_and_what_a_flag_removes() -> None:
    full = parse(SESSIONS).full
    everything = expected(order="newest", flags=("with_depth",), given=tuple(GROUPS))
    assert named(full) == everything


def test_the_same_variant_is_the_same_object(find_many: Query) -> None:
    first, _ = find_many.bind({"user_id": 1, "limit": 2})
    again, _ = find_many.bind({"limit": 3, "user_id": 4, "order": "newest", "with_depth": False})
    assert first is again
    assert first in set(find_many.variants())


def test_a_flag_counts_by_its_value(find_many: Query) -> None:
    page = {"user_id": 1, "limit": 2}
    with_deleted, _ = find_many.bind(page | {"include_deleted": True})
    without, _ = find_many.bind(page | {"include_deleted": False})
    assert named(with_deleted) == expected(flags=("include_deleted",))
    assert named(without) == expected()


def test_a_query_says_what_it_takes(find_many: Query) -> None:
    assert find_many.name == "sessions.find_many"
    assert (find_many.path, find_many.line) == ("sql/sessions.sql", 1)
    assert find_many.doc == "One page of a user's sessions.\nIt begins behind the cursor."
    assert find_many.required == {"user_id", "limit"}
    assert find_many.filters == {
        "state": {"state"},
        "started": {"started_from", "started_before"},
    }
    assert find_many.orders == ("newest", "oldest", "state")
    assert find_many.flags == {"with_depth", "include_deleted"}
    assert find_many.keyset("oldest") == ("started_at", "id")
    assert find_many.keyset("state") == ()


def test_a_statement_carries_the_tags_of_its_query(find_many: Query) -> None:
    statement, _ = find_many.bind({"user_id": 1, "limit": 2})
    assert (statement.name, statement.path, statement.line) == (
        "sessions.find_many",
        "sql/sessions.sql",
        1,
    )
    assert (statement.lane, statement.plan_cache_mode, statement.timeout_ms) == (
        "channel",
        "force_custom_plan",
        2000,
    )
    slow = read("SELECT 1", tags="-- lane: pool\n-- timeout: 250 ms\n").full
    assert (slow.lane, slow.plan_cache_mode, slow.timeout_ms) == ("pool", None, 250)


def test_a_parameter_that_is_used_twice_has_one_number() -> None:
    statement, values = read("SELECT :b, :a, :b", "a, b").bind({"a": 1, "b": 2})
    assert statement.text == "/* sessions.read */\nSELECT $1, $2, $1"
    assert (statement.parameters, values) == (("b", "a"), (2, 1))


@pytest.mark.parametrize(
    ("parameters", "arguments"), [("", {}), ("a", {"a": 1}), ("a, b, c", {"c": 3, "a": 1, "b": 2})]
)
def test_values_come_in_the_order_of_their_numbers(
    parameters: str, arguments: Mapping[str, Any]
) -> None:
    body = "SELECT 1" + "".join(f", :{name}" for name in sorted(arguments))
    _, values = read(body, parameters).bind(arguments)
    assert values == tuple(arguments[name] for name in sorted(arguments))


def test_none_is_a_value_like_any_other(find_many: Query) -> None:
    statement, values = find_many.bind({"user_id": 1, "limit": 2, "state": None})
    assert "s.state = $2" in statement.text
    assert values == (1, None, 2)


def test_all_but_comments_stays_as_it_is_written() -> None:
    body = """\
SELECT
\t'it''s -- no comment:
    :a  ', $$ :a
  -- none either $$,  -- but this is one

    /* kept :a */ data ? 'k', 7 % 2, "x :a", a[1:2]

-- gone
FROM t"""
    assert (
        read(body).full.text
        == """\
/* sessions.read */
SELECT
\t'it''s -- no comment:
    :a  ', $$ :a
  -- none either $$,
 data ? 'k', 7 % 2, "x :a", a[1:2]
FROM t"""
    )


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"user_id": 1}, "is missing arguments: limit"),
        ({}, "is missing arguments: limit, user_id"),
        ({"user_id": 1, "limit": 2, "stat": 3}, "got unknown arguments: stat"),
        ({"user_id": 1, "limit": 2, "order": "best"}, "got an unknown order: 'best'"),
        ({"user_id": 1, "limit": 2, "order": None}, "got an unknown order: None"),
        ({"user_id": 1, "limit": 2, "with_depth": "yes"}, "takes with_depth as True or False"),
        ({"user_id": 1, "limit": 2, "with_depth": True}, "is missing arguments: depth"),
        (
            {"user_id": 1, "limit": 2, "depth": 3},
            "got arguments without effect: depth goes with when: with_depth",
        ),
        (
            {"user_id": 1, "limit": 2, "started_from": 3},
            "started_from goes with filter: started (with started_before)",
        ),
        ({"user_id": 1, "limit": 2, "after_id": 3}, "after: newest (with after_started_at)"),
        (
            {"user_id": 1, "limit": 2, "order": "state", "after_id": 3, "after_started_at": 4},
            "got arguments without effect: after_id goes with",
        ),
    ],
)
def test_wrong_arguments_are_told_with_query_file_and_line(
    find_many: Query, arguments: Mapping[str, Any], complaint: str
) -> None:
    for _ in range(2):  # nothing about a refusal is remembered
        with pytest.raises(TypeError) as raised:
            find_many.bind(arguments)
        assert str(raised.value).startswith("sessions.find_many() (sql/sessions.sql:1) ")
        assert complaint in str(raised.value)


@pytest.mark.parametrize("arguments", [{"a": 1}, {"a": 1, "c": 2}, {"a": 1, "b": 2, "c": 3}])
def test_a_query_without_conditions_takes_exactly_its_parameters(
    arguments: Mapping[str, Any],
) -> None:
    with pytest.raises(TypeError, match=r"sessions.read\(\) .*(missing|unknown) arguments: [bc]"):
        read("SELECT :a, :b", "a, b").bind(arguments)


def test_an_order_is_unknown_to_a_query_without_orders() -> None:
    with pytest.raises(TypeError, match="got an unknown order: 'newest'"):
        read("SELECT 1").bind({"order": "newest"})


def test_a_parameter_of_an_unless_line_is_always_needed() -> None:
    query = read("SELECT 1\nWHERE true\n    AND a = :a  -- unless: b", "a")
    assert query.bind({"a": 1, "b": True})[1] == ()
    with pytest.raises(TypeError, match="missing arguments: a"):
        query.bind({"b": True})


@pytest.mark.parametrize(
    "body",
    [
        "INSERT INTO t (a) VALUES (1)",
        "WITH a AS (\n    delete FROM t RETURNING b\n)\nSELECT b FROM a",
        "SELECT a FROM t FOR UPDATE",
        "SELECT a FROM t FOR NO KEY UPDATE",
        "SELECT a FROM t FOR\n    KEY SHARE",
        "SELECT a INTO b FROM t",
        "MERGE INTO t USING u ON true WHEN MATCHED THEN DELETE",
        "-- why\n/* so */ CALL f()",
        "TRUNCATE t",
    ],
)
def test_a_text_that_changes_or_locks_rows_writes(body: str) -> None:
    assert read(body).full.access == "write"


@pytest.mark.parametrize(
    "body",
    [
        "SELECT 'INSERT', \"update\", t.delete, $$ MERGE $$, t.share  -- not: for update".replace(
            "-- not:", "-- not"
        ),
        "VALUES (1)",
        "(SELECT substring(a FOR 3)) UNION (SELECT b)",
        "WITH updates AS (SELECT 1) SELECT deleted_at, share FROM updates",
    ],
)
def test_a_text_that_only_reads_reads(body: str) -> None:
    assert read(body).full.access == "read"


def test_a_function_that_writes_is_declared() -> None:
    assert read("SELECT f()", tags="-- access: write\n").full.access == "write"


def test_a_lock_that_a_flag_takes_makes_that_variant_write() -> None:
    query = read("SELECT 1\nFROM t\nFOR UPDATE  -- when: locked")
    assert query.bind({})[0].access == "read"
    assert query.bind({"locked": True})[0].access == "write"
