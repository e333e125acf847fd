"""The pages that are generated say of this server what they say of the one they were made with."""

from __future__ import annotations

import re
from pathlib import Path

from clonedb.doctor.check import all_checks
from clonedb.generation.doctor import checks
from clonedb.generation.grants import grants_of
from clonedb.testing import IsolatedDatabase

DOCS = Path(__file__).parents[2] / "docs"


def test_the_page_of_grants_is_true_on_this_version(sound: IsolatedDatabase) -> None:
    assert grants_of(sound.dsn("clonedb_dba")) == (DOCS / "grants.md").read_text()


def test_the_page_of_checks_has_them_all() -> None:
    page = (DOCS / "doctor.md").read_text()
    assert page == checks()
    assert set(re.findall(r"(?m)^### (\w+)$", page)) == {check.name for check in all_checks()}


def test_checks_that_the_guides_name_exist() -> None:
    known = {check.name for check in all_checks()}
    text = (DOCS / "security.md").read_text()
    named = set(re.findall(r"`(\w+)`\)|no content: `(\w+)`", text))
    assert named
    assert {name for pair in named for name in pair if name} <= known
