"""Pages never repeat a row and never miss one that was there throughout."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar
from uuid import UUID

from ground import as_superuser
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clonedb import (
    Database,
    NewSession,
    NewUser,
    Page,
    SessionFilter,
    SessionTurn,
    TurnFilter,
    UserFilter,
    UserScope,
    new_id,
)
from clonedb.testing import IsolatedDatabase

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
R = TypeVar("R")

orders = st.sampled_from(["newest", "oldest"])
limits = st.sampled_from([1, 1, 2, 2, 3, 3, 4, 5, 7, 500])
# Few different moments, so that ties are the rule, also at the edges of pages.
moments = st.integers(0, 2).map(lambda number: NOON + timedelta(microseconds=number))
providers = st.sampled_from(["gpt-4-turbo", "llama-3-70b"])
# Mostly living rows, so that what is hidden does not leave too few for a second page.
rarely = st.sampled_from([False, False, False, True])
bounded = settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def some_of(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """At most two fields of a filter: more leave no rows to put on pages."""
    names = st.lists(st.sampled_from(sorted(fields)), max_size=2, unique=True)
    return names.flatmap(
        lambda chosen: st.fixed_dictionaries({name: fields[name] for name in chosen})
    )


async def walk(
    find: Callable[..., Awaitable[Page[Any]]],
    between: Callable[[], Awaitable[object]] | None = None,
) -> list[Any]:
    """Every item of every page; `between` runs before each page but the first."""
    items: list[Any] = []
    cursor = None
    while True:
        page = await find(cursor=cursor)
        items += page.items
        # Here and not at the end, to which repeating pages would never come.
        assert len({item.id for item in items}) == len(items)
        if page.next is None:
            return items
        cursor = page.next
        if between is not None:
            await between()


@bounded
@given(data=st.data(), order=orders, limit=limits, include_deleted=st.booleans())
async def test_pages_of_sessions_give_each_session_once_under_every_filter(
    worker: Database, data: st.DataObject, order: str, limit: int, include_deleted: bool
) -> None:
    user = await worker.users.create(NewUser(email=f"{new_id().hex}@example.com"))
    repository = worker.as_user(user.id).conversation_sessions
    made = data.draw(
        st.lists(
            st.tuples(moments, providers, rarely, rarely, rarely),
            min_size=4,
            max_size=16,
        )
    )
    expected: dict[UUID, tuple[Any, ...]] = {}
    sessions = await repository.create_many(
        [
            NewSession(id=new_id(), started_at=started_at, llm_provider=provider)  # type: ignore[arg-type]
            for started_at, provider, *_ in made
        ]
    )
    for session, (_, _, listening, ended, deleted) in zip(sessions, made, strict=True):
        if listening:
            await repository.transition(session.id, "listening")
        if ended:
            await repository.end(session.id)
        if deleted:
            await repository.delete(session.id)
        state = "listening" if listening and not ended else "idle"
        expected[session.id] = (
            session.started_at,
            session.llm_provider,
            state,
            not ended,
            deleted,
        )

    fields = data.draw(
        some_of(
            llm_provider=providers,
            state=st.sampled_from(["listening", "idle"]),
            active=st.booleans(),
            started_from=moments,
            started_before=moments,
        )
    )

    def matches(row: tuple[Any, ...]) -> bool:
        started_at, provider, state, active, deleted = row
        return (
            provider == fields.get("llm_provider", provider)
            and state == fields.get("state", state)
            and active == fields.get("active", active)
            and started_at >= fields.get("started_from", started_at)
            and started_at < fields.get("started_before", datetime.max.replace(tzinfo=UTC))
            and (include_deleted or not deleted)
        )

    matching = sorted(
        ((row[0], key) for key, row in expected.items() if matches(row)),
        reverse=order == "newest",
    )
    filters = SessionFilter(**fields)
    first = await repository.find_many(
        filters, order=order, limit=limit, include_deleted=include_deleted, with_total=True
    )
    assert first.total == len(matching)
    found = await walk(
        lambda cursor: repository.find_many(
            filters, order=order, limit=limit, include_deleted=include_deleted, cursor=cursor
        )
    )
    assert [(session.started_at, session.id) for session in found] == matching
    assert await repository.count(filters, include_deleted=include_deleted) == len(matching)


@bounded
@given(data=st.data(), order=orders, limit=st.integers(1, 5), existing=st.integers(0, 20))
async def test_sessions_that_come_and_go_between_pages_neither_repeat_nor_hide_others(
    worker: Database, data: st.DataObject, order: str, limit: int, existing: int
) -> None:
    user = await worker.users.create(NewUser(email=f"{new_id().hex}@example.com"))
    repository = worker.as_user(user.id).conversation_sessions
    sessions = await repository.create_many(
        [NewSession(id=new_id(), started_at=data.draw(moments)) for _ in range(existing)]
    )
    throughout = {session.id for session in sessions}

    async def come_and_go() -> None:
        for started_at in data.draw(st.lists(moments, max_size=3)):
            await repository.create(NewSession(id=new_id(), started_at=started_at))
        if throughout and data.draw(st.booleans()):
            gone = data.draw(st.sampled_from(sorted(throughout)))
            throughout.discard(gone)
            await repository.delete(gone)

    # Inserts before the cursor could go on for ever only if somebody inserted for ever.
    budget = iter([come_and_go] * 10)

    async def between() -> None:
        if (step := next(budget, None)) is not None:
            await step()

    found = await walk(
        lambda cursor: repository.find_many(order=order, limit=limit, cursor=cursor), between
    )
    identifiers = [session.id for session in found]
    assert len(identifiers) == len(set(identifiers))
    assert throughout <= set(identifiers)
    places = [(session.started_at, session.id) for session in found]
    assert places == sorted(places, reverse=order == "newest")


@bounded
@given(
    order=orders,
    limit=limits,
    turns=st.integers(0, 20),
    bounds=st.tuples(st.none() | st.integers(0, 21), st.none() | st.integers(0, 21)),
    more=st.integers(0, 3),
)
async def test_pages_of_turns_give_each_turn_once_while_others_are_recorded(
    as_ada: UserScope,
    order: str,
    limit: int,
    turns: int,
    bounds: tuple[int | None, int | None],
    more: int,
) -> None:
    repository = as_ada.conversation_sessions
    session = await repository.start()

    async def record(count: int) -> None:
        await repository.record_many(
            [
                SessionTurn(
                    session_id=session.id, id=new_id(), user_transcript="a", llm_response="b"
                )
                for _ in range(count)
            ]
        )

    await record(turns)
    lowest, highest = bounds
    fields = {"turn_from": lowest, "turn_to": highest}
    filters = TurnFilter(**{key: value for key, value in fields.items() if value is not None})
    budget = iter(range(5))

    async def between() -> None:
        if next(budget, None) is not None:
            await record(more)

    found = await walk(
        lambda cursor: repository.find_turns(
            session.id, filters, order=order, limit=limit, cursor=cursor
        ),
        between,
    )
    numbers = [turn.turn_number for turn in found]
    assert len(numbers) == len(set(numbers))
    assert numbers == sorted(numbers, reverse=order == "newest")
    here = range(1, turns + 1)
    assert {n for n in here if (lowest or 0) <= n <= (999 if highest is None else highest)} <= set(
        numbers
    )
    assert all((lowest or 0) <= n <= (999 if highest is None else highest) for n in numbers)


@bounded
@given(data=st.data(), order=orders, limit=limits, include_deleted=st.booleans())
async def test_pages_of_users_give_each_user_once_under_every_filter(
    worker: Database,
    migrated: IsolatedDatabase,
    data: st.DataObject,
    order: str,
    limit: int,
    include_deleted: bool,
) -> None:
    made = data.draw(
        st.lists(
            st.tuples(moments, providers, st.sampled_from(["free", "pro"]), rarely),
            min_size=4,
            max_size=12,
        )
    )
    with as_superuser(migrated) as connection:
        connection.execute("DELETE FROM clonedb.users")
        expected = [
            (
                created_at,
                new_id(),
                provider,
                tier,
                deleted,
            )
            for created_at, provider, tier, deleted in made
        ]
        # Only the database sets created_at, so ties are made by its superuser.
        connection.cursor().executemany(
            "INSERT INTO clonedb.users (created_at, id, email, preferred_llm_provider, "
            "subscription_tier, deleted_at) VALUES (%s, %s, %s, %s, %s, %s)",
            [
                (created_at, key, f"{key.hex}@example.com", provider, tier, NOON if gone else None)
                for created_at, key, provider, tier, gone in expected
            ],
        )
    fields = data.draw(
        some_of(
            preferred_llm_provider=providers,
            subscription_tier=st.sampled_from(["free", "pro"]),
            created_from=moments,
            created_before=moments,
        )
    )
    matching = sorted(
        (
            (created_at, key)
            for created_at, key, provider, tier, deleted in expected
            if provider == fields.get("preferred_llm_provider", provider)
            and tier == fields.get("subscription_tier", tier)
            and created_at >= fields.get("created_from", created_at)
            and created_at < fields.get("created_before", datetime.max.replace(tzinfo=UTC))
            and (include_deleted or not deleted)
        ),
        reverse=order == "newest",
    )
    filters = UserFilter(**fields)
    found = await walk(
        lambda cursor: worker.users.find_many(
            filters, order=order, limit=limit, include_deleted=include_deleted, cursor=cursor
        )
    )
    assert [(user.created_at, user.id) for user in found] == matching
