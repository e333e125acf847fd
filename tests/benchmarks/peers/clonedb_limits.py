"""clonedb's rate limits: the repository, and the front that lets callers share a call."""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any, ClassVar, Final

from clonedb import Database
from tests.benchmarks.contestant import Contestant, check

# Of a rule for each user, and of one for each address.
DENIED_ENDPOINT: Final = "bench-denied"
MANY_ENDPOINT: Final = "bench-many"
ADDRESS: Final = "192.0.2.71"

_FRONT: Final = "clonedb.limiting"


def has_front() -> bool:
    """Whether this version has the front over the limits."""
    return importlib.util.find_spec(_FRONT) is not None


class _OnDatabase(Contestant):
    endpoint = MANY_ENDPOINT
    allowed = True

    async def open(self) -> None:
        self.db = await Database(self.ground.app).open()
        if not self.allowed:
            await self.take()  # the only token

    async def call(self, caller: int) -> None:
        decision = await self.take()
        check(decision.allowed == self.allowed and decision.rule is not None)

    async def take(self) -> Any:
        return await self.db.as_user(self.next_user()).rate_limits.take(self.endpoint)

    async def close(self) -> None:
        await self.db.close()


class ManyUsers(_OnDatabase):
    """A bucket for each user, none of them empty."""


class DeniedUser(_OnDatabase):
    """One user's bucket, which is empty; that it was asked is counted by minute."""

    endpoint = DENIED_ENDPOINT
    allowed = False


class DeniedAddress(DeniedUser):
    """The bucket of an address, for which nothing is counted."""

    async def take(self) -> Any:
        return await self.db.rate_limits.take(self.endpoint, address=ADDRESS)


class ManyUsersOfFront(_OnDatabase):
    """The same through the front."""

    remembered: ClassVar[float] = 0

    async def open(self) -> None:
        self.db = await Database(self.ground.app).open()
        front = importlib.import_module(f"{_FRONT}.limits").Limits
        self.limits = await front(self.db, remember_denials=self.remembered).__aenter__()
        if not self.allowed:
            await self.take()

    async def take(self) -> Any:
        return await self.limits.of_user(self.next_user()).take(self.endpoint)

    async def close(self) -> None:
        await self.limits.close()
        await self.db.close()


class DeniedUserOfFront(ManyUsersOfFront):
    endpoint = DENIED_ENDPOINT
    allowed = False


class RememberedDenial(DeniedUserOfFront):
    """The same with a front that asks again after a second, as `remember_denials` allows it."""

    remembered = 1


CONTESTANTS: Final[dict[str, dict[str, type[Contestant]]]] = {
    "limit_denied": {
        "user": DeniedUser,
        "address": DeniedAddress,
        "front": DeniedUserOfFront,
        "remembering": RememberedDenial,
    },
    "limit_many": {"user": ManyUsers, "front": ManyUsersOfFront},
}
