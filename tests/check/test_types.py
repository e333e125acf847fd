"""mypy and pyright find every mistake in mistakes.py, and nothing else. `nox -s types` has both."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

MISTAKES = Path(__file__).with_name("mistakes.py")
ROOT = MISTAKES.parents[2]
WRONG = {
    number
    for number, line in enumerate(MISTAKES.read_text().splitlines(), 1)
    if re.search(r"# wrong: \w", line) and not line.startswith("Each")
}


def test_mypy_finds_every_mistake_and_nothing_else() -> None:
    pytest.importorskip("mypy")
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "--hide-error-context",
         "--follow-imports=silent", "--config-file", str(ROOT / "pyproject.toml"), str(MISTAKES)],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )  # fmt: skip
    found = re.findall(r"mistakes\.py:(\d+): error", done.stdout)
    assert {int(line) for line in found} == WRONG, done.stdout


def test_pyright_finds_every_mistake_and_nothing_else() -> None:
    program = shutil.which("pyright", path=sysconfig.get_path("scripts"))
    if program is None:
        pytest.skip("pyright is not installed: nox -s types")
    done = subprocess.run(
        [program, "--outputjson", "--pythonpath", sys.executable, str(MISTAKES)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYRIGHT_PYTHON_IGNORE_WARNINGS": "1"},
    )
    diagnostics = json.loads(done.stdout)["generalDiagnostics"]
    found = {
        each["range"]["start"]["line"] + 1 for each in diagnostics if each["severity"] == "error"
    }
    assert found == WRONG, diagnostics
