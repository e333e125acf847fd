"""Arrays that this package encodes itself arrive as what they were."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import psycopg
import pytest

from clonedb import new_id
from clonedb.adapters import ADAPTERS, ByteStrings, Uuids
from clonedb.testing import SUPERUSER, IsolatedDatabase


def back(database: IsolatedDatabase, value: object) -> tuple[Any, ...] | None:
    with psycopg.connect(database.dsn(SUPERUSER), context=ADAPTERS) as connection:
        return connection.execute("SELECT %s, pg_typeof(%s)::text", [value, value]).fetchone()


@pytest.mark.parametrize(
    "items", [[], [b""], [b"a", b"", b"\x00\xff" * 40_000]], ids=["none", "empty", "some"]
)
def test_byte_strings(migrated: IsolatedDatabase, items: list[bytes]) -> None:
    assert back(migrated, ByteStrings(items)) == (items, "bytea[]")


@pytest.mark.parametrize("count", [0, 1, 3])
def test_uuids(migrated: IsolatedDatabase, count: int) -> None:
    ids: list[UUID] = [new_id() for _ in range(count)]
    assert back(migrated, Uuids([each.bytes for each in ids])) == (ids, "uuid[]")
