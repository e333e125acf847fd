"""Different questions have different digests, the same one has one, and a bad key is refused."""

from __future__ import annotations

import struct
from array import array
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiers import SAMPLES, question

from clonedb import InvalidInput, new_id
from clonedb.caching.keys import (
    AudioChunkKey,
    CacheKey,
    EmbeddingKey,
    LlmResponseKey,
    VectorSearchKey,
)

VOICES = [None, new_id(), new_id()]

# Few letters, so that fields run into each other, and the same is drawn twice.
WORDS = st.text("ab\u00e4\U0001f600", max_size=4)
LABELS = st.text("ab", min_size=1, max_size=3)
NUMBERS = st.one_of(st.integers(-2, 2), st.sampled_from([0.0, -0.0, 1.0, 0.5, 2**40, 0.1]))
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, WORDS),
    lambda inner: st.one_of(
        st.lists(inner, max_size=2), st.dictionaries(st.text("ab", max_size=2), inner, max_size=2)
    ),
    max_leaves=4,
)
MAPPINGS = st.one_of(st.none(), st.dictionaries(st.text("ab", max_size=2), JSON, max_size=2))
VECTORS = st.one_of(
    st.lists(st.sampled_from([0.0, 1.0, 0.1, -0.0]), min_size=1, max_size=3),
    st.lists(st.sampled_from([0.0, 1.0, 0.1]), min_size=1, max_size=3).map(
        lambda numbers: array("f", numbers)
    ),
)

FIELDS: dict[type[CacheKey], dict[str, st.SearchStrategy[Any]]] = {
    EmbeddingKey: {"text": WORDS, "model": LABELS},
    VectorSearchKey: {
        "vector": VECTORS,
        "index": LABELS,
        "limit": st.integers(1, 3),
        "filters": MAPPINGS,
    },
    LlmResponseKey: {
        "provider": st.sampled_from(["gpt-4-turbo", "claude-3-opus"]),
        "prompt": st.one_of(WORDS, st.lists(JSON, max_size=2)),
        "settings": MAPPINGS,
    },
    AudioChunkKey: {
        "text": WORDS,
        "provider": st.sampled_from(["openai-tts", "xtts-v2"]),
        "voice_model_id": st.sampled_from(VOICES),
        "format": st.sampled_from(["opus", "wav"]),
        "sample_rate": st.sampled_from([24_000, 48_000]),
        "settings": MAPPINGS,
    },
}


@st.composite
def two_keys(draw: st.DrawFn) -> tuple[CacheKey, CacheKey]:
    """Two of one cache that differ in one field, if at all."""
    kind = draw(st.sampled_from(list(FIELDS)))
    fields = {name: draw(values) for name, values in FIELDS[kind].items()}
    other = draw(st.sampled_from(list(fields)))
    return kind(**fields), kind(**fields | {other: draw(FIELDS[kind][other])})


def meaning(value: Any) -> Any:
    """What a value is, with its type, so that only the same has the same."""
    if isinstance(value, dict):
        return "mapping", tuple(sorted((name, meaning(inner)) for name, inner in value.items()))
    if isinstance(value, list):
        return "list", tuple(map(meaning, value))
    if isinstance(value, float):
        return "float", struct.pack("<d", value)
    return type(value).__name__, repr(value)


def same(one: Any, other: Any) -> bool:
    return bool(meaning(one) == meaning(other))


@given(two_keys())
def test_keys_are_equal_and_hash_alike_exactly_when_their_digests_are_the_same(
    keys: tuple[CacheKey, CacheKey],
) -> None:
    one, other = keys
    assert (one == other) == (one.digest() == other.digest())
    if one == other:
        assert hash(one) == hash(other)


@given(JSON, JSON)
def test_only_the_same_filters_have_the_same_digest(one: Any, other: Any) -> None:
    def key(filters: Any) -> CacheKey:
        return VectorSearchKey(vector=[1.0], index="a", limit=1, filters={"only": filters})

    assert (key(one).digest() == key(other).digest()) == same(one, other)


