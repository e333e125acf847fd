"""Nothing in the log is personal: a column is of a closed set, a random reference, or a time."""

from __future__ import annotations

import re
from typing import Any
from uuid import UUID

from ground import as_superuser
from psycopg.rows import dict_row

from clonedb import (
    Database,
    DocumentPatch,
    FaceModelPatch,
    NewAuditEntry,
    NewDocument,
    NewFaceModel,
    NewSession,
    NewTurn,
    NewVoiceModel,
    Resolution,
    SignUp,
    UserPatch,
    VoiceModelPatch,
    new_id,
)
from clonedb.testing import IsolatedDatabase

# In every field that takes text; whole, and as the address's two halves.
CANARY = "canary"
ADDRESS = f"{CANARY}@canary.example"

ACTIONS = {
    f"{subject}.{verb}"
    for subject, verbs in {
        "user": "sign_up login update configure set_tier delete restore erase",
        "voice_model": "create update activate deactivate delete restore erase",
        "face_model": "create update activate deactivate delete restore erase",
        "session": "start end delete restore erase",
        "document": "upload update delete restore erase",
    }.items()
    for verb in verbs.split()
}
TABLES = {
    "users",
    "voice_models",
    "face_models",
    "conversation_sessions",
    "knowledge_documents",
}


async def live(app: Database, worker: Database) -> UUID:
    """Everything that a person can do, with a canary in every text."""
    ada = await app.users.sign_up(SignUp(email=ADDRESS, name=CANARY, speaking_style=CANARY))
    for scope in (app.as_user(ada.id), worker.as_user(ada.id)):
        await scope.users.update(ada.id, UserPatch(name=CANARY, personality_traits=[CANARY]))
        await scope.users.merge_settings(ada.id, {CANARY: CANARY})
        voice = await scope.voice_models.create(
            NewVoiceModel(
                provider="xtts-v2", model_path=CANARY, sample_rate=24_000, metadata={"m": CANARY}
            )
        )
        face = await scope.face_models.create(
            NewFaceModel(
                model_path=CANARY,
                resolution=Resolution(width=1, height=1),
                metadata={"m": CANARY},
            )
        )
        await scope.voice_models.activate(voice.id)
        await scope.face_models.activate(face.id)
        await scope.voice_models.update(voice.id, VoiceModelPatch(metadata={"m": CANARY}))
        await scope.face_models.update(face.id, FaceModelPatch(metadata={"m": CANARY}))
        await scope.voice_models.deactivate()
        await scope.face_models.deactivate()
        session = await scope.conversation_sessions.create(
            NewSession(id=new_id(), voice_model_id=voice.id, face_model_id=face.id)
        )
        turn = NewTurn(user_transcript=CANARY, llm_response=CANARY, retrieved_chunks=[CANARY])
        await scope.conversation_sessions.record_turn(session.id, turn)
        await scope.conversation_sessions.end(session.id)
        document = await scope.knowledge_documents.create(
            NewDocument(
                filename=CANARY,
                content_type="text/plain",
                size_bytes=1,
                title=CANARY,
                author=CANARY,
                tags=[CANARY],
                text_content=CANARY,
                storage_path=CANARY,
            )
        )
        await scope.knowledge_documents.update(document.id, DocumentPatch(title=CANARY))
        for part, row in (
            (scope.knowledge_documents, document),
            (scope.conversation_sessions, session),
            (scope.voice_models, voice),
            (scope.face_models, face),
        ):
            part: Any = part
            await part.delete(row.id)
            await part.restore(row.id)
            await part.hard_delete(row.id)
        await scope.audit_logs.append(
            NewAuditEntry(
                action="user.login",
                resource="users",
                ip_address="192.0.2.7",
                user_agent=CANARY,
                metadata={CANARY: ADDRESS},
            )
        )
    await worker.users.set_tier(ada.id, "pro")
    await worker.users.delete(ada.id)
    await worker.users.restore(ada.id)
    return ada.id


async def test_every_column_is_of_a_closed_set_or_random(
    app: Database, worker: Database, migrated: IsolatedDatabase
) -> None:
    user_id = await live(app, worker)
    await worker.users.hard_delete(user_id)
    with as_superuser(migrated) as connection:
        columns = connection.execute("SELECT * FROM clonedb.audit_logs LIMIT 0").description
        rows = (
            connection.cursor(row_factory=dict_row)
            .execute("SELECT l.*, to_jsonb(l)::text AS everything FROM clonedb.audit_logs AS l")
            .fetchall()
        )
        subjects = connection.execute("SELECT * FROM clonedb.audit_subjects").fetchall()
    assert columns is not None
    # Whoever adds a column says here what it can hold.
    assert {column.name for column in columns} == {
        "id", "actor_ref", "subject_ref", "action", "resource", "result", "system_identifier",
        "xid", "created_at",
    }  # fmt: skip
    assert {row["action"] for row in rows} == ACTIONS
    assert {row["result"] for row in rows} == {"success"}
    assert {row["resource"].partition("/")[0] for row in rows} == TABLES
    assert len({row["subject_ref"] for row in rows}) == 1
    assert {row["actor_ref"] for row in rows} == {rows[0]["subject_ref"], None}
    for row in rows:
        assert re.fullmatch(r"[a-z_]+(/[0-9a-f-]{36})?", row["resource"])
        assert CANARY not in row["everything"]
        # What stood for the person stands for nobody now: their id is nowhere.
        assert str(user_id) not in row["everything"]
    assert subjects == []
