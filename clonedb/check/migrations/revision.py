"""The queries and migrations of another git revision, in a folder of their own."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from clonedb.errors import InvalidInput
from clonedb.git import extract, git


class Revision(NamedTuple):
    """A revision's folders, as they were then; `name` is the commit, shortened."""

    name: str
    sql: Path
    migrations: Path


@contextmanager
def checked_out(revision: str, sql: Path, migrations: Path) -> Iterator[Revision]:
    """Both folders as they were at a revision, until the block ends; the work tree stays as it is.

    Raises InvalidInput where there is no git, no repository, no such revision, or no such folder
    in it.
    """
    commit = _git(
        sql,
        "rev-parse",
        "--verify",
        "--quiet",
        "--end-of-options",
        f"{revision}^{{commit}}",
        refused=f"there is no revision {revision!r}",
        remedy="name a commit, a branch or a tag that `git log` knows; a shallow clone lacks the "
        "older ones: `git fetch --unshallow`",
    )
    name = commit.decode().strip()
    with tempfile.TemporaryDirectory(prefix="clonedb-revision-") as place:
        folders = [
            _extract(folder, name, Path(place) / kind)
            for kind, folder in (("sql", sql), ("migrations", migrations))
        ]
        yield Revision(name[:12], *folders)


def _extract(folder: Path, commit: str, target: Path) -> Path:
    # Of a folder, seen from the folder itself, wherever in its repository it is.
    prefix, top = (
        os.fsdecode(_git(folder, "rev-parse", asked)).removesuffix("\n").rstrip("/")
        for asked in ("--show-prefix", "--show-toplevel")
    )
    if not extract(Path(top), commit, target, prefix or "."):
        raise InvalidInput(
            f"the revision {commit[:12]} has no folder {prefix or folder.name}",
            remedy="name a revision that has it",
        )
    return target / prefix


def _git(folder: Path, *arguments: str, refused: str = "", remedy: str | None = None) -> bytes:
    if not folder.is_dir():
        raise InvalidInput(f"there is no folder {folder.name}")
    done = git(folder, *arguments)
    if done.returncode == 0:
        return done.stdout
    message = done.stderr.decode(errors="replace").strip()
    if "not a git repository" in message:
        raise InvalidInput(
            f"{folder.name} is in no git repository",
            remedy="run it in a checkout; what an earlier release was, only its history knows",
        )
    if "dubious ownership" in message:
        raise InvalidInput(
            f"git does not trust the repository of {folder.name}, which is another user's",
            remedy="run it as that user, or `git config --global --add safe.directory`",
        )
    raise InvalidInput(refused or message or f"git {arguments[0]} failed", remedy=remedy)
