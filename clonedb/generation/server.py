"""The server that the schema is migrated on, to be described."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from clonedb import migrate
from clonedb.embedded import EmbeddedServer


@contextmanager
def migrated_server() -> Iterator[EmbeddedServer]:
    """A server of its own with nothing in it but the schema after all migrations."""
    with (
        tempfile.TemporaryDirectory(prefix="clonedb-") as folder,
        EmbeddedServer(Path(folder), durable=False) as server,
    ):
        migrate.apply(server.dsn("clonedb_migrator"))
        yield server
