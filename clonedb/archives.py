"""What `git archive` gives, as files."""

from __future__ import annotations

import tarfile
from io import BytesIO
from pathlib import Path, PurePosixPath

from clonedb.errors import InvalidInput


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
