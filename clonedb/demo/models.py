"""The voices and faces of the demonstration's people, and which of them are in use."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

import msgspec

from clonedb.demo.simulation import draw
from clonedb.demo.trail import recorded
from clonedb.ids import id_at
from clonedb.repositories.face_models import FaceModel, NewFaceModel
from clonedb.repositories.users import User
from clonedb.repositories.voice_models import NewVoiceModel, VoiceModel, VoiceModelFilter
from clonedb.scopes import DatabaseScope, UserScope

# The moment in their ids: making a model again is then a repeat, and finds it.
_SINCE: Final = datetime(2026, 1, 3, tzinfo=UTC)

# Calls for one person at once, each for another of the two voices than the one before.
_AT_ONCE: Final = 4


class PersonModels(msgspec.Struct, frozen=True):
    """A person's models as they were read back; `voice_before` was the active one until then."""

    name: str
    voice: VoiceModel
    voice_before: VoiceModel
    face: FaceModel
    active_voices: int


class ModelFigures(msgspec.Struct, frozen=True):
    """Everybody's models, and how many times a voice was activated."""

    people: list[PersonModels]
    activations: int
    at_once: int


async def make_models(app: DatabaseScope, users: Sequence[User]) -> ModelFigures:
    """Two voices and a face for everybody; the second voice takes the place of the first."""
    people = await asyncio.gather(*(_make(app.as_user(user.id), user) for user in users))
    return ModelFigures(
        list(people),
        activations=len(people) * (_AT_ONCE + 2),
        at_once=len(people) * _AT_ONCE,
    )


async def _make(scope: UserScope, user: User) -> PersonModels:
    owner = user.email.split("@")[0]
    before, after = await scope.voice_models.create_many(
        [_voice(user, owner, "first-tapes", 0.62), _voice(user, owner, "all-tapes", 0.84)]
    )
    face = await scope.face_models.create(_face(owner))
    await _activate_voice(scope, before.id)
    # Whoever comes last wins; that there is one at all times is for the database to see to.
    await asyncio.gather(
        *(_activate_voice(scope, (after, before)[call % 2].id) for call in range(_AT_ONCE))
    )
    voice = await _activate_voice(scope, after.id)
    return PersonModels(
        name=user.name or "",
        voice=voice,
        voice_before=await scope.voice_models.get_by_id(before.id),
        face=await recorded(
            scope,
            "face_model.activate",
            f"face_models/{face.id}",
            lambda own: own.face_models.activate(face.id),
        ),
        active_voices=await scope.voice_models.count(VoiceModelFilter(active=True)),
    )


async def _activate_voice(scope: UserScope, id: UUID) -> VoiceModel:
    return await recorded(
        scope,
        "voice_model.activate",
        f"voice_models/{id}",
        lambda own: own.voice_models.activate(id),
    )


def _voice(user: User, owner: str, name: str, worst: float) -> NewVoiceModel:
    chance = draw("voice", owner, name)
    return NewVoiceModel(
        id=id_at(_SINCE, int.from_bytes(chance, "big")),
        provider=user.preferred_tts_provider,
        model_path=f"voices/{owner}/{name}.pth",
        sample_rate=24_000,
        quality_score=round(worst + chance[0] / 2000, 3),
        status="completed",
    )


def _face(owner: str) -> NewFaceModel:
    chance = draw("face", owner)
    return NewFaceModel(
        id=id_at(_SINCE, int.from_bytes(chance, "big")),
        model_path=f"faces/{owner}/portrait.safetensors",
        resolution={"width": 768 + 128 * (chance[0] % 3), "height": 1024},
        quality_score=round(0.8 + chance[1] / 2000, 3),
    )
