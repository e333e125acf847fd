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

import psycopg
import pytest
from psycopg.rows import dict_row

from clonedb.database import Database
from clonedb.demo.papers import papers
from clonedb.demo.people import CONVERSATIONS, people
from clonedb.demo.workers import Desk, Reader
from clonedb.embedded import EmbeddedServer
from clonedb.loading.conversations import ConversationFile, GoodLine
from clonedb.repositories.conversation_turns import ConversationTurn
from clonedb.repositories.knowledge_documents import NewDocument
from clonedb.repositories.users import SignUp
from clonedb.testing import SUPERUSER

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


# What the database holds after one demonstration, as one row, by SQL of the test's own.
STORED = """
SELECT
    (SELECT count(*) FROM clonedb.voice_models) AS voices,
    (SELECT count(*) FROM clonedb.voice_models WHERE is_active) AS active_voices,
    (SELECT count(*) FROM clonedb.face_models WHERE is_active) AS active_faces,
    (SELECT count(*) FROM clonedb.knowledge_documents) AS documents,
    (SELECT count(*) FROM clonedb.knowledge_documents WHERE status = 'failed') AS failed,
    (SELECT sum(cardinality(vector_ids)) FROM clonedb.knowledge_documents)::integer AS vectors,
    (SELECT json_object_agg(claimed_by, documents) FROM (
        SELECT claimed_by, count(*) AS documents FROM clonedb.knowledge_documents GROUP BY 1
    ) AS one) AS readers,
    (SELECT count(*) FROM clonedb.embedding_cache) AS embeddings,
    (SELECT sum(hit_count) FROM clonedb.embedding_cache)::integer AS embedding_hits,
    (SELECT count(*) FROM clonedb.llm_response_cache) AS responses,
    (SELECT json_build_array(sum(request_count), sum(denied_count))
        FROM clonedb.rate_limits WHERE endpoint = 'demo/train-voice') AS trained,
    (SELECT sum(conversation_seconds) FROM clonedb.daily_usage)::float8 AS used_seconds,
    (SELECT json_object_agg(action, json_build_array(entries, failures)) FROM (
        SELECT action, count(*) AS entries, count(*) FILTER (WHERE result = 'failure') AS failures
        FROM clonedb.audit_logs GROUP BY 1
    ) AS one) AS actions
"""


@pytest.fixture(scope="module")
def stored(figures: dict[str, Any], lasting_directory: Path) -> dict[str, Any]:
    with (
        EmbeddedServer(lasting_directory) as server,
        psycopg.connect(server.dsn(SUPERUSER), row_factory=dict_row) as connection,
    ):
        row = connection.execute(STORED).fetchone()
    assert row is not None
    return row


def test_every_conversation_written_for_it_is_read_and_has_its_person() -> None:
    with ConversationFile(CONVERSATIONS) as file:
        lines = list(file)
    assert all(isinstance(line, GoodLine) for line in lines)
    held = [one.id for person in people() for one in person.conversations]
    assert len(held) == len(lines) == 12
    assert all(person.conversations for person in people())


def test_whatever_a_conversation_cites_is_one_of_its_persons_papers() -> None:
    given = {(paper.owner, paper.filename) for paper in papers()}
    assert len(given) == len(papers()) == 15
    cited = {
        (one.id.split("/")[0], source)
        for person in people()
        for one in person.conversations
        for source in one.services
    }
    assert cited < given


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
        "36 activations, 24 of them at once: one active voice each",
        "15 documents read by 3 workers",
        "37 vectors, 0 waiting",
        "worker 0 fell silent with it",
        "failed: there is no text in the picture",
        "Rosa  cinnamon or crumbs",
        "[crumbs] in butter with [cinnamon]",
        "[lentes] se limpian",
        "nothing: it is in documents of others",
        "Rosa, 20 callers at once  once computed in",
        "Rosa asks again  from memory in",
        "every process forgets; then computed in",
        "3 allowed, 9 denied; again in",
        "over_quota",
        "session.start             ██████████ 1,213",
        "session.end               ██████████ 1,212",
        "does not exist for Oskar",
        "removed now",
    ):
        assert _on_one_line(promised) in _on_one_line(printed)
    assert "\x1b" not in printed
    assert max(map(len, printed.splitlines())) <= 80


