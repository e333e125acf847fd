"""The same promises on S3, against a server that speaks its protocol on this machine."""

from __future__ import annotations

import asyncio
import re
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import AsyncIterator, Iterator
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from uuid import uuid4

import obstore
import obstore.store
import pytest
from ground import as_superuser
from storing import MIB, keys, pieces, tomorrow, whole

from clonedb import (
    Database,
    ObjectDamaged,
    ObjectStore,
    ObjectStoreUnavailable,
    StoredObjects,
    UserScope,
    WorkedOff,
)
from clonedb.testing import IsolatedDatabase

if find_spec("moto") is None:  # its import takes half a second, of every process that collects
    pytest.skip("moto is not installed", allow_module_level=True)

SECRET = "secret-of-the-bucket"
PATH = "of/clonedb"


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """A server's address."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        for _ in range(600):
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except OSError:
                time.sleep(0.05)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


class Bucket:
    """A bucket of one test, seen past the library."""

    def __init__(self, server: str) -> None:
        self.server = server
        self.name = f"bucket-{uuid4().hex}"
        self._options = {
            "endpoint": server,
            "region": "us-east-1",
            "access_key_id": "somebody",
            "secret_access_key": SECRET,
            "client_options": {"allow_http": True},
            "retry_config": {"max_retries": 1},
        }
        self._ask("", "PUT")

    def store(self, *, name: str | None = None, **options: Any) -> ObjectStore:
        return ObjectStore(f"s3://{name or self.name}/{PATH}", **{**self._options, **options})

    def objects(self) -> dict[str, int]:
        listed = self._ask("?list-type=2", "GET")
        found = re.findall(r"<Key>(.*?)</Key>.*?<Size>(\d+)</Size>", listed, re.DOTALL)
        return {key.removeprefix(f"{PATH}/"): int(size) for key, size in found}

    def unfinished(self) -> int:
        """How many uploads lie there in parts."""
        return self._ask("?uploads", "GET").count("<UploadId>")

    def replace(self, key: str, data: bytes) -> None:
        options: Any = self._options
        obstore.put(obstore.store.from_url(f"s3://{self.name}/{PATH}", **options), key, data)

    def _ask(self, path: str, method: str, data: bytes | None = None) -> str:
        request = urllib.request.Request(  # noqa: S310 - http, to this machine
            f"{self.server}/{self.name}{path}", data=data, method=method
        )
        with urllib.request.urlopen(request, timeout=20) as answer:  # noqa: S310
            text: str = answer.read().decode()
            return text


@pytest.fixture
def bucket(server: str) -> Bucket:
    return Bucket(server)


@pytest.fixture
def store(bucket: Bucket) -> ObjectStore:
    return bucket.store()


@pytest.mark.parametrize("size", [0, 5, 8 * MIB, 21 * MIB])
async def test_what_is_stored_is_read_back_and_deleted(
    objects: StoredObjects,
    store: ObjectStore,
    worker: Database,
    bucket: Bucket,
    tmp_path: Path,
    size: int,
) -> None:
    content = whole(21 * MIB)[:size]
    stored = await objects.put("voice_model", "v", content)
    assert bucket.objects() == {stored.object_key: size}
    assert stored.sha256 == sha256(content).digest()
    assert await objects.read("voice_model", "v") == content
    await objects.download("voice_model", "v", tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == content
    assert await objects.delete("voice_model", "v") is True
    assert await store.work_off(worker) == WorkedOff(1, 1, 0)
    assert (bucket.objects(), bucket.unfinished()) == ({}, 0)


@pytest.mark.parametrize("interruption", ["cancelled", "failing source"])
async def test_an_interrupted_upload_leaves_neither_an_object_nor_parts(
    objects: StoredObjects, bucket: Bucket, migrated: IsolatedDatabase, interruption: str
) -> None:
    before = await objects.put("voice_model", "v", b"before")
    half_way = asyncio.Event()

    async def source() -> AsyncIterator[bytes]:
        async for piece in pieces(40 * MIB):
            yield piece
        half_way.set()
        if interruption == "failing source":
            raise ZeroDivisionError
        await asyncio.Event().wait()

    putting = asyncio.create_task(objects.put("voice_model", "v", source()))
    await half_way.wait()
    if interruption == "cancelled":
        assert bucket.unfinished() == 1
        putting.cancel()
    with pytest.raises((asyncio.CancelledError, ZeroDivisionError)):
        await putting
    assert bucket.unfinished() == 0
    assert bucket.objects() == {before.object_key: 6}
    assert await objects.read("voice_model", "v") == b"before"
    assert keys(migrated, "object_uploads") == []


async def test_a_damaged_object_is_refused(objects: StoredObjects, bucket: Bucket) -> None:
    stored = await objects.put("document", "a", b"as it was")
    for damage in (b"as it wos", b"as it", b"as it was."):
        bucket.replace(stored.object_key, damage)
        with pytest.raises(ObjectDamaged):
            await objects.read("document", "a")


async def test_an_object_that_is_gone_already_counts_as_deleted(
    objects: StoredObjects, store: ObjectStore, worker: Database, migrated: IsolatedDatabase
) -> None:
    upload = await objects.upload(b"twice")
    for _ in range(2):
        assert await store.work_off(worker, now=tomorrow()) in (
            WorkedOff(1, 1, 0),
            WorkedOff(0, 0, 0),
        )
    with as_superuser(migrated) as connection:
        connection.execute(
            "INSERT INTO clonedb.object_deletions (object_key) VALUES (%s)", [upload.object_key]
        )
    assert await store.work_off(worker) == WorkedOff(1, 1, 0)


class Refusing(BaseHTTPRequestHandler):
    """S3's answer to a wrong key quotes it, and what was signed."""

    def _refuse(self) -> None:
        body = f"<Error>somebody {SECRET}</Error>".encode()
        self.send_response(403)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_PUT = do_POST = do_DELETE = _refuse  # noqa: N815 - the class's own names

    def log_message(self, *_: Any) -> None:
        pass


