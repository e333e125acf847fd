"""What a type checker has to say about calls of the query modules: see test_types.py.

Each line that ends in `# wrong: <what>` is a mistake; no other line is. Nothing here is run.
"""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from clonedb import Database, queries


async def right(db: Database, user: UUID) -> None:
    target = db.as_user(user).target
    row = await queries.voice_models.find_by_id(target, user_id=user, id=user)
    if row is not None:
        name: str = row[1]
        score: float | None = row[4]
        print(name, score)
    page = await queries.voice_models.find_many(
        target, user_id=user, limit=5, order="oldest", with_total=True
    )
    total: int = page[0][-1]
    stamp: datetime | None = await queries.voice_models.delete(target, user_id=user, id=user)
    removed: int = await queries.embedding_cache.invalidate_all(target)
    print(total, stamp, removed)
    async for turn in queries.conversation_turns.stream_cursor(target, user_id=user):
        print(turn[0].hex)


async def wrong(db: Database, user: UUID) -> None:
    target = db.as_user(user).target
    await queries.voice_models.find_by_name(target, user_id=user)  # wrong: name of the query
    await queries.voice_model.find_by_id(target, user_id=user, id=user)  # wrong: name of the module
    await queries.voice_models.find_by_id(target, user_id=user, id="x")  # wrong: type
    await queries.voice_models.find_by_id(target, user_id=user, id=None)  # wrong: None does nothing
    await queries.voice_models.find_by_id(target, user_id=user)  # wrong: missing argument
    await queries.voice_models.find_by_id(target, user_id=user, id=user, ids=[])  # wrong: unknown
    await queries.voice_models.find_by_id(target, user, user)  # wrong: by position
    await queries.voice_models.find_many(target, user_id=user, limit=1, order="up")  # wrong: order
    row = await queries.voice_models.find_by_id(target, user_id=user, id=user)
    print(row[0])  # wrong: there may be no row
    if row is not None:
        print(row[4] + 1)  # wrong: the column may be NULL
        print(row[1] + 1)  # wrong: a text
        print(row[11])  # wrong: no such column
    page = await queries.voice_models.find_many(target, user_id=user, limit=5)
    print(page[0][11])  # wrong: no total was asked for
    ended = await queries.conversation_sessions.end(target, user_id=user, id=user, ended_at=None)
    if ended is not None:
        print(ended[2].year)  # wrong: the session may be missing
    queries.voice_models.find_by_id(target, user_id=user, id=user)[0]  # wrong: not awaited