def _on_one_line(text: str) -> str:
    return " ".join(text.split())


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


def test_one_voice_of_everybody_is_active_and_the_one_before_is_not(
    figures: dict[str, Any], stored: dict[str, Any]
) -> None:
    made = figures["models"]["people"]
    assert [one["name"] for one in made] == [one["name"] for one in figures["live"]["people"]]
    for one in made:
        assert one["voice"]["is_active"] is one["face"]["is_active"] is True
        assert one["voice_before"]["is_active"] is False
        assert one["voice"]["quality_score"] > one["voice_before"]["quality_score"]
        assert one["active_voices"] == 1
    assert (stored["voices"], stored["active_voices"], stored["active_faces"]) == (12, 6, 6)


def test_every_document_is_read_by_one_worker_although_another_fell_silent(
    figures: dict[str, Any], stored: dict[str, Any]
) -> None:
    read = figures["documents"]
    pieces = sum(len(paper.pieces) for paper in papers())
    assert read["documents"] == stored["documents"] == len(papers())
    assert read["vectors"] == read["embeddings_made"] == pieces
    assert (stored["vectors"], stored["embeddings"]) == (pieces, pieces)
    assert read["embeddings_found"] == stored["embedding_hits"] > 0
    finished = {
        one["worker"]: one["completed"] + one["failed"]
        for one in read["workers"]
        if one["completed"] + one["failed"]
    }
    assert finished == stored["readers"]
    assert sum(one["failed"] for one in read["workers"]) == stored["failed"] == 1
    assert read["failures"] == [
        {"filename": "kitchen-wall-1966.jpg", "error_message": "there is no text in the picture"}
    ]
    lost = read["lost"]
    assert (lost["attempts"], lost["late_answer"]) == (2, "ClaimLost")
    assert lost["finished_by"] in finished
    assert (read["queue"]["pending"], read["queue"]["processing"]) == (0, 0)
    statistics = [one["statistics"] for one in read["people"]]
    assert sum(one["documents"] for one in statistics) == len(papers())
    assert sum(one["chunks"] for one in statistics) == pieces


def test_a_search_finds_ones_own_documents_best_first_and_nothing_of_others(
    figures: dict[str, Any],
) -> None:
    rosa, joaquin, oskar = figures["documents"]["searches"]
    assert [one["document"]["filename"] for one in rosa["matches"]] == [
        "letters-1974.pdf",
        "recipe-notebook.pdf",
    ]
    assert {one["document"]["language"] for one in joaquin["matches"]} == {"english", "spanish"}
    for search in (rosa, joaquin):
        ranks = [one["rank"] for one in search["matches"]]
        assert ranks == sorted(ranks, reverse=True)
        assert all("⟦" in one["snippet"] for one in search["matches"])
    assert (oskar["question"], oskar["matches"]) == ("cinnamon", [])


def test_an_answer_is_cached_for_its_owner_until_a_source_changes(
    figures: dict[str, Any], stored: dict[str, Any]
) -> None:
    cache = figures["cache"]
    asked = ("first", "again", "elsewhere", "reader_asks", "after_change")
    assert [cache[one]["tier"] for one in asked] == [
        "computed",
        "memory",
        "database",
        "computed",
        "computed",
    ]
    assert [cache[one]["right"] for one in asked] == [True, True, True, False, True]
    assert (cache["callers"], cache["computed"], stored["responses"]) == (20, 1, 2)
    held = {one["cache"]: (one["entries"], one["hits"]) for one in cache["caches"]}
    assert held["llm_response"] == (2, 2)
    assert held["embedding"] == (stored["embeddings"], stored["embedding_hits"])


def test_of_calls_at_once_as_many_are_allowed_as_the_rule_says(
    figures: dict[str, Any], stored: dict[str, Any]
) -> None:
    limits = figures["limits"]
    assert limits["rule"]["capacity"] == limits["allowed"] == 3
    assert (limits["calls"], limits["denied"]) == (12, 9)
    assert limits["denied_last"]["allowed"] is False
    assert 0 < limits["denied_last"]["retry_after"] <= 600
    counted = limits["statistics"]
    # PostgreSQL counts admitted and denied apart.
    assert [counted["request_count"], counted["denied_count"]] == stored["trained"] == [3, 9]
    assert limits["talked"]["allowed"] is True
    assert limits["talked_seconds"] == stored["used_seconds"]
    assert (limits["too_long"]["allowed"], limits["too_long"]["reason"]) == (False, "over_quota")


