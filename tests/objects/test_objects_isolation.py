"""Nobody reaches another's objects: every method, with row-level security and without."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest
import pytest_asyncio
from ground import as_superuser, nothing_stored
from psycopg import sql
from storing import files, keys

from clonedb import (
    Database,
    NotFound,
    ObjectStore,
    PermissionDenied,
    StoredObject,
    StoredObjectFilter,
    StoredObjects,
    Upload,
    User,
)
from clonedb.testing import IsolatedDatabase

SECRET = b"secret of Ada"
TABLES = ("stored_objects", "object_uploads")


@pytest_asyncio.fixture
async def victim(objects: StoredObjects) -> StoredObject:
    return await objects.put("voice_model", "v", SECRET)


@pytest_asyncio.fixture(params=["app", "app without row-level security", "worker"])
async def others(
    request: pytest.FixtureRequest,
    store: ObjectStore,
    app: Database,
    worker: Database,
    grace: User,
    migrated: IsolatedDatabase,
) -> StoredObjects:
    """Grace's."""
    if request.param.startswith("app without"):
        with as_superuser(migrated) as connection:
            for table in (*TABLES, "users"):
                for verb in ("DISABLE", "NO FORCE"):
                    connection.execute(
                        sql.SQL("ALTER TABLE {} {} ROW LEVEL SECURITY").format(
                            sql.Identifier("clonedb", table), sql.SQL(verb)
                        )
                    )
    return store.of((worker if request.param == "worker" else app).as_user(grace.id))


Call = Callable[[StoredObjects, Path], Awaitable[Any]]


async def opened(objects: StoredObjects) -> None:
    async with objects.open("voice_model", "v") as reader:
        async for _ in reader:
            pass


EMPTY: dict[str, Call] = {
    "find": lambda o, _: o.find("voice_model", "v"),
    "exists": lambda o, _: o.exists("voice_model", "v"),
    "count": lambda o, _: o.count(StoredObjectFilter(kind="voice_model")),
    "delete": lambda o, _: o.delete("voice_model", "v"),
}
REFUSED: dict[str, Call] = {
    "get": lambda o, _: o.get("voice_model", "v"),
    "open": lambda o, _: opened(o),
    "read": lambda o, _: o.read("voice_model", "v"),
    "download": lambda o, path: o.download("voice_model", "v", path),
}
TRIED_BELOW = {"find_many", "put", "upload", "keep"}


def test_every_method_is_tried() -> None:
    methods = {
        name
        for name, _ in inspect.getmembers(StoredObjects, inspect.isfunction)
        if not name.startswith("_")
    }
    assert methods == EMPTY.keys() | REFUSED.keys() | TRIED_BELOW


async def test_no_method_reaches_what_is_anothers(
    others: StoredObjects,
    objects: StoredObjects,
    victim: StoredObject,
    folder: Path,
    tmp_path: Path,
    migrated: IsolatedDatabase,
) -> None:
    upload = await objects.upload(b"under way")
    with nothing_stored(migrated):
        for name, call in EMPTY.items():
            assert not await call(others, tmp_path / "copy"), name
        assert (await others.find_many(with_total=True)).items == []
        for call in REFUSED.values():
            with pytest.raises(NotFound) as refused:
                await call(others, tmp_path / "copy")
            assert "secret" not in str(refused.value)
        # Neither another's upload nor what another has can be kept as one's own.
        for key in (upload.object_key, victim.object_key):
            with pytest.raises(NotFound):
                await others.keep("voice_model", "w", Upload(key, 1, bytes(32)))
    assert not (tmp_path / "copy").exists()
    # The same name is free, and says nothing about hers.
    mine = await others.put("voice_model", "v", b"Grace's")
    assert mine.id != victim.id
    assert await objects.read("voice_model", "v") == SECRET
    assert await others.read("voice_model", "v") == b"Grace's"
    await others.delete("voice_model", "v")
    assert await objects.read("voice_model", "v") == SECRET
    assert {victim.object_key, mine.object_key} <= files(folder).keys()
    assert keys(migrated, "object_deletions") == [mine.object_key]


