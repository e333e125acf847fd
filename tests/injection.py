"""Calls of the public interface, made from its signatures, with a payload in one place at a time.

A place is where a text may stand: a parameter, a field of a Struct, a member of a list, a key or a
value of JSON. Arguments that nobody can make from their type raise LookupError.
"""

from __future__ import annotations

import collections.abc
import inspect
import os
import types
import typing
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, Final, NamedTuple
from uuid import UUID

import msgspec

from clonedb import new_id
from clonedb.caching.values import Embedding, VectorSearch

CANARY: Final = "public.canary"

PAYLOADS: Final = (
    "' OR '1'='1",
    f"'; DELETE FROM {CANARY}; --",
    f'"; DELETE FROM {CANARY}; --',
    f"$$; DELETE FROM {CANARY}; $$",
    f"')); COMMIT; DELETE FROM {CANARY}; --",
    f"\\'; DELETE FROM {CANARY}; --",
    f"E'\\x27'; DELETE FROM {CANARY}; --",
    f"\u02bc; DELETE FROM {CANARY}; --\uff07",
    "') UNION SELECT email FROM clonedb.users --",
    "/* */ -- \n\\.\n\\! ls\r\n",
    "$1 %s %(id)s :user_id ::text {0} %%",
    "1; SELECT set_config('clonedb.user_id', '', false)",
    "x'--;DELETE/**/FROM/**/public.canary@example.com",
    "nul\0byte",
    "\udcff lone surrogate",
    "' OR 1=1 --" * 100_000,
)

Path = tuple[str, ...]

# Rows that are Grace's, by the entity; and what has no type of its own.
Known = Mapping[str, UUID]
_VECTOR: Final = [0.5, 0.25]


async def _compute() -> None:
    """What is looked up where a cache has nothing: nothing."""


_BY_NAME: Final[Mapping[str, Any]] = {
    "address": "192.0.2.1",
    "audio": b"\0\1",
    "embedding": _VECTOR,
    "embeddings": {b"k" * 32: _VECTOR},
    "endpoint": "talk",
    "key": b"k" * 32,
    "keys": [b"k" * 32],
    "hits": {b"k" * 32: 1},
    "sample_rate": 24_000,
    "source": b"a file",
    "vector": _VECTOR,
    "compute": _compute,
    "action": "user.login",
    "resource": "users",
    "email": "somebody@example.com",
    "last_seal": None,
    "language": "english",
}
_BY_TYPE: Final[Mapping[Any, Any]] = {
    UUID: None,  # of the entity
    Embedding: Embedding.of(_VECTOR),
    VectorSearch: VectorSearch.of([{"text": "found"}]),
    bool: False,
    int: 1,
    float: 1.0,
    bytes: b"k" * 32,
    datetime: datetime.now(UTC),
    date: datetime.now(UTC).date(),
    timedelta: timedelta(minutes=5),
    Decimal: Decimal(1),
}
# They would end what the calls after them work on.
_ENDING: Final = ("delete", "hard_delete", "end", "end_many", "settle")


class Method(NamedTuple):
    """A public method: what it is called in a report, and how it is called."""

    name: str
    call: Any
    hints: Mapping[str, Any]


class Place(NamedTuple):
    """Where a payload goes, and whether a text of any kind may stand there."""

    path: Path
    is_text: bool

    @property
    def payloads(self) -> tuple[str, ...]:
        """What is tried there; where no text may stand a few are enough."""
        return PAYLOADS if self.is_text else (*PAYLOADS[:3], PAYLOADS[-2])

    @property
    def field(self) -> str:
        """The name of the parameter or field, or of the one that holds the list or JSON."""
        path = self.path[: self.path.index("*")] if "*" in self.path[1:] else self.path
        return path[-1]


