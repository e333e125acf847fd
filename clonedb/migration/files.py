"""The pairs of files in a migrations folder: reading, checking and creating them."""

from __future__ import annotations

import glob
import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final, NamedTuple

import yoyo.exceptions
import yoyo.migrations
import yoyo.topologicalsort

from clonedb.errors import InvalidInput, MigrationError

ROLLBACK_SUFFIX: Final = ".rollback.sql"

# What would end, or begin, the transaction in which a migration is applied and marked. Savepoints
# go with them: ROLLBACK TO is the same word, and no migration needs them.
_TRANSACTION_CONTROL: Final = frozenset(
    ("ABORT", "BEGIN", "COMMIT", "END", "RELEASE", "ROLLBACK", "SAVEPOINT")
)
_TRANSACTION_CONTROL_PAIRS: Final = frozenset(
    (("PREPARE", "TRANSACTION"), ("START", "TRANSACTION"))
)

# The parts of SQL that matter for finding where statements begin. A string or quoted name is one
# token; the body of a nested comment and of a dollar-quoted string is skipped by hand.
_TOKEN: Final = re.compile(
    r"""(?P<line_comment>--[^\n]*)
    | (?P<block_comment>/\*)
    | (?P<string>\b[eE]'(?:[^'\\]|\\.|'')*' | '(?:[^']|'')*' | "(?:[^"]|"")*")
    | (?P<dollar>\$(?:[^\W\d]\w*)?\$)
    | (?P<word>[^\W\d][\w$]*)
    | (?P<end>;)
    | (?P<other>\S)""",
    re.VERBOSE | re.DOTALL,
)
_COMMENT_EDGE: Final = re.compile(r"/\*|\*/")

_NUMBERED: Final = re.compile(r"(\d+)_")
_NAME: Final = re.compile(r"[a-z][a-z0-9_]*")
# yoyo stores an id in 255 characters; the number and the suffix need some of them.
_LONGEST_NAME: Final = 200

_TEMPLATE: Final = """\
-- {title}
{depends}-- why:
-- phase: before deploy
-- locks:
-- rollback:

SET LOCAL ROLE clonedb_owner;
"""
_ROLLBACK_TEMPLATE: Final = """\
-- Undoes {identifier}.sql.

SET LOCAL ROLE clonedb_owner;
"""


class Statement(NamedTuple):
    """One statement as it is sent, and the line of the file it begins in."""

    line: int
    text: str


@dataclass(frozen=True, slots=True)
class MigrationFile:
    """One migration, read once, so that what is checked, applied and recorded is the same text.

    `id` and `hash` are yoyo's; `rollback` is None when there is no rollback file.
    """

    id: str
    hash: str
    path: Path
    checksum: str
    transactional: bool
    statements: tuple[Statement, ...]
    rollback: tuple[Statement, ...] | None

    @property
    def rollback_path(self) -> Path:
        return self.path.with_name(self.id + ROLLBACK_SUFFIX)

    def check(self) -> None:
        """Refuse transaction control, which would part a migration from its mark."""
        if not self.transactional:
            return
        for path in (self.path, self.rollback_path):
            if path.exists():
                for line, words in _transaction_control(_read(path)):
                    raise MigrationError(
                        f"{display(path)}:{line}: {words} in a transactional migration",
                        remedy="remove it: the file is one transaction already; what cannot run "
                        "in one needs `-- transactional: false` in the first lines",
                    )


def display(path: Path) -> str:
    """A path as messages name it: the folder and the file."""
    return f"{path.parent.name}/{path.name}"


def read_folder(directory: Path) -> list[MigrationFile]:
    """Every migration of the folder in the order of applying, which is yoyo's."""
    if not directory.is_dir():
        raise MigrationError(
            f"the migrations folder {directory.name!r} does not exist",
            remedy="name the folder that holds NNNN_verb_object.sql files",
        )
    for path in sorted(directory.glob("*.py")):
        raise MigrationError(
            f"{display(path)}: a migration is an .sql file",
            remedy="yoyo would run this file as a migration: move it elsewhere",
        )
    for path in sorted(directory.glob("*.sql")):
        _check_encoding(path)
    ordered = _ordered(directory)
    if not ordered:
        raise MigrationError(f"the migrations folder {directory.name!r} holds no migration")
    return [
        _read_file(each.id, each.hash, Path(each.path))  # pyright: ignore[reportArgumentType]
        for each in ordered
    ]


def first_line(statement: Statement) -> int:
    """The line of a statement's first word, behind the comments in front of it."""
    position = next((position for position, _ in _words(statement.text)), 0)
    return statement.line + statement.text.count("\n", 0, position)


