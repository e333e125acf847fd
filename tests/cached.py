"""The four caches alike: what the tests put into each of them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from hashlib import sha256
from typing import Any, NamedTuple

import psycopg

from clonedb import DatabaseScope, UserScope
from clonedb.testing import SUPERUSER, IsolatedDatabase

AnyScope = UserScope | DatabaseScope


def key_of(text: str) -> bytes:
    return sha256(text.encode()).digest()


class Kind(NamedTuple):
    """A cache, and a value of it for each number."""

    name: str
    value: Callable[[int], dict[str, Any]]

    def of(self, scope: AnyScope) -> Any:
        return getattr(scope.caches, self.name)

    def put(self, scope: AnyScope, key: bytes, number: int, **options: Any) -> Awaitable[bool]:
        stored: Awaitable[bool] = self.of(scope).put(key, **self.value(number), **options)
        return stored

    def number(self, entry: Any) -> int:
        """The number of a cached value."""
        found: int = {
            "embedding": lambda: int(entry.vector()[0]),
            "vector_search": lambda: entry.results[0]["number"],
            "llm_response": lambda: int(entry.response),
            "audio_chunk": lambda: int(entry.audio),
        }[self.name]()
        return found


KINDS = [
    Kind("embedding", lambda number: {"embedding": [float(number), 0.5], "model": "small"}),
    Kind("vector_search", lambda number: {"results": [{"number": number, "score": 0.5}]}),
    Kind("llm_response", lambda number: {"response": str(number), "provider": "gpt-4-turbo"}),
    Kind(
        "audio_chunk",
        lambda number: {
            "audio": str(number).encode(),
            "format": "opus",
            "duration_ms": 20,
            "sample_rate": 48_000,
        },
    ),
]


def rows_of(database: IsolatedDatabase, kind: Kind, columns: str = "user_id, key") -> list[Any]:
    """What the cache's table holds, expired rows included."""
    with psycopg.connect(database.dsn(SUPERUSER), autocommit=True) as connection:
        query = f"SELECT {columns} FROM clonedb.{kind.name}_cache ORDER BY user_id, key"
        return connection.execute(query.encode()).fetchall()


def expire(database: IsolatedDatabase, kind: Kind, *, seconds: float = 1) -> None:
    """Let every entry have expired so many seconds ago; negative: let it expire in so many."""
    with psycopg.connect(database.dsn(SUPERUSER), autocommit=True) as connection:
        connection.execute(
            f"UPDATE clonedb.{kind.name}_cache "
            "SET expires_at = clock_timestamp() - make_interval(secs => %s)".encode(),
            [seconds],
        )
