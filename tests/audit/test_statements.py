"""What is done is on record through the statement that does it: both are stored, or neither."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import pytest
import pytest_asyncio
from ground import as_superuser, nothing_stored

from clonedb import (
    AlreadyExists,
    ClonedbError,
    Database,
    DocumentPatch,
    FaceModelPatch,
    NewDocument,
    NewFaceModel,
    NewRateLimitRule,
    NewSession,
    NewUser,
    NewVoiceModel,
    PartitionMissing,
    Resolution,
    SessionEnding,
    SignUp,
    User,
    UserPatch,
    UserScope,
    VoiceModelPatch,
    new_id,
)
from clonedb.testing import IsolatedDatabase

Record = tuple[str, str, str, bool, bool]

VOICE = {"provider": "xtts-v2", "model_path": "v", "sample_rate": 24_000}
FACE = {"model_path": "f", "resolution": Resolution(width=640, height=480)}
PAPER = {"filename": "f.txt", "content_type": "text/plain", "size_bytes": 1, "text_content": "t"}


def voice(**fields: Any) -> NewVoiceModel:
    return NewVoiceModel(**{**VOICE, **fields})


def face(**fields: Any) -> NewFaceModel:
    return NewFaceModel(**{**FACE, **fields})


def paper(**fields: Any) -> NewDocument:
    return NewDocument(**{**PAPER, **fields})


class Log:
    """Reads what was put on record since the last time."""

    def __init__(self, database: IsolatedDatabase, user_id: UUID) -> None:
        self._database = database
        with as_superuser(database) as connection:
            row = connection.execute(
                "SELECT subject_ref FROM clonedb.users WHERE id = %s", [user_id]
            ).fetchone()
        assert row is not None
        self._ref = row[0]
        self._seen: set[UUID] = set()
        self.read()

    def read(self) -> list[tuple[str, str, str]]:
        """Action, resource, actor and subject: u is the user, - nobody, ? somebody else."""
        with as_superuser(self._database) as connection:
            rows = connection.execute(
                "SELECT id, action, resource, actor_ref, subject_ref, result "
                "FROM clonedb.audit_logs ORDER BY id"
            ).fetchall()
        fresh = [row for row in rows if row[0] not in self._seen]
        self._seen |= {row[0] for row in fresh}
        assert all(row[5] == "success" for row in fresh)
        letters = {None: "-", self._ref: "u"}
        return sorted(
            (row[1], row[2], letters.get(row[3], "?") + letters.get(row[4], "?")) for row in fresh
        )


@pytest_asyncio.fixture(params=["clonedb_app", "clonedb_worker"])
async def acting(
    request: pytest.FixtureRequest, migrated: IsolatedDatabase, ada: User
) -> AsyncIterator[tuple[UserScope, str]]:
    """The user's scope under either login, and who is then on record: themselves, or the system."""
    async with Database(migrated.dsn(request.param)) as database:
        yield database.as_user(ada.id), "uu" if request.param == "clonedb_app" else "-u"


async def test_voices_and_faces(
    acting: tuple[UserScope, str], migrated: IsolatedDatabase, ada: User
) -> None:
    scope, who = acting
    log = Log(migrated, ada.id)
    for kind, models, new, patch in (
        ("voice_model", scope.voice_models, voice, VoiceModelPatch(quality_score=0.5)),
        ("face_model", scope.face_models, face, FaceModelPatch(quality_score=0.5)),
    ):
        models: Any = models
        first, second = new(id=new_id()), new(id=new_id())
        one, two = f"{kind}s/{first.id}", f"{kind}s/{second.id}"
        await models.create(first)
        assert log.read() == [(f"{kind}.create", one, who)]
        await models.create(first)
        assert log.read() == []  # a repeat
        await models.create_many([first, second])
        assert log.read() == [(f"{kind}.create", two, who)]
        await models.activate(first.id)
        assert log.read() == [(f"{kind}.activate", one, who)]
        await models.activate(first.id)
        assert log.read() == []  # it was active
        await models.deactivate()
        assert log.read() == [(f"{kind}.deactivate", one, who)]
        assert await models.deactivate() is False
        await models.update(first.id, patch)
        await models.update_many([first.id, second.id], patch)
        assert log.read() == sorted(
            (f"{kind}.update", resource, who) for resource in (one, one, two)
        )
        for _ in range(2):
            await models.delete(first.id)
        assert log.read() == [(f"{kind}.delete", one, who)]
        for _ in range(2):
            await models.restore(first.id)
        assert log.read() == [(f"{kind}.restore", one, who)]
        for _ in range(2):
            await models.hard_delete(first.id)
        assert log.read() == [(f"{kind}.erase", one, who)]


