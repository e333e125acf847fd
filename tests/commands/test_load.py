"""`clonedb load`: everything is stored, once, whatever happens in between."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
import psycopg
import pytest

from clonedb import Database, InvalidInput, NewTurn
from clonedb.loading.conversations import (
    BadLine,
    Conversation,
    ConversationFile,
    Exchange,
    GoodLine,
)
from clonedb.loading.load import load
from clonedb.loading.placement import Placement
from clonedb.testing import SUPERUSER, IsolatedDatabase

PROGRAM = "from clonedb.cli import main; main()"
COMMAND = (sys.executable, "-c", PROGRAM)

# When a row was stored, and what is drawn at random, differ between two loads of one file.
CLOCKS_AND_CHANCE = ["created_at", "updated_at", "subject_ref"]
# Nobody makes the audit log forget, and its entries bear ids and transactions of their own.
EVERYTHING = "TRUNCATE clonedb.users, clonedb.audit_logs CASCADE"
OF_THE_LOG = ["id", "xid"]


def conversation(number: int, turns: int = 3) -> bytes:
    return msgspec.json.encode(
        Conversation(
            id=f"dialogue {number}",
            services=["timetable", "weather"],
            turns=[
                Exchange(f"Question {number}.{turn}?", f"Answer {number}.{turn}: naïve, 日本語.")
                for turn in range(turns)
            ],
        )
    )


def write(folder: Path, *lines: bytes) -> Path:
    path = folder / "conversations.jsonl"
    path.write_bytes(b"\n".join(lines) + b"\n")
    return path


def run(
    *arguments: object, dsn: str | None = None, **variables: str
) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "COLUMNS": "80", **variables}
    environment.pop("DATABASE_URL", None)
    if dsn is not None:
        environment["DATABASE_URL"] = dsn
    return subprocess.run(
        [*COMMAND, *map(str, arguments)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def load_from(
    pipe: Path, database: IsolatedDatabase, *, interrupted: str = "default_int_handler"
) -> subprocess.Popen[str]:
    """A load that goes on for as long as the pipe is open."""
    # Whether it heeds SIGINT is inherited, and in a script's background nothing does.
    heeding = f"import signal; signal.signal(signal.SIGINT, signal.{interrupted}); {PROGRAM}"
    return subprocess.Popen(
        [sys.executable, "-c", heeding, "load", pipe, "--dsn", database.dsn("clonedb_worker")],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


async def open_for_writing(pipe: Path, process: subprocess.Popen[str]) -> BinaryIO:
    """The pipe, once the process reads from it; one that has ended would never do."""
    while True:
        try:
            file = os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            assert process.poll() is None
            await asyncio.sleep(0.01)
        else:
            os.set_blocking(file, True)
            return os.fdopen(file, "wb", buffering=0)


def send(writing: BinaryIO, text: bytes) -> None:
    """Write all of the text, or what a reader takes that is stopped meanwhile."""
    with suppress(BrokenPipeError):
        while text:
            text = text[writing.write(text) :]


async def until_turns_are_stored(
    worker: Database, process: subprocess.Popen[str], turns: int = 1
) -> None:
    while (await worker.statistics.totals()).turns < turns:
        assert process.poll() is None
        await asyncio.sleep(0.01)


def rows_of_all_tables(database: IsolatedDatabase, without: list[str]) -> dict[str, list[Any]]:
    """Every row of every table that has any, as JSON without some columns, in an order."""
    with psycopg.connect(database.dsn(SUPERUSER), autocommit=True) as connection:
        tables = connection.execute(
            "SELECT c.relname FROM pg_class AS c WHERE c.relkind IN ('r', 'p') "
            "AND NOT c.relispartition AND c.relnamespace = 'clonedb'::regnamespace"
        ).fetchall()
        found = {}
        for (table,) in tables:
            query = psycopg.sql.SQL(
                "SELECT (to_jsonb(t) - %s::text[])::text FROM clonedb.{} AS t ORDER BY 1"
            ).format(psycopg.sql.Identifier(table))
            left_out = without + (OF_THE_LOG if table == "audit_logs" else [])
            if rows := connection.execute(query, [left_out]).fetchall():
                found[table] = rows
    return found


def execute(database: IsolatedDatabase, command: str) -> Any:
    with psycopg.connect(database.dsn(SUPERUSER), autocommit=True) as connection:
        cursor = connection.execute(command.encode())
        return cursor.fetchone() if cursor.description else None


async def test_the_sums_in_the_database_are_those_of_the_file(
    worker: Database, migrated: IsolatedDatabase, tmp_path: Path
) -> None:
    path = write(tmp_path, *(conversation(number, 1 + number % 5) for number in range(60)))
    report = await load(worker, path, users=7)

    with ConversationFile(path) as file:
        placed = [Placement(users=7).place(one) for one in file if isinstance(one, GoodLine)]
    turns = [turn for one in placed for turn in one.turns]
    zero = Decimal(0)
    costs = sum((turn.asr_cost + turn.llm_cost + turn.tts_cost for turn in turns), zero)
    latency = sum(turn.total_latency_ms or 0 for turn in turns)
    characters = sum(len(turn.user_transcript) + len(turn.llm_response) for turn in turns)
    assert (report.users, report.sessions_stored, report.turns_stored) == (7, 60, len(turns))
    assert execute(
        migrated,
        "SELECT count(*), sum(length(user_transcript) + length(llm_response)), "
        "sum(total_latency_ms), sum(total_cost) FROM clonedb.conversation_turns",
    ) == (len(turns), characters, latency, costs)
    assert execute(
        migrated,
        "SELECT count(*), count(ended_at), sum(total_turns), sum(total_latency_ms), "
        "sum(total_cost), sum(extract(EPOCH FROM ended_at - started_at)) "
        "FROM clonedb.conversation_sessions",
    ) == (60, 60, len(turns), latency, costs, 8 * len(turns))


async def test_a_conversation_is_read_back_in_its_order_with_its_services(
    worker: Database, tmp_path: Path
) -> None:
    await load(worker, write(tmp_path, conversation(1, 12)))
    placed = Placement().place(
        GoodLine(1, msgspec.json.decode(conversation(1, 12), type=Conversation))
    )
    assert placed.user.id
    assert placed.session.id
    sessions = worker.as_user(placed.user.id).conversation_sessions
    read = await sessions.with_turns(placed.session.id)
    assert read
    assert [turn.user_transcript for turn in read.turns] == [f"Question 1.{n}?" for n in range(12)]
    assert [turn.turn_number for turn in read.turns] == list(range(1, 13))
    assert {tuple(turn.retrieved_chunks) for turn in read.turns} == {("timetable", "weather")}


async def test_a_second_load_changes_no_row_not_even_its_clock(
    worker: Database, migrated: IsolatedDatabase, tmp_path: Path
) -> None:
    path = write(tmp_path, *(conversation(number) for number in range(40)))
    first = await load(worker, path, users=5)
    before = rows_of_all_tables(migrated, without=[])
    second = await load(worker, path, users=5)
    assert rows_of_all_tables(migrated, without=[]) == before
    assert len(before["conversation_turns"]) == 120
    assert (first.turns_stored, first.turns_already_stored) == (120, 0)
    assert (second.turns_stored, second.turns_already_stored) == (0, 120)
    assert (second.sessions_stored, second.sessions_already_stored) == (0, 40)


async def test_two_loads_of_one_file_at_once_store_it_once(
    worker: Database, migrated: IsolatedDatabase, tmp_path: Path
) -> None:
    path = write(tmp_path, *(conversation(number) for number in range(80)))
    await load(worker, path, users=5)
    once = rows_of_all_tables(migrated, without=CLOCKS_AND_CHANCE)
    execute(migrated, EVERYTHING)
    reports = await asyncio.gather(*(load(worker, path, users=5) for _ in range(3)))
    assert rows_of_all_tables(migrated, without=CLOCKS_AND_CHANCE) == once
    assert sum(report.turns_stored for report in reports) == 240


async def test_a_load_killed_half_way_is_finished_by_the_same_command(
    migrated: IsolatedDatabase, worker: Database, tmp_path: Path
) -> None:
    lines = [conversation(number, 20) for number in range(260)]
    path = write(tmp_path, *lines)
    await load(worker, path)
    uninterrupted = rows_of_all_tables(migrated, without=CLOCKS_AND_CHANCE)
    execute(migrated, EVERYTHING)

    # Through a pipe that is not closed, so that no load can be too quick to be killed.
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    process = load_from(pipe, migrated)
    try:
        with await open_for_writing(pipe, process) as writing:
            await asyncio.to_thread(send, writing, b"\n".join(lines[:210]) + b"\n")
            await until_turns_are_stored(worker, process)
            process.kill()
            process.wait()
    finally:
        process.kill()
        process.communicate()
    stored = (await worker.statistics.totals()).turns
    assert 0 < stored <= 4_200
    assert execute(
        migrated, "SELECT count(*) FROM clonedb.conversation_sessions WHERE total_turns <> 20"
    ) == (0,)

    completed = run("load", path, "--json", dsn=migrated.dsn("clonedb_worker"))
    assert completed.returncode == 0, completed.stderr
    report = msgspec.json.decode(completed.stdout)
    assert report["turns_stored"] + report["turns_already_stored"] == 5_200
    assert report["turns_already_stored"] >= stored
    assert rows_of_all_tables(migrated, without=CLOCKS_AND_CHANCE) == uninterrupted


async def test_interrupting_leaves_whole_conversations_and_no_traceback(
    migrated: IsolatedDatabase, worker: Database, tmp_path: Path
) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    process = load_from(pipe, migrated)
    lines = [conversation(number, 5) for number in range(4_000)]
    with await open_for_writing(pipe, process) as writing:
        sending = asyncio.create_task(asyncio.to_thread(send, writing, b"\n".join(lines)))
        await until_turns_are_stored(worker, process)
        process.send_signal(signal.SIGINT)
        _, said = await asyncio.to_thread(process.communicate, timeout=60)
        await sending
    assert process.returncode == 130
    assert said.startswith("stopped: every conversation is stored whole"), said
    assert "Traceback" not in said
    assert execute(
        migrated,
        "SELECT count(*) FROM clonedb.conversation_sessions "
        "WHERE total_turns <> 5 OR ended_at IS NULL",
    ) == (0,)


async def test_interrupting_ends_a_load_that_waits_for_more(
    migrated: IsolatedDatabase, worker: Database, tmp_path: Path
) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    process = load_from(pipe, migrated)
    lines = [conversation(number, 5) for number in range(900)]
    try:
        with await open_for_writing(pipe, process) as writing:
            await asyncio.to_thread(send, writing, b"\n".join(lines))
            # A batch is stored, and the rest is read: it waits for what fills the next.
            await until_turns_are_stored(worker, process, 4_000)
            process.send_signal(signal.SIGINT)
            _, said = await asyncio.to_thread(process.communicate, timeout=20)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == 130
    assert said.startswith("stopped: every conversation is stored whole"), said
    assert "Traceback" not in said


async def test_a_load_that_was_interrupted_a_moment_ago_waits_for_no_pipe(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writing = os.open(pipe, os.O_RDWR)
    os.write(writing, conversation(1) + b"\n")

    async def read() -> None:
        with ConversationFile(pipe) as file:
            lines = iter(file)
            assert isinstance(next(lines), GoodLine)
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
            next(lines)

    watchdog = threading.Timer(5, os.write, (writing, b"x\n"))  # else it would wait for ever
    watchdog.start()
    try:
        with pytest.raises(asyncio.CancelledError):
            await asyncio.create_task(read())
        assert not watchdog.finished.is_set()
    finally:
        watchdog.cancel()
        os.close(writing)


async def test_a_task_that_was_once_cancelled_and_went_on_reads_a_pipe(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writing = os.open(pipe, os.O_RDWR)
    os.write(writing, conversation(1) + b"\n")

    async def read() -> object:
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(60)
        with ConversationFile(pipe) as file:
            return next(iter(file))

    reading = asyncio.create_task(read())
    await asyncio.sleep(0)
    reading.cancel()
    assert isinstance(await reading, GoodLine)
    os.close(writing)


async def test_where_interrupting_is_ignored_a_load_goes_on(
    migrated: IsolatedDatabase, worker: Database, tmp_path: Path
) -> None:
    """As in the background of a script, whose Ctrl-C is not meant for it."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with load_from(pipe, migrated, interrupted="SIG_IGN") as process:
        with await open_for_writing(pipe, process) as writing:
            lines = [conversation(number, 5) for number in range(900)]
            await asyncio.to_thread(send, writing, b"\n".join(lines) + b"\n")
            await until_turns_are_stored(worker, process, 4_000)
            process.send_signal(signal.SIGINT)
            await asyncio.to_thread(send, writing, conversation(900, 5))
        _, said = await asyncio.to_thread(process.communicate, timeout=60)
    assert process.returncode == 0, said
    assert execute(migrated, "SELECT count(*) FROM clonedb.conversation_turns") == (4_505,)


