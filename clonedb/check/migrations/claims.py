"""What the header of a migration claims, line by line.

    -- Shortens the names.
    -- depends: 0030_…
    -- why: …
    -- phase: before deploy
    -- locks: ACCESS EXCLUSIVE on users (an instant); SHARE on months of conversation_turns
    -- rewrites: users
    -- validates: users_name_is_short of users
    -- builds: users_by_name of users
    -- writes: users
    -- rollback: …

`phase` and `locks` are always there. What is in brackets is for readers. Names in a list have a
comma or `and` between them; locks a semicolon, and several tables of one mode go together. What
goes on in the next line is indented by three spaces there.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

from clonedb.check.migrations.locks import MODES
from clonedb.check.migrations.rehearsal import PHASES, Work

_TAG: Final = re.compile(r"-- (?P<tag>[a-z]+):(?P<value>.*)")
_LOCK: Final = re.compile(rf"(?P<mode>{'|'.join(reversed(MODES))}) on (?P<names>.+)")
_BRACKETS: Final = re.compile(r"\s*\([^)]*\)")
_NAME: Final = re.compile(r"[\w.]+(?: of [\w.]+)?")
_SEPARATOR: Final = re.compile(r",\s*|\s+and\s+")
LISTS: Final = ("locks", "rewrites", "validates", "builds", "writes")


class Claim(msgspec.Struct, frozen=True):
    """One tag: the line it is on, and the things it lists."""

    line: int
    things: tuple[str, ...]


class Claims(msgspec.Struct, frozen=True):
    """A header. `wrong` has what is missing or cannot be read: tag, line, what is wrong."""

    phase: str
    phase_line: int
    lists: dict[str, Claim]
    wrong: list[tuple[str, int, str]]


def read_claims(text: str) -> Claims:
    """The header of a migration's text, which ends at its first empty line or bare `--`."""
    tags: dict[str, tuple[int, str]] = {}
    last = ""
    for number, line in enumerate(text.splitlines(), 1):
        if not line.startswith("-- "):
            break
        if found := _TAG.fullmatch(line):
            last = found["tag"]
            tags[last] = number, found["value"].strip()
        elif line.startswith("--   ") and last:
            at, value = tags[last]
            tags[last] = at, f"{value} {line[2:].strip()}"
    wrong: list[tuple[str, int, str]] = []
    lists: dict[str, Claim] = {}
    for tag in LISTS:
        if tag in tags:
            line_number, value = tags[tag]
            things = _locks(value) if tag == "locks" else _names(value)
            if things is None:
                wrong.append((tag, line_number, f"`{tag}: {value}` cannot be read"))
            else:
                lists[tag] = Claim(line_number, things)
    phase_line, phase = tags.get("phase", (1, ""))
    if not phase:
        wrong.append(("phase", phase_line, "says no `-- phase:` in its header"))
    elif phase not in PHASES:
        what = f"`phase: {phase}` is neither of {' and '.join(PHASES)}"
        wrong.append(("phase", phase_line, what))
    if "locks" not in tags:
        wrong.append(("locks", 1, "says no `-- locks:` in its header"))
    return Claims(phase, phase_line, lists, wrong)


def measured(work: Work) -> dict[str, tuple[str, ...]]:
    """What the header of a migration that does this has to list, by tag."""
    return {
        "locks": tuple(lock.shown for lock in work.locks),
        "rewrites": work.rewrites,
        "validates": tuple(map(str, work.validates)),
        "builds": tuple(map(str, work.builds)),
        "writes": work.writes,
    }


def as_line(tag: str, things: tuple[str, ...]) -> str:
    """A tag as the header should have it."""
    if tag != "locks":
        return f"-- {tag}: {', '.join(things) or 'none'}"
    tables: dict[str, list[str]] = {}
    for thing in things:
        mode, _, name = thing.partition(" on ")
        tables.setdefault(mode, []).append(name)
    parts = [f"{mode} on {', '.join(names)}" for mode, names in tables.items()]
    return f"-- locks: {'; '.join(parts) or 'none'}"


def _names(value: str) -> tuple[str, ...] | None:
    """The names of a list; None where something else is in it."""
    plain = _BRACKETS.sub("", value).strip()
    if plain == "none":
        return ()
    names = [each.replace("clonedb.", "") for each in _SEPARATOR.split(plain)]
    return tuple(names) if all(map(_NAME.fullmatch, names)) else None


def _locks(value: str) -> tuple[str, ...] | None:
    plain = _BRACKETS.sub("", value).strip()
    if plain == "none":
        return ()
    things: list[str] = []
    for part in plain.split(";"):
        found = _LOCK.fullmatch(part.strip())
        names = _names(found["names"]) if found is not None else None
        if found is None or names is None:
            return None
        things += [f"{found['mode']} on {name}" for name in names]
    return tuple(things)
