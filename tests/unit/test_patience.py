"""What takes too long is ended, and a caller's own cancelling stays the caller's."""

from __future__ import annotations

import asyncio
import time

import pytest

from clonedb.caching.patience import Patience


async def _for_ever() -> None:
    await asyncio.sleep(60)


def _cancelling() -> int:
    task = asyncio.current_task()
    return -1 if task is None else task.cancelling()


async def test_what_is_quick_gives_its_value() -> None:
    async def quick() -> int:
        await asyncio.sleep(0.01)
        return 5

    assert await Patience(0.2).wait(quick) == 5


async def test_all_that_take_too_long_are_ended() -> None:
    patience = Patience(0.2)
    started = time.perf_counter()
    answers = await asyncio.gather(
        *(patience.wait(_for_ever) for _ in range(20)), return_exceptions=True
    )
    assert {type(answer) for answer in answers} == {TimeoutError}
    assert 0.15 < time.perf_counter() - started < 2


async def test_a_caller_who_went_on_is_not_cancelled_afterwards() -> None:
    async def ends_otherwise() -> None:
        try:
            await _for_ever()
        except asyncio.CancelledError:
            raise OSError("the connection is gone") from None

    patience = Patience(0.05)
    with pytest.raises(TimeoutError):
        await patience.wait(_for_ever)
    with pytest.raises(OSError, match="gone"):
        await patience.wait(ends_otherwise)
    assert _cancelling() == 0
    await asyncio.sleep(0.1)


async def test_who_cancels_means_it() -> None:
    patience = Patience(30)
    task = asyncio.ensure_future(patience.wait(_for_ever))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.02):
            await patience.wait(_for_ever)
    assert _cancelling() == 0


async def test_who_cancels_in_the_moment_of_the_end_means_it() -> None:
    patience = Patience(0.05)
    task = asyncio.ensure_future(patience.wait(_for_ever))
    while not task.cancelling():  # noqa: ASYNC110 - the moment itself is meant
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_process_that_stood_still_reads_what_has_come_first() -> None:
    async def answered() -> int:
        await asyncio.sleep(0.15)
        return 7

    task = asyncio.ensure_future(Patience(0.2).wait(answered))
    await asyncio.sleep(0.02)
    time.sleep(0.4)  # noqa: ASYNC251 - as a process does that computes
    assert await task == 7
