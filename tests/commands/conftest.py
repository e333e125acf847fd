"""A data directory that the embedded server's account can reach."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def data_directory() -> Iterator[Path]:
    # pytest's own folders are closed to other accounts, and for root the server has another.
    with tempfile.TemporaryDirectory(prefix="clonedb-test-") as temporary:
        yield Path(temporary)