async def test_sessions(
    acting: tuple[UserScope, str], migrated: IsolatedDatabase, ada: User
) -> None:
    scope, who = acting
    sessions, log = scope.conversation_sessions, Log(migrated, ada.id)
    first, second, third = (NewSession(id=new_id()) for _ in range(3))
    name = "conversation_sessions/{}".format
    for _ in range(2):
        await sessions.create(first)
    assert log.read() == [("session.start", name(first.id), who)]
    await sessions.create_many([first, second, third])
    assert log.read() == [("session.start", name(one.id), who) for one in (second, third)]
    await sessions.transition(first.id, "listening")
    assert log.read() == []
    for _ in range(2):
        await sessions.end(first.id)
    assert log.read() == [("session.end", name(first.id), who)]
    ids = [one.id for one in (first, second, third) if one.id is not None]
    assert await sessions.end_many([SessionEnding(id=id) for id in ids]) == 2
    assert log.read() == [("session.end", name(one.id), who) for one in (second, third)]
    for deed, action in (
        (sessions.delete, "session.delete"),
        (sessions.restore, "session.restore"),
        (sessions.hard_delete, "session.erase"),
    ):
        await deed(ids[0])  # type: ignore[operator]
        if action != "session.erase":
            await deed(ids[0])  # type: ignore[operator]
        assert log.read() == [(action, name(first.id), who)]


async def test_documents(
    acting: tuple[UserScope, str], migrated: IsolatedDatabase, ada: User
) -> None:
    scope, who = acting
    documents, log = scope.knowledge_documents, Log(migrated, ada.id)
    first, second = paper(id=new_id()), paper(id=new_id())
    name = "knowledge_documents/{}".format
    for _ in range(2):
        await documents.create(first)
    assert log.read() == [("document.upload", name(first.id), who)]
    await documents.create_many([first, second])
    assert log.read() == [("document.upload", name(second.id), who)]
    assert first.id is not None
    await documents.update(first.id, DocumentPatch(title="T"))
    await documents.update_many([first.id], DocumentPatch(author="A"))
    assert log.read() == [("document.update", name(first.id), who)] * 2
    await documents.set_status(first.id, "processing")
    assert log.read() == []
    for _ in range(2):
        await documents.delete(first.id)
    assert log.read() == [("document.delete", name(first.id), who)]
    for _ in range(2):
        await documents.restore(first.id)
    assert log.read() == [("document.restore", name(first.id), who)]
    for _ in range(2):
        await documents.hard_delete(first.id)
    assert log.read() == [("document.erase", name(first.id), who)]


async def test_users(acting: tuple[UserScope, str], migrated: IsolatedDatabase, ada: User) -> None:
    scope, who = acting
    log = Log(migrated, ada.id)
    await scope.users.update(ada.id, UserPatch(name="Ada L."))
    await scope.users.update_many([ada.id], UserPatch(name="Ada"))
    assert log.read() == [("user.update", "users", who)] * 2
    await scope.users.merge_settings(ada.id, {"theme": "dark"})
    assert log.read() == [("user.configure", "users", who)]
    await scope.users.add_minutes(ada.id, 1)
    assert log.read() == []
    await scope.users.delete(ada.id)
    await scope.users.delete(ada.id)
    assert log.read() == [("user.delete", "users", who)]


@pytest.mark.parametrize("login", ["clonedb_app", "clonedb_worker"])
async def test_erasing_a_user_is_on_record_when_the_user_is_gone(
    migrated: IsolatedDatabase, ada: User, login: str
) -> None:
    log = Log(migrated, ada.id)
    async with Database(migrated.dsn(login)) as database:
        assert await database.as_user(ada.id).users.hard_delete(ada.id)
        assert not await database.as_user(ada.id).users.hard_delete(ada.id)
    assert log.read() == [
        ("user.erase", "users", "uu" if login == "clonedb_app" else "-u"),
    ]


