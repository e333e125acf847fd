"""What a rehearsal has shown of a migration, and its text in sql/ledger/migrations/.

One fact a line, so that a difference of two texts is a list of facts. Nothing depends on the day,
the machine or how long it took; months of a partitioned table are one.

    0031_shorten_names

    file       5d0c2b9a7e61f384
    phase      before deploy
    runs in    one transaction
    rollback   gives back the schema, and can be followed by the same again

    applied
        locks      ACCESS EXCLUSIVE on users, from line 8: blocks reads and writes
        locks      SHARE on months of conversation_turns, from line 9: blocks writes
        rewrites   users
        validates  users_name_is_short of users
        builds     users_by_name of users
        reads all  users
        writes     users

    rolled back
        nothing that anybody waits for
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Final, Literal, TypeVar

import msgspec

from clonedb.check.migrations.locks import blocks, keeps_waiting, strength

FOLDER: Final = "migrations"

_Key = TypeVar("_Key")

Phase = Literal["before deploy", "after deploy"]
PHASES: Final[tuple[Phase, ...]] = ("before deploy", "after deploy")
Rollback = Literal["equal", "missing", "different"]

_DIGITS: Final = 16
_ROLLBACKS: Final[dict[Rollback, str]] = {
    "equal": "gives back the schema, and can be followed by the same again",
    "missing": "is missing",
    "different": "gives back another schema",
}
_TRANSACTIONS: Final = {True: "one transaction", False: "a transaction for each statement"}
_NOTHING: Final = "nothing that anybody waits for"
_LOCK: Final = re.compile(
    r"(?P<mode>[A-Z ]+) on (?P<part>\S+)(?: of (?P<of>\S+))?, from line (\d+): .*"
)
_PART: Final = re.compile(r"(\S+) of (\S+)")


class Lock(msgspec.Struct, frozen=True, order=True):
    """The strongest lock on something that was there before, until the transaction ends.

    Weaker ones than SHARE UPDATE EXCLUSIVE, which keep no query waiting, are left out. `relation`
    is a table, view or sequence; or an index, or `months` for the partitions, `of` a table which is
    locked less. `line` is that of the statement that took it.
    """

    relation: str
    of: str | None
    mode: str
    line: int

    @property
    def table(self) -> str:
        """Whose readers and writers wait."""
        return self.of or self.relation

    @property
    def shown(self) -> str:
        """As a header claims it."""
        return f"{self.mode} on {self.relation}{f' of {self.of}' if self.of else ''}"


class Part(msgspec.Struct, frozen=True, order=True):
    """A constraint or an index, and its table."""

    name: str
    of: str

    def __str__(self) -> str:
        return f"{self.name} of {self.of}"


class Work(msgspec.Struct, frozen=True, kw_only=True):
    """What one file did to tables that were there before it, and held rows.

    `rewrites`: tables whose rows were written anew; `validates`: constraints that all rows were
    compared with; `builds`: indexes, while writers waited; `reads_all`: tables that were read from
    end to end; `writes`: tables that had rows inserted, updated or deleted.
    """

    locks: tuple[Lock, ...] = ()
    rewrites: tuple[str, ...] = ()
    validates: tuple[Part, ...] = ()
    builds: tuple[Part, ...] = ()
    reads_all: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()

    def blocked(self, queries: Mapping[str, Mapping[str, str]]) -> dict[str, list[Lock]]:
        """The queries that would wait, by name, and for which locks.

        `queries` gives the lock that each takes on each table, as `query_locks.read_locks` reads
        them from a query's text in the ledger.
        """
        found: dict[str, list[Lock]] = {}
        for name, taken in sorted(queries.items()):
            waits = [
                lock
                for lock in self.locks
                if lock.table in taken and keeps_waiting(lock.mode, taken[lock.table])
            ]
            if waits:
                found[name] = waits
        return found


class Rehearsal(msgspec.Struct, frozen=True, kw_only=True):
    """A migration as it went. `file` is a digest of both its files; `phase` what its header says.

    `down` is None where there is no rollback file.
    """

    id: str
    file: str
    phase: str
    transactional: bool
    rollback: Rollback
    up: Work
    down: Work | None


def together(works: Iterable[Work]) -> Work:
    """What several statements did that were transactions of their own."""
    all_works = list(works)
    locks: dict[tuple[str, str | None], Lock] = {}
    for lock in (each for work in all_works for each in work.locks):
        known = locks.setdefault((lock.relation, lock.of), lock)
        if strength(known.mode) < strength(lock.mode):
            locks[lock.relation, lock.of] = lock
    return Work(
        locks=tuple(sorted(locks.values(), key=_by_table)),
        rewrites=tuple(sorted({each for work in all_works for each in work.rewrites})),
        validates=tuple(sorted({each for work in all_works for each in work.validates})),
        builds=tuple(sorted({each for work in all_works for each in work.builds})),
        reads_all=tuple(sorted({each for work in all_works for each in work.reads_all})),
        writes=tuple(sorted({each for work in all_works for each in work.writes})),
    )


def _by_table(lock: Lock) -> tuple[str, str, Lock]:
    return lock.table, lock.of or "", lock


def migration_hash(up: str, down: str | None) -> str:
    """A digest of a migration's texts, line ends apart."""
    hashed = hashlib.sha256()
    for text in (up, down or ""):
        hashed.update(text.replace("\r\n", "\n").encode() + b"\0")
    return hashed.hexdigest()[:_DIGITS]


