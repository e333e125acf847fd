"""Where the conversations of a file go: the same rows for ever, all inside the month."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clonedb.errors import InvalidInput
from clonedb.ids import time_of
from clonedb.loading.conversations import MAXIMUM_TURNS, Conversation, Exchange, GoodLine
from clonedb.loading.placement import Placement

identifiers = st.text(st.characters(exclude_characters="\0", codec="utf-8"), min_size=1)


def good(identifier: str, turns: int = 2) -> GoodLine:
    return GoodLine(1, Conversation(id=identifier, turns=[Exchange("u", "s")] * turns))


@given(identifiers, st.sampled_from([date(2024, 2, 1), date(2024, 2, 29), date(2026, 1, 15)]))
def test_every_row_of_a_conversation_lies_in_the_month(identifier: str, month: date) -> None:
    placed = Placement(month=month).place(good(identifier))
    moments = [placed.session.started_at, placed.ending.ended_at]
    moments += [time_of(turn.id) for turn in placed.turns if turn.id]
    assert {(at.year, at.month) for at in moments if at} == {(month.year, month.month)}


def test_the_longest_conversation_of_the_latest_start_ends_within_the_month() -> None:
    placed = Placement(month=date(2026, 2, 1)).place(good("a", MAXIMUM_TURNS))
    started_at, ended_at = placed.session.started_at, placed.ending.ended_at
    assert started_at
    assert ended_at
    latest = datetime(2026, 2, 28, tzinfo=UTC)
    assert latest + (ended_at - started_at) < datetime(2026, 3, 1, tzinfo=UTC)


@given(identifiers)
def test_the_same_id_names_the_same_rows_and_another_number_of_users_the_same_session(
    identifier: str,
) -> None:
    one, again = Placement().place(good(identifier)), Placement().place(good(identifier))
    assert one == again
    assert Placement(users=7).place(good(identifier)).session.id == one.session.id


@given(identifiers)
def test_turns_have_ids_of_their_own_that_follow_each_other(identifier: str) -> None:
    turns = Placement().place(good(identifier, 20)).turns
    ids = [turn.id for turn in turns if turn.id]
    assert len(set(ids)) == 20
    assert ids == sorted(ids)


def test_conversations_are_spread_over_all_the_users() -> None:
    placement = Placement(users=10)
    emails = {placement.place(good(f"dialogue {number}")).user.email for number in range(500)}
    assert emails == {f"conversations-{number:03}@load.example" for number in range(10)}


@pytest.mark.parametrize("users", [0, -1, 10_001])
def test_a_number_of_users_that_makes_no_sense_is_refused(users: int) -> None:
    with pytest.raises(InvalidInput, match="users"):
        Placement(users=users)


def test_a_month_that_is_not_over_is_refused() -> None:
    with pytest.raises(InvalidInput, match="is not over"):
        Placement(month=(datetime.now(UTC) + timedelta(days=40)).date())