def create_pair(name: str, directory: Path) -> tuple[Path, Path]:
    """Write an empty numbered migration and its rollback; never overwrites.

    The name is the verb and object, `add_something`; spaces and hyphens become underscores.
    """
    cleaned = re.sub(r"[\s-]+", "_", name.strip()).lower()
    if not _NAME.fullmatch(cleaned) or len(cleaned) > _LONGEST_NAME:
        raise InvalidInput(
            f"{name[:_LONGEST_NAME]!r} cannot name a migration",
            remedy="use a verb and an object of the letters a to z, digits and _: add_something",
        )
    if not directory.is_dir():
        raise InvalidInput(f"the migrations folder {directory.name!r} does not exist")
    numbered = [
        (int(match[1]), path.stem)
        for path in directory.glob("*.sql")
        if (match := _NUMBERED.match(path.name)) and not path.name.endswith(ROLLBACK_SUFFIX)
    ]
    number, newest = max(numbered, default=(0, None))
    identifier = f"{number + 1:04}_{cleaned}"
    depends = f"-- depends: {newest}\n" if newest else ""
    path = directory / f"{identifier}.sql"
    rollback_path = directory / f"{identifier}{ROLLBACK_SUFFIX}"
    title = cleaned.replace("_", " ").capitalize() + "."
    with path.open("x", encoding="utf-8", newline="\n") as file:
        file.write(_TEMPLATE.format(title=title, depends=depends))
    with rollback_path.open("x", encoding="utf-8", newline="\n") as file:
        file.write(_ROLLBACK_TEMPLATE.format(identifier=identifier))
    return path, rollback_path


def _ordered(directory: Path) -> list[yoyo.migrations.Migration]:
    """yoyo's migrations in yoyo's order, by dependency and then by name."""
    try:
        found = yoyo.migrations.read_migrations(glob.escape(str(directory)))
        for migration in found.post_apply:
            raise MigrationError(
                f"{display(Path(migration.path))}: post-apply files are not supported",
                remedy="make it a numbered migration",
            )
        identifiers = {migration.id for migration in found}
        for migration in found:
            # yoyo remembers what it has read from any folder, and would find it there.
            for missing in {one.id for one in migration.depends} - identifiers:
                raise yoyo.exceptions.BadMigration(f"{migration.path} depends on {missing}")
        return list(yoyo.migrations.topological_sort(found))
    except yoyo.exceptions.BadMigration as error:
        raise MigrationError(
            str(error).replace(str(directory), directory.name),
            remedy="`-- depends:` names migrations of the same folder",
        ) from None
    except yoyo.topologicalsort.CycleError as error:
        circle = " and ".join(sorted(migration.id for migration in error.args[1]))
        raise MigrationError(f"{directory.name}/: {circle} depend on each other") from None
    except KeyError as error:
        raise MigrationError(
            f"{directory.name}/: `-- transactional:` takes true or false, not {error}"
        ) from None


def _check_encoding(path: Path) -> None:
    content = path.read_bytes()
    try:
        content.decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise MigrationError(
            f"{display(path)}:{line}: this is not UTF-8", remedy="save the file as UTF-8"
        ) from None


def _read(path: Path) -> str:
    # Universal newlines, so that a checkout with CRLF has the same checksum.
    return path.read_text(encoding="utf-8")


def _read_file(identifier: str, key: str, path: Path) -> MigrationFile:
    text = _read(path)
    directives, _, statements = yoyo.migrations.read_sql_migration(str(path))
    rollback_path = path.with_name(identifier + ROLLBACK_SUFFIX)
    rollback: tuple[Statement, ...] | None = None
    if rollback_path.exists():
        _, _, undo = yoyo.migrations.read_sql_migration(str(rollback_path))
        rollback = tuple(_located(_read(rollback_path), undo))
    return MigrationFile(
        id=identifier,
        hash=key,
        path=path,
        checksum=hashlib.sha256(text.encode()).hexdigest(),
        transactional=directives.get("transactional", "true").lower() == "true",
        statements=tuple(_located(text, statements)),
        rollback=rollback,
    )


def _located(text: str, statements: list[str]) -> Iterator[Statement]:
    """Each statement with its line; yoyo's splitter cuts them out of the text unchanged."""
    offset = 0
    for statement in statements:
        found = text.find(statement, offset)
        offset = found if found >= 0 else offset
        yield Statement(text.count("\n", 0, offset) + 1, statement)
        offset += len(statement)


def _transaction_control(text: str) -> Iterator[tuple[int, str]]:
    """Line and words of each statement that begins or ends a transaction."""
    expected = True  # at the beginning of a statement
    depth = 0  # inside BEGIN ATOMIC … END, where CASE … END may be nested
    for (position, word), (_, following) in pairwise([*_words(text), (len(text), "")]):
        if word == ";":
            expected = True
            continue
        if (word == "BEGIN" and following == "ATOMIC") or (depth and word == "CASE"):
            depth += 1
        elif depth and word == "END":
            depth -= 1
        elif expected and (
            word in _TRANSACTION_CONTROL or (word, following) in _TRANSACTION_CONTROL_PAIRS
        ):
            words = word if word in _TRANSACTION_CONTROL else f"{word} {following}"
            yield text.count("\n", 0, position) + 1, words
        expected = False


def _words(text: str) -> Iterator[tuple[int, str]]:
    """Position and upper-case text of every word, semicolon and other token outside comments."""
    position = 0
    while (match := _TOKEN.search(text, position)) is not None:
        position = match.end()
        match match.lastgroup:
            case "line_comment":
                continue
            case "block_comment":
                position = _end_of_comment(text, position)
                continue
            case "dollar":
                closing = text.find(match[0], position)
                position = len(text) if closing < 0 else closing + len(match[0])
        yield match.start(), match[0].upper()


def _end_of_comment(text: str, position: int) -> int:
    depth = 1
    while depth and (edge := _COMMENT_EDGE.search(text, position)) is not None:
        depth += 1 if edge[0] == "/*" else -1
        position = edge.end()
    return position if depth == 0 else len(text)
