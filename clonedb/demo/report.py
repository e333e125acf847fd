"""What a demonstration finds: every figure was read from the database, or measured."""

from __future__ import annotations

import msgspec

from clonedb.demo.answers import CacheFigures
from clonedb.demo.limits import LimitFigures
from clonedb.demo.models import ModelFigures
from clonedb.demo.reading import DocumentFigures
from clonedb.demo.refusals import Refusals, RepeatedTurn
from clonedb.demo.service import Move
from clonedb.demo.trail import AuditFigures
from clonedb.loading.load import LoadReport
from clonedb.repositories.conversation_sessions import (
    ConversationSession,
    ProviderStatistics,
    SessionStatistics,
)
from clonedb.repositories.conversation_turns import ConversationTurn
from clonedb.repositories.statistics import SystemTotals


class ServerFacts(msgspec.Struct, frozen=True):
    """The server that the demonstration ran on; `kept` if its data outlives it."""

    version: str
    data_directory: str
    kept: bool
    start_seconds: float
    migrations: int
    migrate_seconds: float


class PersonFigures(msgspec.Struct, frozen=True):
    """One person, and what the database says about their conversations."""

    name: str
    talks_with: str
    statistics: SessionStatistics


class LiveFigures(msgspec.Struct, frozen=True):
    """The conversations that were held turn by turn, all at once; times of single calls."""

    people: list[PersonFigures]
    conversations: int
    turns: int
    calls: int
    seconds: float
    median_call_ms: float
    moves: list[Move]


class Transcript(msgspec.Struct, frozen=True):
    """A conversation as it was read back."""

    name: str
    session: ConversationSession
    turns: list[ConversationTurn]


class DemoReport(msgspec.Struct, frozen=True):
    """All that the demonstration found."""

    server: ServerFacts
    live: LiveFigures
    models: ModelFigures
    documents: DocumentFigures
    cache: CacheFigures
    limits: LimitFigures
    bulk: LoadReport
    totals: SystemTotals
    providers: list[ProviderStatistics]
    transcript: Transcript
    refusals: Refusals
    repeated: RepeatedTurn
    audit: AuditFigures
    seconds: float
