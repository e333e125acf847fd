"""The people of the demonstration, all invented, and the conversations written for it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple

from clonedb.demo.simulation import draw
from clonedb.ids import id_at
from clonedb.loading.conversations import Conversation, ConversationFile, GoodLine
from clonedb.repositories.users import SignUp

CONVERSATIONS: Final = Path(__file__).with_name("conversations.jsonl")

# The moment in their ids: signing up again is then a repeat, and finds them.
_SINCE: Final = datetime(2026, 1, 1, tzinfo=UTC)


class Person(NamedTuple):
    """Someone who signs up, and the clone that they talk with."""

    sign_up: SignUp
    talks_with: str
    conversations: list[Conversation]


def people() -> list[Person]:
    """Six people with their conversations; an id begins with the person's first name."""
    with ConversationFile(CONVERSATIONS) as file:
        conversations = [line.conversation for line in file if isinstance(line, GoodLine)]
    return [
        Person(
            sign_up,
            talks_with,
            [one for one in conversations if one.id.startswith(sign_up.email.split("@")[0] + "/")],
        )
        for sign_up, talks_with in _PEOPLE
    ]


def _sign_up(name: str, **fields: object) -> SignUp:
    email = f"{name.split()[0].lower()}@demo.example"
    chance = int.from_bytes(draw("demo", email), "big")
    return SignUp(id=id_at(_SINCE, chance), email=email, name=name, **fields)  # type: ignore[arg-type]


_PEOPLE: Final = (
    (
        _sign_up(
            "Rosa Lindqvist",
            personality_traits=["warm", "curious"],
            speaking_style="short sentences, a little homesick",
            preferred_llm_provider="claude-3-opus",
            preferred_tts_provider="xtts-v2",
        ),
        "her grandmother's recipes",
    ),
    (
        _sign_up(
            "Tomas Berg",
            personality_traits=["careful"],
            preferred_llm_provider="gpt-4-turbo",
            preferred_tts_provider="openai-tts",
        ),
        "a mountain guide's notes",
    ),
    (
        _sign_up(
            "Amara Okafor",
            personality_traits=["attentive", "playful"],
            preferred_llm_provider="claude-3-sonnet",
            preferred_tts_provider="google-cloud-tts",
        ),
        "a curator's catalogue",
    ),
    (
        _sign_up(
            "Joaquin Reyes",
            personality_traits=["patient"],
            preferred_llm_provider="gpt-4-turbo",
            preferred_tts_provider="openai-tts",
        ),
        "a lighthouse logbook",
    ),
    (
        _sign_up(
            "Mei Tanaka",
            personality_traits=["precise", "dry"],
            preferred_llm_provider="llama-3-70b",
            preferred_tts_provider="xtts-v2",
        ),
        "a piano maker's notes",
    ),
    (
        _sign_up(
            "Oskar Weiss",
            personality_traits=["calm"],
            preferred_llm_provider="gpt-3.5-turbo",
            preferred_tts_provider="google-cloud-tts",
        ),
        "a beekeeper's diary",
    ),
)
