"""What validation promises, for any Struct."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any
from uuid import UUID, uuid4

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET, Meta, UnsetType

from clonedb import InvalidInput, new_id
from clonedb.validation import MAXIMUM_TEXT_BYTES, Fraction, Moment, Text, check_text, validated


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    id: UUID | None = None
    text: Text = ""
    number: Fraction | None = None
    money: Decimal = Decimal(0)
    when: Moment | None = None
    labels: Annotated[list[str], Meta(max_length=3)] = []
    settings: dict[str, Any] = {}
    patch: str | UnsetType | None = UNSET


def test_what_is_valid_comes_back_equal() -> None:
    sample = Sample(id=new_id(), text="é", number=0.5, money=Decimal("1.5"), settings={"a": [1]})
    assert validated(sample) == sample


def test_an_unset_field_stays_unset_and_none_stays_none() -> None:
    assert validated(Sample()).patch is UNSET
    assert validated(Sample(patch=None)).patch is None


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"id": uuid4()}, "Sample.id"),
        ({"text": 7}, r"\$\.text"),
        ({"text": "a\0b"}, "Sample.text"),
        ({"text": "\ud800"}, "Sample.text"),
        ({"text": "é" * MAXIMUM_TEXT_BYTES}, "Sample.text"),
        ({"number": float("nan")}, r"\$\.number"),
        ({"number": 1.5}, r"\$\.number"),
        ({"money": Decimal("NaN")}, "Sample.money"),
        ({"money": Decimal("Infinity")}, "Sample.money"),
        ({"money": Decimal("-0.01")}, "Sample.money"),
        ({"labels": ["a"] * 4}, r"\$\.labels"),
        ({"labels": ["a", "b\0"]}, r"Sample.labels\[1\]"),
        ({"settings": {"a": {"b\0": 1}}}, "Sample.settings"),
        ({"settings": {"a": [float("inf")]}}, "Sample.settings"),
        ({"settings": {"a": "\udfff"}}, "Sample.settings"),
        ({"settings": {7: "a"}}, r"\$\.settings"),
    ],
)
def test_what_is_invalid_is_refused_by_its_field(fields: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidInput, match=named):
        validated(Sample(**fields))


@given(st.text(st.characters(codec=None), max_size=50))
def test_a_text_is_accepted_exactly_when_it_can_be_stored(text: str) -> None:
    storable = "\0" not in text and not any("\ud800" <= letter <= "\udfff" for letter in text)
    if storable:
        assert check_text(text, "text") == text
    else:
        with pytest.raises(InvalidInput):
            check_text(text, "text")


def test_a_text_of_exactly_the_limit_is_accepted() -> None:
    assert check_text("a" * MAXIMUM_TEXT_BYTES, "text")
    with pytest.raises(InvalidInput, match="1,048,577 bytes"):
        check_text("a" * (MAXIMUM_TEXT_BYTES + 1), "text")