async def test_hand_written_sql_under_the_app_login_reaches_only_the_contexts_user(
    victim: StoredObject,
    objects: StoredObjects,
    ada: User,
    grace: User,
    migrated: IsolatedDatabase,
) -> None:
    await objects.upload(b"under way")
    commands = [
        f"{verb} clonedb.{table} {rest}"
        for table in TABLES
        for verb, rest in (
            ("SELECT FROM", "WHERE user_id = %s"),
            ("DELETE FROM", "WHERE user_id = %s"),
        )
    ] + ["UPDATE clonedb.stored_objects SET name = 'mine' WHERE user_id = %s"]
    for context in (grace.id, None):
        with psycopg.connect(migrated.dsn("clonedb_app")) as connection:
            connection.execute(
                "SELECT set_config('clonedb.user_id', %s, false)", [str(context or "")]
            )
            for command in commands:
                assert connection.execute(command.encode(), [ada.id]).rowcount == 0, command
            connection.rollback()
    with psycopg.connect(migrated.dsn("clonedb_app")) as connection:
        connection.execute("SELECT set_config('clonedb.user_id', %s, false)", [str(ada.id)])
        for command in (commands[0], commands[2], commands[4]):
            assert connection.execute(command.encode(), [ada.id]).rowcount == 1, command
        connection.rollback()


@pytest.mark.parametrize(
    "command",
    [
        "SELECT object_key FROM clonedb.object_deletions",
        "SELECT count(*) FROM clonedb.object_deletions",
        "DELETE FROM clonedb.object_deletions",
        "UPDATE clonedb.object_deletions SET due_at = now()",
        "INSERT INTO clonedb.object_deletions (object_key, attempts) VALUES ('a', 1)",
        "UPDATE clonedb.object_uploads SET expires_at = now()",
    ],
)
async def test_the_app_adds_to_the_outbox_and_no_more(
    victim: StoredObject, ada: User, migrated: IsolatedDatabase, command: str
) -> None:
    with psycopg.connect(migrated.dsn("clonedb_app")) as connection:
        connection.execute("SELECT set_config('clonedb.user_id', %s, false)", [str(ada.id)])
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(command.encode())


async def test_a_key_is_one_of_the_stores_whoever_writes_it(
    victim: StoredObject, migrated: IsolatedDatabase
) -> None:
    """Or a row could let the worker delete files outside of the store's folder."""
    with psycopg.connect(migrated.dsn("clonedb_app"), autocommit=True) as connection:
        for key in ("../../etc/passwd", "/etc/passwd", "ab/../../x", victim.object_key + "/x", ""):
            with pytest.raises(psycopg.errors.CheckViolation):
                connection.execute(
                    "INSERT INTO clonedb.object_deletions (object_key) VALUES (%s)", [key]
                )


async def test_the_app_login_reads_what_is_everybodys_and_writes_none_of_it(
    store: ObjectStore, app: Database, shared: StoredObjects, migrated: IsolatedDatabase
) -> None:
    await shared.put("voice_model", "base", b"base")
    everybodys = store.of(app)
    assert await everybodys.read("voice_model", "base") == b"base"
    with nothing_stored(migrated):
        with pytest.raises(PermissionDenied):
            await everybodys.put("voice_model", "base", b"poison")
        assert await everybodys.delete("voice_model", "base") is False
    assert await shared.read("voice_model", "base") == b"base"


async def test_the_readonly_login_sees_neither_names_nor_keys(
    victim: StoredObject, migrated: IsolatedDatabase
) -> None:
    with psycopg.connect(migrated.dsn("clonedb_readonly"), autocommit=True) as connection:
        counted = connection.execute("SELECT sum(size_bytes) FROM clonedb.stored_objects")
        assert counted.fetchone() == (len(SECRET),)
        for column in ("name", "object_key", "previous_key", "sha256", "metadata"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(f"SELECT {column} FROM clonedb.stored_objects".encode())
        for table in ("object_uploads", "object_deletions"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(f"SELECT object_key FROM clonedb.{table}".encode())
