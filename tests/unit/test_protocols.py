"""The Protocols that a service's fakes fulfil are those of the repositories."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from clonedb import DatabaseScope, UserScope, protocols

ENTITIES = [
    "ConversationSessionRepository",
    "FaceModelRepository",
    "KnowledgeDocumentRepository",
    "UserRepository",
    "VoiceModelRepository",
]

INTERFACE = {
    "find_by_id", "get_by_id", "find_many", "find_one", "count", "exists", "create", "create_many",
    "update", "update_many", "delete", "hard_delete", "restore",
}  # fmt: skip


def handed_out() -> list[type]:
    """The classes of every repository that a scope has."""
    found: set[type] = set()
    for scope in (UserScope, DatabaseScope):
        for name, member in inspect.getmembers(scope, lambda each: isinstance(each, property)):
            if name not in ("user_id", "target", "in_transaction"):
                found.add(inspect.get_annotations(member.fget, eval_str=True)["return"])
    return sorted(found, key=lambda each: each.__name__)


@pytest.mark.parametrize("repository", handed_out(), ids=lambda each: each.__name__)
def test_every_repository_has_a_protocol_with_its_methods(repository: type) -> None:
    protocol = getattr(protocols, repository.__name__)
    real = public(repository)
    assert public(protocol).keys() == real.keys()
    for name, member in public(protocol).items():
        if not isinstance(member, property):
            assert list(inspect.signature(member).parameters) == list(
                inspect.signature(real[name]).parameters
            )
            assert inspect.getdoc(member) == inspect.getdoc(real[name])


@pytest.mark.parametrize("name", ENTITIES)
def test_every_entity_has_the_interface_of_all(name: str) -> None:
    assert public(getattr(protocols, name)).keys() >= INTERFACE


def public(found: type) -> dict[str, Any]:
    return {
        name: member
        for name, member in inspect.getmembers(found)
        if not name.startswith("_") and (inspect.isfunction(member) or isinstance(member, property))
    }
