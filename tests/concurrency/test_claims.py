"""Claims under real concurrency: the original handed four workers the same ten documents."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

from ground import as_superuser

from clonedb import (
    ClaimLost,
    Database,
    NewDocument,
    NewUser,
    User,
    UserScope,
)
from clonedb.testing import IsolatedDatabase

DOCUMENTS = 5_000
WORKERS = 8
KILLED = 2
# Long enough for a live worker to finish its batch on a busy machine, or it would lose claims.
LEASE_SECONDS = 5.0


async def filled(worker: Database, people: int, documents: int) -> list[User]:
    users = await worker.users.create_many(
        [NewUser(email=f"person{number}@example.com") for number in range(people)]
    )
    for user in users:
        await worker.as_user(user.id).knowledge_documents.create_many(
            [
                NewDocument(filename=f"{n}.txt", content_type="text/plain", size_bytes=n)
                for n in range(documents // people)
            ]
        )
    return users


async def test_four_workers_at_once_are_given_different_documents(
    worker: Database, as_ada: UserScope
) -> None:
    await as_ada.knowledge_documents.create_many(
        [NewDocument(filename="a", content_type="b", size_bytes=1) for _ in range(40)]
    )
    claims = await asyncio.gather(
        *(worker.knowledge_documents.claim_pending(worker=f"w{n}", limit=10) for n in range(4))
    )
    ids = [claim.id for batch in claims for claim in batch]
    assert len(ids) == len(set(ids)) == 40


async def test_an_abandoned_document_is_given_to_one_of_many_that_ask(
    worker: Database, as_ada: UserScope
) -> None:
    await as_ada.knowledge_documents.create(
        NewDocument(filename="a", content_type="b", size_bytes=1)
    )
    queue = worker.knowledge_documents
    (first,) = await queue.claim_pending(worker="gone", lease_seconds=1)
    for attempt in (2, 3, 4):
        later = datetime.now(UTC) + timedelta(hours=attempt)
        claims = await asyncio.gather(
            *(queue.claim_pending(worker=f"w{n}", now=later) for n in range(10))
        )
        (again,) = [claim for batch in claims for claim in batch]
        assert (again.id, again.attempts) == (first.id, attempt)
    outcomes = await asyncio.gather(
        *(queue.finish(claim, vector_ids=[str(claim.attempts)]) for claim in (first, again)),
        return_exceptions=True,
    )
    assert isinstance(outcomes[0], ClaimLost)
    found = await as_ada.knowledge_documents.get_by_id(first.id)
    assert (found.status, found.vector_ids) == ("completed", ["4"])


async def test_one_of_a_finish_and_a_new_claim_wins_and_the_other_knows(
    worker: Database, as_ada: UserScope
) -> None:
    documents = as_ada.knowledge_documents
    queue = worker.knowledge_documents
    for _ in range(20):
        document = await documents.create(NewDocument(filename="a", content_type="b", size_bytes=1))
        (claim,) = await queue.claim_pending(worker="one", lease_seconds=60)
        finished, again = await asyncio.gather(
            queue.finish(claim),
            queue.claim_pending(worker="two", now=claim.lease_expires_at),
            return_exceptions=True,
        )
        stored = await documents.find_summary(document.id)
        assert stored is not None
        if again:
            assert isinstance(finished, ClaimLost)
            assert (stored.status, stored.attempts) == ("processing", 2)
        else:
            assert isinstance(finished, datetime)
            assert (stored.status, stored.attempts) == ("completed", 1)
        await documents.hard_delete(document.id)


async def start(dsn: str, name: str, behaviour: str) -> asyncio.subprocess.Process:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(Path(__file__).with_name("claiming_process.py")),
        dsn,
        name,
        behaviour,
        str(LEASE_SECONDS),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    assert await process.stdout.readline() == b"ready\n"
    return process


async def test_5000_documents_are_claimed_by_8_processes_each_once_though_2_are_killed(
    worker: Database, migrated: IsolatedDatabase
) -> None:
    await filled(worker, people=10, documents=DOCUMENTS)
    processes = await asyncio.gather(
        *(
            start(migrated.dsn("clonedb_worker"), f"worker {n}", "dies" if n < KILLED else "works")
            for n in range(WORKERS)
        )
    )
    lines: dict[int, list[str]] = {n: [] for n in range(WORKERS)}

    async def read(number: int, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        async for line in process.stdout:
            lines[number].append(line.decode())
            if number < KILLED and line == b"stuck\n":
                process.kill()

    async with asyncio.timeout(120):
        try:
            for process in processes:
                assert process.stdin is not None
                process.stdin.write(b"go\n")
            await asyncio.gather(*(read(n, process) for n, process in enumerate(processes)))
            codes = [await process.wait() for process in processes]
        finally:
            for process in processes:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
    assert codes == [-9] * KILLED + [0] * (WORKERS - KILLED)

    claimed: Counter[tuple[UUID, int]] = Counter()
    finished: Counter[UUID] = Counter()
    held: set[UUID] = set()
    for number in range(WORKERS):
        mine: set[UUID] = set()
        for line in lines[number]:
            word, *fields = line.split()
            if word == "claimed":
                claimed[UUID(fields[0]), int(fields[1])] += 1
                mine.add(UUID(fields[0]))
            elif word == "finished":
                finished[UUID(fields[0])] += 1
                mine.discard(UUID(fields[0]))
        if number < KILLED:
            held |= mine
    # No attempt was given to two, every document was finished once, by the one that had it.
    assert set(claimed.values()) == {1}
    assert len(finished) == DOCUMENTS
    assert set(finished.values()) == {1}
    # What the killed held, and that alone, was claimed a second time.
    assert len(held) == 2 * 25
    assert {id for id, attempt in claimed if attempt == 2} == held
    assert max(attempt for _, attempt in claimed) == 2
    # Everybody worked.
    assert all(len(lines[number]) > 25 for number in range(WORKERS))

    with as_superuser(migrated) as connection:
        rows = connection.execute(
            "SELECT status, attempts, count(*) FROM clonedb.knowledge_documents "
            "GROUP BY status, attempts ORDER BY attempts"
        ).fetchall()
    assert rows == [("completed", 1, DOCUMENTS - 50), ("completed", 2, 50)]
