"""A git repository: which two revisions are compared, and their files.

    (nothing)      the merge base with main .. the working tree, as it is on disk
    BASE           that commit .. the working tree
    BASE..HEAD     two commits; either may be left out, and is HEAD then
    BASE...HEAD    the merge base of the two .. HEAD

Git is asked, never changed: a commit's files go to a folder of their own.
"""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path
from typing import Final, NamedTuple

from clonedb.errors import InvalidInput
from clonedb.git import extract, git

# Where the main line is looked for.
MAIN_LINES: Final = ("origin/main", "main", "origin/master", "master")

# What is looked at of a revision, besides its Python packages.
FOLDERS: Final = ("sql", "migrations", "docs", "tests")
_PACKAGE: Final = re.compile(r"(?:src/)?[^/]+/__init__\.py")

_SHORT: Final = 10


class Range(NamedTuple):
    """What is compared: two commits, or with `head` None a commit and the working tree."""

    base: str
    head: str | None
    title: str


class Repository:
    """The project that a folder is in: the first folder upwards that has a `sql/`."""

    def __init__(self, directory: Path) -> None:
        if not directory.is_dir():
            raise InvalidInput(
                f"{directory} is no folder", remedy="name the project's with --repository"
            )
        self._directory = directory
        top = self._git(
            "rev-parse",
            "--show-toplevel",
            otherwise=f"{directory} is in no git repository",
            remedy="run it in a checkout, or name one with --repository",
        )
        self._directory = Path(top)  # from below it, git would show what is below alone
        inside = directory.resolve()
        upwards = [each for each in (inside, *inside.parents) if each.is_relative_to(top)]
        self.root = next((each for each in upwards if (each / "sql").is_dir()), Path(top))
        self._prefix = self.root.relative_to(top).as_posix() if self.root != Path(top) else ""

    def range(self, text: str | None) -> Range:
        """Read a range; InvalidInput where a revision is not there."""
        if text is None:
            main = self._main_line()
            return Range(self._merge_base(main, "HEAD"), None, f"{main}..working tree")
        for dots in ("...", ".."):
            if dots in text:
                first, _, second = text.partition(dots)
                base, head = self._commit(first or "HEAD"), self._commit(second or "HEAD")
                if dots == "...":
                    base = self._merge_base(base, head)
                return Range(base, head, text)
        return Range(self._commit(text), None, f"{text}..working tree")

    @property
    def name(self) -> str:
        """What the project is called: as pyproject.toml says, or as its folder is."""
        try:
            project = tomllib.loads((self.root / "pyproject.toml").read_text("utf-8"))
            return str(project["project"]["name"])
        except (OSError, KeyError, TypeError, ValueError):
            return self.root.name

    def title(self, commit: str) -> str:
        """A commit for people: its short name and subject."""
        return self._git("log", "-1", f"--abbrev={_SHORT}", "--format=%h %s", commit)

    def day(self, commit: str) -> str:
        """The day of a commit, which a page made again shows again."""
        return self._git("log", "-1", "--format=%cs", commit)

    def extract(self, commit: str, into: Path) -> None:
        """Put what is looked at of a commit below a folder: FOLDERS, and the Python packages.

        What is no file, a link for instance, is left out.
        """
        tree = f"{commit}:{self._prefix}" if self._prefix else commit
        listed = self._run("ls-tree", "-r", "--name-only", "-z", tree)
        if listed.returncode and self._prefix:
            return  # the project was not there yet, or lay elsewhere
        there = listed.stdout.decode("utf-8", "replace").split("\0")
        tops = {path.partition("/")[0] for path in there}
        wanted = sorted(
            {name for name in FOLDERS if name in tops}
            | {path.rpartition("/")[0] for path in there if _PACKAGE.fullmatch(path)}
        )
        if not wanted:
            return
        extract(self._directory, tree, into, *wanted)

    def _main_line(self) -> str:
        for name in MAIN_LINES:
            found = self._run("rev-parse", "--verify", "--quiet", f"{name}^{{commit}}")
            if found.returncode == 0:
                return name
        raise InvalidInput(
            f"there is no {' or '.join(MAIN_LINES)} to compare with",
            remedy="name what to compare: clonedb review BASE..HEAD",
        )

    def _merge_base(self, one: str, other: str) -> str:
        return self._git(
            "merge-base",
            one,
            other,
            otherwise=f"{one[:40]} and {other[:40]} have no commit in common",
            remedy=self._deeper("name what to compare: clonedb review BASE..HEAD"),
        )

    def _commit(self, revision: str) -> str:
        return self._git(
            "rev-parse",
            "--verify",
            "--quiet",
            "--end-of-options",
            f"{revision}^{{commit}}",
            otherwise=f"there is no revision {revision!r}",
            remedy=self._deeper("name a commit, a branch or a tag that this clone has"),
        )

    def _deeper(self, remedy: str) -> str:
        shallow = self._run("rev-parse", "--is-shallow-repository").stdout.strip() == b"true"
        return f"this clone is shallow: git fetch --unshallow; or {remedy}" if shallow else remedy

    def _git(self, *arguments: str, otherwise: str = "", remedy: str | None = None) -> str:
        done = self._run(*arguments)
        if done.returncode:
            said = _said(done.stderr)
            message = f"{otherwise}: {said}" if otherwise and said else otherwise or said
            raise InvalidInput(message or f"git {arguments[0]} failed", remedy=remedy)
        return done.stdout.decode("utf-8", "replace").removesuffix("\n")

    def _run(self, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        return git(self._directory, *arguments)


def _said(stderr: bytes) -> str:
    lines = stderr.decode("utf-8", "replace").strip().splitlines()
    return lines[0].removeprefix("fatal: ") if lines else ""