def test_the_trail_has_an_entry_for_every_deed_and_is_its_owners(
    figures: dict[str, Any], stored: dict[str, Any]
) -> None:
    audit = figures["audit"]
    counted = {one["action"]: [one["entries"], one["failures"]] for one in audit["actions"]}
    assert counted == stored["actions"]
    # One that finds its voice active changes nothing, and who comes when is chance.
    activations, refused = counted.pop("voice_model.activate")
    assert 0 < activations <= figures["models"]["activations"]
    assert refused == 0
    talks = figures["totals"]["sessions"]
    assert counted == {
        "user.sign_up": [len(people()) + 8, 0],
        "voice_model.create": [12, 0],
        "face_model.create": [6, 0],
        "face_model.activate": [6, 0],
        "session.start": [talks + 1, 0],
        "session.end": [talks, 0],
        "session.erase": [1, 0],
        "document.upload": [15, 0],
        "document.process": [15, 1],
        "document.search": [3, 0],
        "voice_model.train": [12, figures["limits"]["denied"]],
        "conversation.extend": [1, 1],
        "conversation_turn.record": [1, 1],
        "rate_limit_rule.put": [1, 0],
    }
    counted["voice_model.activate"] = [activations, 0]
    assert audit["statistics"]["entries"] == sum(entries for entries, _ in counted.values())
    assert audit["statistics"]["subjects"] == len(people()) + 8
    assert 0 < audit["owner_entries"] < audit["statistics"]["entries"]
    assert audit["owner_last"] is not None
    assert audit["reader_found"] is None


def test_a_second_run_on_the_same_data_finds_its_people_and_adds_conversations(
    figures: dict[str, Any], stored: dict[str, Any], lasting_directory: Path
) -> None:
    completed = run("--json", "--data", lasting_directory, temporary=lasting_directory)
    again = json.loads(completed.stdout)
    assert again["server"]["migrations"] == 0
    assert again["server"]["kept"] is True
    assert again["totals"]["users"] == figures["totals"]["users"]
    assert again["totals"]["turns"] == 2 * figures["totals"]["turns"]
    assert again["bulk"]["turns_already_stored"] == 0
    assert again["documents"]["documents"] == stored["documents"]
    assert again["documents"]["lost"]["late_answer"] == "ClaimLost"
    assert again["documents"]["queue"]["pending"] == 0
    assert again["documents"]["embeddings_made"] == 0
    # What is stored already is on record already.
    counted = {one["action"]: one["entries"] for one in again["audit"]["actions"]}
    assert counted.pop("voice_model.activate") > 0
    assert counted == {
        action: entries
        for action, (entries, _) in stored["actions"].items()
        if action
        not in (
            "document.upload",
            "face_model.activate",
            "face_model.create",
            "user.sign_up",
            "voice_model.activate",
            "voice_model.create",
        )
    }
    asked = [again["cache"][one]["tier"] for one in ("first", "again", "after_change")]
    assert asked == ["computed", "memory", "computed"]
    assert (again["limits"]["allowed"], again["limits"]["denied"]) == (3, 9)


async def test_documents_of_others_wait_on_for_workers_of_their_own(
    clonedb_app: Database, clonedb_worker: Database
) -> None:
    user = await clonedb_app.users.sign_up(SignUp(email="ada@example.com"))
    documents = clonedb_app.as_user(user.id).knowledge_documents
    new = NewDocument(filename="letter.txt", content_type="text/plain", size_bytes=4)
    waiting = await documents.create(new)
    await Reader(Desk(clonedb_worker, []), "worker 1").read_all()
    after = await documents.get_by_id(waiting.id)
    assert (after.status, after.claimed_by, after.vector_ids) == ("pending", None, [])


def test_a_directory_that_is_not_its_own_is_refused_in_one_line(data_directory: Path) -> None:
    (data_directory / "letter.txt").write_text("dear")
    completed = run("--data", data_directory, temporary=data_directory)
    assert completed.returncode == 2
    assert "is not empty" in completed.stderr
    assert "Traceback" not in completed.stderr
    assert (data_directory / "letter.txt").read_text() == "dear"