def path_of(identifier: str) -> str:
    """Where the text of a migration is, below sql/ledger/."""
    return f"{FOLDER}/{identifier}.txt"


def write(rehearsal: Rehearsal) -> str:
    """The text of a migration's file in the ledger."""
    lines = [
        rehearsal.id,
        "",
        f"file       {rehearsal.file}",
        f"phase      {rehearsal.phase}",
        f"runs in    {_TRANSACTIONS[rehearsal.transactional]}",
        f"rollback   {_ROLLBACKS[rehearsal.rollback]}",
        "",
        "applied",
        *_facts(rehearsal.up),
    ]
    if rehearsal.down is not None:
        lines += ["", "rolled back", *_facts(rehearsal.down)]
    return "\n".join(lines) + "\n"


def read(text: str) -> Rehearsal:
    """The rehearsal that a text tells of; ValueError where it is none."""
    identifier, *rest = text.splitlines() or [""]
    heads: dict[str, str] = {}
    works: dict[str, dict[str, list[str]]] = {}
    facts: dict[str, list[str]] = {}
    for line in rest:
        if line.startswith(" "):
            key, value = line[4:15].strip(), line[15:]
            if line.strip() != _NOTHING:
                facts.setdefault(key, []).append(value)
        elif line in ("applied", "rolled back"):
            facts = works.setdefault(line, {})
        elif line:
            heads[line[:11].strip()] = line[11:]
    try:
        return Rehearsal(
            id=identifier,
            file=heads["file"],
            phase=heads["phase"],
            transactional=_key(_TRANSACTIONS, heads["runs in"]),
            rollback=_key(_ROLLBACKS, heads["rollback"]),
            up=_work(works["applied"]),
            down=_work(works["rolled back"]) if "rolled back" in works else None,
        )
    except (KeyError, AttributeError) as error:
        raise ValueError(f"{identifier!r} is no text of a rehearsal: {error}") from None


def _facts(work: Work) -> Iterator[str]:
    facts: list[tuple[str, object]] = [
        ("locks", f"{lock.shown}, from line {lock.line}: {blocks(lock.mode)}")
        for lock in work.locks
    ]
    facts += [("rewrites", each) for each in work.rewrites]
    facts += [("validates", each) for each in work.validates]
    facts += [("builds", each) for each in work.builds]
    facts += [("reads all", each) for each in work.reads_all]
    facts += [("writes", each) for each in work.writes]
    yield from (f"    {key:11}{value}" for key, value in facts)
    if not facts:
        yield f"    {_NOTHING}"


def _work(facts: Mapping[str, list[str]]) -> Work:
    return Work(
        locks=tuple(_lock(each) for each in facts.get("locks", ())),
        rewrites=tuple(facts.get("rewrites", ())),
        validates=tuple(_part(each) for each in facts.get("validates", ())),
        builds=tuple(_part(each) for each in facts.get("builds", ())),
        reads_all=tuple(facts.get("reads all", ())),
        writes=tuple(facts.get("writes", ())),
    )


def _lock(text: str) -> Lock:
    found = _LOCK.fullmatch(text)
    if found is None:
        raise KeyError(text)
    return Lock(found["part"], found["of"], found["mode"], int(found[4]))


def _part(text: str) -> Part:
    found = _PART.fullmatch(text)
    if found is None:
        raise KeyError(text)
    return Part(found[1], found[2])


def _key(words: Mapping[_Key, str], word: str) -> _Key:
    for key, value in words.items():
        if value == word:
            return key
    raise KeyError(word)
