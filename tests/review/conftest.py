"""The shop: one repository for all tests of a process, each of which gets it as committed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from project import Project, shop


@pytest.fixture(scope="session")
def _shop(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return shop(tmp_path_factory.mktemp("review") / "shop")


@pytest.fixture
def project(_shop: Project) -> Iterator[Project]:
    """A project with one commit, tagged `base`, and no other change."""
    yield _shop
    _shop.back()
    _shop.git("checkout", "--quiet", "--force", "-B", "main", "base")
    branches = _shop.git("for-each-ref", "--format=%(refname:short)", "refs/heads").split()
    for branch in branches:
        if branch != "main":
            _shop.git("branch", "--quiet", "-D", branch)
