"""Every declared attack is tried, and comes to what is declared; see docs/attacks.md."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from attempts import connections, hints, logins, power, rows, traps
from attempts.scene import Scene, set_scene
from matrix import drop_stranger, make_stranger
from people import copy_of

from clonedb.embedded import EmbeddedServer
from clonedb.generation.declared_attacks import GROUPS, Attack

MODULES = (rows, hints, connections, power, traps, logins)
ATTACKS: dict[str, Attack] = {}
ATTEMPTS: dict[str, Callable[[Scene], bool | Awaitable[bool]]] = {}
for _group, _module in zip(GROUPS, MODULES, strict=True):
    ATTACKS |= _group.attacks
    for _name in _group.attacks:
        ATTEMPTS[_name] = getattr(_module, _name)

SECURITY = Path(__file__).parents[2] / "docs" / "security.md"


@pytest.fixture(scope="module")
def scene(server: EmbeddedServer, clonedb_template: Any) -> Iterator[Scene]:
    """The stage for all attacks; at the end everything of Ada's is as it was."""
    with copy_of(server, clonedb_template, "scene") as database:
        make_stranger(database)
        scene = set_scene(database)
        before = scene.all_of_ada()
        yield scene
        after = scene.all_of_ada()
        drop_stranger(database)
    assert before == after
    assert all(before)


@pytest.mark.parametrize("name", ATTACKS)
async def test_the_attack_comes_to_what_is_declared(name: str, scene: Scene) -> None:
    succeeded = ATTEMPTS[name](scene)
    if inspect.isawaitable(succeeded):
        succeeded = await succeeded
    assert ("not blocked" if succeeded else "blocked") == ATTACKS[name].outcome


def test_every_attempt_is_declared() -> None:
    tried = {
        name
        for module in MODULES
        for name, value in vars(module).items()
        if inspect.isfunction(value)
        and value.__module__ == module.__name__
        and not name.startswith("_")
        and list(inspect.signature(value).parameters) == ["scene"]
    }
    assert tried - {"references"} == ATTACKS.keys()


@pytest.mark.parametrize("name", [name for name in ATTACKS if ATTACKS[name].told])
def test_what_is_not_blocked_is_told_with_a_remedy(name: str) -> None:
    open_ones = SECURITY.read_text().partition("## Not blocked")[2].partition("\n## ")[0]
    told = [line for line in open_ones.splitlines() if ATTACKS[name].told in line]
    assert len(told) == 1
    attacker, reason, remedy = (cell.strip() for cell in told[0].strip("| ").split("|"))
    assert attacker
    assert reason
    assert remedy


def test_what_is_not_blocked_has_a_remedy_and_what_is_has_none() -> None:
    for attack in ATTACKS.values():
        assert (attack.outcome == "not blocked") == bool(attack.remedy) == bool(attack.told)
