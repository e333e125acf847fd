"""Real conversations through the caches: which tier answers how often.

    nox -s replay -- FILE [--rate N] [--speed N] [--only N]

Conversations begin at random moments, `--rate` of them in an hour of simulated time, which passes
`--speed` times faster than ours; the times to live are shortened alike. Each is of a random user,
or of one of its own, and is served by one of two Databases with `Caches`, as by two processes. A
turn embeds what was said, searches, answers by the whole history, and synthesises each sentence.
What a cache gives is compared with what would be computed: what is another's ends the run.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import re
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from clonedb import (
    AudioChunk,
    AudioChunkKey,
    CachePolicy,
    Caches,
    Database,
    Embedding,
    EmbeddingKey,
    LlmResponse,
    LlmResponseKey,
    NewDocument,
    NewUser,
    VectorSearch,
    VectorSearchKey,
    run,
)
from clonedb.loading.conversations import BadLine, Conversation, ConversationFile
from clonedb.repositories.caches import CacheName
from tests.benchmarks.progress import say
from tests.benchmarks.server import BenchmarkServer, running_server

_TTLS: Final[dict[CacheName, timedelta]] = {
    "embedding": timedelta(hours=1),
    "vector_search": timedelta(minutes=30),
    "llm_response": timedelta(hours=1),
    "audio_chunk": timedelta(minutes=5),
}
_DIMENSIONS: Final = 256

# How fast people read and speak, in characters a second, and a pause between two turns.
_CHARACTERS_A_SECOND: Final = 15
_PAUSE_SECONDS: Final = 2.3

# One in so many turns, the user uploads a document, which makes searches and responses old.
_TURNS_BETWEEN_DOCUMENTS: Final = 100


class Replay:
    """One arrangement of users and times to live."""

    def __init__(
        self, services: list[Caches], users: list[UUID], database: Database, speed: float
    ) -> None:
        self._services = services
        self._users = users
        self._database = database
        self._speed = speed
        self._random = random.Random(1)
        self.turns = 0
        self.compared = 0

    async def run(self, conversations: list[Conversation], rate: float) -> None:
        """All of them, each from its own moment on."""
        tasks, moment = [], 0.0
        own = len(self._users) == len(conversations)
        for number, conversation in enumerate(conversations):
            moment += self._random.expovariate(rate / 3600)
            user = self._users[number] if own else self._random.choice(self._users)
            service = self._services[number % len(self._services)]
            tasks.append(asyncio.create_task(self._talk(moment, conversation, user, service)))
        await asyncio.gather(*tasks)

    async def _talk(
        self, moment: float, conversation: Conversation, user: UUID, service: Caches
    ) -> None:
        await asyncio.sleep(moment / self._speed)
        caches = service.of(user)
        await caches.warm(20)
        history: list[str] = []
        for turn in conversation.turns:
            if self._random.randrange(_TURNS_BETWEEN_DOCUMENTS) == 0:
                await self._database.as_user(user).knowledge_documents.create(
                    NewDocument(filename="notes.txt", content_type="text/plain", size_bytes=1)
                )
            history.append(turn.user)
            vector = await self._get(
                caches.embedding, EmbeddingKey(turn.user, "e"), partial(embed, turn.user)
            )
            search = VectorSearchKey(vector=vector.packed, index="documents", limit=5)
            found = await self._get(
                caches.vector_search, search, partial(look_up, user, vector.packed)
            )
            prompt = LlmResponseKey(provider="gpt-4-turbo", prompt=[*history, found.encoded])
            await self._get(caches.llm_response, prompt, partial(respond, user, history))
            for sentence in re.split(r"(?<=[.!?])\s+", turn.system):
                speech = AudioChunkKey(
                    text=sentence or " ",
                    provider="xtts-v2",
                    voice_model_id=None,
                    format="opus",
                    sample_rate=24_000,
                )
                await self._get(caches.audio_chunk, speech, partial(speak, user, sentence))
            history.append(turn.system)
            self.turns += 1
            spoken = (len(turn.user) + len(turn.system)) / _CHARACTERS_A_SECOND
            await asyncio.sleep((spoken + _PAUSE_SECONDS) / self._speed)

    async def _get(self, cache: Any, key: Any, right: Callable[[], Any]) -> Any:
        async def compute() -> Any:
            return right()

        value = await cache.get_or_compute(key, compute)
        assert value == right(), f"the {key.cache} cache gave what is another's"
        self.compared += 1
        return value


def embed(text: str) -> Embedding:
    """A vector that depends on the text alone."""
    return Embedding.of([byte / 256 for byte in sha256(text.encode()).digest()] * 8)


def look_up(user: UUID, vector: bytes) -> VectorSearch:
    """What one user's documents say."""
    return VectorSearch.of([{"text": sha256(vector + user.bytes).hexdigest(), "score": 0.5}])


