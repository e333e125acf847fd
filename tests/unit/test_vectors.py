"""Vectors: every number is kept, and what is no vector is refused."""

from __future__ import annotations

import struct
import sys
from array import array
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clonedb import InvalidInput, pack_vector, unpack_vector
from clonedb.vectors import view_vector

float32 = st.floats(width=32, allow_nan=False, allow_infinity=False)
vectors = st.lists(float32, min_size=1, max_size=300)


@given(vectors)
def test_a_packed_vector_is_unpacked_to_itself(vector: list[float]) -> None:
    packed = pack_vector(vector)
    assert packed == struct.pack(f"<{len(vector)}f", *vector)
    assert list(unpack_vector(packed)) == vector


@given(vectors)
def test_every_form_of_a_vector_packs_alike(vector: list[float]) -> None:
    packed = pack_vector(vector)
    forms: list[Any] = [
        tuple(vector),
        array("f", vector),
        array("d", vector),
        memoryview(array("f", vector)),
        memoryview(array("d", vector))[:],
        packed,
        bytearray(packed),
    ]
    assert {pack_vector(form) for form in forms} == {packed}


@given(vectors)
def test_a_view_shows_the_numbers_of_the_bytes_themselves(vector: list[float]) -> None:
    packed = pack_vector(vector)
    view = view_vector(packed)
    assert view.tolist() == vector
    assert view.readonly
    assert view.obj is packed or sys.byteorder == "big"


def test_numpy_takes_a_view_as_float32() -> None:
    numpy = pytest.importorskip("numpy")
    numbers = numpy.asarray(view_vector(pack_vector([1.5, -2.0])))
    assert numbers.dtype == numpy.float32
    assert numbers.tolist() == [1.5, -2.0]


def test_numpy_arrays_pack_without_being_asked_for() -> None:
    numpy = pytest.importorskip("numpy")
    for kind in ("<f4", "<f8", "<i4"):
        assert pack_vector(numpy.array([1, 2, 3], kind)) == struct.pack("<3f", 1, 2, 3)
    with pytest.raises(InvalidInput, match="axes"):
        pack_vector(numpy.ones((2, 2), "<f4"))
    with pytest.raises(InvalidInput, match="format"):
        pack_vector(numpy.ones(2, ">f4"))


@pytest.mark.parametrize(
    ("vector", "message"),
    [
        ([], "0 dimensions"),
        (b"", "0 dimensions"),
        ([0.5] * 10_000, "10,000 dimensions"),
        ([0.5] * 4_097, "4,097 dimensions"),
        ([1.0, float("nan")], "number 1"),
        ([float("inf"), 1.0], "number 0"),
        ([float("inf"), float("-inf")], "number 0"),
        ([0.0, 0.0, 1e39], "number 2"),
        ([10**400], "sequence of numbers"),
        (struct.pack("<2f", 1, float("nan")), "number 1"),
        (array("d", [float("nan")]), "number 0"),
        (b"12345", "5 bytes"),
        ("0.5", "text"),
        (["0.5"], "sequence of numbers"),
        ([None], "sequence of numbers"),
        (None, "sequence of numbers"),
        (5, "sequence of numbers"),
        ([[0.5]], "sequence of numbers"),
    ],
)
def test_what_is_no_vector_is_refused_with_the_reason(vector: Any, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        pack_vector(vector)


def test_the_largest_vector_is_taken() -> None:
    assert len(pack_vector([3.4e38] * 4_096)) == 4 * 4_096