async def test_bad_lines_are_named_and_skipped_and_the_rest_is_stored(
    migrated: IsolatedDatabase, worker: Database, tmp_path: Path
) -> None:
    path = write(
        tmp_path,
        conversation(1),
        b"once upon a time",
        conversation(2),
        b'{"id": "x", "turns": []}',
        b'{"id": "y", "turns": [{"user": "a\\u0000", "system": "b"}]}',
        b'{"id": "z", "turns": [{"user": "\\ud800", "system": "b"}]}',
        b'{"id": "w", "turns": [{"user": "' + b"x" * 1_048_577 + b'", "system": ""}]}',
        b"",
        conversation(1),
        conversation(3),
    )
    completed = run("load", path, "--json", dsn=migrated.dsn("clonedb_worker"))
    report = msgspec.json.decode(completed.stdout)
    assert completed.returncode == 1
    assert [bad["line"] for bad in report["bad_lines"]] == [2, 4, 5, 6, 7, 9]
    assert report["bad_line_count"] == 6
    for number in (2, 4, 5, 6, 7, 9):
        assert f"conversations.jsonl:{number}: skipped: " in completed.stderr
    assert (report["sessions_stored"], report["turns_stored"]) == (3, 9)
    assert (await worker.statistics.totals()).turns == 9


