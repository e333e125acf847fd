"""Where the package's own `sql/` and `migrations/` folders are, installed or in a checkout."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def sql_directory() -> Path:
    """The folder of the named queries."""
    return _directory("sql")


def migrations_directory() -> Path:
    """The folder that `yoyo apply` works on."""
    return _directory("migrations")


def _directory(name: str) -> Path:
    # A wheel carries the folder inside the package; an editable install and a checkout have it
    # beside the package, since neither setuptools nor hatchling maps it there.
    for candidate in (_PACKAGE / name, _PACKAGE.parent / name):
        if candidate.is_dir():
            return candidate
    raise FileNotFoundError(
        f"clonedb's {name}/ folder is neither inside nor beside {_PACKAGE}: the installation is "
        "incomplete; reinstall clonedb"
    )
