"""Makes the generated files of the repository, or checks that they are up to date.

python -m clonedb.generation            writes them
python -m clonedb.generation --check    exits with 1 and the difference where one is stale

What `clonedb check` finds is a failure too.
"""

from __future__ import annotations

import difflib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from clonedb.generation.attacks import attacks
from clonedb.generation.check import refusals
from clonedb.generation.doctor import checks
from clonedb.generation.grants import grants
from clonedb.generation.ledger import ledger
from clonedb.generation.privacy import privacy
from clonedb.generation.protocols import protocols
from clonedb.generation.schema import schema

_REPOSITORY: Final = Path(__file__).resolve().parents[2]

GENERATED: Final[dict[str, Callable[[], str]]] = {
    "clonedb/protocols.py": protocols,
    "docs/attacks.md": attacks,
    "docs/check.md": refusals,
    "docs/doctor.md": checks,
    "docs/grants.md": grants,
    "docs/privacy.md": privacy,
    "docs/schema.sql": schema,
}


def main(arguments: list[str]) -> int:
    """Write or check every generated file; the exit code."""
    check = arguments == ["--check"]
    if arguments and not check:
        sys.stderr.write(__doc__ or "")
        return 2
    files = {name: make() for name, make in GENERATED.items()}
    described, findings = ledger()
    files |= described
    if described:
        for path in (_REPOSITORY / "sql" / "ledger").rglob("*.txt"):
            files.setdefault(path.relative_to(_REPOSITORY).as_posix(), "")
    stale = 0
    for name, made in files.items():
        path = _REPOSITORY / name
        present = path.read_text() if path.exists() else ""
        if present == made:
            continue
        stale = 1
        if check:
            sys.stdout.writelines(
                difflib.unified_diff(
                    present.splitlines(keepends=True), made.splitlines(keepends=True), name, "made"
                )
            )
        elif made:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(made)
            sys.stdout.write(f"wrote {name}\n")
        else:
            path.unlink()
            sys.stdout.write(f"removed {name}\n")
    for finding in findings:
        sys.stdout.write(f"{finding}\n")
    if check and stale:
        sys.stdout.write("run `python -m clonedb.generation` and commit what it writes\n")
    return 1 if findings or (check and stale) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
