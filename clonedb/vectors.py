"""Vectors as they are stored: float32 numbers, little-endian, one after the other."""

from __future__ import annotations

import math
import sys
from array import array
from collections.abc import Sequence
from typing import Final, TypeAlias

from clonedb.errors import InvalidInput

# The column takes no more: the largest that common embedding models give.
MAXIMUM_DIMENSIONS: Final = 4096

_NUMBER_BYTES: Final = 4

# Numbers, an array or a numpy array (whatever has a buffer of numbers), or float32 bytes as stored.
# `array[float]` exists for type checkers alone before Python 3.12.
Vector: TypeAlias = "Sequence[float] | array[float] | bytes | bytearray | memoryview"


def pack_vector(vector: Vector) -> bytes:
    """The vector as float32 bytes; numbers of higher precision are rounded.

    `bytes` and `bytearray` are taken as packed already. Raises InvalidInput for no dimension, more
    than 4,096, NaN, an infinite number, or one that float32 cannot hold.
    """
    numbers = _numbers(vector)
    if not 1 <= len(numbers) <= MAXIMUM_DIMENSIONS:
        raise InvalidInput(
            f"the vector has {len(numbers):,} dimensions; 1 to {MAXIMUM_DIMENSIONS:,} are stored"
        )
    packed = _little_endian(numbers).tobytes()
    # The sign and 7 of 8 bits of the exponent: all of those are set in what is not finite, and
    # in numbers from 2 ** 127 on, which are looked at one by one. Ten times as fast as a sum.
    upper = packed[3::_NUMBER_BYTES]
    if b"\x7f" in upper or b"\xff" in upper:
        for position, number in enumerate(unpack_vector(packed)):
            if not math.isfinite(number):
                raise InvalidInput(f"the vector's number {position} is not a finite float32")
    return packed


def unpack_vector(packed: bytes) -> array[float]:
    """The numbers of a packed vector, copied."""
    return _little_endian(array("f", packed))


def view_vector(packed: bytes) -> memoryview[float]:
    """The numbers of a packed vector, read-only and uncopied (on a big-endian host, copied)."""
    numbers = packed if sys.byteorder == "little" else unpack_vector(packed)
    return memoryview(numbers).cast("B").cast("f").toreadonly()  # pyright: ignore[reportReturnType]


def _numbers(vector: Vector) -> array[float]:
    if isinstance(vector, str):
        raise InvalidInput("the vector is text, not numbers")
    if isinstance(vector, bytes | bytearray):
        if len(vector) % _NUMBER_BYTES:
            raise InvalidInput(f"the vector has {len(vector):,} bytes, which is no whole float32")
        return unpack_vector(bytes(vector))
    try:
        view = memoryview(vector)  # type: ignore[arg-type]
    except TypeError:
        return _converted(vector)
    if view.ndim != 1:
        raise InvalidInput(f"the vector has {view.ndim} axes, not 1")
    if view.format == "f":
        return array("f", view.tobytes())
    try:
        return _converted(view.tolist())
    except NotImplementedError:
        raise InvalidInput(f"the vector's numbers are of the format {view.format!r}") from None


def _converted(numbers: object) -> array[float]:
    try:
        return array("f", numbers)  # type: ignore[call-overload,no-any-return]
    except (TypeError, OverflowError) as error:
        raise InvalidInput(f"the vector is no sequence of numbers: {error}") from None


def _little_endian(numbers: array[float]) -> array[float]:
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers
