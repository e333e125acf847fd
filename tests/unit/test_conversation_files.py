"""Files of conversations: what is read, what is skipped, and how much memory that takes."""

from __future__ import annotations

import gzip
import tracemalloc
from contextlib import suppress
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clonedb.errors import InvalidInput
from clonedb.loading.conversations import (
    MAXIMUM_LINE_BYTES,
    MAXIMUM_TURNS,
    BadLine,
    Conversation,
    ConversationFile,
    Exchange,
    GoodLine,
    decode,
)

TURN = {"user": "When does the boat leave?", "system": "At ten past four."}


def line(identifier: str = "a", **fields: object) -> bytes:
    conversation = {"id": identifier, "services": ["timetable"], "turns": [TURN], **fields}
    return msgspec.json.encode(conversation)


def read(path: Path) -> list[GoodLine | BadLine]:
    with ConversationFile(path) as file:
        return list(file)


def write(folder: Path, *lines: bytes) -> Path:
    path = folder / "conversations.jsonl"
    path.write_bytes(b"".join(one + b"\n" for one in lines))
    return path


def test_gzip_is_told_by_its_first_bytes_and_not_by_the_name(tmp_path: Path) -> None:
    plain = write(tmp_path, line("a"), line("b"))
    packed = tmp_path / "no-suffix"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    assert read(packed) == read(plain)
    assert [one.line for one in read(plain)] == [1, 2]


def test_blank_lines_carriage_returns_and_a_byte_order_mark_are_ignored(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"\xef\xbb\xbf" + line("a") + b"\r\n\r\n   \n" + line("b"))
    found = read(path)
    assert [(one.line, type(one)) for one in found] == [(1, GoodLine), (4, GoodLine)]


def test_keys_that_mean_nothing_here_are_ignored_and_services_may_be_missing() -> None:
    conversation = decode(b'{"id": "a", "turns": [{"user": "u", "system": "s", "x": 1}], "y": []}')
    assert conversation == Conversation(id="a", turns=[Exchange("u", "s")])


BAD = {
    "not JSON": (b"once upon a time", "not JSON"),
    "cut off": (line()[:-3], "not JSON"),
    "two values": (line("a") + line("b"), "not JSON"),
    "a list": (b"[]", "not a conversation"),
    "no id": (b'{"turns": [{"user": "u", "system": "s"}]}', "`id`"),
    "empty id": (line(""), "$.id"),
    "long id": (line("x" * 201), "$.id"),
    "a number for an id": (line(7), "$.id"),  # type: ignore[arg-type]
    "no answer": (line(turns=[{"user": "u"}]), "`system` - at `$.turns[0]`"),
    "null": (line(turns=[{"user": None, "system": "s"}]), "$.turns[0].user"),
    "services of numbers": (line(services=[1]), "$.services[0]"),
    "no turns": (line(turns=[]), "0 turns"),
    "too many turns": (line(turns=[TURN] * (MAXIMUM_TURNS + 1)), "10,001 turns"),
    "NUL in a question": (line(turns=[{**TURN, "user": "a\0b"}]), "turns[0].user contains a NUL"),
    "NUL in an answer": (line(turns=[TURN, {**TURN, "system": "\0"}]), "turns[1].system"),
    "NUL in an id": (line("a\0"), "id contains a NUL"),
    "NUL in a service": (line(services=["\0"]), "services[0] contains a NUL"),
    "high surrogate": (line().replace(b"boat", rb"\ud800"), "surrogate"),
    "low surrogate": (line().replace(b"boat", rb"\udc00"), "surrogate"),
    "Latin-1": (line().replace(b"boat", b"b\xf6t"), "not UTF-8"),
    "more than a MiB": (line(turns=[{**TURN, "user": "x" * 1_048_577}]), "1,048,577 bytes"),
    "more than a MiB of UTF-8": (line(turns=[{**TURN, "system": "ö" * 524_289}]), "bytes"),
    "nested without end": (b'{"x": ' + b"[" * 100_000, "nested too deeply"),
    "too long": (b" " * MAXIMUM_LINE_BYTES + line(), "longer than 8,388,608 bytes"),
}


