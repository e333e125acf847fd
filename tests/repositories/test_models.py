"""Voice and face models: what each method promises, for both kinds alike."""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec
import psycopg
import pytest
from ground import as_superuser, case, nothing_stored

from clonedb import (
    AlreadyExists,
    Database,
    FaceModelFilter,
    FaceModelPatch,
    InvalidInput,
    NewFaceModel,
    NewSession,
    NewVoiceModel,
    NotFound,
    SessionPatch,
    User,
    UserScope,
    VoiceModelFilter,
    VoiceModelPatch,
    new_id,
)
from clonedb.testing import IsolatedDatabase


class Kind(NamedTuple):
    """One of the two kinds: what its table is called, and the Structs of its repository."""

    table: str
    reference: str
    new: type[Any]
    patch: type[Any]
    filter: type[Any]
    content: dict[str, Any]
    other: dict[str, Any]

    def of(self, scope: UserScope) -> Any:
        return getattr(scope, self.table)

    def a_new(self, **fields: Any) -> Any:
        return self.new(**{**self.content, **fields})


VOICE = Kind(
    "voice_models",
    "voice_model_id",
    NewVoiceModel,
    VoiceModelPatch,
    VoiceModelFilter,
    {
        "provider": "xtts-v2",
        "model_path": "voices/ada.pt",
        "sample_rate": 24_000,
        "quality_score": 0.75,
        "status": "completed",
        "metadata": {"epochs": 12, "speaker": "ä"},
    },
    {
        "provider": "openai-tts",
        "model_path": "voices/other.pt",
        "sample_rate": 8_000,
        "quality_score": 0.5,
        "status": "failed",
        "metadata": {},
    },
)
FACE = Kind(
    "face_models",
    "face_model_id",
    NewFaceModel,
    FaceModelPatch,
    FaceModelFilter,
    {
        "model_path": "faces/ada.bin",
        "resolution": {"width": 1920, "height": 1080},
        "quality_score": 0.75,
        "metadata": {"frames": 400},
    },
    {
        "model_path": "faces/other.bin",
        "resolution": {"width": 1, "height": 16_384},
        "quality_score": 0.5,
        "metadata": {},
    },
)


@pytest.fixture(params=[VOICE, FACE], ids=["voice", "face"])
def kind(request: pytest.FixtureRequest) -> Kind:
    found: Kind = request.param
    return found


@pytest.fixture
def models(kind: Kind, as_ada: UserScope) -> Any:
    return kind.of(as_ada)


async def test_a_stored_model_is_read_back_field_by_field(kind: Kind, models: Any) -> None:
    new = kind.a_new(id=new_id())
    created = await models.create(new)
    assert await models.get_by_id(new.id) == created
    assert {name: getattr(created, name) for name in kind.content} == kind.content
    assert (created.is_active, created.deleted_at) == (False, None)
    assert created.created_at == created.updated_at


async def test_a_repeated_create_returns_the_stored_model(kind: Kind, models: Any) -> None:
    new = kind.a_new(id=new_id())
    first = await models.create(new)
    assert await models.create(new) == first
    assert await models.count() == 1
    await models.delete(first.id)
    with pytest.raises(AlreadyExists, match="deleted"):
        await models.create(new)


async def test_a_repeat_with_other_content_is_refused_and_names_the_field(
    kind: Kind, models: Any
) -> None:
    new = kind.a_new(id=new_id())
    await models.create(new)
    for field, value in kind.other.items():
        with pytest.raises(AlreadyExists, match=field):
            await models.create(msgspec.structs.replace(new, **{field: value}))
        with pytest.raises(AlreadyExists, match=field):
            await models.create_many([msgspec.structs.replace(new, **{field: value})])


async def test_many_models_are_stored_in_the_order_given(kind: Kind, models: Any) -> None:
    ids = [new_id() for _ in range(3)]
    news = [kind.a_new(id=id) for id in reversed(ids)]
    stored = await models.create_many([*news, kind.a_new()])
    assert [model.id for model in stored[:3]] == [new.id for new in news]
    assert await models.create_many([]) == []
    assert await models.count() == 4


async def test_a_patch_changes_the_fields_that_it_names(kind: Kind, models: Any) -> None:
    model = await models.create(kind.a_new())
    for field, value in kind.other.items():
        changed = await models.update(model.id, kind.patch(**{field: value}))
        assert getattr(changed, field) == value
    cleared = await models.update(model.id, kind.patch(quality_score=None))
    assert cleared.quality_score is None
    assert cleared.model_path == kind.other["model_path"]
    with pytest.raises(InvalidInput, match="changes nothing"):
        await models.update(model.id, kind.patch())
    with pytest.raises(NotFound):
        await models.update(new_id(), kind.patch(quality_score=1))


async def test_several_models_are_changed_alike(kind: Kind, models: Any) -> None:
    chosen = [(await models.create(kind.a_new())).id for _ in range(2)]
    left = await models.create(kind.a_new())
    changed = await models.update_many([*chosen, new_id()], kind.patch(quality_score=1))
    assert sorted(model.id for model in changed) == sorted(chosen)
    assert {model.quality_score for model in changed} == {1.0}
    assert await models.get_by_id(left.id) == left


