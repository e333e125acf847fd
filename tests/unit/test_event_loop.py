"""The loop that a program runs on is the one it asked for."""

from __future__ import annotations

import asyncio
import sys

import pytest

import clonedb


async def kind_of_loop() -> str:
    return type(asyncio.get_running_loop()).__module__.partition(".")[0]


def test_without_being_asked_it_is_asyncios(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CLONEDB_UVLOOP", raising=False)
    assert clonedb.run(kind_of_loop()) == "asyncio"
    monkeypatch.setenv("CLONEDB_UVLOOP", "0")
    assert clonedb.run(kind_of_loop()) == "asyncio"


def test_uvloop_is_used_when_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("uvloop")
    assert clonedb.run(kind_of_loop(), uvloop=True) == "uvloop"
    monkeypatch.setenv("CLONEDB_UVLOOP", "1")
    assert clonedb.run(kind_of_loop()) == "uvloop"
    assert clonedb.run(kind_of_loop(), uvloop=False) == "asyncio"


def test_uvloop_that_is_not_installed_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvloop", None)
    with pytest.raises(clonedb.InvalidInput, match="not installed"):
        clonedb.run(kind_of_loop(), uvloop=True)
