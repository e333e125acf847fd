"""Calls for one user's entries that come at the same time, as one statement.

Who comes first goes at once and alone, so that one caller waits for nobody. Who comes while that is
under way goes with all others of that user who come in the same tick of the event loop. Users never
share a statement: whose entries are seen is said once for each.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, Final, Generic, TypeAlias, TypeVar

from clonedb.caching.background import Background
from clonedb.caching.owner import Owner
from clonedb.caching.table import Found, Put, Table
from clonedb.errors import InvalidInput
from clonedb.lanes.channel import LARGEST_CALL

A = TypeVar("A")
R = TypeVar("R")

# What comes of one call of several.
_Outcome: TypeAlias = R | BaseException | None

# Of one statement: more would hold up the neighbours in its channel, with 6 KB for each embedding.
MOST_READ: Final = 100
MOST_STORED: Final = 32
# Of what it sends: with its keys and models it stays under what a channel takes.
MOST_BYTES: Final = LARGEST_CALL * 3 // 4


class Gathering(Generic[A, R]):
    """One kind of call to one cache's table in a process.

    `alone` makes a call; `together` makes several, by their digests, and gives nothing where they
    failed. Callers with the same digest share an answer where `shared`, else they take turns. A
    statement is of `most` digests, and MOST_BYTES as `weigh` counts them, or fewer.
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
        alone: Callable[[Owner, bytes, A], Awaitable[R | None]],
        together: Callable[[Owner, dict[bytes, A]], Awaitable[dict[bytes, R]]],
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
        self._under_way: set[str] = set()
        self._groups: dict[str, _Group[A, R]] = {}

    async def call(self, owner: Owner, digest: bytes, argument: A) -> R | None:
        """The answer; None for none, or where the database failed."""
        name, under_way = owner.name, self._under_way
        if name not in under_way:
            under_way.add(name)
            try:
                return await self._alone(owner, digest, argument)
            finally:
                under_way.remove(name)
        return await self.join(owner, digest, argument)

    def join(self, owner: Owner, digest: bytes, argument: A) -> asyncio.Future[R | None]:
        """The answer to come, of a call with others."""
        answer: asyncio.Future[R | None] = asyncio.get_running_loop().create_future()
        group, weight = self._groups.get(owner.name), self._weigh(argument)
        if (
            group is None
            or (digest in group.arguments and not self._shared)
            or group.weight + weight > MOST_BYTES
        ):
            group = self._groups[owner.name] = _Group()
            # It is sent at the end of this tick.
            task = self._background.start(self._send(owner, group))
            task.add_done_callback(partial(self._settle, owner, group))
        group.arguments[digest] = argument
        group.weight += weight
        group.answers.append((digest, answer))
        if len(group.arguments) >= self._most:
            del self._groups[owner.name]
        return answer

    async def _send(self, owner: Owner, group: _Group[A, R]) -> Mapping[bytes, _Outcome[R]]:
        self._close(owner, group)
        try:
            return await self._together(owner, group.arguments)
        except InvalidInput:
            # The statement does not say whose argument is refused: each is asked by itself.
            outcomes = await asyncio.gather(
                *(self._alone(owner, *each) for each in group.arguments.items()),
                return_exceptions=True,
            )
            return dict(zip(group.arguments, outcomes, strict=True))

    def _settle(
        self, owner: Owner, group: _Group[A, R], task: asyncio.Task[Mapping[bytes, _Outcome[R]]]
    ) -> None:
        # Where the caches are being closed, nothing is found, and it may not even have begun.
        self._close(owner, group)
        failed = task.cancelled() or task.exception() is not None
        given = {} if failed else task.result()
        for digest, answer in group.answers:
            if answer.done():
                continue
            found = given.get(digest)
            if isinstance(found, BaseException):
                answer.set_exception(found)
            else:
                answer.set_result(found)

    def _close(self, owner: Owner, group: _Group[A, R]) -> None:
        """Let nobody join any more."""
        if self._groups.get(owner.name) is group:
            del self._groups[owner.name]


class _Group(Generic[A, R]):
    """Calls of one user that go together, and who waits for them."""

    __slots__ = ("answers", "arguments", "weight")

    def __init__(self) -> None:
        self.weight = 0
        self.arguments: dict[bytes, A] = {}
        self.answers: list[tuple[bytes, asyncio.Future[R | None]]] = []


def gathered_reads(table: Table[Any, Any], background: Background) -> Gathering[None, Found]:
    """The fresh entries of keys."""
    return Gathering(
        background,
        lambda owner, digest, _: table.look(owner.scope, digest),
        lambda owner, digests: table.look_many(owner.scope, digests),
        most=MOST_READ,
        shared=True,
    )


def gathered_puts(table: Table[Any, Any], background: Background) -> Gathering[Put, bool]:
    """Whether values without tags were stored; the last to store a key decides."""
    return Gathering(
        background,
        lambda owner, digest, put: table.put(owner.scope, digest, *put, []),
        lambda owner, puts: table.put_each(owner.scope, puts),
        most=MOST_STORED,
        shared=False,
        weigh=lambda put: sum(len(each) for each in put.columns.values() if type(each) is bytes),
    )