@given(JSON, JSON)
def test_only_the_same_prompts_and_settings_have_the_same_digest(one: Any, other: Any) -> None:
    assert (question([one]).digest() == question([other]).digest()) == same(one, other)
    with_settings = [question(settings={"a": value}).digest() for value in (one, other)]
    assert (with_settings[0] == with_settings[1]) == same(one, other)


@given(st.tuples(WORDS, LABELS), st.tuples(WORDS, LABELS))
def test_the_end_of_one_field_is_not_the_beginning_of_the_next(
    one: tuple[str, str], other: tuple[str, str]
) -> None:
    assert (EmbeddingKey(*one).digest() == EmbeddingKey(*other).digest()) == (one == other)


def test_text_and_bytes_and_the_list_of_it_are_different_prompts() -> None:
    prompts: list[Any] = ["a", b"a", ["a"], {"a": "a"}, [b"a"], "", b"", [], {}, [""], [None]]
    assert len({question(prompt).digest() for prompt in prompts}) == len(prompts)


def test_composed_and_decomposed_letters_are_different_texts() -> None:
    assert EmbeddingKey("\u00e4", "m").digest() != EmbeddingKey("a\u0308", "m").digest()


def test_the_caches_do_not_share_digests() -> None:
    assert len({sample.key(1).digest() for sample in SAMPLES}) == len(SAMPLES)


@settings(max_examples=50)
@given(
    st.lists(st.floats(-1, 1), min_size=1, max_size=1536),
    st.data(),
)
def test_every_dimension_of_a_vector_counts(numbers: list[float], data: st.DataObject) -> None:
    """The original hashed ten of them, and hit another query's results."""
    position = data.draw(st.integers(0, len(numbers) - 1))
    changed = numbers.copy()
    changed[position] += 0.25

    def digest(vector: Any) -> bytes:
        return VectorSearchKey(vector=vector, index="a", limit=1).digest()

    assert digest(numbers) != digest(changed)
    assert digest(numbers) != digest([*numbers, 0.0])
    assert digest(numbers) == digest(tuple(numbers)) == digest(array("d", numbers))
    assert digest(numbers) == digest(np.array(numbers))


def test_the_precision_of_a_vector_counts_and_its_container_does_not() -> None:
    numbers = [0.1, 1.0, -2.5]
    double = VectorSearchKey(vector=numbers, index="a", limit=1)
    single = VectorSearchKey(vector=array("f", numbers), index="a", limit=1)
    assert double.digest() != single.digest()
    for vector in (
        np.array(numbers, dtype=np.float32),
        array("f", numbers).tobytes(),
        memoryview(array("f", numbers)),
        np.array([0.1, 9, 1.0, 9, -2.5, 9], dtype=np.float32)[::2],
    ):
        assert VectorSearchKey(vector=vector, index="a", limit=1) == single
    integers = VectorSearchKey(vector=[1, 2], index="a", limit=1)
    assert integers == VectorSearchKey(vector=np.array([1, 2]), index="a", limit=1)


def test_the_order_of_a_mapping_does_not_count_at_any_depth() -> None:
    one = {"a": {"x": 1, "y": [{"p": 1, "q": 2}]}, "b": 2}
    other = {"b": 2, "a": {"y": [{"q": 2, "p": 1}], "x": 1}}
    assert question(settings=one) == question(settings=other)
    assert question(settings=one).digest() == question(settings=other).digest()
    assert question([1, 2]).digest() != question([2, 1]).digest()


def test_a_key_that_was_copied_is_the_same() -> None:
    for sample in SAMPLES:
        key = sample.key(1)
        copy = msgspec.structs.replace(key)
        assert copy == key
        assert copy.digest() == key.digest()


def test_a_voice_is_the_same_as_text_and_as_an_id() -> None:
    voice = new_id()
    keys = {
        AudioChunkKey(
            text="a",
            provider="openai-tts",
            voice_model_id=given,
            format="opus",
            sample_rate=24_000,
        )
        for given in (voice, str(voice), str(voice).upper())
    }
    assert len(keys) == 1