async def test_filters_narrow_pages_counts_and_existence_alike(kind: Kind, models: Any) -> None:
    scores = (None, 0.0, 0.25, 0.5, 1.0)
    by_score = {
        score: (await models.create(kind.a_new(quality_score=score))).id for score in scores
    }
    await models.activate(by_score[0.5])
    which = kind.filter
    for filters, expected in (
        (which(quality_from=0.25), {0.25, 0.5, 1.0}),
        (which(quality_to=0.25), {0.0, 0.25}),
        (which(quality_from=0.25, quality_to=0.5), {0.25, 0.5}),
        (which(quality_from=0.6, quality_to=0.9), set()),
        (which(active=True), {0.5}),
        (which(active=False), {None, 0.0, 0.25, 1.0}),
        (which(), set(scores)),
    ):
        page = await models.find_many(filters, with_total=True)
        assert {model.quality_score for model in page.items} == expected
        # An empty first page has a total of none.
        assert page.total == await models.count(filters) == len(expected)
        assert await models.exists(filters) is bool(expected)
        one = await models.find_one(filters)
        assert (one is None) is (not expected)


async def test_voices_are_found_by_provider_and_status(as_ada: UserScope) -> None:
    models = as_ada.voice_models
    trained = await models.create(VOICE.a_new())
    training = await models.create(VOICE.a_new(status="training", provider="openai-tts"))
    for filters, expected in (
        (VoiceModelFilter(status="training"), [training]),
        (VoiceModelFilter(provider="xtts-v2"), [trained]),
        (VoiceModelFilter(provider="xtts-v2", status="training"), []),
        (VoiceModelFilter(status="failed"), []),
    ):
        assert (await models.find_many(filters)).items == expected


async def test_pages_follow_each_other_without_gap_or_repeat(kind: Kind, models: Any) -> None:
    stored = await models.create_many([kind.a_new() for _ in range(25)])
    for order in ("newest", "oldest"):
        seen: list[Any] = []
        cursor = None
        while True:
            page = await models.find_many(order=order, cursor=cursor, limit=7)
            seen += page.items
            if (cursor := page.next) is None:
                break
        ids = [model.id for model in seen]
        assert sorted(ids) == sorted(model.id for model in stored)
        assert ids == sorted(ids, reverse=order == "newest")


# Activation.


async def test_activation_leaves_exactly_one_active_model(kind: Kind, models: Any) -> None:
    assert await models.find_active() is None
    first, second = [await models.create(kind.a_new()) for _ in range(2)]
    # In both directions, since the unique index sees the rows in the order of their update.
    for model in (first, second, first, second):
        activated = await models.activate(model.id)
        assert (activated.id, activated.is_active) == (model.id, True)
        assert await models.find_active() == activated == await models.get_by_id(model.id)
        assert await models.count(kind.filter(active=True)) == 1
    assert await models.activate(second.id) == activated


@pytest.mark.parametrize("which", ["unknown", "deleted", "another's"])
async def test_what_cannot_be_activated_changes_nothing(
    kind: Kind, models: Any, which: str, as_grace: UserScope, migrated: IsolatedDatabase
) -> None:
    active = await models.create(kind.a_new())
    await models.activate(active.id)
    if which == "another's":
        id = (await kind.of(as_grace).create(kind.a_new())).id
    elif which == "deleted":
        id = (await models.create(kind.a_new())).id
        await models.delete(id)
    else:
        id = new_id()
    with nothing_stored(migrated), pytest.raises(NotFound):
        await models.activate(id)
    assert (await models.find_active()).id == active.id


async def test_another_users_active_model_stays_active(
    kind: Kind, models: Any, as_grace: UserScope
) -> None:
    theirs = await kind.of(as_grace).create(kind.a_new())
    await kind.of(as_grace).activate(theirs.id)
    await models.activate((await models.create(kind.a_new())).id)
    active = await kind.of(as_grace).find_active()
    assert active is not None
    assert active.id == theirs.id


async def test_deactivation_leaves_no_active_model(kind: Kind, models: Any) -> None:
    model = await models.create(kind.a_new())
    assert await models.deactivate() is False
    await models.activate(model.id)
    assert await models.deactivate() is True
    assert await models.find_active() is None


async def test_a_deleted_model_comes_back_inactive_beside_the_one_that_followed(
    kind: Kind, models: Any
) -> None:
    first, second = [await models.create(kind.a_new()) for _ in range(2)]
    await models.activate(first.id)
    assert await models.delete(first.id) is True
    assert await models.delete(first.id) is False
    assert await models.find_active() is None
    assert await models.find_by_id(first.id) is None
    hidden = await models.find_by_id(first.id, include_deleted=True)
    assert hidden.deleted_at is not None
    assert await models.count() == 1
    assert await models.count(include_deleted=True) == 2
    await models.activate(second.id)
    restored = await models.restore(first.id)
    assert (restored.is_active, restored.deleted_at) == (False, None)
    assert await models.restore(first.id) == restored
    assert (await models.find_active()).id == second.id
    with pytest.raises(NotFound):
        await models.restore(new_id())


