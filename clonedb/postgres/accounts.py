"""The operating-system account under which the embedded server's processes run.

PostgreSQL refuses to run as root. For an ordinary user the account is that user; for root it is
the owner of the data directory, where an ordinary user owns it, and otherwise `postgres`, or
`nobody` where no `postgres` exists. `nobody` is shared with whatever else runs under that name:
good enough for a development server, and `chown` of an empty data directory chooses another.
"""

from __future__ import annotations

import os
import pwd
import subprocess
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from clonedb.errors import EmbeddedError

_CANDIDATES = ("postgres", "nobody")
# What the server's programs may inherit. PGDATA, PGPORT and their kin would redirect them.
_INHERITED = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
_LIMITED_ROOT = "run as an ordinary user: this root may not act for another account"
StrPath = str | Path
_FIRST_CLOSED = 'for path; do [ -x "$path" ] || { printf %s "$path"; exit 1; }; done'


@dataclass(frozen=True, slots=True)
class Account:
    """A user and its group, with or without an entry in the passwd database."""

    uid: int
    gid: int

    @property
    def name(self) -> str:
        """The login name, or the number of a user that has none."""
        try:
            return pwd.getpwuid(self.uid).pw_name
        except KeyError:
            return f"uid {self.uid}"

    @property
    def is_registered(self) -> bool:
        """Whether the passwd database knows the user, which `initdb` insists on."""
        try:
            pwd.getpwuid(self.uid)
        except KeyError:
            return False
        return True

    @property
    def is_ours(self) -> bool:
        """Whether this process runs under the account itself, and not as root beside it."""
        return self.uid == os.geteuid()

    def run(
        self,
        command: Sequence[StrPath],
        *,
        timeout: float,
        output: int = subprocess.PIPE,
        descriptors: Collection[int] = (),
    ) -> subprocess.CompletedProcess[str]:
        """Run a program under the account, in a session of its own, and wait for it.

        `output` takes both its streams; `descriptors` stay open in it. The exit status is the
        caller's to judge; EmbeddedError if the program cannot be run at all or not in time.
        """
        inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
        try:
            return subprocess.run(
                command,
                user=None if self.is_ours else self.uid,
                group=None if self.is_ours else self.gid,
                extra_groups=None if self.is_ours else (),
                env={**inherited, "LC_ALL": "C", "TZ": "UTC"},
                cwd="/",  # the caller's directory may be closed to the account
                umask=0o077,
                start_new_session=True,  # Ctrl-C at the terminal is not for the server
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                pass_fds=tuple(descriptors),
                timeout=timeout,
                text=True,
                errors="replace",
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise EmbeddedError(f"{command[0]} did not finish within {timeout:g} s") from error
        except OSError as error:
            raise EmbeddedError(
                f"cannot run {command[0]} as {self.name}: {error}",
                remedy=None if self.is_ours else _LIMITED_ROOT,
            ) from error

    def give(self, path: Path, *, group_only: bool = False) -> None:
        """Make the path the account's own, or its group's; nothing to do for one's own account."""
        if self.is_ours:
            return
        try:
            os.chown(path, -1 if group_only else self.uid, self.gid)
        except OSError as error:
            raise EmbeddedError(
                f"cannot give {path} to {self.name}: {error}", remedy=_LIMITED_ROOT
            ) from error

    def first_closed(self, paths: Iterable[Path]) -> Path | None:
        """The first of the paths that the account may not enter or execute.

        Asked of the kernel under the account itself, so that access lists count too.
        """
        every = dict.fromkeys(part for path in paths for part in (*reversed(path.parents), path))
        found = self.run(["/bin/sh", "-c", _FIRST_CLOSED, "sh", *every], timeout=10)
        return Path(found.stdout) if found.returncode else None


def account_for(*owned: Path) -> Account:
    """The account to run under, given the paths that belong to a server, most telling first.

    EmbeddedError if they belong to somebody whom this process cannot act for.
    """
    mine = os.geteuid()
    for path in owned:
        if not path.exists():
            continue
        status = path.stat()
        if mine not in (0, status.st_uid):
            raise EmbeddedError(
                f"{path} belongs to {Account(status.st_uid, status.st_gid).name}, not to "
                f"{Account(mine, os.getegid()).name}",
                remedy="choose another data directory",
            )
        if status.st_uid != 0:
            return Account(status.st_uid, status.st_gid)
    if mine != 0:
        return Account(mine, os.getegid())
    for name in _CANDIDATES:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        if entry.pw_uid != 0:
            return Account(entry.pw_uid, entry.pw_gid)
    raise EmbeddedError(
        "PostgreSQL does not run as root, and there is no account `postgres` or `nobody`",
        remedy="add one (useradd --system postgres), or run as an ordinary user",
    )