async def test_what_the_worker_does_with_users(
    migrated: IsolatedDatabase, worker: Database, ada: User
) -> None:
    log = Log(migrated, ada.id)
    new = NewUser(id=new_id(), email="grace@example.com")
    for _ in range(2):
        await worker.users.create(new)
    assert log.read() == [("user.sign_up", "users", "-?")]
    await worker.users.create_many([new, NewUser(id=new_id(), email="mary@example.com")])
    assert log.read() == [("user.sign_up", "users", "-?")]
    await worker.users.set_tier(ada.id, "pro")
    assert log.read() == [("user.set_tier", "users", "-u")]
    await worker.users.delete(ada.id)
    await worker.users.restore(ada.id)
    assert log.read() == [("user.delete", "users", "-u"), ("user.restore", "users", "-u")]


async def test_a_sign_up_is_the_persons_own_deed(app: Database, migrated: IsolatedDatabase) -> None:
    new = SignUp(id=new_id(), email="grace@example.com")
    first = await app.users.sign_up(new)
    await app.users.sign_up(new)
    with pytest.raises(AlreadyExists):
        await app.users.sign_up(SignUp(email="grace@example.com"))
    with as_superuser(migrated) as connection:
        rows = connection.execute(
            "SELECT l.action, l.resource, u.id, l.actor_ref = u.subject_ref "
            "FROM clonedb.audit_logs AS l INNER JOIN clonedb.users AS u USING (subject_ref)"
        ).fetchall()
    assert rows == [("user.sign_up", "users", first.id, True)]


async def test_configuration(worker: Database, migrated: IsolatedDatabase, ada: User) -> None:
    log = Log(migrated, ada.id)
    await worker.rate_limit_rules.put(
        NewRateLimitRule(scope="user", endpoint="talk", capacity=3, refill_per_second=1)
    )
    assert log.read() == [("rate_limit_rule.put", "rate_limit_rules", "--")]
    assert await worker.rate_limit_rules.delete(scope="user", endpoint="talk") is True
    assert await worker.rate_limit_rules.delete(scope="user", endpoint="talk") is False
    assert log.read() == [("rate_limit_rule.delete", "rate_limit_rules", "--")]
    (free, *_) = [one for one in await worker.daily_quotas.find_many() if one.tier == "free"]
    await worker.daily_quotas.put("free", free.conversation_seconds)
    assert log.read() == [("daily_quota.put", "daily_quotas", "--")]
    await worker.caches.put_budget("audio_chunk", 50_000)
    assert log.read() == [("cache_budget.put", "cache_budgets", "--")]


# Both, or neither.


async def test_what_is_rolled_back_is_not_on_record(
    as_ada: UserScope, migrated: IsolatedDatabase
) -> None:
    class Stop(Exception):
        pass

    with nothing_stored(migrated), pytest.raises(Stop):
        async with as_ada.transaction() as tx:
            await tx.voice_models.create(voice())
            raise Stop


async def test_what_is_refused_is_not_on_record(
    as_ada: UserScope, migrated: IsolatedDatabase
) -> None:
    with nothing_stored(migrated):
        for call in (
            as_ada.conversation_sessions.start(voice_model_id=new_id()),
            as_ada.voice_models.activate(new_id()),
            as_ada.users.update(new_id(), UserPatch(name="Eve")),
        ):
            with pytest.raises(ClonedbError):
                await call


async def test_what_cannot_be_put_on_record_does_not_happen(
    as_ada: UserScope, migrated: IsolatedDatabase
) -> None:
    model = await as_ada.voice_models.create(voice())
    with as_superuser(migrated) as connection:
        connection.execute("TRUNCATE clonedb.audit_logs")
        (month,) = connection.execute(
            "SELECT 'clonedb.audit_logs_' || to_char(now() AT TIME ZONE 'UTC', 'YYYY_MM')"
        ).fetchone() or ("",)
        connection.execute(f"ALTER TABLE clonedb.audit_logs DETACH PARTITION {month}".encode())
    with nothing_stored(migrated):
        for call in (
            as_ada.voice_models.activate(model.id),
            as_ada.voice_models.hard_delete(model.id),
            as_ada.conversation_sessions.start(),
            as_ada.users.hard_delete(as_ada.user_id),  # type: ignore[arg-type]
        ):
            with pytest.raises(PartitionMissing, match="create_audit_partitions"):
                await call
