"""Sessions under any sequence of calls do what a model of them says."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from decimal import Decimal
from typing import Any, TypeVar
from uuid import UUID

import msgspec
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from clonedb import (
    ConversationTurn,
    Database,
    InvalidTransition,
    NewSession,
    NewTurn,
    NewUser,
    NotFound,
    SessionEnded,
    SessionTurn,
    UserScope,
    new_id,
)
from clonedb.testing import IsolatedDatabase

R = TypeVar("R")

# Each state and where a session may go from there: DESIGN.md's list, and not the table's.
MOVES: dict[str, set[str]] = {
    "idle": {"listening"},
    "listening": {"processing", "interrupted", "idle", "error"},
    "processing": {"speaking", "interrupted", "idle", "error"},
    "speaking": {"listening", "interrupted", "idle", "error"},
    "interrupted": {"listening", "processing", "idle", "error"},
    "error": {"listening", "idle"},
}


class Model(msgspec.Struct):
    """What a session should be."""

    id: UUID
    state: str = "idle"
    ended_at: Any = None
    deleted: bool = False
    removed: bool = False
    turns: list[tuple[NewTurn, ConversationTurn]] = []

    @property
    def gone(self) -> bool:
        return self.deleted or self.removed

    def may_become(self, state: str) -> bool:
        return state == self.state or state in MOVES[self.state]


class Sessions(RuleBasedStateMachine):
    """Calls on a few sessions of one user; what they answer is compared with the model."""

    runner: asyncio.Runner
    worker: Database
    app: Database

    sessions = Bundle("sessions")
    states = st.sampled_from(sorted(MOVES))
    latencies = st.integers(0, 10_000)
    costs = st.decimals(0, 10, places=6)

    def __init__(self) -> None:
        super().__init__()
        user = self.run(self.worker.users.create(NewUser(email=f"{new_id().hex}@example.com")))
        self.scope: UserScope = self.app.as_user(user.id)
        self.repository = self.scope.conversation_sessions
        self.models: list[Model] = []

    def run(self, call: Awaitable[R]) -> R:
        async def awaited() -> R:
            return await call

        return self.runner.run(awaited())

    @rule(target=sessions)
    def create(self) -> Model:
        session = self.run(self.repository.create(NewSession(id=new_id())))
        model = Model(session.id)
        self.models.append(model)
        return model

    @rule(model=sessions, state=states)
    def transition(self, model: Model, state: Any) -> None:
        call = self.repository.transition(model.id, state)
        if model.gone:
            self.refused(call, NotFound)
        elif model.ended_at is not None:
            self.refused(call, SessionEnded)
        elif not model.may_become(state):
            self.refused(call, InvalidTransition)
        else:
            assert self.run(call).state == state
            model.state = state

    @rule(model=sessions)
    def end(self, model: Model) -> None:
        call = self.repository.end(model.id)
        if model.gone:
            self.refused(call, NotFound)
        else:
            session = self.run(call)
            assert model.ended_at in (None, session.ended_at)
            model.state, model.ended_at = "idle", session.ended_at

    @rule(model=sessions, latency=latencies, cost=costs, state=st.none() | states)
    def record_turn(self, model: Model, latency: int, cost: Decimal, state: Any) -> None:
        new = NewTurn(
            id=new_id(),
            user_transcript="Hello",
            llm_response="Hi",
            total_latency_ms=latency,
            llm_cost=cost,
        )
        call = self.repository.record_turn(model.id, new, state=state)
        if model.gone:
            self.refused(call, NotFound)
        elif model.ended_at is not None:
            self.refused(call, SessionEnded)
        elif state is not None and not model.may_become(state):
            self.refused(call, InvalidTransition)
        else:
            turn = self.run(call)
            model.turns.append((new, turn))
            assert turn.turn_number == len(model.turns)
            model.state = state or model.state

    @precondition(lambda self: any(model.turns for model in self.models))
    @rule(data=st.data(), state=st.none() | states)
    def repeat_turn(self, data: st.DataObject, state: Any) -> None:
        model = data.draw(st.sampled_from([model for model in self.models if model.turns]))
        new, turn = data.draw(st.sampled_from(model.turns))
        call = self.repository.record_turn(model.id, new, state=state)
        if model.gone:
            self.refused(call, NotFound)
        else:
            assert self.run(call) == turn

    @precondition(lambda self: self.models)
    @rule(data=st.data(), latency=latencies)
    def record_many(self, data: st.DataObject, latency: int) -> None:
        models = data.draw(st.lists(st.sampled_from(self.models), min_size=1, max_size=4))
        news = [
            SessionTurn(
                session_id=model.id,
                id=new_id(),
                user_transcript="Hello",
                llm_response="Hi",
                total_latency_ms=latency,
            )
            for model in models
        ]
        call = self.repository.record_many(news)
        if any(model.gone or model.ended_at is not None for model in models):
            self.refused(call, (NotFound, SessionEnded))
            return
        for model, new, turn in zip(models, news, self.run(call), strict=True):
            content = {name: getattr(new, name) for name in NewTurn.__struct_fields__}
            model.turns.append((NewTurn(**content), turn))
            assert turn.turn_number == len(model.turns)

    @rule(model=sessions)
    def delete(self, model: Model) -> None:
        assert self.run(self.repository.delete(model.id)) is not model.gone
        model.deleted = True

    @rule(model=sessions)
    def restore(self, model: Model) -> None:
        call = self.repository.restore(model.id)
        if model.removed:
            self.refused(call, NotFound)
        else:
            assert self.run(call).deleted_at is None
            model.deleted = False

    @rule(model=consumes(sessions))
    def hard_delete(self, model: Model) -> None:
        assert self.run(self.repository.hard_delete(model.id)) is True
        model.removed = True

    @invariant()
    def the_sessions_are_what_the_model_says(self) -> None:
        found = self.run(self.repository.find_many(include_deleted=True, order="oldest"))
        stored = {session.id: session for session in found.items}
        assert stored.keys() == {model.id for model in self.models if not model.removed}
        for model in self.models:
            if model.removed:
                continue
            session = stored[model.id]
            assert (session.state, session.ended_at) == (model.state, model.ended_at)
            assert (session.deleted_at is not None) is model.deleted
            turns = [turn for _, turn in model.turns]
            assert session.total_turns == len(turns)
            assert session.total_latency_ms == sum(turn.total_latency_ms for turn in turns)
            assert session.total_cost == sum(turn.total_cost for turn in turns)

    def teardown(self) -> None:
        statistics = self.run(self.repository.statistics())
        living = [model for model in self.models if not model.gone]
        assert statistics.sessions == len(living)
        assert statistics.active_sessions == sum(model.ended_at is None for model in living)
        assert statistics.turns == sum(len(model.turns) for model in living)
        for model in living:
            page = self.run(self.repository.find_turns(model.id, limit=500))
            assert page.items == [turn for _, turn in model.turns]

    def refused(
        self, call: Awaitable[object], error: type[Exception] | tuple[type[Exception], ...]
    ) -> None:
        with pytest.raises(error):
            self.run(call)


def test_sessions_follow_the_model_under_any_sequence_of_calls(
    migrated: IsolatedDatabase,
) -> None:
    with asyncio.Runner() as runner:
        Sessions.runner = runner
        Sessions.worker = runner.run(Database(migrated.dsn("clonedb_worker")).open())
        Sessions.app = runner.run(Database(migrated.dsn("clonedb_app")).open())
        try:
            run_state_machine_as_test(
                Sessions,
                settings=settings(
                    max_examples=15,
                    stateful_step_count=30,
                    deadline=None,
                    suppress_health_check=list(HealthCheck),
                ),
            )
        finally:
            runner.run(Sessions.app.close())
            runner.run(Sessions.worker.close())
