"""What the people of the demonstration give their clones to read, all invented."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from uuid import UUID

import msgspec

from clonedb.demo.simulation import draw
from clonedb.ids import id_at
from clonedb.repositories.knowledge_documents import NewDocument
from clonedb.repositories.users import User
from clonedb.repositories.vocabulary import DocumentLanguage

PAPERS: Final = Path(__file__).with_name("documents.jsonl")

# The moment in their ids: giving a paper again is then a repeat, and finds it.
_SINCE: Final = datetime(2026, 1, 2, tzinfo=UTC)


class Paper(msgspec.Struct, frozen=True):
    """A file, and the pieces of text that are in it: none in a picture."""

    owner: str
    filename: str
    content_type: str
    size_bytes: int
    tags: list[str]
    language: DocumentLanguage
    pieces: list[str]

    @property
    def id(self) -> UUID:
        return id_at(_SINCE, int.from_bytes(draw("paper", self.owner, self.filename), "big"))

    @property
    def text(self) -> str:
        return "\n\n".join(self.pieces)

    def upload(self) -> NewDocument:
        """The file without its text, which a worker takes out of it later."""
        return NewDocument(
            id=self.id,
            filename=self.filename,
            content_type=self.content_type,
            size_bytes=self.size_bytes,
            tags=self.tags,
            language=self.language,
            storage_path=f"demo/{self.owner}/{self.filename}",
        )


def papers() -> list[Paper]:
    """Every paper, in the order of the file."""
    return msgspec.json.Decoder(Paper).decode_lines(PAPERS.read_bytes())


def papers_of(user: User) -> list[Paper]:
    """The papers of one person; the owner is the first part of the address."""
    return [paper for paper in papers() if paper.owner == user.email.split("@")[0]]