async def test_a_conversation_that_is_stored_with_other_content_is_a_bad_line(
    worker: Database, migrated: IsolatedDatabase, tmp_path: Path
) -> None:
    await load(worker, write(tmp_path, *(conversation(number) for number in range(6))), users=1)
    before = rows_of_all_tables(migrated, without=[])
    altered = [
        conversation(0),
        conversation(1).replace(b"Answer 1.2", b"Another 1.2"),
        conversation(2, turns=4),
        conversation(3, turns=2),
        conversation(4).replace(b"weather", b"climate"),
        conversation(5),
    ]
    told: list[BadLine] = []
    report = await load(worker, write(tmp_path, *altered), users=1, on_bad_line=told.append)
    assert [bad.line for bad in report.bad_lines] == [2, 3, 4, 5]
    assert sorted(bad.line for bad in told) == [2, 3, 4, 5]
    assert all("stored otherwise" in bad.reason for bad in told)
    assert report.turns_already_stored == 6
    assert rows_of_all_tables(migrated, without=[]) == before


async def test_a_report_lists_a_hundred_bad_lines_and_counts_them_all(
    worker: Database, tmp_path: Path
) -> None:
    report = await load(worker, write(tmp_path, *[b"?"] * 250))
    assert report.bad_line_count == 250
    assert [bad.line for bad in report.bad_lines] == list(range(1, 101))


