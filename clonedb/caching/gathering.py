"""Calls for entries that come in one tick of the event loop, as one statement.

Those who read go together, whoever they ask for (decision 32), and those who store for one user.
Where nothing is under way a call goes at once, and there is no timer.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, Generic, TypeAlias, TypeVar

from clonedb.caching.background import Background
from clonedb.caching.owner import Owner
from clonedb.caching.table import Found, Put, Table
from clonedb.lanes.channel import LARGEST_CALL
from clonedb.scopes import DatabaseScope

logger: Final = logging.getLogger("clonedb.caching")

K = TypeVar("K")
A = TypeVar("A")
R = TypeVar("R")

# What comes of one call of several.
_Outcome: TypeAlias = R | BaseException | None

# Of one statement: more would hold up the neighbours in its channel, with 6 KB for each embedding.
# How many values are read together, their kind says.
MOST_STORED: Final = 32
# More than these go in halves, where little else is under way.
_WHOLE: Final = 5
# Of what it sends: with its keys and models it stays under what a channel takes.
MOST_BYTES: Final = LARGEST_CALL * 3 // 4


class Gathering(Generic[K, A, R]):
    """One kind of call to one cache's table in a process.

    `alone` makes a call; `together` makes several, by their keys, and gives nothing where they
    failed. Callers with the same key share an answer where `shared`, else each has another
    statement. One is of `most` keys, and MOST_BYTES as `weigh` counts them, or fewer.
    """

    __slots__ = (
        "_alone",
        "_background",
        "_groups",
        "_most",
        "_shared",
        "_together",
        "_under_way",
        "_weigh",
    )

    def __init__(
        self,
        background: Background,
        alone: Callable[[K, A], Awaitable[R | None]],
        together: Callable[[dict[K, A]], Awaitable[Mapping[K, R | None]]],
        *,
        most: int,
        shared: bool,
        weigh: Callable[[A], int] = lambda _: 0,
    ) -> None:
        self._background = background
        self._alone = alone
        self._together = together
        self._most = most
        self._shared = shared
        self._weigh = weigh
        self._under_way = 0  # keys
        # By what may be asked in one statement.
        self._groups: dict[str, _Group[K, A, R]] = {}

    async def call(self, whose: str, key: K, argument: A) -> R | None:
        """The answer; None for none, or where the database failed.

        It may go with those alone that are of the same `whose`. Raises what `alone` raises.
        """
        group = self._groups.get(whose)
        if group is None and not self._under_way:
            self._under_way += 1
            try:
                return await self._alone(key, argument)
            finally:
                self._under_way -= 1
        weight = self._weigh(argument)
        if (
            group is None
            or len(group.arguments) >= self._most
            or (key in group.arguments and not self._shared)
            or group.weight + weight > MOST_BYTES
        ):
            group = self._groups[whose] = _Group()
            group.arguments[key], group.weight = argument, weight
            return await self._lead(whose, group, key)
        group.arguments[key] = argument
        group.weight += weight
        answer: asyncio.Future[R | None] = asyncio.get_running_loop().create_future()
        group.answers.append((key, answer))
        return await answer

    async def _lead(self, whose: str, group: _Group[K, A, R], key: K) -> R | None:
        """Wait for who else comes in this tick, ask for all, and return one's own answer."""
        try:
            await asyncio.sleep(0)
            self._close(whose, group)
            # While the server works on one half, this process hands out the other.
            many = len(group.arguments)
            if many > _WHOLE and self._under_way < many // 2:
                self._start(group.split())
            outcomes = await self._serve(group)
        except asyncio.CancelledError:
            # Who has not given up is asked for again.
            self._close(whose, group)
            if not all(answer.done() for _, answer in group.answers):
                self._start(group)
            raise
        group.answer(outcomes)
        found = outcomes[key]
        if isinstance(found, BaseException):
            raise found
        return found

    def _start(self, group: _Group[K, A, R]) -> None:
        """Ask for a group that nobody leads."""
        task = self._background.start(self._serve(group))
        # Where the caches are being closed, nothing is found.
        task.add_done_callback(lambda task: group.answer({} if task.cancelled() else task.result()))

    async def _serve(self, group: _Group[K, A, R]) -> dict[K, _Outcome[R]]:
        arguments, many = group.arguments, len(group.arguments)
        self._under_way += many
        try:
            if many > 1:
                try:
                    found = await self._together(arguments)
                    return {key: found.get(key) for key in arguments}
                except Exception:
                    # What is wrong with one is not the others' business: each is asked by itself.
                    logger.debug("calls that went together have failed", exc_info=True)
            return {key: await self._outcome(key, each) for key, each in arguments.items()}
        finally:
            self._under_way -= many

    async def _outcome(self, key: K, argument: A) -> _Outcome[R]:
        try:
            return await self._alone(key, argument)
        except Exception as error:
            return error

    def _close(self, whose: str, group: _Group[K, A, R]) -> None:
        """Let nobody join any more."""
        if self._groups.get(whose) is group:
            del self._groups[whose]


class _Group(Generic[K, A, R]):
    """Calls that go together, and who waits for them but the one who leads."""

    __slots__ = ("answers", "arguments", "weight")

    def __init__(self) -> None:
        self.weight = 0
        self.arguments: dict[K, A] = {}
        self.answers: list[tuple[K, asyncio.Future[R | None]]] = []

    def split(self) -> _Group[K, A, R]:
        """The second half of the keys, as a group of its own."""
        keys, other = list(self.arguments), _Group[K, A, R]()
        for key in keys[len(keys) // 2 :]:
            other.arguments[key] = self.arguments.pop(key)
        other.answers = [each for each in self.answers if each[0] in other.arguments]
        self.answers = [each for each in self.answers if each[0] in self.arguments]
        return other

    def answer(self, outcomes: Mapping[K, _Outcome[R]]) -> None:
        """Tell who waits, but for those who have given up."""
        for key, answer in self.answers:
            found = outcomes.get(key)
            if answer.done():
                pass
            elif isinstance(found, BaseException):
                answer.set_exception(found)
            else:
                answer.set_result(found)


class GatheredReads:
    """Looks at one cache's table that come together, whoever they are for."""

    __slots__ = ("_calls",)

    def __init__(
        self, table: Table[Any, Any], database: DatabaseScope, background: Background
    ) -> None:
        self._calls: Gathering[tuple[str, bytes], Owner, Found] = Gathering(
            background,
            lambda place, owner: table.look(owner.scope, place[1]),
            lambda asked: table.look_each(database, asked),
            most=table.read_together,
            shared=True,
        )

    def look(self, owner: Owner, digest: bytes) -> Awaitable[Found | None]:
        """The fresh entry of a key, as the user sees it."""
        return self._calls.call("", (owner.name, digest), owner)


class GatheredPuts:
    """Values without tags that are stored together for one user.

    Of a key that is put several times at once, the last one stays where a channel carries them.
    """

    __slots__ = ("_calls",)

    def __init__(self, table: Table[Any, Any], background: Background) -> None:
        self._calls: Gathering[bytes, Put, bool] = Gathering(
            background,
            lambda digest, put: table.put(put.scope, digest, put.columns, put.ttl, []),
            lambda puts: table.put_each(puts),
            most=MOST_STORED,
            shared=False,
            weigh=lambda put: sum(
                len(each) for each in put.columns.values() if type(each) is bytes
            ),
        )

    def put(self, owner: Owner, digest: bytes, put: Put) -> Awaitable[bool | None]:
        """Whether it was stored; None where the database failed."""
        return self._calls.call(owner.name, digest, put)