def methods(
    thing: object, name: str, variables: Mapping[str, Any] | None = None
) -> Iterator[Method]:
    """The public methods of an object, and of the repositories that its properties give.

    `variables` is what stands for the type variables of a generic.
    """
    for member, value in inspect.getmembers(type(thing)):
        if member.startswith("_"):
            continue
        if inspect.isfunction(value):
            hints = typing.get_type_hints(value, localns=_NAMES, include_extras=True)
            hints = {key: _filled(hint, variables or {}) for key, hint in hints.items()}
            yield Method(f"{name}.{member}", getattr(thing, member), hints)
        elif isinstance(value, property):
            inner = getattr(thing, member)
            if type(inner).__module__.startswith("clonedb.repositories"):
                yield from methods(inner, f"{name}.{member}")


# What aliases that are written as texts refer to.
_NAMES: Final[dict[str, Any]] = {
    **{name: getattr(typing, name) for name in ("AsyncIterable", "BinaryIO", "Iterable")},
    "Sequence": collections.abc.Sequence,
    "array": list,
    "os": os,
}


def _filled(hint: Any, variables: Mapping[str, Any]) -> Any:
    """The type with what stands for its variables."""
    if isinstance(hint, typing.TypeVar):
        return variables.get(hint.__name__, hint)
    names = [each.__name__ for each in getattr(hint, "__parameters__", ())]
    return hint[tuple(map(variables.__getitem__, names))] if names and variables else hint


def _is_union(hint: Any) -> bool:
    return typing.get_origin(hint) in (typing.Union, types.UnionType)


class Arguments:
    """Makes the arguments of a method; finds the places of its texts."""

    def __init__(self, method: Method, known: Known) -> None:
        self._method = method
        self._known = known
        self._target: Path | None = None
        self._payload = ""
        self._places: dict[Path, bool] = {}
        self._optional_too = False

    def places(self) -> list[Place]:
        """All of them, in optional arguments too."""
        self._optional_too, self._places = True, {}
        self._make_all()
        self._optional_too = False
        return [Place(path, is_text) for path, is_text in self._places.items()]

    def make(self, place: Place | None = None, payload: str = "") -> dict[str, Any]:
        """What has to be given, and the payload in its place."""
        self._target, self._payload = (None if place is None else place.path), payload
        return self._make_all()

    def _make_all(self) -> dict[str, Any]:
        made = {}
        for name, parameter in inspect.signature(self._method.call).parameters.items():
            if parameter.default is inspect.Parameter.empty or self._wanted((name,)):
                made[name] = self._value(self._method.hints[name], (name,), name)
        return made

    def _wanted(self, path: Path) -> bool:
        target = self._target
        return self._optional_too or (target is not None and target[: len(path)] == path)

    def _text(self, path: Path, default: Any, *, is_text: bool) -> Any:
        self._places[path] = is_text
        return self._payload if path == self._target and not self._optional_too else default

    def _value(self, hint: Any, path: Path, name: str) -> Any:
        hint, origin = _plain(hint)
        if _is_union(hint):
            is_id = name == "session" or name.endswith(("id", "ids"))
            return self._value(_choice(typing.get_args(hint), is_id=is_id), path, name)
        if origin is typing.Literal:
            return self._text(path, typing.get_args(hint)[0], is_text=False)
        if hint is str:
            default = _BY_NAME.get(name, "a text")
            return self._text(path, None if name in ("cursor", "order") else default, is_text=True)
        if inspect.isclass(hint) and hint in (Embedding, VectorSearch):
            return _BY_TYPE[hint]
        if inspect.isclass(hint) and issubclass(hint, msgspec.Struct):
            return hint(**self._fields(hint, path))
        if typing.is_typeddict(hint) or hasattr(hint, "_fields"):
            hints = typing.get_type_hints(hint)
            made = {key: self._value(hints[key], (*path, key), key) for key in hints}
            return hint(**made)
        if name in _BY_NAME and not _is_of_structs(hint):
            return _BY_NAME[name]
        if hint is UUID:
            return self._text(path, self._id(name), is_text=False)
        if inspect.isclass(hint) and hint in _BY_TYPE:
            # In a Struct whatever was sent to a service may stand.
            if len(path) > 1:
                return self._text(path, _BY_TYPE[hint], is_text=False)
            return _BY_TYPE[hint]
        if hint in (Any, object):
            return self._text(path, "anything", is_text=True)
        return self._several(hint, origin, path, name)

    def _several(self, hint: Any, origin: Any, path: Path, name: str) -> Any:
        inner = typing.get_args(hint)
        if origin in (dict, collections.abc.Mapping):
            if _is_of_structs(hint):
                one = self._value(inner[0], (*path, "*", "key"), "key")
                return {one: self._value(inner[1], (*path, "*"), name)}
            if inner[0] is not str:
                return {1: 1}
            key = self._text((*path, "*", "key"), "key", is_text=True)
            return {key: self._value(inner[1], (*path, "*"), name)}
        if origin in (list, tuple, *_SEQUENCES):
            return [self._value(inner[0], (*path, "*"), name.removesuffix("s"))]
        raise LookupError(f"{self._method.name}: nobody knows how to make {name}, a {hint}")

    def _fields(self, struct: Any, path: Path) -> dict[str, Any]:
        hints = typing.get_type_hints(struct, localns=_NAMES, include_extras=True)
        # A patch has to change something.
        first = struct.__struct_fields__[-1] if struct.__name__.endswith("Patch") else None
        if any(map(self._wanted, [(*path, name) for name in struct.__struct_fields__])):
            first = None
        defaults = dict(
            zip(struct.__struct_fields__[::-1], struct.__struct_defaults__[::-1], strict=False)
        )
        return {
            name: self._value(hints[name], (*path, name), name)
            for name in struct.__struct_fields__
            if defaults.get(name, msgspec.NODEFAULT) is msgspec.NODEFAULT
            or name == first
            or self._wanted((*path, name))
        }

    def _id(self, name: str) -> UUID:
        parts = self._method.name.split(".")
        if parts[-1] in _ENDING or name in ("voice_model_id", "face_model_id"):
            return new_id()
        if path_is_of_session(name):
            return self._known["conversation_sessions"]
        return self._known.get(parts[-2], new_id()) if _takes(parts[-1]) else new_id()


