"""`clonedb demo`: one command shows a stored conversation to somebody who has never seen one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from clonedb.demo.people import CONVERSATIONS, people
from clonedb.loading.conversations import ConversationFile, GoodLine
from clonedb.repositories.conversation_turns import ConversationTurn

COMMAND = (sys.executable, "-c", "from clonedb.cli import main; main()", "demo")


def run(
    *arguments: object, temporary: Path, **environment: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *map(str, arguments)],
        env={**os.environ, "COLUMNS": "80", "TMPDIR": str(temporary), **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def printed() -> str:
    completed = run(temporary=Path("/tmp"))  # noqa: S108 - open to the server's account
    assert completed.returncode == 0, completed.stderr
    assert completed.stderr == ""
    return completed.stdout


@pytest.fixture(scope="module")
def lasting_directory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="clonedb-test-") as temporary:
        yield Path(temporary)


@pytest.fixture(scope="module")
def figures(lasting_directory: Path) -> dict[str, Any]:
    completed = run("--json", "--data", lasting_directory, temporary=lasting_directory)
    assert completed.returncode == 0, completed.stderr
    report: dict[str, Any] = json.loads(completed.stdout)
    return report


def test_every_conversation_written_for_it_is_read_and_has_its_person() -> None:
    with ConversationFile(CONVERSATIONS) as file:
        lines = list(file)
    assert all(isinstance(line, GoodLine) for line in lines)
    held = [one.id for person in people() for one in person.conversations]
    assert len(held) == len(lines) == 12
    assert all(person.conversations for person in people())


def test_it_draws_everything_it_promises_without_colours_in_80_columns(printed: str) -> None:
    for promised in (
        "migrations applied",
        "Rosa Lindqvist",
        "States the conversations walked through",
        "processing",
        "turns per second",
        "users",
        "sessions",
        "claude-3-opus",
        "wait, ms",
        "Mama says you browned the crumbs in butter",
        "None: it does not exist for others",
        "NotFound",
        "0 users, 0 sessions of 1,212",
        "InvalidTransition",
        "still turn 5 of 5, stored once",
        "removed now",
    ):
        assert promised in printed
    assert "\x1b" not in printed
    assert max(map(len, printed.splitlines())) <= 80


def test_the_temporary_directory_is_gone_afterwards(printed: str) -> None:
    place = next(line.strip() for line in printed.splitlines() if "clonedb-demo-" in line)
    assert not Path(place).exists()


def test_the_figures_agree_with_each_other_and_with_what_was_said(figures: dict[str, Any]) -> None:
    turns = sum(len(one.turns) for person in people() for one in person.conversations)
    live, bulk, totals = figures["live"], figures["bulk"], figures["totals"]
    assert live["turns"] == turns == sum(one["statistics"]["turns"] for one in live["people"])
    assert bulk["turns_stored"] == 100 * turns
    assert totals["turns"] == 101 * turns
    assert (totals["users"], totals["sessions"], totals["active_sessions"]) == (14, 1212, 0)
    assert sum(one["turns"] for one in figures["providers"]) == totals["turns"]
    assert figures["seconds"] > bulk["seconds"] > 0


def test_every_state_that_is_entered_is_left_again(figures: dict[str, Any]) -> None:
    entered: Counter[str] = Counter()
    left: Counter[str] = Counter()
    for move in figures["live"]["moves"]:
        entered[move["to_state"]] += move["count"]
        left[move["from_state"]] += move["count"]
    assert entered == left
    assert left["idle"] == figures["live"]["conversations"]
    assert left["speaking"] == figures["live"]["turns"]
    assert {"interrupted", "error"} <= left.keys()


def test_the_transcript_is_what_rosa_and_the_clone_said(figures: dict[str, Any]) -> None:
    spoken = people()[0].conversations[0]
    read = figures["transcript"]["turns"]
    assert set(read[0]) == set(ConversationTurn.__struct_fields__)
    assert [(turn["user_transcript"], turn["llm_response"]) for turn in read] == [
        (turn.user, turn.system) for turn in spoken.turns
    ]


def test_another_person_gets_nothing_and_a_repeated_turn_is_stored_once(
    figures: dict[str, Any],
) -> None:
    refusals, repeated = figures["refusals"], figures["repeated"]
    assert refusals["reader_found"] is None
    assert refusals["reader_recording"] == "NotFound"
    assert refusals["leap"] == "InvalidTransition"
    assert refusals["app_without_user"]["sessions"] == 0
    assert repeated["turns_before"] == repeated["turns_after"] == repeated["turn_number"]


def test_a_second_run_on_the_same_data_finds_its_people_and_adds_conversations(
    figures: dict[str, Any], lasting_directory: Path
) -> None:
    completed = run("--json", "--data", lasting_directory, temporary=lasting_directory)
    again = json.loads(completed.stdout)
    assert again["server"]["migrations"] == 0
    assert again["server"]["kept"] is True
    assert again["totals"]["users"] == figures["totals"]["users"]
    assert again["totals"]["turns"] == 2 * figures["totals"]["turns"]
    assert again["bulk"]["turns_already_stored"] == 0


def test_a_directory_that_is_not_its_own_is_refused_in_one_line(data_directory: Path) -> None:
    (data_directory / "letter.txt").write_text("dear")
    completed = run("--data", data_directory, temporary=data_directory)
    assert completed.returncode == 2
    assert "is not empty" in completed.stderr
    assert "Traceback" not in completed.stderr
    assert (data_directory / "letter.txt").read_text() == "dear"
