"""One scratch server for all processes of a test run, and queries planted on it."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from clonedb.check.examine import Examination
from clonedb.check.finding import Finding
from clonedb.check.python_code import PackageCode
from clonedb.check.refusals import REFUSALS, Subject
from clonedb.check.scratch import Scratch, WrongMajor, scratch_server, server_version
from clonedb.errors import EmbeddedError
from clonedb.postgres.filelocks import FileLock
from clonedb.query.modules import all_queries, load_directory


@pytest.fixture(scope="session")
def cache() -> Iterator[Path]:
    """The cache of this run; whoever is the last to use it removes it."""
    try:
        server_version()
    except WrongMajor as error:
        pytest.skip(str(error))
    # Not in pytest's own folder, which is closed to the account that the server has under root.
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID", str(os.getpid()))
    folder = Path(tempfile.gettempdir()) / f"clonedb-check-{run}"
    folder.mkdir(mode=0o755, exist_ok=True)
    using = FileLock(folder / "using.lock")
    using.try_shared()
    yield folder
    if using.try_exclusive():
        with suppress(EmbeddedError):
            shutil.rmtree(folder)
    using.close()


@pytest.fixture(scope="session")
def scratch(cache: Path) -> Iterator[Scratch]:
    with scratch_server(cache=cache) as scratch:
        yield scratch


@pytest.fixture(scope="session")
def examination(scratch: Scratch) -> Iterator[Examination]:
    with Examination(scratch) as examination:
        yield examination


Planting = Callable[..., list[Finding]]


@pytest.fixture
def plant(examination: Examination, tmp_path: Path) -> Planting:
    """Give the findings of a query file, as if it were sql/planted.sql."""

    def findings(text: str, *, code: PackageCode | None = None) -> list[Finding]:
        folder = tmp_path / "sql"
        folder.mkdir(exist_ok=True)
        (folder / "planted.sql").write_text(text)
        found = list(examination.examine(all_queries(load_directory(folder))))
        subject = Subject(examination, found, own=code is not None)
        if code is not None:
            subject.code = code
        return sorted({each for refusal in REFUSALS for each in refusal(subject)})

    return findings
