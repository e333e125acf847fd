"""Calls for entries that come in one tick of the event loop, as one statement.

Those who read go together, whoever they ask for (decision 32), and those who store for one user.
Where nothing is under way a call goes at once, and there is no timer.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping
from functools import partial
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
    failed. Callers with the same key share an answer where `shared`, else they take turns. A
    statement is of `most` keys, and MOST_BYTES as `weigh` counts them, or fewer.
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

    def call(self, whose: str, key: K, argument: A) -> Awaitable[R | None]:
        """The answer to come, to be awaited at once; None for none, or where the database failed.

        It may go with those alone that are of the same `whose`. Raises what `alone` raises.
        """
        if not self._under_way and not self._groups:
            return self._at_once(key, argument)
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[R | None] = loop.create_future()
        group, weight = self._groups.get(whose), self._weigh(argument)
        if (
            group is None
            or len(group.arguments) >= self._most
            or (key in group.arguments and not self._shared)
            or group.weight + weight > MOST_BYTES
        ):
            group = self._groups[whose] = _Group()
            # At the end of this tick.
            loop.call_soon(self._send, whose, group)
        group.arguments[key] = argument
        group.weight += weight
        group.answers.setdefault(key, []).append(answer)
        return answer

    async def _at_once(self, key: K, argument: A) -> R | None:
        self._under_way += 1
        try:
            return await self._alone(key, argument)
        finally:
            self._under_way -= 1

    def _send(self, whose: str, group: _Group[K, A, R]) -> None:
        if self._groups.get(whose) is group:
            del self._groups[whose]
        # While the server works on one half, this process hands out the other.
        many = len(group.arguments)
        worth_halving = many > _WHOLE and self._under_way < many // 2
        for part in group.halves() if worth_halving else (group,):
            self._under_way += len(part.arguments)
            task = self._background.start(self._ask(part.arguments))
            task.add_done_callback(partial(self._settle, part))

    async def _ask(self, arguments: dict[K, A]) -> Mapping[K, _Outcome[R]]:
        if len(arguments) > 1:
            try:
                return await self._together(arguments)
            except Exception:
                # What is wrong with one is not the others' business: each is asked by itself.
                logger.debug("calls that go together have failed", exc_info=True)
        outcomes = await asyncio.gather(
            *(self._alone(*each) for each in arguments.items()), return_exceptions=True
        )
        return dict(zip(arguments, outcomes, strict=True))

    def _settle(self, group: _Group[K, A, R], task: asyncio.Task[Mapping[K, _Outcome[R]]]) -> None:
        self._under_way -= len(group.arguments)
        # Where the caches are being closed, nothing is found.
        given = {} if task.cancelled() else task.result()
        for key, answers in group.answers.items():
            found = given.get(key)
            for answer in answers:
                if answer.done():
                    pass  # its caller was cancelled
                elif isinstance(found, BaseException):
                    answer.set_exception(found)
                else:
                    answer.set_result(found)


class _Group(Generic[K, A, R]):
    """Calls that go together, and who waits for them."""

    __slots__ = ("answers", "arguments", "weight")

    def __init__(self) -> None:
        self.weight = 0
        self.arguments: dict[K, A] = {}
        self.answers: dict[K, list[asyncio.Future[R | None]]] = {}

    def halves(self) -> Iterator[_Group[K, A, R]]:
        """Two groups with half of the keys each."""
        keys = list(self.arguments)
        middle = len(keys) // 2
        for some in (keys[:middle], keys[middle:]):
            half: _Group[K, A, R] = _Group()
            half.arguments = {key: self.arguments[key] for key in some}
            half.answers = {key: self.answers[key] for key in some}
            yield half


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
