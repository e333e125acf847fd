"""What the README and the guides say is run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import clonedb
from clonedb import Database, ObjectStore, User, UserScope, queries
from clonedb.commands.app import app as app_of_commands
from clonedb.queries import load_directory, query_of
from clonedb.testing import IsolatedDatabase

ROOT = Path(__file__).parents[2]
GUIDES = [
    "README.md",
    "docs/services.md",
    "docs/dba.md",
    "docs/operations.md",
    "docs/security.md",
]


def blocks(guide: str, language: str) -> list[str]:
    found = re.findall(rf"```{language}\n(.*?)```", (ROOT / guide).read_text(), re.DOTALL)
    assert found, f"{guide} has no {language} block"
    return found


def test_the_readmes_program_runs_and_prints_what_it_says(migrated: IsolatedDatabase) -> None:
    (program,) = blocks("README.md", "python")
    finished = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "DATABASE_URL": migrated.dsn("clonedb_app")},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert finished.stderr == ""
    assert finished.stdout == "turn 1 of 1 active session\n"


def test_the_readmes_query_loads_and_its_lines_are_those_of_the_real_one(tmp_path: Path) -> None:
    (text,) = blocks("README.md", "sql")
    (tmp_path / "sessions.sql").write_text(text)
    shown = query_of(load_directory(tmp_path).sessions.find_many)
    real = query_of(queries.conversation_sessions.find_many)
    assert set(shown.parameters) <= set(real.parameters)
    assert shown.flags <= real.flags
    body = (ROOT / "sql" / "conversation_sessions.sql").read_text()
    for line in text.splitlines()[1:]:
        assert line.rstrip(";,") in body, line


async def test_the_services_guides_transaction_runs(as_ada: UserScope) -> None:
    (example,) = (block for block in blocks("docs/services.md", "python") if "isolation" in block)
    source = "async def example(mine):\n" + re.sub(r"(?m)^", "    ", example)
    defined: dict[str, object] = {}
    exec(source, defined)  # noqa: S102 - the guide's own example
    await defined["example"](as_ada)  # type: ignore[operator]
    assert await as_ada.conversation_sessions.count() == 1


async def test_the_services_guides_login_is_on_record(
    app: Database, worker: Database, ada: User
) -> None:
    (example,) = (block for block in blocks("docs/services.md", "python") if "logged_in" in block)
    defined: dict[str, object] = {"clonedb": clonedb}
    exec(example, defined)  # noqa: S102 - the guide's own example
    for correct in (True, False):
        await defined["logged_in"](app, ada.email, correct, "192.0.2.7")  # type: ignore[operator]
    await defined["logged_in"](app, "nobody@example.com", True, "192.0.2.7")  # type: ignore[operator]
    page = await worker.audit_logs.find_many(clonedb.AuditFilter(action="user.login"))
    assert sorted((one.result, one.subject_id) for one in page.items if one.subject_id) == [
        ("success", ada.id)
    ]
    assert [one.result for one in page.items if one.subject_id is None] == ["failure"] * 2


def test_the_services_guides_cache_runs(migrated: IsolatedDatabase, ada: User) -> None:
    (example,) = (
        block
        for block in blocks("docs/services.md", "python")
        if "async def serve(user_id" in block
    )
    program = example + (
        "\nimport asyncio\n"
        "async def model():\n    return 'Algebraic patterns.'\n"
        f"print(asyncio.run(serve('{ada.id}', model)).response)\n"
    )
    finished = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "DATABASE_URL": migrated.dsn("clonedb_app")},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (finished.stderr, finished.stdout) == ("", "Algebraic patterns.\n")


async def test_the_services_guides_object_is_stored_and_read(
    as_ada: UserScope, tmp_path: Path
) -> None:
    (example,) = (block for block in blocks("docs/services.md", "python") if "ObjectStore" in block)
    defined: dict[str, Any] = {}
    exec(example, defined)  # noqa: S102 - the guide's own example
    trained, copy = tmp_path / "trained", tmp_path / "copy"
    trained.write_bytes(bytes(3_000_000))
    store = ObjectStore(tmp_path / "objects")
    model, size = await defined["store_and_read"](store, as_ada, trained, copy)
    assert (model.name, size) == ("ada.pth", 3_000_000)
    assert copy.read_bytes() == trained.read_bytes()


async def test_the_dbas_example_shows_what_a_service_sees(
    migrated: IsolatedDatabase, ada: User, as_ada: UserScope
) -> None:
    await as_ada.conversation_sessions.start()
    (example,) = blocks("docs/dba.md", "sql")
    import psycopg

    with psycopg.connect(migrated.dsn("clonedb_superuser"), autocommit=True) as connection:
        cursor = connection.execute(example.replace("<the user>", str(ada.id)))
        results = []
        while True:
            if cursor.description is not None:
                results.append(cursor.fetchone())
            if not cursor.nextset():
                break
    assert results[-1] == (1,)


@pytest.mark.parametrize("guide", GUIDES)
def test_every_nox_session_and_command_named_in_a_guide_exists(guide: str) -> None:
    text = (ROOT / guide).read_text()
    sessions = set(re.findall(r"(?m)^def (\w+)\(session", (ROOT / "noxfile.py").read_text()))
    for names in re.findall(r"nox -s ((?:\w+ ?)+)", text):
        assert set(names.split()) <= sessions, names
    for command in set(re.findall(r"`clonedb (\w[\w-]*)", text)):
        assert CliRunner().invoke(app_of_commands, [command, "--help"]).exit_code == 0, command


@pytest.mark.parametrize("guide", GUIDES)
def test_every_relative_link_of_a_guide_leads_somewhere(guide: str) -> None:
    page = ROOT / guide
    for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
        assert (page.parent / target).exists(), target


async def test_settings_in_the_guide_have_the_defaults_it_says() -> None:
    text = (ROOT / "docs/services.md").read_text()
    settings = Database("host=/nowhere").settings
    for name in (
        "connection_timeout",
        "pool_timeout",
        "maximum_idle",
        "statement_timeout",
        "channel_statement_timeout",
        "channel_lock_timeout",
        "notification_staleness",
    ):
        (said,) = re.findall(rf"`{name}` \| ([\d.]+) s", text)
        assert float(said) == getattr(settings, name)