async def test_a_store_that_quotes_credentials_is_not_quoted(as_ada: UserScope) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Refusing) as refusing:
        threading.Thread(target=refusing.serve_forever, daemon=True).start()
        store = ObjectStore(
            "s3://bucket/x",
            endpoint=f"http://127.0.0.1:{refusing.server_port}",
            region="us-east-1",
            access_key_id="somebody",
            secret_access_key=SECRET,
            client_options={"allow_http": True},
            retry_config={"max_retries": 0},
        )
        with pytest.raises(ObjectStoreUnavailable, match="403 Forbidden: <Error>") as refused:
            await store.of(as_ada).put("document", "a", b"a")
        await asyncio.to_thread(refusing.shutdown)
    assert SECRET not in str(refused.value)
    assert "somebody" not in str(refused.value)


@pytest.mark.parametrize("wrong", ["bucket", "server"])
async def test_a_store_that_cannot_be_reached_is_said_without_its_credentials(
    objects: StoredObjects,
    bucket: Bucket,
    worker: Database,
    as_ada: UserScope,
    migrated: IsolatedDatabase,
    wrong: str,
) -> None:
    stored = await objects.put("document", "a", b"a")
    await objects.delete("document", "a")
    kept = await objects.put("document", "b", b"b")
    nowhere = (
        bucket.store(name="no-such-bucket")
        if wrong == "bucket"
        else bucket.store(endpoint="http://127.0.0.1:9")
    )
    for call in (
        nowhere.of(as_ada).put("document", "c", b"c"),
        nowhere.of(as_ada).put("document", "c", pieces(20 * MIB)),
        nowhere.of(as_ada).read("document", "b"),
    ):
        with pytest.raises(ObjectStoreUnavailable) as refused:
            await call
        assert SECRET not in str(refused.value) + repr(refused.value.__context__)
        assert "somebody" not in str(refused.value)
    # What could not be deleted, or not be asked for, is not forgotten.
    waiting = keys(migrated, "object_deletions")
    assert stored.object_key in waiting
    run = await nowhere.work_off(worker)
    assert run == WorkedOff(len(waiting), 0, len(waiting))
    assert keys(migrated, "object_deletions") == waiting
    assert bucket.objects().keys() == {stored.object_key, kept.object_key}