async def test_a_user_comes_back_with_their_active_model(
    kind: Kind, models: Any, worker: Database, ada: User
) -> None:
    model = await models.create(kind.a_new())
    gone = await models.create(kind.a_new())
    await models.activate(model.id)
    await models.delete(gone.id)
    await worker.users.delete(ada.id)
    assert await models.find_active() is None
    await worker.users.restore(ada.id)
    assert (await models.find_active()).id == model.id
    assert await models.find_by_id(gone.id) is None


# Sessions that refer to a model.


async def test_a_removed_model_is_taken_off_its_sessions(
    kind: Kind, models: Any, as_ada: UserScope
) -> None:
    removed, kept = [await models.create(kind.a_new()) for _ in range(2)]
    sessions = as_ada.conversation_sessions
    living, hidden = [
        await sessions.create(NewSession(**{kind.reference: removed.id})) for _ in range(2)
    ]
    other = await sessions.create(NewSession(**{kind.reference: kept.id}))
    await sessions.delete(hidden.id)
    await models.delete(removed.id)
    assert await models.hard_delete(removed.id) is True
    assert await models.hard_delete(removed.id) is False
    for session in (living, hidden):
        stored = await sessions.get_by_id(session.id, include_deleted=True)
        assert getattr(stored, kind.reference) is None
    assert await sessions.get_by_id(other.id) == other


async def test_removing_anothers_model_leaves_their_sessions_as_they_are(
    kind: Kind, models: Any, as_grace: UserScope, migrated: IsolatedDatabase
) -> None:
    model = await models.create(kind.a_new())
    with nothing_stored(migrated):
        assert await kind.of(as_grace).hard_delete(model.id) is False


async def test_a_session_takes_no_model_of_another_user(
    kind: Kind, models: Any, as_grace: UserScope, migrated: IsolatedDatabase
) -> None:
    model = await models.create(kind.a_new())
    session = await as_grace.conversation_sessions.start()
    with nothing_stored(migrated):
        with pytest.raises(NotFound):
            await as_grace.conversation_sessions.create(NewSession(**{kind.reference: model.id}))
        with pytest.raises(NotFound):
            await as_grace.conversation_sessions.update(
                session.id, SessionPatch(**{kind.reference: model.id})
            )


# Bad input.

NOT_METADATA: tuple[Any, ...] = (
    [], None, "{}", {"a": "\0"}, {"\0": 1}, {"a": "\udfff"}, {"a": float("nan")}, {1: 2},
    {"a": "x" * 65_536},
)  # fmt: skip
BAD: list[tuple[Kind, str, object]] = [
    *((kind, "quality_score", score) for kind in (VOICE, FACE) for score in (
        -0.01, 1.01, float("nan"), float("inf"), 10**30, "0.5", True,
    )),
    *((kind, "model_path", path) for kind in (VOICE, FACE) for path in (
        "", "x" * 1_025, "nul\0here", "lone \ud800", None, b"path",
    )),
    *((kind, "metadata", metadata) for kind in (VOICE, FACE) for metadata in NOT_METADATA),
    *((VOICE, "provider", provider) for provider in ("espeak", "XTTS-V2", "", 5, None)),
    *((VOICE, "status", status) for status in ("done", "Pending", "", 5, None)),
    *((VOICE, "sample_rate", rate) for rate in (0, -1, 7_999, 384_001, 2**63, 24_000.5, True, "x")),
    *((FACE, "resolution", resolution) for resolution in (
        None, {}, [640, 480], {"width": 640}, {"width": 640, "height": 0},
        {"width": 16_385, "height": 1}, {"width": 1.5, "height": 1}, {"width": "640", "height": 1},
        {"width": True, "height": 1}, {"width": -1, "height": 1},
    )),
]  # fmt: skip


async def test_bad_input_names_the_field_and_stores_nothing(
    as_ada: UserScope, migrated: IsolatedDatabase
) -> None:
    stored = {kind.table: await kind.of(as_ada).create(kind.a_new()) for kind in (VOICE, FACE)}
    for kind, field, value in BAD:
        models, id = kind.of(as_ada), stored[kind.table].id
        with case(kind.table, field, value), nothing_stored(migrated):
            for refused in (
                models.create(kind.a_new(**{field: value})),
                models.create_many([kind.a_new(**{field: value})]),
                models.update(id, kind.patch(**{field: value})),
                models.update_many([id], kind.patch(**{field: value})),
            ):
                with pytest.raises(InvalidInput, match=field):
                    await refused


async def test_the_database_refuses_a_second_active_model_by_itself(
    kind: Kind, models: Any, ada: User, migrated: IsolatedDatabase
) -> None:
    for _ in range(2):
        await models.create(kind.a_new())
    with (
        as_superuser(migrated) as connection,
        pytest.raises(psycopg.errors.UniqueViolation, match="one_active"),
    ):
        connection.execute(f"UPDATE clonedb.{kind.table} SET is_active = true")