async def test_the_month_of_the_conversations_is_made_where_it_is_missing(
    worker: Database, tmp_path: Path
) -> None:
    path = write(tmp_path, conversation(1))
    assert (await load(worker, path, month=date(1999, 12, 31))).months_made == 1
    again = await load(worker, path, month=date(1999, 12, 1))
    assert (again.months_made, again.turns_already_stored) == (0, 3)


async def test_a_load_is_not_one_of_the_users_own_conversations(
    worker: Database, tmp_path: Path
) -> None:
    """A session of the load is ended: a service that knew its id could add nothing to it."""
    await load(worker, write(tmp_path, conversation(1)))
    placed = Placement().place(GoodLine(1, msgspec.json.decode(conversation(1), type=Conversation)))
    assert placed.user.id
    assert placed.session.id
    sessions = worker.as_user(placed.user.id).conversation_sessions
    session = await sessions.get_by_id(placed.session.id)
    assert session.ended_at == placed.ending.ended_at
    with pytest.raises(Exception, match="has ended"):
        await sessions.record_turn(session.id, NewTurn(user_transcript="u", llm_response="s"))


def test_memory_does_not_grow_with_the_file(migrated: IsolatedDatabase, tmp_path: Path) -> None:
    def peak(numbers: range) -> float:
        # About 70 kB a conversation.
        lines = (
            conversation(number, 10).replace(b"Answer", b"Answer" * 1_200) for number in numbers
        )
        completed = run("load", write(tmp_path, *lines), "--json", dsn=dsn)
        assert completed.returncode == 0, completed.stderr
        return float(msgspec.json.decode(completed.stdout)["peak_memory_mib"])

    dsn = migrated.dsn("clonedb_worker")
    few, many = peak(range(60)), peak(range(100, 500))
    assert many < 150
    assert many < few + 20


