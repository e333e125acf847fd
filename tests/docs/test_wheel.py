"""The wheel carries all it needs, and works far from the checkout."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

from clonedb.testing import IsolatedDatabase

ROOT = Path(__file__).parents[2]

PROGRAM = """
import asyncio, pathlib, sys, clonedb
from clonedb import doctor, migrate, resources

package = pathlib.Path(clonedb.__file__).parent
assert package.is_relative_to(sys.prefix), package
assert resources.sql_directory() == package / "sql"
assert (package / "py.typed").exists()

async def main():
    async with clonedb.Database() as db:
        user = await db.users.sign_up(clonedb.SignUp(email="wheel@example.com"))
        session = await db.as_user(user.id).conversation_sessions.start()
        print(session.state, len(list(resources.migrations_directory().glob("*.sql"))))

migrate.apply(sys.argv[1])
assert doctor.examine(sys.argv[1]).findings == []
asyncio.run(main())
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--outdir", str(folder), str(ROOT)],
        check=True,
        capture_output=True,
        timeout=300,
    )
    (built,) = folder.glob("*.whl")
    return built


def test_the_wheel_holds_every_query_and_migration_file(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    for folder in ("sql", "migrations"):
        for file in (ROOT / folder).rglob("*.sql"):
            assert f"clonedb/{file.relative_to(ROOT)}" in names
    assert "clonedb/py.typed" in names
    assert not [name for name in names if name.startswith(("tests/", "sql/", "migrations/"))]


def test_an_installed_wheel_migrates_and_stores_from_another_folder(
    wheel: Path, tmp_path: Path, empty_database: IsolatedDatabase
) -> None:
    environment = tmp_path / "environment"
    venv.create(environment, with_pip=True)
    python = environment / "bin" / "python"
    subprocess.run(
        [python, "-m", "pip", "install", "-q", "--disable-pip-version-check", wheel],
        check=True,
        timeout=300,
    )
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    finished = subprocess.run(
        [python, "-c", PROGRAM, empty_database.dsn("clonedb_migrator")],
        cwd=elsewhere,
        env={
            "PATH": os.environ["PATH"],
            "DATABASE_URL": empty_database.dsn("clonedb_app"),
        },
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert finished.stderr == ""
    assert finished.stdout.split()[0] == "idle"
    assert int(finished.stdout.split()[1]) == len(list((ROOT / "migrations").glob("*.sql")))
