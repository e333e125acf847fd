"""What a column tells of a person: the end of its comment, `[personal: CLASS]`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

PersonalClass = Literal[
    "biometric", "content", "contact", "behaviour", "identifier", "technical", "none"
]

# From the most to the least intimate.
MEANINGS: Final[Mapping[PersonalClass, str]] = {
    "biometric": "voice or face of a person, or where it lies",
    "content": "what a person said, wrote, uploaded or was answered, and what was made of it",
    "contact": "names the person, or reaches them or their machine",
    "behaviour": "what a person did, chose or used, when, and how much",
    "identifier": "a number that stands for the person or for one thing of theirs",
    "technical": "what the service notes to do its work; of itself it tells nothing of the person",
    "none": "about nobody",
}

# What dashboards and the planner's statistics have no business with.
INTIMATE: Final[tuple[PersonalClass, ...]] = ("biometric", "content", "contact")
