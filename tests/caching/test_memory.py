"""What is in memory is bounded, current and in the order of its use, whatever is done to it."""

from __future__ import annotations

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from clonedb import new_id
from clonedb.caching.memory import Memory, Place, Remembered, Tally, bucket_of
from clonedb.repositories.cache_table import SHARED_USER

USERS = [new_id() for _ in range(3)]
SHARED = bucket_of(SHARED_USER)
MOST_ENTRIES = 4
MOST_BYTES = 1_000

users = st.integers(0, len(USERS) - 1)
keys = st.integers(0, 5)
weights = st.integers(1, 500)


def entry_of(user: int, weight: int, value: Any = None) -> Remembered:
    return Remembered(
        value,
        tally=Tally(USERS[user], bytes(32)),
        asked=0,
        fresh_until=0,
        refresh_at=0,
        weight=weight,
        buckets=(bucket_of(USERS[user]), SHARED),
    )


class MemoryMachine(RuleBasedStateMachine):
    """Beside it, the same as a plain list in the order of use."""

    def __init__(self) -> None:
        super().__init__()
        self.memory = Memory(entries=MOST_ENTRIES, bytes=MOST_BYTES)
        self.expected: dict[Place, Remembered] = {}
        self.pending: list[tuple[Place, Remembered, int]] = []
        self.overtaken: set[Remembered] = set()

    def place(self, user: int, key: int) -> Place:
        return (str(USERS[user]), key)

    def buckets(self, user: int) -> tuple[str, ...]:
        return (bucket_of(USERS[user]), SHARED)

    def note(self, place: Place, entry: Remembered) -> None:
        self.expected.pop(place, None)
        self.expected[place] = entry
        while (
            len(self.expected) > MOST_ENTRIES
            or sum(each.weight for each in self.expected.values()) > MOST_BYTES
        ):
            self.expected.pop(next(iter(self.expected)))

    @rule(user=users, key=keys, weight=weights)
    def remember(self, user: int, key: int, weight: int) -> None:
        place, entry = self.place(user, key), entry_of(user, weight)
        self.memory.remember(place, entry, self.memory.drops(entry.buckets))
        self.note(place, entry)

    @rule(position=keys)
    def remember_what_is_larger_than_the_memory(self, position: int) -> None:
        """In the place of something smaller, which is old then."""
        if self.expected:
            place = list(self.expected)[position % len(self.expected)]
            entry = entry_of(0, MOST_BYTES + 1)
            self.memory.remember(place, entry, self.memory.drops(entry.buckets))
            del self.expected[place]

    @rule(user=users, key=keys, weight=weights)
    def ask(self, user: int, key: int, weight: int) -> None:
        entry = entry_of(user, weight)
        self.pending.append((self.place(user, key), entry, self.memory.drops(entry.buckets)))

    @rule()
    def answer(self) -> None:
        if self.pending:
            place, entry, drops = self.pending.pop(0)
            overtaken = entry in self.overtaken
            self.memory.remember(place, entry, drops)
            if not overtaken:
                self.note(place, entry)

    @rule(user=users, key=keys)
    def find(self, user: int, key: int) -> None:
        place = self.place(user, key)
        found = self.memory.find(place)
        assert found is self.expected.get(place)
        if found is not None:
            self.expected[place] = self.expected.pop(place)

    @rule(user=users)
    def drop_a_user(self, user: int) -> None:
        bucket = bucket_of(USERS[user])
        self.memory.drop(bucket)
        self._dropped(lambda entry: bucket in entry.buckets)

    @rule()
    def drop_what_is_shared(self) -> None:
        self.memory.drop(SHARED)
        self._dropped(lambda entry: True)

    @rule()
    def drop_everything(self) -> None:
        self.memory.drop()
        self._dropped(lambda entry: True)

    def _dropped(self, concerns: Any) -> None:
        self.overtaken |= {entry for _, entry, _ in self.pending if concerns(entry)}
        for place in [p for p, entry in self.expected.items() if concerns(entry)]:
            del self.expected[place]

    @rule(user=users, key=keys, digest=keys)
    def warm_and_move(self, user: int, key: int, digest: int) -> None:
        lies, place = (str(USERS[user]), bytes([digest])), self.place(user, key)
        entry = entry_of(user, 10)
        self.memory.remember(lies, entry, self.memory.drops(entry.buckets))
        self.note(lies, entry)
        moved = self.memory.move(lies, place)
        assert moved is self.expected.pop(lies, None)
        if moved is not None:
            self.note(place, moved)

    @invariant()
    def is_bounded(self) -> None:
        assert len(self.memory) <= MOST_ENTRIES
        assert self.memory.bytes <= MOST_BYTES

    @invariant()
    def holds_what_was_used_last(self) -> None:
        entries = self.memory._entries
        assert set(entries) == self.expected.keys()  # values would be used
        assert self.memory.bytes == sum(entry.weight for entry in self.expected.values())

    @invariant()
    def knows_the_places_of_what_it_holds_and_no_others(self) -> None:
        places: dict[str, set[Place]] = {}
        for place, entry in self.expected.items():
            for bucket in entry.buckets:
                places.setdefault(bucket, set()).add(place)
        assert self.memory._entries.places == places


MemoryMachine.TestCase.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
TestMemory = MemoryMachine.TestCase


def test_without_entries_nothing_is_kept() -> None:
    memory = Memory(entries=0, bytes=MOST_BYTES)
    entry = entry_of(0, 1)
    memory.remember(("", 1), entry, memory.drops(entry.buckets))
    assert len(memory) == 0
    assert memory.bytes == 0