def test_digests_stay_what_they_are_from_release_to_release() -> None:
    """A change here is one of ENCODING_VERSION: what is stored is then not found."""
    keys: dict[str, CacheKey] = {
        "embedding": EmbeddingKey("H\u00e4llo", "small"),
        "search": VectorSearchKey(
            vector=[0.5, 1.0], index="main", limit=5, filters={"b": [1, None], "a": 0.5}
        ),
        "response": question("H\u00e4llo", settings={"temperature": 0.5}),
        "audio": AudioChunkKey(
            text="a",
            provider="openai-tts",
            voice_model_id="01890a5d-ac96-774b-bcce-b302099a8057",
            format="opus",
            sample_rate=24_000,
        ),
    }
    assert {name: key.digest().hex() for name, key in keys.items()} == {
        "embedding": "5df39eebc9e1135ed534d4b24975f6f8d43d1f6382a7fb6c82c5e74c139e2fe2",
        "search": "35a3cbaa296307c7b5be5e89d76c4b9895696e142cb240b2a05cdcbc08ee056f",
        "response": "e010a00ba7e58c818153d38e8fbbd45f1a22b319fac2b5ef7e1d21dff611aa5f",
        "audio": "1f456dc6ed223c0e9d00ad212684000ca784986871b483e91c7ea5f4c671ff89",
    }


def embedding(text: Any = "a", model: Any = "m") -> CacheKey:
    return EmbeddingKey(text, model)


def search(vector: Any = (1.0,), index: Any = "a", limit: Any = 1, filters: Any = None) -> CacheKey:
    return VectorSearchKey(vector=vector, index=index, limit=limit, filters=filters)


def audio(**fields: Any) -> CacheKey:
    good: dict[str, Any] = {
        "text": "a",
        "provider": "openai-tts",
        "voice_model_id": None,
        "format": "opus",
        "sample_rate": 24_000,
    }
    return AudioChunkKey(**good | fields)


BAD: dict[str, Callable[[], CacheKey]] = {
    "no text": lambda: embedding(None),
    "bytes for text": lambda: embedding(b"a"),
    "a lone surrogate": lambda: embedding("\ud800"),
    "no model": lambda: embedding(model=""),
    "a long model": lambda: embedding(model="m" * 201),
    "no dimensions": lambda: search([]),
    "too many dimensions": lambda: search([0.0] * 4097),
    "text for a vector": lambda: search("1.0"),
    "no vector": lambda: search(None),
    "words in a vector": lambda: search(["a"]),
    "half a number": lambda: search(b"abc"),
    "a matrix": lambda: search([[1.0]]),
    "a matrix of numpy": lambda: search(np.zeros((2, 2))),
    "half precision": lambda: search(np.array([1, 2], dtype=np.float16)),
    "the other byte order": lambda: search(np.array([1, 2], dtype=">f4")),
    "complex numbers": lambda: search(np.array([1j])),
    "a number beyond": lambda: search([10**400]),
    "no index": lambda: search(index=None),
    "a limit of none": lambda: search(limit=0),
    "a limit that is true": lambda: search(limit=True),
    "what JSON has not": lambda: search(filters={"a": object()}),
    "an integer beyond": lambda: search(filters={"a": 2**70}),
    "a surrogate in filters": lambda: search(filters={"a": "\ud800"}),
    "an unknown provider": lambda: LlmResponseKey(provider="mine", prompt="a"),  # type: ignore[arg-type]
    "no prompt": lambda: question(None),  # type: ignore[arg-type]
    "a surrogate in a prompt": lambda: question("\ud800"),
    "a circle": lambda: question(circle()),  # type: ignore[arg-type]
    "no voice": lambda: audio(voice_model_id="ada"),
    "an unknown format": lambda: audio(format="gif"),
    "a low rate": lambda: audio(sample_rate=1),
}


def circle() -> list[Any]:
    around: list[Any] = []
    around.append(around)
    return around


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
def test_a_bad_key_is_refused(bad: Callable[[], CacheKey]) -> None:
    with pytest.raises(InvalidInput):
        bad().digest()