def test_the_picture_says_what_was_stored_now_and_before(
    migrated: IsolatedDatabase, tmp_path: Path
) -> None:
    path = write(tmp_path, *(conversation(number) for number in range(20)), b"?")
    first, second = (run("load", path, dsn=migrated.dsn("clonedb_worker")) for _ in range(2))
    assert "turns per second" in first.stdout
    assert "stored now" in first.stdout
    assert "60 turns  20 sessions" in first.stdout
    assert "stored before" not in first.stdout
    assert "compared and left as they were" in second.stdout
    assert "gpt-" in first.stdout or "claude-" in first.stdout
    assert "\x1b" not in first.stdout + first.stderr
    # But for the last line, the database's name, which is not broken.
    assert max(map(len, first.stdout.splitlines()[:-1])) <= 80


def test_an_output_without_unicode_gets_question_marks_and_no_error(
    migrated: IsolatedDatabase, tmp_path: Path
) -> None:
    path = write(tmp_path, conversation(1))
    dsn = migrated.dsn("clonedb_worker")
    completed = run("load", path, dsn=dsn, PYTHONIOENCODING="ascii")
    assert completed.returncode == 0, completed.stderr
    assert "????" in completed.stdout


def test_without_a_database_it_starts_and_migrates_an_embedded_server(
    data_directory: Path, tmp_path: Path
) -> None:
    completed = run("load", write(tmp_path, conversation(1)), "--data", data_directory)
    assert completed.returncode == 0, completed.stderr
    assert "3 turns  1 sessions" in completed.stdout
    assert str(data_directory) in completed.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["missing.jsonl"], 2, "missing.jsonl"),
        (["."], 2, "Is a directory"),
        (["FILE", "--users", "0"], 2, "--users"),
        (["FILE", "--users", "10001"], 2, "10,001 users"),
        (["FILE", "--month", "2026-13"], 2, "--month"),
        (["FILE", "--month", "9000-01"], 2, "is not over"),
        (["FILE", "--data", "/nowhere"], 2, "--data"),
    ],
)
def test_what_cannot_be_run_says_why_in_a_line(
    migrated: IsolatedDatabase, tmp_path: Path, arguments: list[str], code: int, says: str
) -> None:
    path = write(tmp_path, conversation(1))
    given = [str(path) if argument == "FILE" else argument for argument in arguments]
    completed = run("load", *given, dsn=migrated.dsn("clonedb_worker"))
    assert completed.returncode == code
    assert says in completed.stderr
    assert "Traceback" not in completed.stderr


def test_the_app_login_is_refused(migrated: IsolatedDatabase, tmp_path: Path) -> None:
    path = write(tmp_path, conversation(1))
    completed = run("load", path, dsn=migrated.dsn("clonedb_app"))
    assert completed.returncode == 1
    assert "permission denied" in completed.stderr
    assert "Traceback" not in completed.stderr


async def test_a_load_that_is_cancelled_says_so(worker: Database, tmp_path: Path) -> None:
    path = write(tmp_path, *(conversation(number, 20) for number in range(400)))
    running: asyncio.Task[Any]

    def cancel_at_once(_: object) -> None:
        running.cancel()

    running = asyncio.create_task(load(worker, path, on_progress=cancel_at_once))
    with pytest.raises(asyncio.CancelledError):
        await running
    assert (await worker.statistics.totals()).turns < 8_000


async def test_users_out_of_range_are_refused_before_the_file_is_opened(worker: Database) -> None:
    with pytest.raises(InvalidInput):
        await load(worker, Path("missing"), users=0)