@pytest.mark.parametrize(("bad", "reason"), BAD.values(), ids=BAD.keys())
def test_a_bad_line_is_named_with_its_number_and_reason_and_its_neighbours_are_read(
    tmp_path: Path, bad: bytes, reason: str
) -> None:
    before, found, after = read(write(tmp_path, line("before"), bad, line("after")))
    assert isinstance(before, GoodLine)
    assert isinstance(after, GoodLine)
    assert isinstance(found, BadLine)
    assert (found.line, after.line) == (2, 3)
    assert reason in found.reason


def test_an_id_counts_once_and_a_bad_line_does_not_use_its_id_up(tmp_path: Path) -> None:
    found = read(write(tmp_path, line("a", turns=[]), line("a"), line("b"), line("a")))
    assert [type(one) for one in found] == [BadLine, GoodLine, GoodLine, BadLine]
    assert "'a' occurred on an earlier line" in found[-1].reason  # type: ignore[union-attr]


@pytest.mark.parametrize("damage", ["cut off", "overwritten"])
def test_of_damaged_gzip_data_the_lines_before_the_damage_are_read(
    tmp_path: Path, damage: str
) -> None:
    whole = write(tmp_path, *(line(f"conversation {number}") for number in range(5_000)))
    packed = bytearray(gzip.compress(whole.read_bytes()))
    middle = len(packed) // 2
    if damage == "cut off":
        del packed[middle:]
    else:
        packed[middle : middle + 64] = b"\xff" * 64
    path = tmp_path / "damaged.gz"
    path.write_bytes(packed)
    *good, last = read(path)
    assert 100 < len(good) < 5_000
    assert isinstance(last, BadLine)
    assert last.line > 100


def test_a_file_with_nothing_in_it_has_no_lines(tmp_path: Path) -> None:
    assert read(write(tmp_path)) == []
    empty = tmp_path / "empty.gz"
    empty.write_bytes(gzip.compress(b""))
    assert read(empty) == []


def test_reading_takes_the_same_memory_for_ten_times_the_lines(tmp_path: Path) -> None:
    def peak(lines: int) -> int:
        path = write(tmp_path, *(line(f"conversation {number}") for number in range(lines)))
        tracemalloc.start()
        try:
            with ConversationFile(path) as file:
                for _ in file:
                    pass
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    few, many = peak(2_000), peak(20_000)
    # Beside 8 bytes and some slack for each id.
    assert many - few < 18_000 * 16 + 100_000


def test_a_line_of_any_length_is_not_held(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with path.open("wb") as file:
        for _ in range(64):
            file.write(b"x" * 1024 * 1024)
        file.write(b"\n" + line())
    tracemalloc.start()
    try:
        bad, good = read(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert isinstance(bad, BadLine)
    assert isinstance(good, GoodLine)
    assert peak < 4 * MAXIMUM_LINE_BYTES


def test_the_position_reaches_the_size(tmp_path: Path) -> None:
    path = write(tmp_path, line("a"), line("b"))
    with ConversationFile(path) as file:
        assert file.size == path.stat().st_size
        list(file)
        assert file.position == file.size


storable = st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=200)


@given(
    st.builds(
        Conversation,
        id=storable.filter(bool),
        services=st.lists(storable.filter(bool), max_size=3),
        turns=st.lists(st.builds(Exchange, user=storable, system=storable), min_size=1, max_size=4),
    )
)
def test_every_storable_conversation_is_read_as_it_was_written(conversation: Conversation) -> None:
    assert decode(msgspec.json.encode(conversation)) == conversation


@given(st.binary(max_size=200) | st.from_regex(rb'\{"id":.{0,40}"turns":.{0,80}'))
def test_whatever_is_on_a_line_is_a_conversation_or_an_input_that_is_refused(text: bytes) -> None:
    with suppress(InvalidInput):
        assert decode(text).turns
