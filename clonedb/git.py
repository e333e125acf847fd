"""Git, asked and never changed; and the files of a tree."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path, PurePosixPath
from typing import Final

from clonedb.errors import InvalidInput

_SECONDS: Final = 60


def git(folder: Path, *arguments: str, said: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """What git has answered in a folder to what it reads; whether it failed the caller says.

    Raises InvalidInput where there is no git, or none that answers in a minute.
    """
    # In a hook the environment names another repository; a name of a reviewed revision is a name,
    # and no pattern.
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    try:
        return subprocess.run(
            ["git", "-C", str(folder), "--no-replace-objects", *arguments],
            capture_output=True,
            env={
                **inherited,
                "LC_ALL": "C",
                "GIT_LITERAL_PATHSPECS": "1",
                "GIT_OPTIONAL_LOCKS": "0",
            },
            input=said,
            timeout=_SECONDS,
            check=False,
        )
    except OSError:
        raise InvalidInput("git is not installed, or cannot be run", remedy="install git") from None
    except subprocess.TimeoutExpired:
        raise InvalidInput(f"git did not answer in {_SECONDS} s") from None


def extract(folder: Path, tree: str, into: Path, *paths: str) -> bool:
    """Put the files below some paths of a tree, as they are stored, below a folder.

    Links and submodules are left out. Returns whether there was anything. Raises InvalidInput for
    what git cannot read, and for a file that would lie elsewhere.
    """
    # Not `git archive`, which leaves out and changes what the repository's attributes say.
    listed = _read(folder, "ls-tree", "-r", "-z", "--full-tree", tree, "--", *paths)
    blobs: dict[PurePosixPath, bytes] = {}
    for line in listed.split(b"\0")[:-1]:
        about, _, name = line.partition(b"\t")
        mode, _, digest = about.split()
        path = PurePosixPath(os.fsdecode(name))
        if path.is_absolute() or ".." in path.parts:
            raise InvalidInput(f"the tree names a file outside of it: {path}")
        if mode.startswith(b"100"):
            blobs[path] = digest
    # Each as a line that tells its length, the content, and a line feed.
    answer = _read(
        folder, "cat-file", "--batch", said=b"".join(b"%s\n" % d for d in blobs.values())
    )
    at = 0
    for path, digest in blobs.items():
        told, begins = answer[at : answer.index(b"\n", at)].split(), answer.index(b"\n", at) + 1
        if told[:2] != [digest, b"blob"]:
            raise InvalidInput(f"git cannot read {path} of {tree}")
        at = begins + int(told[2]) + 1
        try:
            (into / path).parent.mkdir(parents=True, exist_ok=True)
            (into / path).write_bytes(answer[begins : at - 1])
        except OSError as error:
            raise InvalidInput(f"{path} of {tree} cannot be written: {error.strerror}") from None
    return bool(listed)


def _read(folder: Path, *arguments: str, said: bytes = b"") -> bytes:
    done = git(folder, *arguments, said=said)
    if done.returncode:
        message = done.stderr.decode("utf-8", "replace").strip().partition("\n")[0]
        raise InvalidInput(message.removeprefix("fatal: ") or f"git {arguments[0]} failed")
    return done.stdout
