"""Git, asked and never changed; and what `git archive` gives, as files."""

from __future__ import annotations

import os
import subprocess
import tarfile
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import Final

from clonedb.errors import InvalidInput

_SECONDS: Final = 60


def git(folder: Path, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    """What git has answered in a folder; whether it failed is for the caller to say.

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
            stdin=subprocess.DEVNULL,
            timeout=_SECONDS,
            check=False,
        )
    except OSError:
        raise InvalidInput("git is not installed, or cannot be run", remedy="install git") from None
    except subprocess.TimeoutExpired:
        raise InvalidInput(f"git did not answer in {_SECONDS} s") from None


def extract(archive: bytes, into: Path) -> None:
    """Put the files of a tar archive below a folder; links and the like are left out.

    Raises InvalidInput for a file that would lie elsewhere.
    """
    # By hand: tarfile's own filters came with Python 3.11.4, and Debian 12 has 3.11.2.
    with tarfile.open(fileobj=BytesIO(archive)) as content:
        for member in content:
            path = PurePosixPath(member.name)
            if path.is_absolute() or ".." in path.parts:
                raise InvalidInput(f"the archive names a file outside of it: {path}")
            file = content.extractfile(member) if member.isfile() else None
            if file is not None:
                (into / path).parent.mkdir(parents=True, exist_ok=True)
                (into / path).write_bytes(file.read())
