"""A proxy before the server's socket that can fall silent: nothing comes, and nobody hangs up."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import psycopg
from observed import server_socket


class SilentProxy:
    """Its connections, of which those that are made while it is silent are heard by nobody."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._forwarding: set[asyncio.Task[None]] = set()
        self._writers: list[asyncio.StreamWriter] = []
        self.silent = False
        self.refusing = False

    def through(self, dsn: str) -> str:
        """The dsn by way of the proxy."""
        return psycopg.conninfo.make_conninfo(dsn, host=str(self._folder))

    def cut(self) -> None:
        """Forward nothing more on the connections that there are."""
        for task in self._forwarding:
            task.cancel()

    def accept(self, server: Path) -> asyncio.Task[asyncio.Server]:
        async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self._writers.append(writer)
            if self.refusing:
                writer.close()
                return
            if self.silent:
                return
            there, here = await asyncio.open_unix_connection(server)
            self._writers.append(here)
            for source, sink in ((reader, here), (there, writer)):
                task = asyncio.create_task(self._forward(source, sink))
                self._forwarding.add(task)
                task.add_done_callback(self._forwarding.discard)

        return asyncio.create_task(asyncio.start_unix_server(connect, self._folder / server.name))

    @staticmethod
    async def _forward(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while chunk := await source.read(1 << 16):
                sink.write(chunk)
            sink.write_eof()

    async def close(self) -> None:
        self.cut()
        for writer in self._writers:
            writer.close()
        for writer in self._writers:
            with suppress(OSError):
                await writer.wait_closed()


@asynccontextmanager
async def silent_proxy(dsn: str) -> AsyncIterator[SilentProxy]:
    with tempfile.TemporaryDirectory(prefix="clonedb-") as name:
        proxy = SilentProxy(Path(name))
        server = await proxy.accept(server_socket(dsn))
        try:
            yield proxy
        finally:
            server.close()
            await proxy.close()
