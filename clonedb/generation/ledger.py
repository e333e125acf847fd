"""sql/ledger/ and clonedb/queries.pyi: what PostgreSQL says about the queries."""

from __future__ import annotations

import sys
from pathlib import Path

from clonedb.check import run
from clonedb.check.finding import Finding
from clonedb.check.scratch import WrongMajor, scratch_server
from clonedb.queries import modules

_REPOSITORY = Path(__file__).resolve().parents[2]


def ledger() -> tuple[dict[str, str], list[Finding]]:
    """The files by path, and what the check has found; neither on a server of another major."""
    try:
        with scratch_server() as scratch:
            outcome = run.check(scratch, modules, tests=_REPOSITORY / "tests")
    except WrongMajor as error:
        sys.stderr.write(f"sql/ledger and clonedb/queries.pyi are not looked at: {error}\n")
        return {}, []
    files = {f"sql/ledger/{name}": text for name, text in outcome.ledger.items()}
    return {"clonedb/queries.pyi": outcome.stub, **files}, outcome.findings
