"""Deleting and restoring a user and their sessions in any order brings back what it should."""

from __future__ import annotations

import pytest
from ground import as_superuser
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clonedb import Database, NewSession, NewTurn, NewUser, NotFound, new_id
from clonedb.testing import IsolatedDatabase

SESSIONS = 3

steps = st.lists(
    st.one_of(
        st.tuples(st.just("delete user"), st.just(0)),
        st.tuples(st.just("restore user"), st.just(0)),
        st.tuples(st.just("delete session"), st.integers(0, SESSIONS - 1)),
        st.tuples(st.just("restore session"), st.integers(0, SESSIONS - 1)),
    ),
    max_size=14,
)


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(steps=steps)
async def test_restoring_a_user_brings_back_exactly_what_the_same_deletion_hid(
    worker: Database, migrated: IsolatedDatabase, steps: list[tuple[str, int]]
) -> None:
    user = await worker.users.create(NewUser(email=f"{new_id().hex}@example.com"))
    repository = worker.as_user(user.id).conversation_sessions
    sessions = await repository.create_many([NewSession(id=new_id()) for _ in range(SESSIONS)])
    for session in sessions:
        await repository.record_turn(
            session.id, NewTurn(user_transcript="Hello", llm_response="Hi")
        )
    with as_superuser(migrated) as connection:
        models = connection.execute(
            "INSERT INTO clonedb.voice_models (user_id, provider, model_path, sample_rate, "
            "deleted_at) SELECT %s, 'xtts-v2', 'voice.bin', 24000, hidden FROM unnest("
            "ARRAY[NULL, now()]) AS hidden RETURNING id, deleted_at",
            [user.id],
        ).fetchall()
    # Which deletion hid it: None is living, a number the step that did.
    hidden: dict[object, int | None] = {session.id: None for session in sessions}
    hidden |= {identifier: None if stamp is None else -1 for identifier, stamp in models}
    user_hidden: int | None = None

    for number, (step, which) in enumerate(steps):
        session = sessions[which]
        if step == "delete user":
            assert await worker.users.delete(user.id) is (user_hidden is None)
            if user_hidden is None:
                user_hidden = number
                hidden = {key: number if by is None else by for key, by in hidden.items()}
        elif step == "restore user":
            if user_hidden is None:
                with pytest.raises(NotFound):
                    await worker.users.restore(user.id)
            else:
                await worker.users.restore(user.id)
                hidden = {key: None if by == user_hidden else by for key, by in hidden.items()}
                user_hidden = None
        elif step == "delete session":
            assert await repository.delete(session.id) is (hidden[session.id] is None)
            if hidden[session.id] is None:
                hidden[session.id] = number
        else:
            assert (await repository.restore(session.id)).deleted_at is None
            hidden[session.id] = None

    assert (await worker.users.find_by_id(user.id) is None) is (user_hidden is not None)
    living = {session.id for session in (await repository.find_many()).items}
    assert living == {session.id for session in sessions if hidden[session.id] is None}
    for session in sessions:
        assert await repository.count_turns(session.id) == int(session.id in living)
        assert (await repository.get_by_id(session.id, include_deleted=True)).total_turns == 1
    with as_superuser(migrated) as connection:
        stored = connection.execute(
            "SELECT id, deleted_at IS NOT NULL FROM clonedb.voice_models WHERE user_id = %s",
            [user.id],
        ).fetchall()
    assert dict(stored) == {key: hidden[key] is not None for key, _ in models}
