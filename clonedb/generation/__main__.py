"""Makes the generated files of the repository, or checks that they are up to date.

python -m clonedb.generation            writes them
python -m clonedb.generation --check    exits with 1 and the difference where one is stale
"""

from __future__ import annotations

import difflib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from clonedb.generation.doctor import checks
from clonedb.generation.grants import grants
from clonedb.generation.protocols import protocols
from clonedb.generation.schema import schema

_REPOSITORY: Final = Path(__file__).resolve().parents[2]

GENERATED: Final[dict[str, Callable[[], str]]] = {
    "clonedb/protocols.py": protocols,
    "docs/doctor.md": checks,
    "docs/grants.md": grants,
    "docs/schema.sql": schema,
}


def main(arguments: list[str]) -> int:
    """Write or check every generated file; the exit code."""
    check = arguments == ["--check"]
    if arguments and not check:
        sys.stderr.write(__doc__ or "")
        return 2
    stale = 0
    for name, make in GENERATED.items():
        path, made = _REPOSITORY / name, make()
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
        else:
            path.write_text(made)
            sys.stdout.write(f"wrote {name}\n")
    if check and stale:
        sys.stdout.write("run `python -m clonedb.generation` and commit what it writes\n")
    return stale if check else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
