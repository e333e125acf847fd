"""The guide's middleware behind a real HTTP server: what a client is told."""

from __future__ import annotations

import asyncio
import http.client
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from limiting import let_pass, without_rules

from clonedb import Database, Limits
from clonedb.testing import IsolatedDatabase

GUIDE = Path(__file__).parents[2] / "docs" / "services.md"

Answer = tuple[int, dict[str, str], bytes]


def middleware() -> Callable[..., Any]:
    (example,) = (
        block
        for block in re.findall(r"```python\n(.*?)```", GUIDE.read_text(), re.DOTALL)
        if "def limited" in block
    )
    written = example[example.index("def limited") :]
    assert len([line for line in written.splitlines() if line.strip()]) <= 20
    defined: dict[str, Any] = {}
    exec(example, defined)  # noqa: S102 - the guide's own example
    function: Callable[..., Any] = defined["limited"]
    return function


async def greet(scope: Any, receive: Any, send: Any) -> None:
    """The application that is limited."""
    headers = [(b"content-type", b"text/plain")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"hello"})


@asynccontextmanager
async def serving(application: Any) -> AsyncIterator[Callable[[], Any]]:
    """What asks the application over HTTP on a port of its own."""
    config = uvicorn.Config(
        application, host="127.0.0.1", port=0, lifespan="off", ws="none", log_level="error"
    )
    server = uvicorn.Server(config)
    running = asyncio.create_task(server.serve())
    async with asyncio.timeout(10):
        while not server.started:  # noqa: ASYNC110 - it has no event
            await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]

    def get() -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        try:
            connection.request("GET", "/greeting")
            response = connection.getresponse()
            fields = {name.lower(): value for name, value in response.getheaders()}
            return response.status, fields, response.read()
        finally:
            connection.close()

    yield lambda: asyncio.to_thread(get)
    server.should_exit = True
    await running


async def test_a_client_is_told_what_is_left_and_when_to_come_again(
    app: Database, worker: Database, migrated: IsolatedDatabase
) -> None:
    rule = await without_rules(worker)
    await rule("address", 2, 0.1)
    async with Limits(app) as limits:
        application = middleware()(
            greet,
            lambda scope: limits.of_address(scope["client"][0]),
            "greeting",
            open_when_down=False,
        )
        async with serving(application) as get:
            for left, seconds in (("1", "10"), ("0", "10")):
                status, fields, body = await get()
                assert (status, body, fields["content-type"]) == (200, b"hello", "text/plain")
                assert fields["ratelimit-policy"] == '"address";q=2;w=20'
                assert fields["ratelimit"] == f'"address";r={left};t={seconds}'
                assert "retry-after" not in fields
            status, fields, body = await get()
            assert (status, body) == (429, b"")
            assert fields["ratelimit-policy"] == '"address";q=2;w=20'
            assert fields["ratelimit"] == f'"address";r=0;t={fields["retry-after"]}'
            let_pass(migrated, int(fields["retry-after"]))
            status, fields, _ = await get()
            assert status == 200
            # Without a rule there is nothing to tell.
            await worker.rate_limit_rules.delete(scope="address")
            status, fields, _ = await get()
            assert status == 200
            assert "ratelimit" not in fields


@pytest.mark.parametrize(("open_when_down", "status"), [(True, 200), (False, 503)])
async def test_without_a_database_it_does_what_it_was_told(
    migrated: IsolatedDatabase, open_when_down: bool, status: int
) -> None:
    database = await Database(migrated.dsn("clonedb_app")).open()
    async with Limits(database) as limits:
        application = middleware()(
            greet,
            lambda scope: limits.of_address(scope["client"][0]),
            "greeting",
            open_when_down=open_when_down,
        )
        async with serving(application) as get:
            assert (await get())[0] == 200
            await database.close()
            # Rules that are still fresh answer nothing that a rule concerns.
            answered, fields, body = await get()
            assert (answered, body) == (status, b"hello" if open_when_down else b"")
            assert "ratelimit" not in fields