def respond(user: UUID, history: list[str]) -> LlmResponse:
    """What one user's clone answers."""
    return LlmResponse(f"{user}: {sha256(repr(history).encode()).hexdigest()}")


def speak(user: UUID, text: str) -> AudioChunk:
    """A second of one user's voice."""
    return AudioChunk(sha256(user.bytes + text.encode()).digest() * 100, duration_ms=1000)


async def replay(
    server: BenchmarkServer,
    name: str,
    conversations: list[Conversation],
    *,
    users: int,
    rate: float,
    speed: float,
    holders: int | None,
) -> None:
    """One arrangement on a database of its own; prints what each tier answered."""
    server.create_database(name)
    ttls = dict(_TTLS)
    if holders is not None:
        ttls["embedding"] = timedelta(days=1)
    policies = {
        cache: CachePolicy(
            ttl=ttl / speed,
            memory_ttl=timedelta(minutes=1) / speed,
            stale_for=timedelta(0),
        )
        for cache, ttl in ttls.items()
    }
    async with (
        Database(server.dsn("worker", name)) as worker,
        Database(server.dsn("app", name)) as first,
        Database(server.dsn("app", name)) as second,
        Caches(first, policies=policies, patience=5) as left,
        Caches(second, policies=policies, patience=5) as right,
    ):
        people = await worker.users.create_many(
            [NewUser(email=f"{number}@example.com") for number in range(users)]
        )
        job = Replay([left, right], [person.id for person in people], first, speed)
        sharing = asyncio.create_task(_share(worker, holders, speed))
        await job.run(conversations, rate)
        sharing.cancel()
        print(f"\n{users:,} users, {rate:g} conversations an hour", end="")  # noqa: T201
        print(f", embeddings of {holders} shared" if holders else "")  # noqa: T201
        print("cache            requests  memory   table  missed   made  failed")  # noqa: T201
        for figures in zip(left.statistics(), right.statistics(), strict=True):
            sums: Counter[str] = Counter()
            for one in figures:
                for field in ("requests", "memory_hits", "database_hits", "misses", "fills"):
                    sums[field] += getattr(one, field)
                sums["failures"] += one.failures
            shares = [
                f"{sums[field] / sums['requests']:7.2%}"
                for field in ("memory_hits", "database_hits", "misses")
            ]
            print(  # noqa: T201
                f"{figures[0].cache:15} {sums['requests']:9,} {' '.join(shares)}"
                f" {sums['fills']:6,} {sums['failures']:7,}"
            )
        say(f"{job.turns:,} turns, {job.compared:,} values compared, none wrong")


async def _share(worker: Database, holders: int | None, speed: float) -> None:
    while holders is not None:
        await asyncio.sleep(600 / speed)
        await worker.caches.share_common_embeddings(holders=holders, ttl=timedelta(days=7) / speed)


def main() -> None:
    """Three arrangements of one file."""
    arguments = argparse.ArgumentParser(prog="replay", description=(__doc__ or "").split("\n")[0])
    arguments.add_argument("file", type=Path)
    arguments.add_argument("--rate", type=float, default=120, help="conversations an hour")
    arguments.add_argument("--speed", type=float, default=900, help="times faster than life")
    arguments.add_argument("--only", type=int, help="the first conversations alone")
    given = arguments.parse_args()
    with ConversationFile(given.file) as lines:
        conversations = [line.conversation for line in lines if not isinstance(line, BadLine)][
            : given.only
        ]
    random.Random(0).shuffle(conversations)
    arrangements: list[tuple[int, int | None]] = [
        (1, None),
        (20, None),
        (len(conversations), None),
        (len(conversations), 3),
    ]
    with running_server(None) as server:
        for number, (users, holders) in enumerate(arrangements):
            run(
                replay(
                    server,
                    f"replay_{number}",
                    conversations,
                    users=users,
                    rate=given.rate,
                    speed=given.speed,
                    holders=holders,
                )
            )


if __name__ == "__main__":
    main()