def path_is_of_session(name: str) -> bool:
    """Whether a parameter names a session, whatever the method is of."""
    return name in ("session", "session_id")


def _takes(verb: str) -> bool:
    """Whether the method is about a row that is there; what is created has an id of its own."""
    return not verb.startswith(("create", "sign_up", "put", "record", "append"))


_SEQUENCES: Final = (
    collections.abc.Sequence,
    collections.abc.Iterable,
)


def _is_of_structs(hint: Any) -> bool:
    """Whether it is a list of Structs, or a dict by them."""
    inner = typing.get_args(hint)
    return bool(inner) and inspect.isclass(inner[0]) and issubclass(inner[0], msgspec.Struct)


def _plain(hint: Any) -> tuple[Any, Any]:
    """The type without its annotations, and what it is a generic of."""
    while True:
        origin = typing.get_origin(hint)
        if origin is typing.Annotated:
            hint = typing.get_args(hint)[0]
        else:
            return hint, origin


def _choice(options: tuple[Any, ...], *, is_id: bool = True) -> Any:
    """Of several types the one that says most of what may stand there."""
    possible = [each for each in options if each not in (type(None), msgspec.UnsetType)]
    if UUID in possible and str in possible:
        return UUID if is_id else str  # where an id is meant, a text has to be one

    def rank(option: Any) -> int:
        plain, origin = _plain(option)
        is_struct = inspect.isclass(plain) and issubclass(plain, msgspec.Struct)
        return 2 if is_struct or plain is bytes else 0 if origin in (list, dict) else 1

    return min(possible, key=rank)
